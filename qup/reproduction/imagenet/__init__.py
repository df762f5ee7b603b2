"""Fig. 3 of the paper: accuracy and distortions of 18 ImageNet models.

The figure is a citation of Su et al. 2018 (arXiv 1808.01688). `models` has the 18 models and builds
those of Keras, `folder` reads validation images, `distortions` measures any classifier,
`published` has published values, and `fits` fits lines.

```python
classifier = models.build_model("MobileNet-0.25-128", weights_dir="weights")
published.read()["VGG 16"].top_1  # percent
fits.fit_line([FitPoint("VGG", 71.3, 3.1e-6), ...]).slope
```
"""
