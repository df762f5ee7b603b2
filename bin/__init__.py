"""Programs: `python -m bin.run_ifa --help`."""
