"""Measures that only the reproduction uses."""
