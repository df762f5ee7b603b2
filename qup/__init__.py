"""The uncertainty principle of neural networks, measured.

The paper's walk (Zhang et al. 2022, arXiv 2205.01493) in ten lines:

```python
from qup import attacks, augmentation, datasets, evaluation, models, training
data = datasets.load("digits")
classifier = models.build("convnet", data.info)
training.fit_classifier(classifier, data, epochs=1)
print(evaluation.attacked(classifier, data, attacks.get("pgd")))
deltas = augmentation.opposite_deltas(classifier, data, "deltas")
translator = training.fit_translator(data.info, deltas)
augmented = augmentation.combine(classifier, translator)
print(evaluation.attacked(augmented, data, attacks.get("pgd")))
```
"""

__version__ = "0.1.0"
