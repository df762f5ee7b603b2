"""Fig. 3 of the paper: 18 ImageNet models, their accuracy and distortions.

The figure is a citation of Su et al. 2018 (arXiv 1808.01688). Here are the
18 models, those that Keras has (`networks`, `building`), what is published
of them (`published`), and the lines that are drawn through (`fits`).

```python
from qup.reproduction.imagenet import models, fits, published

classifier = building.build("MobileNet-0.25-128", weights_dir="weights")
published.read()["VGG 16"].top_1  # percent
fits.line([("VGG", 71.3, 3.1e-6), ...]).slope
```
"""
