"""The attacks against those of other libraries: `python -m benchmarks.attacks`.

Every library attacks the same Keras model, the same images in the same
batch, with the same budget, steps and step size and without a random start,
in turns; each ends with a NumPy array. `__main__` tells the flags, `rows`
what is written, and one file each what is measured: `pgd`, `nearest`
(minimum norm), `whole` (early leaving, AutoAttack, sweeps, memory).
"""
