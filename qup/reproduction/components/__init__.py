"""Pipeline components that only the reproduction uses.

Docstrings leave out the arguments that qup/pipelines/components describes, and:

- `translator`: a network, image X_0 -> Delta_N.
- `augmented`: the augmented classifier (ACL): `model` behind `translator`.
- `deltas`: the pairs (X_0, Delta_N) on which the translator is trained.
"""
