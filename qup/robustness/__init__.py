"""Robustness of a classifier: accuracies under attack, and measures without an attack.

```python
result = robustness.compute_clever(classifier, images, labels, norm="l2")
result.untargeted  # float64 [n], estimated distances to the boundary
```
"""

from qup.robustness.clever import CleverResult, compute_clever

__all__ = ("CleverResult", "compute_clever")
