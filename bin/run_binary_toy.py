"""`qup toy`, run from a checkout: python -m bin.run_binary_toy --help."""

from qup.cli.main import run_from_checkout

if __name__ == "__main__":
    run_from_checkout("toy")
