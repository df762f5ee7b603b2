"""The uncertainty principle of neural networks, measured.

The road of the paper (Zhang et al. 2022, arXiv 2205.01493), in Python:

```python
from qup import (
    attacks,
    augmentation,
    datasets,
    evaluation,
    models,
    training,
    translation,
)

data = datasets.load("digits")
classifier = models.build("convnet", data.info, seed=0)
training.fit_classifier(classifier, data, epochs=20)
deltas = augmentation.opposite_deltas(
    classifier, data, "deltas", num_steps=20, step_size=0.02
)
translator = translation.fit_translator(deltas, epochs=10)
augmented = augmentation.combine(classifier, translator)
batches = data.evaluation_batches("test", 100)
pgd = attacks.bind("pgd", epsilon=0.1)
print(evaluation.attacked(augmented, batches, pgd))
```
"""

__version__ = "0.1.0"
