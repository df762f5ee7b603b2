"""Iterative FGSM Augmentation: opposite-FGSM iterates, the translator of Delta_N, the pair."""
