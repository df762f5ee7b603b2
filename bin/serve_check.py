"""`qup serve-check`, run from a checkout: python -m bin.serve_check --help."""

from qup.cli.main import run_from_checkout

if __name__ == "__main__":
    run_from_checkout("serve-check")
