"""Figures of image frequency (supp. Fig. 5) and of response frequency.

```python
arrays = style.load(folder / "spectrum.npz")
ratios.over_accuracy(rows).savefig("frequency.png")
spectra.radial(arrays).savefig("radial.png")
```
"""
