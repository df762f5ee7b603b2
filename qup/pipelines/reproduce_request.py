"""What is asked of `bin.reproduce`, checked."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from qup import errors, models, scales
from qup.pipelines import experiments
from qup.report.material import ABOUT, read_about

ALL = "all"


@dataclasses.dataclass(frozen=True)
class Request:
    """Which experiments, how large, with which seeds, and where.

    Attributes:
      workdir: Folder of the results.
      experiments: Names of experiments, or "all".
      scale: "smoke", "cpu" or "paper".
      seeds: A number of seeds ("5": 0 to 4) or the seeds ("0,3,7").
      models: Only these architectures; empty for all.
      epochs: Only these numbers of epochs; empty for all.
      anonymous: Leave user, host and paths out of what is written.
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

    def chosen(self) -> list[str]:
        """Returns the experiments in the order in which they run.

        Raises:
          InputError: One is none, or none is named.
        """
        known = experiments.names()
        for name in self.experiments:
            if name not in (ALL, *known):
                raise errors.unknown("experiment", name, (ALL, *known))
        if not self.experiments:
            raise errors.InputError(
                f"--experiments is empty. Name some of {', '.join(known)}, "
                "or all."
            )
        if ALL in self.experiments:
            return [name for name in known if self._possible(name)]
        return [name for name in known if name in self.experiments]

    def _possible(self, name: str) -> bool:
        """Says whether all that an experiment needs was given."""
        needs = experiments.traits(name).get("needs")
        smoke = self.scale == "smoke"
        return needs is None or smoke or getattr(self, needs) is not None

    def seeds_of(self, experiment: str) -> tuple[int, ...]:
        """Returns the seeds of an experiment.

        Raises:
          InputError: See `numbers`.
        """
        several = scales.get(self.scale).several
        if self.seeds or several is None or experiment in several:
            return self.numbers()
        return self.numbers()[:1]

    def numbers(self) -> tuple[int, ...]:
        """Returns the seeds of all experiments together.

        Raises:
          InputError: They are no seeds, or one stands twice.
        """
        if not self.seeds:
            return tuple(range(scales.get(self.scale).seeds))
        given = _whole("--seeds", self.seeds, least=0)
        if len(given) == 1:
            count = given[0]
            errors.check_number("--seeds", count, least=1, below=1001)
            return tuple(range(count))
        _once("--seeds", given)
        return tuple(given)

    def kept_epochs(self) -> tuple[int, ...] | None:
        """Returns the epochs asked for; None for all."""
        if not self.epochs:
            return None
        given = _whole("--epochs", self.epochs, least=1)
        _once("--epochs", given)
        tables = scales.get(self.scale).tables.values()
        known = sorted({n for table in tables for n in table.epochs})
        for number in given:
            if number not in known:
                raise errors.InputError(
                    f"--epochs: the tables of scale {self.scale} are at "
                    f"{', '.join(map(str, known))}; got {number}."
                )
        return tuple(given)

    def kept_models(self) -> tuple[str, ...] | None:
        """Returns the architectures asked for; None for all."""
        for name in self.models:
            models.get(name)
        return self.models or None

    def places(self) -> dict[str, Any]:
        """Returns the folders that experiments may need, by name."""
        return {
            "workdir": self.workdir, "images_dir": self.images_dir,
            "weights_dir": self.weights_dir,
        }  # fmt: skip

    def check(self) -> None:
        """Raises an InputError for a request that cannot be met."""
        scales.get(self.scale)
        self.chosen()
        self.numbers()
        self.kept_epochs()
        self.kept_models()

    def check_workdir(self, program: str) -> None:
        """Raises an InputError where it holds something else, or is damaged."""
        if (self.workdir / ABOUT).exists():
            read_about(self.workdir / ABOUT)
        path = self.workdir / "config.json"
        if not path.exists():
            return
        held = json.loads(path.read_text(encoding="utf-8"))
        if held.get("program") != program:
            raise errors.InputError(
                f"The workdir {self.workdir} holds a run of another program. "
                "Name an empty or a new folder."
            )
        if held.get("scale") != self.scale:
            raise errors.InputError(
                f"The workdir {self.workdir} holds a reproduction of scale "
                f"{held.get('scale')}, and --scale={self.scale} is asked for: "
                "their numbers must not stand in one table. Name another "
                "folder."
            )


def _whole(flag: str, texts: Sequence[str], *, least: int) -> list[int]:
    found = []
    for text in texts:
        if not (text.isascii() and text.isdecimal()) or int(text) < least:
            raise errors.InputError(
                f"{flag} takes whole numbers of at least {least}, such as 5 "
                f"or 0,1,2; got {text[:40]!r}."
            )
        # The attacks' generators take a seed of 32 bits.
        errors.check_number(flag, int(text), least=least, below=2**31)
        found.append(int(text))
    return found


def _once(flag: str, given: Sequence[int]) -> None:
    twice = sorted({n for n in given if given.count(n) > 1})
    if twice:
        raise errors.InputError(
            f"{flag} names {', '.join(map(str, twice))} more than once: that "
            "would count one training as several. Name each once."
        )
