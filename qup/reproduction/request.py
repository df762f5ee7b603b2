"""The request of a reproduction: experiments, scale, seeds and folders, with checks."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from qup import models
from qup.core import errors
from qup.reproduction import experiments, presets
from qup.reproduction.report.data import RUN_INFO_FILE, read_run_info

ALL = "all"


@dataclasses.dataclass(frozen=True)
class ReproductionRequest:
    """A request of a reproduction.

    Attributes:
      workdir: Folder of the results.
      experiments: Names of experiments, or "all".
      scale: "smoke", "cpu" or "paper".
      seeds: A number of seeds ("5": 0 to 4) or the seeds ("0,3,7").
      models: Selected architectures; empty for all.
      epochs: Selected numbers of epochs; empty for all.
      anonymous: Omit user, host and paths from the report.
      images_dir: ImageNet's validation images, for Fig. 3; None for none.
      weights_dir: Keras's files of weights, for Fig. 3; None for none.
    """

    workdir: pathlib.Path
    experiments: tuple[str, ...] = (ALL,)
    scale: str = "cpu"
    seeds: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    epochs: tuple[str, ...] = ()
    anonymous: bool = False
    images_dir: str | None = None
    weights_dir: str | None = None

    def select_experiments(self) -> list[str]:
        """Returns the experiments in the order in which they run.

        Raises:
          InputError: A name is unknown, or the list is empty.
        """
        known_names = experiments.names()
        for name in self.experiments:
            if name not in (ALL, *known_names):
                raise errors.make_unknown_error("experiment", name, (ALL, *known_names))
        if not self.experiments:
            raise errors.InputError(
                f"--experiments is empty. Choose from {', '.join(known_names)}, or all."
            )
        if ALL in self.experiments:
            return [name for name in known_names if self._has_required_inputs(name)]
        return [name for name in known_names if name in self.experiments]

    def _has_required_inputs(self, name: str) -> bool:
        needs = experiments.traits(name).get("needs")
        smoke = self.scale == "smoke"
        return needs is None or smoke or getattr(self, needs) is not None

    def select_seeds(self, experiment: str) -> tuple[int, ...]:
        """Returns the seeds of an experiment.

        Raises:
          InputError: See `parse_seeds`.
        """
        multi_seed = presets.get_scale(self.scale).multi_seed_experiments
        if self.seeds or multi_seed is None or experiment in multi_seed:
            return self.parse_seeds()
        return self.parse_seeds()[:1]

    def parse_seeds(self) -> tuple[int, ...]:
        """Returns the seeds of all experiments.

        Raises:
          InputError: A seed is not a whole number in range, or is repeated.
        """
        if not self.seeds:
            return tuple(range(presets.get_scale(self.scale).seeds))
        numbers = _parse_whole_numbers("--seeds", self.seeds, least=0)
        if len(numbers) == 1:
            count = numbers[0]
            errors.check_number("--seeds", count, at_least=1, below=1001)
            return tuple(range(count))
        _check_unique("--seeds", numbers)
        return tuple(numbers)

    def parse_epochs(self) -> tuple[int, ...] | None:
        """Returns the selected numbers of epochs; None for all."""
        if not self.epochs:
            return None
        numbers = _parse_whole_numbers("--epochs", self.epochs, least=1)
        _check_unique("--epochs", numbers)
        tables = presets.get_scale(self.scale).tables.values()
        known_epochs = sorted({n for table in tables for n in table.epochs})
        for number in numbers:
            if number not in known_epochs:
                raise errors.InputError(
                    f"--epochs: the tables of scale {self.scale} have "
                    f"{', '.join(map(str, known_epochs))}; got {number}."
                )
        return tuple(numbers)

    def validate_models(self) -> tuple[str, ...] | None:
        """Returns the selected architectures; None for all."""
        for name in self.models:
            models.get(name)
        return self.models or None

    def get_folders(self) -> dict[str, Any]:
        """Returns the folders of experiments by name."""
        return {
            "workdir": self.workdir,
            "images_dir": self.images_dir,
            "weights_dir": self.weights_dir,
        }

    def check(self) -> None:
        """Raises an InputError if a value of the request is invalid."""
        presets.get_scale(self.scale)
        self.select_experiments()
        self.parse_seeds()
        self.parse_epochs()
        self.validate_models()

    def check_workdir(self, program: str) -> None:
        """Raises an InputError if the workdir is damaged or belongs to another run."""
        if (self.workdir / RUN_INFO_FILE).exists():
            read_run_info(self.workdir / RUN_INFO_FILE)
        path = self.workdir / "config.json"
        if not path.exists():
            return
        stored_config = json.loads(path.read_text(encoding="utf-8"))
        if stored_config.get("program") != program:
            raise errors.InputError(
                f"The workdir {self.workdir} contains a run of another program. Name an empty or "
                "a new folder."
            )
        if stored_config.get("scale") != self.scale:
            raise errors.InputError(
                f"The workdir {self.workdir} contains a reproduction of scale "
                f"{stored_config.get('scale')}; received --scale={self.scale}. One table must not "
                "mix scales. Name another folder."
            )


def _parse_whole_numbers(flag: str, texts: Sequence[str], *, least: int) -> list[int]:
    numbers = []
    for text in texts:
        if not (text.isascii() and text.isdecimal()) or int(text) < least:
            raise errors.InputError(
                f"{flag} takes whole numbers of at least {least}, such as 5 or 0,1,2; got "
                f"{text[:40]!r}."
            )
        # Generators of attacks take a seed of 32 bits.
        errors.check_number(flag, int(text), at_least=least, below=2**31)
        numbers.append(int(text))
    return numbers


def _check_unique(flag: str, numbers: Sequence[int]) -> None:
    repeated = sorted({n for n in numbers if numbers.count(n) > 1})
    if repeated:
        raise errors.InputError(
            f"{flag} names {', '.join(map(str, repeated))} more than once: one training would "
            "count as several. Name each value once."
        )
