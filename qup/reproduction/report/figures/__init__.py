"""Figures of the evidence: pure functions of rows, estimates and arrays."""
