"""Pipeline components that only the reproduction uses.

Parameters that components share, described here once:

| parameter | meaning |
| --- | --- |
| `examples` | images and labels |
| `model` | the classifier that is measured |
| `translator` | a network from an image X_0 to Delta_N |
| `augmented` | the combined classifier (ACL): `model` behind `translator` |
| `deltas` | the pairs (X_0, Delta_N) that the translator is trained on |
| `evaluation` | receives measurements.csv, and an .npz to which its rows refer |
| `attack` | name, epsilon and options of an attack, see qup/robustness/evaluation.py |
| `num_images` | the first images of the split are measured; None for all |
| `split` | "train", "test" or "validation" |
| `batch_size` | images per batch, without influence on results |
| `seed` | of all random draws |
| `row_parameters` | further parameters of the rows |
"""
