"""Settings, one file a dataset; `defaults.py` tells every key."""
