"""Networks, their RA, and the numbers that may go with it, out of rows.

A network is an architecture with its training and its epochs, the mean over
its seeds: seeds of one network are no further networks.

```python
for of in measured(material, "mnist"):
    of.robust, of.values["sigma_p"]
```
"""

import dataclasses
from collections.abc import Iterator, Mapping

from qup.adversarial_training import METHODS
from qup.evidence_figures.trainings import Look as Drawn
from qup.report import numbers
from qup.report.estimates import Estimate, over_seeds
from qup.report.material import Material
from qup.report.sections import uncertainty
from qup.report.selection import Look, accuracy, of_network
from qup.scales import Network

# From the strongest attack to the weakest.
ATTACKS = (Look.WORST, Look.CLIMB, Look.CLIP)
_DOMAIN = "box"
_AT_IMAGES = ("loss", "gradient_l1", "margin_ratio", "clever_linf")
_PACKET = ("sigma_x", "sigma_p", "uncertainty_product")


@dataclasses.dataclass(frozen=True)
class Candidates:
    """One network.

    Attributes:
      title: What it is called.
      look: How it is drawn.
      clean: TA; None where it was not run.
      robust: RA by the attack.
      values: What else was measured of it, by name.
    """

    title: str
    look: Drawn
    clean: Estimate | None
    robust: Mapping[Look, Estimate]
    values: Mapping[str, Estimate]


def measured(material: Material, dataset: str) -> list[Candidates]:
    """Returns the networks of a dataset that have any candidate."""
    found = []
    for network, epochs, method in _asked(material, dataset):
        values = dict(_values(material, network, epochs, method))
        if not values:
            continue
        title = f"{network.title}, {numbers.count(epochs, 'epoch')}"
        if method:
            title += f", {method}"
        looks = {
            look: accuracy(material, network, "CL", epochs, look, method=method)
            for look in (Look.CLEAN, *ATTACKS)
        }
        clean = looks.pop(Look.CLEAN)
        robust = {look: x for look, x in looks.items() if x is not None}
        drawn = Drawn(network.title, network.model, method or "standard")
        found.append(Candidates(title, drawn, clean, robust, values))
    return found


def attack(networks: list[Candidates]) -> Look | None:
    """Returns the attack that most networks were under, the strongest."""
    counts = {
        look: sum(look in of.robust for of in networks) for look in ATTACKS
    }
    most = max(counts.values(), default=0)
    return next((look for look in ATTACKS if most == counts[look] > 0), None)


def sampling(networks: list[Candidates]) -> str:
    """Returns how CLEVER sampled; "" where it did not."""
    rows = [
        row
        for of in networks
        if (found := of.values.get("clever_linf"))
        for row in found.rows
    ]
    if not rows:
        return ""
    told = rows[0].parameters
    return (
        f"CLEVER: {told['clever_num_batches']} batches of "
        f"{told['clever_num_samples']} samples in a ball of radius "
        f"{told['clever_radius']:g} round each of {rows[0].n} images; no "
        "score is larger than the radius."
    )


def _asked(
    material: Material, dataset: str
) -> Iterator[tuple[Network, int, str | None]]:
    for table in material.scale.tables.values():
        for network in table.networks:
            for epochs in table.epochs:
                if network.dataset == dataset:
                    yield network, epochs, None
    network = material.scale.tables["table2"].networks[0]
    if network.dataset == dataset:
        for method in METHODS:
            for epochs in material.scale.robust_epochs:
                yield network, epochs, method


def _values(
    material: Material, network: Network, epochs: int, method: str | None
) -> Iterator[tuple[str, Estimate]]:
    # Scores of other samplings are other numbers.
    sampled = {f"clever_{k}": x for k, x in material.scale.clever.items()}
    for name in _AT_IMAGES:
        rows = material.find(
            measure=name, evaluation="predictors", split="test",
            method=method, **of_network(network, epochs),
            **(sampled if name == "clever_linf" else {}),
        )  # fmt: skip
        if rows:
            yield name, over_seeds(rows)
    for name in _PACKET:
        found = uncertainty.found(
            material, network, epochs, name, _DOMAIN, method=method
        )
        if found is not None:
            yield name, found
