"""Settings, one file per dataset; qup/pipelines/defaults.py has every key."""
