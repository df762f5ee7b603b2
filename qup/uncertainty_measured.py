"""Saved relations, as figures and words ask for them.

```python
found = measured([uncertainty.records.load(path) for path in paths], rows)
found[0].average("sigma_x")  # mean over the pixels, with its error
```
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from qup import errors
from qup.measurements import Row

# Beyond this many standard errors two numbers are said to differ.
BEYOND = 3.0
# Differences below it are rounding.
FLOOR = 1e-9
_DEFAULTS = {
    "label": None, "packet": "loss", "temperature": 1.0, "epochs": 0,
    "model": "network", "dataset": "", "control": "", "centre": None,
    "checks": (), "faces": None, "image_shape": None, "diagnostics": {},
    "refused": {}, "matrix": None,
}  # fmt: skip


class Average(NamedTuple):
    """The mean over many axes.

    Attributes:
      value: Of those that could be estimated; NaN where none could.
      stderr: Its standard error, or an upper limit of it.
      known: Number of axes that could be estimated.
      n: Number of axes.
    """

    value: float
    stderr: float
    known: int
    n: int


class Measured:
    """One relation of one network.

    Attributes:
      arrays: See `uncertainty.records`.
      told: The same; what was not told has a default.
      means: Measure to its mean over all pixels and that mean's own error,
        where they are known.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        told: Mapping[str, Any],
        means: Mapping[str, tuple[float, float]] | None = None,
    ):
        """Keeps what `uncertainty.records.load` returned, and means."""
        self.arrays = arrays
        self.told = {**_DEFAULTS, **told}
        self.told.setdefault("domain_text", self.told["domain"])
        self.means = means or {}
        self.names = [str(name) for name in arrays["axes"]]
        own = np.array([n.startswith("pixel:") for n in self.names], bool)
        self._shown = own if own.any() else ~own
        self.pixels = np.array([int(n[6:]) for n in self.names
                                if n.startswith("pixel:")], int)  # fmt: skip

    def __getitem__(self, key: str) -> Any:
        return self.told[key]

    @property
    def domain(self) -> str:
        """Returns "box", "window" or "sine"."""
        return self["domain_text"].partition(":")[0]

    @property
    def width(self) -> float:
        """Returns the window's width; NaN where it has none."""
        return float(self["domain_text"].partition(":")[2] or "nan")

    @property
    def unit(self) -> str:
        """Returns what means go over: "pixels" or "directions"."""
        return "pixels" if self.pixels.size else "directions"

    @property
    def sharp(self) -> bool:
        """Says whether 1/2 / |corr(x, s)| tells more than the product.

        So it is in a Gaussian window; in a sine window s has no finite
        fourth moment.
        """
        return self.domain == "window"

    def every(self, measure: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns values and errors [axes], NaN where one is unknown.

        Args:
          measure: One of `uncertainty.MEASURES`; or "excess", that of the
            product over 1/2, by correlation where that is `sharp`.
        """
        name = self._name(measure)
        value = np.array(self.arrays[name], float)
        error = np.array(self.arrays[f"{name}_stderr"], float)
        value -= 0.5 * (measure == "excess")
        unknown = ~(np.isfinite(value) & np.isfinite(error))
        value[unknown] = error[unknown] = np.nan
        return value, error

    def _name(self, measure: str) -> str:
        if measure != "excess":
            return measure
        return "product_by_correlation" if self.sharp else "uncertainty_product"

    def shown(self, measure: str) -> tuple[np.ndarray, np.ndarray]:
        """Returns the same of the pixels, or of directions without any."""
        value, error = self.every(measure)
        return value[self._shown], error[self._shown]

    def average(self, measure: str) -> Average:
        """Returns the mean over pixels, or over directions without any.

        Its error is its own where `means` has it, else the mean of the
        axes' errors: an upper limit, because axes share their samples.
        """
        value, error = self.shown(measure)
        known = np.isfinite(value)
        count, n = int(known.sum()), len(value)
        name = self._name(measure)
        mean, own = self.means.get(name, (np.nan, np.nan))
        if np.isfinite(mean) and np.isfinite(own):
            return Average(mean - 0.5 * (measure == "excess"), own, count, n)
        if not count:
            return Average(np.nan, np.nan, 0, n)
        mean, own = value[known].mean(), error[known].mean()
        return Average(float(mean), float(own), count, n)

    def left(self, measure: str) -> np.ndarray:
        """Returns the means of `pairing.means`: [1 + groups], or nothing."""
        name = f"left_{self._name(measure)}"
        return np.asarray(self.arrays.get(name, ()), float)

    def at(self, measure: str, name: str) -> Average:
        """Returns the same of one axis, by its name."""
        place = self.names.index(name)
        value, error = (float(part[place]) for part in self.every(measure))
        return Average(value, error, int(np.isfinite(value)), 1)


def measured(
    records: Iterable[tuple], rows: Iterable[Row] = ()
) -> list[Measured]:
    """Returns records with the means that rows tell of them.

    Args:
      records: Pairs (arrays, told), as `uncertainty.records.load` returns
        each.
      rows: Those of `uncertainty_rows.of_relation` among others.

    Raises:
      InputError: There is no record.
    """
    means: dict[tuple, dict[str, tuple[float, float]]] = {}
    for row in rows:
        told = row.parameters
        if (told.get("over"), told.get("statistic")) == ("pixels", "mean"):
            error = np.nan if row.stderr is None else row.stderr
            known = {**told, "epochs": row.epochs, "model": row.model}
            held = means.setdefault(_key(known), {})
            held[row.measure] = row.value, error
    found = []
    for arrays, told in records:
        known = {**told, "domain": told.get("domain_text", told["domain"])}
        found.append(Measured(arrays, told, means.get(_key(known))))
    if not found:
        raise errors.InputError(
            "A report needs at least one measured relation; got none."
        )
    return found


def _key(told: Mapping[str, Any]) -> tuple:
    names = ("model", "epochs", "control", "label", "packet", "temperature",
             "domain", "centre", "estimator")  # fmt: skip
    both = {**_DEFAULTS, **told}
    return tuple(both.get(name) for name in names)


def apart(one: Average, other: Average) -> float:
    """Returns a difference in standard errors; NaN where one is unknown."""
    error = np.maximum(np.hypot(one.stderr, other.stderr), FLOOR)
    return float(abs(one.value - other.value) / error)
