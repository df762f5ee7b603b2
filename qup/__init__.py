"""The uncertainty principle of neural networks, measured.

How robust is a classifier:

```python
report = qup.evaluate(model, images, labels, epsilon=8 / 255)
print(report)
report.save_html("robustness.html")
```

Iterative FGSM Augmentation (Zhang et al. 2022, arXiv 2205.01493) in Python:

```python
from qup import attacks, augmentation, datasets, models, training
from qup.robustness import evaluation

data = datasets.load("digits")
classifier = models.build("convnet", data.info, seed=0)
training.fit_classifier(classifier, data, epochs=20)
deltas = augmentation.compute_deltas(classifier, data, "deltas", num_steps=20, step_size=0.02)
translator = augmentation.fit_translator(deltas, epochs=10)
augmented = augmentation.combine(classifier, translator)
batches = data.evaluation_batches("test", 100)
print(evaluation.evaluate_attack(augmented, batches, attacks.bind("pgd", epsilon=0.1)))
```

It computes with Keras on TensorFlow, in float32, whatever keras.json says: `qup.core.environment`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from qup.core import environment as _environment

__version__ = "0.1.0"

_environment.prepare_import()

if TYPE_CHECKING:
    from qup.robustness.report import Report as Report
    from qup.robustness.report import RobustnessCurve as RobustnessCurve
    from qup.robustness.report import evaluate as evaluate
    from qup.robustness.report import robustness_curve as robustness_curve

_LAZY_NAMES = ("Report", "RobustnessCurve", "evaluate", "robustness_curve")
_LAZY_PACKAGES = ("attacks", "datasets", "models", "robustness", "training")


def __getattr__(name: str) -> Any:
    """Returns a name of `qup.robustness.report`, or a package; its import starts TensorFlow."""
    if name in _LAZY_NAMES:
        return getattr(importlib.import_module("qup.robustness.report"), name)
    if name in _LAZY_PACKAGES:
        return importlib.import_module(f"qup.{name}")
    raise AttributeError(f"module 'qup' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY_NAMES, *_LAZY_PACKAGES})
