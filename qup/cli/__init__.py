"""The command line: one module per command of `qup`, started by `main`.

Only this package defines absl flags. Its modules import no TensorFlow before
the flags are parsed, so that `--help` and commands that only read start quickly.
"""
