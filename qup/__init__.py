"""The uncertainty principle of neural networks, measured.

Iterative FGSM Augmentation (Zhang et al. 2022, arXiv 2205.01493) in Python:

```python
import pathlib

from qup import attacks, datasets, models, training
from qup.augmentation import generation, translator
from qup.robustness import evaluation

data = datasets.load("digits")
classifier = models.build("convnet", data.info, seed=0)
training.fit_classifier(classifier, data, epochs=20)
deltas = generation.compute_deltas(
    classifier, data, pathlib.Path("deltas"), num_steps=20, step_size=0.02
)
network = translator.fit_translator(deltas, epochs=10)
augmented = translator.combine(classifier, network)
batches = data.evaluation_batches("test", 100)
print(evaluation.evaluate_attack(augmented, batches, attacks.bind("pgd", epsilon=0.1)))
```
"""

__version__ = "0.1.0"
