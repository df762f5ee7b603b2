"""Iterative FGSM Augmentation (supplement, Fig. 3).

Opposite FGSM changes each training image X_0 in N steps into X_N, on which the classifier's loss is
lower. A translator learns to predict Delta_N = X_N - X_0 from the image alone, without its label.
Translator and classifier together are the augmented classifier, f(X + G(X)).

```python
from qup import augmentation

deltas = augmentation.compute_deltas(classifier, data, "deltas", num_steps=20, step_size=0.02)
translator = augmentation.fit_translator(deltas, epochs=10)
augmented = augmentation.combine(classifier, translator)
```

The step itself, Eq. 1 of the supplement, is in `opposite_fgsm`.
"""

from qup.augmentation.generation import compute_deltas
from qup.augmentation.translator import combine, fit_translator

__all__ = ["combine", "compute_deltas", "fit_translator"]
