"""`qup merge`, run from a checkout: python -m bin.merge --help."""

from qup.cli.main import run_from_checkout

if __name__ == "__main__":
    run_from_checkout("merge")
