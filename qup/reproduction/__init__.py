"""The experiments of the paper: their nodes, runs, results and report."""
