"""Figures of the report: pure functions of rows, estimates and arrays."""
