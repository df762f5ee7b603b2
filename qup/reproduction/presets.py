"""Scales of the reproduction: the same experiments in three sizes.

`cpu` replaces networks that would take days on two cores by compact ones, and tables mark them.
`paper` is the full size, for a GPU. `smoke` tests that every experiment runs; its numbers have no
meaning.

```python
scale = get_scale("cpu")
scale.tables["table2"].networks[0].title
```
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from qup.core import errors

# The methods of adversarial training of the controls, see `qup.training.adversarial`.
ROBUST_METHODS = ("pgd_at", "trades")


@dataclasses.dataclass(frozen=True)
class NetworkPreset:
    """A classifier of the paper's tables, or its replacement.

    Attributes:
      dataset: Registered name of the images.
      model: Registered name of the architecture.
      title: Name in tables.
      options: Keyword arguments of the model, such as {"depth": 20}.
      compact: Whether it is smaller than the paper's.
    """

    dataset: str
    model: str
    title: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    compact: bool = False


@dataclasses.dataclass(frozen=True)
class TablePreset:
    """Table 2 or Table 3: networks at numbers of epochs.

    Attributes:
      networks: Its rows.
      epochs: Its columns.
    """

    networks: tuple[NetworkPreset, ...]
    epochs: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Scale:
    """Sizes of all experiments.

    Attributes:
      name: "smoke", "cpu" or "paper".
      settings: Settings of configs/<dataset>.py: "smoke" or "full".
      tables: "table2" and "table3".
      seeds: Number of seeds without --seeds.
      multi_seed_experiments: Experiments that use all default seeds, while others use the first
        one; None for all experiments.
      strong_images: Test images under the strong attacks, the first ones.
      strong_steps: Steps of the strong PGD.
      strong_restarts: Restarts of the strong PGD.
      worst_case: Name and options of the reference attack: AutoAttack as published; a short attack
        at the smoke scale.
      checked_images: Images of the checks for masked gradients.
      few_images: Images of expensive measures.
      clever: Sampling of CLEVER; an image takes num_batches * num_samples * (classes - 1)
        gradients.
      robust_epochs: Epochs of adversarial training.
      uncertainty: Sizes of importance sampling, see qup/uncertainty/estimation.py.
      widths: Widths of translators in the capacity sweep.
      label: Class of the packet.
    """

    name: str
    settings: str
    tables: Mapping[str, TablePreset]
    seeds: int
    multi_seed_experiments: tuple[str, ...] | None = None
    strong_images: int = 1000
    strong_steps: int = 100
    strong_restarts: int = 5
    worst_case: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: {"name": "autoattack"}
    )
    checked_images: int = 200
    few_images: int = 100
    clever: Mapping[str, int] = dataclasses.field(
        default_factory=lambda: {"num_batches": 10, "num_samples": 16}
    )
    robust_epochs: tuple[int, ...] = (10,)
    uncertainty: Mapping[str, int] = dataclasses.field(
        default_factory=lambda: {
            "num_samples": 20_000,
            "num_chains": 32,
            "num_steps": 1000,
            "num_faces": 8,
        }
    )
    widths: tuple[int, ...] = (4, 8, 16, 32)
    label: int = 0

    @property
    def worst_case_title(self) -> str:
        """The name of the reference attack in the report, such as "AutoAttack"."""
        name = self.worst_case["name"]
        return "AutoAttack" if name == "autoattack" else name

    def find_network(self, dataset: str, model: str) -> NetworkPreset | None:
        """Returns a network of the tables; None if no table has it."""
        for table in self.tables.values():
            for network in table.networks:
                if (network.dataset, network.model) == (dataset, model):
                    return network
        return None


def _build_tables(
    resnet_options: Mapping[str, Any], googlenet_options: Mapping[str, Any], *, compact: bool
) -> dict[str, TablePreset]:
    resnet_title = "ResNet-20" if compact else "ResNet-18"
    googlenet_title = "GoogLeNet x 1/4" if compact else "GoogLeNet"
    return {
        "table2": TablePreset(
            (
                NetworkPreset("mnist", "convnet", "ConvNet"),
                NetworkPreset("mnist", "resnet", resnet_title, resnet_options, compact),
                NetworkPreset("mnist", "ygcnn", "YGCNN"),
            ),
            (1, 30, 50),
        ),
        "table3": TablePreset(
            (
                NetworkPreset("cifar10", "convnet", "ConvNet"),
                NetworkPreset("cifar10", "resnet", resnet_title, resnet_options, compact),
                NetworkPreset("cifar10", "googlenet", googlenet_title, googlenet_options, compact),
            ),
            (1, 5, 50),
        ),
    }


SCALES = {
    "smoke": Scale(
        name="smoke",
        settings="smoke",
        tables={
            "table2": TablePreset(
                (NetworkPreset("digits", "convnet", "ConvNet", {}, True),), (1, 2)
            ),
            "table3": TablePreset(
                (NetworkPreset("synthetic", "convnet", "ConvNet", {}, True),), (1,)
            ),
        },
        seeds=2,
        # One seed shows that the others run.
        multi_seed_experiments=("table2", "table3", "fig2"),
        strong_images=48,
        strong_steps=5,
        strong_restarts=2,
        worst_case={"name": "apgd_ce", "num_steps": 5},
        checked_images=16,
        few_images=8,
        clever={"num_batches": 6, "num_samples": 4},
        robust_epochs=(1,),
        uncertainty={"num_samples": 1500, "num_chains": 4, "num_steps": 50, "num_faces": 2},
        widths=(4,),
    ),
    "cpu": Scale(
        name="cpu",
        settings="full",
        tables=_build_tables({"depth": 20}, {"width": 0.25}, compact=True),
        seeds=5,
    ),
    "paper": Scale(
        name="paper",
        settings="full",
        tables=_build_tables({}, {}, compact=False),
        seeds=5,
        clever={"num_batches": 50, "num_samples": 256},
        widths=(4, 8, 16, 32, 64),
        robust_epochs=(10, 50),
    ),
}


def get_scale(name: str) -> Scale:
    """Returns a scale by name, or raises an InputError."""
    if name not in SCALES:
        raise errors.make_unknown_error("scale", name, SCALES)
    return SCALES[name]
