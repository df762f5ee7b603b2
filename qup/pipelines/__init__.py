"""Pipelines: settings in, results in a working directory out."""
