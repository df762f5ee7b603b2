"""`qup reproduce`, run from a checkout: python -m bin.reproduce --help."""

from qup.cli.main import run_from_checkout

if __name__ == "__main__":
    run_from_checkout("reproduce")
