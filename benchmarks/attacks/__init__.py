"""The attacks compared with those of other libraries: `python -m benchmarks.attacks`.

All libraries attack the same Keras model and the same images in the same batch, with equal budget,
steps and step size, without a random start, in turns. Each attack returns a NumPy array. The flags
are in `__main__`, the rows in `rows`, the benchmarks in `pgd`, `minimum_norm` and `end_to_end`
(early stopping, AutoAttack, sweeps, memory).
"""
