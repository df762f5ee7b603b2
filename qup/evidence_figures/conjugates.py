"""Table 4 as pictures: each attack, its conjugate, and both spectra.

```python
figure = draw(np.load("conjugates.npz"), "ConvNet on mnist, 1 epoch")
```
"""

from collections.abc import Iterable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from qup.conjugates import TABLE
from qup.evidence_figures import colours
from qup.measures import spectrum

_TITLES = (
    "attacked", "perturbation", "conjugate", "its spectrum,\nlog magnitude",
    "power over the\nlength of the frequency",
)  # fmt: skip
_LINES = {
    "perturbation": (colours.BLUE, "-"),
    "conjugate": (colours.VERMILION, "--"),
}
# Powers below this share of an image's mean are drawn as that share.
_FLOOR = 1e-4

Arrays = Mapping[str, np.ndarray]


def draw(arrays: Arrays, title: str, note: str = "") -> Figure:
    """Draws a row for each attack of conjugates.npz.

    Args:
      arrays: "class_names", and of each attack under its name and an
        underscore "attacked", "perturbation" and, where one is known,
        "conjugate", float32 [height, width, channels]; "label", what the
        classifier says; and where they were measured on many images
        "perturbation_relative" and "conjugate_relative" [bins], see
        `spectrum.Averages`: without, the curves are those of the image.
      title: Stands above.
      note: Stands below, such as how many images curves are means over.
    """
    names = [str(name) for name in arrays["class_names"]]
    shown = [name for name in TABLE if f"{name}_attacked" in arrays]
    figure = Figure((9.6, 1.5 * len(shown) + 1.1), layout="constrained")
    figure.suptitle(title, fontsize=11, parse_math=False)
    axes = figure.subplots(
        len(shown), len(_TITLES), squeeze=False,
        width_ratios=(1, 1, 1, 1, 1.5),
    )  # fmt: skip
    curves = {name: _curves(arrays, name) for name in shown}
    for row, name in zip(axes, shown, strict=True):
        _images(row, arrays, name, names)
        _draw_curves(row[4], curves[name])
    _scale(axes[:, 4], curves.values())
    for axis, words in zip(axes[0], _TITLES, strict=True):
        axis.set_title(words, fontsize=9.5)
    axes[-1, 4].set_xlabel("cycles per image", fontsize=8)
    handles = [
        Line2D([], [], color=colour, ls=line, lw=1.4, label=key)
        for key, (colour, line) in _LINES.items()
    ]
    handles.append(
        Line2D([], [], color=colours.GREY, ls=":", lw=1, label="white noise")
    )
    figure.legend(
        handles=handles, loc="outside lower right", ncols=3, fontsize=8.5,
        frameon=False, title=note or None, title_fontsize=8.5,
    )  # fmt: skip
    return figure


def _images(row, arrays: Arrays, name: str, names: list[str]) -> None:
    attacked, moved = (
        arrays[f"{name}_{key}"] for key in ("attacked", "perturbation")
    )
    most = float(np.abs(moved).max())
    said = f"says {names[int(arrays[f'{name}_label'])]}" if most else "failed"
    _picture(row[0], attacked)
    row[0].set_ylabel(
        f"{name.replace('_', ' ').replace(' class', chr(10) + 'class')}\n"
        f"{said}", rotation=0, ha="right", va="center", fontsize=9,
        parse_math=False,
    )  # fmt: skip
    _signed(row[1], moved)
    row[1].set_xlabel(f"max {most:.3g}", fontsize=8)
    field = arrays.get(f"{name}_conjugate")
    if field is None:
        for axis in row[2:4]:
            axis.axis("off")
        row[2].text(
            0.5, 0.5, TABLE[name].words, ha="center", va="center", fontsize=9
        )
    else:
        _signed(row[2], field)
        row[2].set_xlabel(TABLE[name].symbol, fontsize=8)
        row[3].imshow(_plane(field), cmap="viridis")
    for axis in row[:4]:
        axis.set(xticks=[], yticks=[])


def _curves(arrays: Arrays, name: str) -> dict[str, np.ndarray]:
    """Returns radial means relative to an image's mean power: [bins] each."""
    found = {}
    for key in _LINES:
        curve = arrays.get(f"{name}_{key}_relative")
        field = arrays.get(f"{name}_{key}")
        if curve is None and field is not None and np.any(field):
            power = spectrum.power(spectrum.grey(field[None]))
            curve = spectrum.radial(power / power.mean())[0]
        if curve is not None and np.isfinite(curve).all():
            found[key] = np.maximum(curve, _FLOOR)
    return found


def _draw_curves(axis: Axes, curves: Mapping[str, np.ndarray]) -> None:
    for key, curve in curves.items():
        colour, line = _LINES[key]
        axis.plot(curve, color=colour, ls=line, lw=1.4)
    if not curves:
        axis.text(
            0.5, 0.6, "no perturbation to average", ha="center", fontsize=8.5,
            color=colours.GREY, transform=axis.transAxes,
        )  # fmt: skip
    axis.axhline(1.0, color=colours.GREY, ls=":", lw=1)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=7.5)


def _scale(axes, curves: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Puts all curves on one scale, with decades alone named."""
    every = [curve for found in curves for curve in found.values()]
    low = min((curve.min() for curve in every), default=0.1)
    high = max((curve.max() for curve in every), default=10.0)
    last = max((len(curve) - 1 for curve in every), default=1)
    for axis in axes:
        axis.set(
            yscale="log", xlim=(0, last),
            ylim=(min(low, 0.1) / 1.5, 1.5 * max(high, 10.0)),
        )  # fmt: skip
        axis.yaxis.set_major_locator(LogLocator(10, numticks=4))
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def _plane(field: np.ndarray) -> np.ndarray:
    """Returns log10 of the magnitudes, at most six decades below the largest.

    Args:
      field: float32 [height, width, channels].

    Returns:
      float64 [height, width], zero frequency in the middle.
    """
    size = np.sqrt(spectrum.power(spectrum.grey(field[None])))[0]
    return np.log10(np.maximum(size, max(size.max(), 1e-30) * 1e-6))


def _picture(axis: Axes, image: np.ndarray) -> None:
    shown = np.clip(image[..., 0] if image.shape[-1] == 1 else image, 0, 1)
    axis.imshow(shown, cmap="gray", vmin=0, vmax=1)


def _signed(axis: Axes, field: np.ndarray) -> None:
    """Draws a signed field, channels averaged; white is zero."""
    shown = field.mean(-1)
    limit = max(float(np.abs(shown).max()), 1e-12)
    axis.imshow(shown, cmap="RdBu_r", vmin=-limit, vmax=limit)
