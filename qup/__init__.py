"""The uncertainty principle of neural networks, measured.

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

from qup.core import environment as _environment

__version__ = "0.1.0"

_environment.prepare_import()
