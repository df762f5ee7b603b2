"""Pipeline components that only the reproduction uses."""
