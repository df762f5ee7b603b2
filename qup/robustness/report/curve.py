"""Robust accuracy over the budget.

```python
curve = robustness_curve(classifier, images, labels, epsilons=[0.02, 0.05, 0.1])
print(curve)
curve.plot("curve.png")
```
"""

import dataclasses
import inspect
import json
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qup import attacks
from qup.attacks import inputs
from qup.core import errors, extras
from qup.core.measurements import Proportion, compute_proportion
from qup.core.numbers import format_epsilon
from qup.core.types import LogitsFn
from qup.robustness.report.attack_runs import check_untargeted

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class RobustnessCurve:
    """Accuracies of one attack over its budgets.

    Attributes:
      attack: Name of the attack, for a legend.
      norm: Norm of the budgets.
      epsilons: Increasing; the first is 0, where the accuracy is the clean one.
      accuracies: One per budget.
    """

    attack: str
    norm: str
    epsilons: tuple[float, ...]
    accuracies: tuple[Proportion, ...]

    def __str__(self) -> str:
        lines = [f"{self.attack}, {self.norm}, {self.accuracies[0].n} images"]
        for epsilon, accuracy in zip(self.epsilons, self.accuracies, strict=True):
            lines.append(f"  epsilon {format_epsilon(epsilon):8} {accuracy} %")
        return "\n".join(lines)

    def to_records(self) -> list[dict[str, Any]]:
        """Returns one dictionary per budget: attack, norm, epsilon, accuracy, low, high, n."""
        return [
            {
                "attack": self.attack,
                "norm": self.norm,
                "epsilon": epsilon,
                "accuracy": accuracy.percent,
                "low": accuracy.low,
                "high": accuracy.high,
                "n": accuracy.n,
            }
            for epsilon, accuracy in zip(self.epsilons, self.accuracies, strict=True)
        ]

    def to_dataframe(self) -> "pd.DataFrame":
        """Returns one row per budget, see `to_records`."""
        with extras.explain_missing("to_dataframe()"):
            import pandas as pd
        return pd.DataFrame.from_records(self.to_records())

    def to_json(self) -> str:
        """Returns the records as JSON."""
        return json.dumps(self.to_records(), indent=1)

    def plot(self, path: str | pathlib.Path | None = None) -> "Figure":
        """Returns a figure of the curve; writes it if a path (.png, .svg, .pdf) is given."""
        from qup.robustness.report import figures

        figure = figures.plot_curves([self])
        if path is not None:
            figures.save_figure(figure, pathlib.Path(path))
        return figure


def robustness_curve(
    model: LogitsFn,
    images,
    labels=None,
    epsilons: Sequence[float] = (),
    *,
    attack: str = "pgd",
    **options: Any,
) -> RobustnessCurve:
    """Attacks at several budgets.

    An image that is broken at one budget counts as broken at every larger one.

    Args:
      model: The classifier, see `attacks.run`.
      images: float [n, ...] in [0, 1] or uint8, or a tf.data.Dataset of (image, label).
      labels: int [n] or [n, 1]; None for such a dataset.
      epsilons: Budgets in units of the images; 0 need not be among them.
      attack: Name of an attack with a budget, or of a minimum-norm attack.
      **options: Arguments of `attacks.run`, and options of the attack.

    Returns:
      The accuracies at 0 and at each budget, in percent with 95 % Wilson intervals.

    Raises:
      InputError: An argument is invalid.
    """
    budgets = sorted({float(e) for e in inputs.validate_epsilons(epsilons)} - {0.0})
    if not budgets:
        raise errors.InputError("epsilons needs at least one number above 0, such as [0.05, 0.1].")
    check_untargeted(attack, options)
    if "keep" in inspect.signature(attacks.get(attack)).parameters:
        # An image leaves as soon as it is broken.
        options = {"keep": "first_adversarial", **options}
    results = attacks.run(attack, model, images, labels, epsilons=budgets, **options)
    clean = results[0].correct
    # float32 rounding may break an image at one budget alone.
    broken = np.logical_or.accumulate([result.success for result in results])
    return RobustnessCurve(
        attack,
        attacks.get_norm(attack, options),
        (0.0, *budgets),
        (compute_proportion(clean), *(compute_proportion(~row) for row in broken)),
    )
