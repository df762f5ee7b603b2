"""Which rows answer which question: the paper's attack, the strong ones.

```python
rows = accuracy(material, network, "CL", 30, Look.PAPER)
```
"""

import enum
from collections.abc import Iterable
from typing import Any

from qup.measurements import Row
from qup.report.estimates import Estimate, over_seeds
from qup.report.material import Material
from qup.scales import Network


class Look(enum.Enum):
    """How a classifier was looked at; the value is a column's title."""

    CLEAN = "TA"
    CLIP = "RA, PGD-4, clipped"
    FREE = "RA, PGD-4, not clipped"
    CLIMB = "RA, strong PGD"
    WORST = "RA, worst case"

    def title(self, material: Material) -> str:
        """Returns a column's title, with the name of the worst case."""
        if self is not Look.WORST:
            return self.value
        name = material.scale.worst["name"]
        return f"RA, {'AutoAttack' if name == 'autoattack' else name}"


_CONDITIONS: dict[Look, dict[str, Any]] = {
    Look.CLEAN: {"measure": "test_accuracy", "evaluation": None},
    Look.CLIP: {
        "measure": "robust_accuracy", "attack": "pgd", "pixel_clip": True,
        "random_start": False, "loss": "cross_entropy", "evaluation": None,
    },
    Look.FREE: {
        "measure": "robust_accuracy", "attack": "pgd", "pixel_clip": False,
        "random_start": False, "loss": "cross_entropy", "evaluation": None,
    },
    Look.CLIMB: {
        "measure": "robust_accuracy", "attack": "pgd",
        "evaluation": "per_image",
    },
    Look.WORST: {"measure": "robust_accuracy", "evaluation": "per_image"},
}  # fmt: skip
# What tells networks of the tables from their controls.
PLAIN = {
    "control": None, "method": None, "step": None, "made_on": None,
    "figure": None,
    "split": "test",
}  # fmt: skip


def of_network(network: Network, epochs: int) -> dict[str, Any]:
    """Returns conditions on rows: those of one network of the tables."""
    options = {f"model_{key}": x for key, x in network.options.items()}
    named = {"dataset": network.dataset, "model": network.model}
    return {**named, "epochs": epochs, **options}


def rows(
    material: Material,
    network: Network,
    classifier: str,
    epochs: int,
    look: Look,
    **wanted: Any,
) -> list[Row]:
    """Returns the rows, one a seed.

    Args:
      material: Everything.
      network: The network.
      classifier: "CL" or "ACL".
      epochs: Its epochs.
      look: The question.
      **wanted: Conditions instead of those of plain networks.
    """
    options = of_network(network, epochs)
    if classifier == "ACL":
        options["through"] = "both"
    if look is Look.WORST:
        options["attack"] = material.scale.worst["name"]
    conditions = {**_CONDITIONS[look], **options, **PLAIN, **wanted}
    return material.find(classifier=classifier, **conditions)


def accuracy(
    material: Material,
    network: Network,
    classifier: str,
    epochs: int,
    look: Look,
    **wanted: Any,
) -> Estimate | None:
    """Returns the mean over seeds; None where nothing was run."""
    return over_seeds(
        rows(material, network, classifier, epochs, look, **wanted)
    )


def walked(material: Material, network: Network, epochs: int) -> list[Row]:
    """Returns TA and RA of the walked training images X_n, once a seed.

    Args:
      material: Everything.
      network: The network.
      epochs: Its epochs.

    Returns:
      Rows with "step", n; those beside which images lie before others.
    """
    found: dict[tuple, Row] = {}
    for figure in (None, "supp_fig2"):
        for row in material.find(
            images="X_n", control=None, split="train", figure=figure,
            **of_network(network, epochs),
        ):  # fmt: skip
            key = (row.measure, row.seed, row.parameters["step"])
            found.setdefault(key, row)
    return list(found.values())


def over_steps(rows: Iterable[Row]) -> dict[str, dict[int, Estimate]]:
    """Returns the means over seeds of what `walked` gave.

    Args:
      rows: The rows.

    Returns:
      "test_accuracy" and "robust_accuracy" to n to the mean.
    """
    held: dict[str, dict[int, list[Row]]] = {
        "test_accuracy": {}, "robust_accuracy": {},
    }  # fmt: skip
    for row in rows:
        if row.measure in held:
            held[row.measure].setdefault(row.parameters["step"], []).append(row)
    return {
        measure: {step: over_seeds(own) for step, own in sorted(found.items())}
        for measure, found in held.items()
    }
