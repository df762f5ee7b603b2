"""TensorBoard of a reproduction: the sweep, and a page of its curves.

The HPARAMS tab has a line for each network, number of epochs and seed, with
TA and RA of the classifier alone (CL) and of the pair (ACL); CUSTOM SCALARS
lays them, and the curves of the trainings, side by side.

```python
draw(Material.read(folder), folder / "tensorboard")
```
"""

import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from qup.adversarial_training import METHODS
from qup.measurements import Row
from qup.report import selection
from qup.report.material import Material
from qup.report.selection import Look
from qup.scales import Network, Scale
from qup.summaries import Summaries

_KINDS = ("CL", "ACL")
# Folders: a run for each line of the table, and one for each line over epochs.
SWEEP, OVER_EPOCHS, PAGE = "sweep", "over_epochs", "overview"
_NAMES = ("dataset", "model", "training", "epochs", "seed")


class Line(NamedTuple):
    """A network at some epochs, of one seed.

    Attributes:
      values: Hyperparameters by name.
      results: Percent by tag.
    """

    values: dict[str, str | int | float | bool]
    results: dict[str, float]

    @property
    def name(self) -> str:
        """Of the network and its seed, "mnist.convnet.seed-0"."""
        parts = [self.values["dataset"], self.values["model"]]
        if self.values["training"] != "standard":
            parts.append(self.values["training"])
        return ".".join([*map(str, parts), f"seed-{self.values['seed']}"])


def tags(scale: Scale) -> dict[Look, str]:
    """Returns what the scalars are called."""
    worst = scale.worst["name"]
    return {
        Look.CLEAN: "TA",
        Look.CLIP: "RA_PGD-4",
        Look.FREE: "RA_PGD-4_unclipped",
        Look.CLIMB: f"RA_PGD-{scale.strong_steps}_strong",
        Look.WORST: f"RA_{'AutoAttack' if worst == 'autoattack' else worst}",
    }


def draw(material: Material, folder: pathlib.Path) -> None:
    """Writes the sweep and its page, in place of those of an earlier run.

    Args:
      material: Everything measured.
      folder: TensorBoard's.
    """
    names = tags(material.scale)
    metrics = [f"{kind}/{tag}" for kind in _KINDS for tag in names.values()]
    found = list(lines(material))
    for name in sorted({line.name for line in found}):
        board, own = Summaries(folder), [x for x in found if x.name == name]
        board.clear(f"{OVER_EPOCHS}/{name}")
        for line in sorted(own, key=lambda x: x.values["epochs"]):
            epochs = line.values["epochs"]
            run = f"{SWEEP}/{name}.epoch-{epochs}"
            board.clear(run)
            board.hyperparameters(run, epochs, line.values, line.results)
            board.scalars(f"{OVER_EPOCHS}/{name}", epochs, line.results)
    board = Summaries(folder)
    board.clear(PAGE)
    varied = dict.fromkeys([*_NAMES, *(k for x in found for k in x.values)])
    board.experiment(PAGE, varied, metrics)
    board.layout(PAGE, _page(list(names.values())))
    board.text(PAGE, "reproduction", _words(material, len(found)))


def lines(material: Material) -> Iterator[Line]:
    """Yields a line for each network, number of epochs and seed."""
    for table in material.scale.tables.values():
        for network in table.networks:
            for method in (None, *METHODS):
                epochs = material.scale.robust_epochs if method else \
                    table.epochs  # fmt: skip
                for number in epochs:
                    yield from _lines(material, network, number, method)


def _lines(
    material: Material, network: Network, epochs: int, method: str | None
) -> Iterator[Line]:
    names, results = tags(material.scale), {}
    for kind in _KINDS:
        for look, tag in names.items():
            held = selection.rows(
                material, network, kind, epochs, look, method=method
            )
            for row in held:
                results.setdefault(row.seed, {})[f"{kind}/{tag}"] = row.value
    training = method or "standard"
    for seed in sorted(results):
        values = {
            "dataset": network.dataset, "model": network.model,
            "training": training, "epochs": epochs, "seed": seed,
            **{f"model_{key}": x for key, x in network.options.items()},
        }  # fmt: skip
        yield Line(values, results[seed])


def _page(names: list[str]) -> dict[str, dict[str, list[str]]]:
    """Returns category to chart to the expressions of its tags."""
    return {
        "Over epochs": {
            f"{kind}: {name}": [f"^{kind}/{name}$"]
            for name in names
            for kind in _KINDS
        },
        "Training": {
            "Loss of classifiers": ["^loss$"],
            "Accuracy of classifiers": ["^accuracy$"],
            "L1 of translators": [
                "^generator_l1$",
                "^validation_l1_in_pixels$",
            ],
        },
    }


def _words(material: Material, count: int) -> str:
    rows: tuple[Row, ...] = material.rows
    seeds = ", ".join(map(str, sorted({row.seed for row in rows}))) or "none"
    return (
        f"Reproduction at scale {material.scale.name}: {len(rows)} "
        f"measurements, seeds {seeds}, {count} networks in HPARAMS. What they "
        "say stands in report/report.html of the same folder."
    )
