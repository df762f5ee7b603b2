"""The paper's experiments, run, collected, reported and published."""
