"""Training that resumes after an interruption, standard and adversarial.

```python
history = training.fit(model, (images, labels), "pgd_at", epsilon=8 / 255, epochs=20)
model.fit(..., callbacks=[training.RobustAccuracy(images, labels, epsilon=8 / 255)])
```
"""

from qup.training.callbacks import RobustAccuracy
from qup.training.classifier import Adversary, fit_classifier, list_optimizers
from qup.training.fitting import fit
from qup.training.history import History
from qup.training.loop import EpochHook
from qup.training.strategies import build_strategy

__all__ = [
    "Adversary",
    "EpochHook",
    "History",
    "RobustAccuracy",
    "build_strategy",
    "fit",
    "fit_classifier",
    "list_optimizers",
]
