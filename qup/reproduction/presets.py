"""How much of the reproduction is computed: one code, three sizes.

`cpu` takes compact networks where the full ones would take days on two
cores, and every table says so; `paper` is the full work, for a GPU; `smoke`
sees that every experiment works, and its numbers mean nothing.

```python
scale = get("cpu")
scale.tables["table2"].networks[0].title
```
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from qup.core import errors


@dataclasses.dataclass(frozen=True)
class NetworkPreset:
    """A classifier of the paper's tables, or what stands for it.

    Attributes:
      dataset: Registered name of the images.
      model: Registered name of the architecture.
      title: What tables call it.
      options: Keyword arguments of the model, such as {"depth": 20}.
      compact: It is smaller than the paper's.
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
    """A size of everything.

    Attributes:
      name: "smoke", "cpu" or "paper".
      settings: Which settings of configs/<dataset>.py: "smoke" or "full".
      tables: "table2" and "table3".
      seeds: How many, where --seeds says nothing.
      several: The experiments that then take all of them, others the first
        alone; None for every one.
      strong_images: Images under the strong attacks, the first of the test
        set.
      strong_steps: Steps of the strong PGD.
      strong_restarts: Its restarts.
      worst_case: Name and options of the attack that is believed: AutoAttack,
        as published; of the smoke scale a short one.
      checked_images: Images of the checks for masked gradients.
      few_images: Images of measures that are dear.
      clever: How CLEVER samples an image: that many batches times samples
        times (classes - 1) gradients.
      robust_epochs: Epochs of adversarial training.
      uncertainty: Sizes of importance sampling, see pipelines/uncertainty*.
      widths: Of the translators of the capacity sweep.
      label: Whose packet is measured.
    """

    name: str
    settings: str
    tables: Mapping[str, TablePreset]
    seeds: int
    several: tuple[str, ...] | None = None
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

    def find_network(self, dataset: str, model: str) -> NetworkPreset | None:
        """Returns the network of that name in the tables, if there is one."""
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
        # That they run is what the others are there for.
        several=("table2", "table3", "fig2"),
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
    """Returns the scale of that name.

    Raises:
      InputError: There is none.
    """
    if name not in SCALES:
        raise errors.make_unknown_error("scale", name, SCALES)
    return SCALES[name]
