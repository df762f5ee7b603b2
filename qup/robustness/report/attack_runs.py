"""One attack at one budget, as a report reads it: the result of each image, and a few images.

```python
runs = [build_attack_run("pgd", options, result, images, classifier) for result in results]
write_attack_runs(folder, runs)
read_attack_runs(folder)
```
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from qup import attacks
from qup.attacks import inputs
from qup.attacks.reliability import Flag
from qup.attacks.results import AttackResult
from qup.attacks.verification import DISTANCE_NORMS
from qup.core import errors
from qup.core.classifier import predict_logits
from qup.core.types import LogitsFn

_RECORDS_FILE, _IMAGES_FILE, _ATTACK_FILE = "records.npz", "examples.npz", "attack.json"
# Images of each kind that a run keeps for a report: the closest adversarial ones, and random ones.
_NUM_CLOSEST, _NUM_RANDOM = 12, 12


@dataclasses.dataclass(frozen=True)
class ExampleImages:
    """A few images of an attack.

    Attributes:
      rows: int64 [k], which images they are: random ones first, the same for every attack.
      num_random: How many are random.
      clean: float32 [k, height, width, channels] in [0, 1].
      attacked: float32 [k, height, width, channels]; the clean image where the attack failed.
      classes: int32 [k], the predicted classes of `attacked`.
    """

    rows: np.ndarray
    num_random: int
    clean: np.ndarray
    attacked: np.ndarray
    classes: np.ndarray


def is_targeted(options: Mapping[str, Any]) -> bool:
    """Returns whether an attack looks for one class per image; "all" tries every other class."""
    targets = options.get("targets")
    return targets is not None and not (isinstance(targets, str) and targets == "all")


def check_untargeted(name: str, options: Mapping[str, Any]) -> None:
    """Raises an InputError for an attack that says nothing about robust accuracy."""
    if is_targeted(options):
        raise errors.InputError(
            f"{name} with targets={str(options['targets'])[:40]} succeeds if an image gets that "
            "class, and an image of another wrong class would count as robust. Use attacks.run for "
            "its success rate, or targets='all'."
        )


@dataclasses.dataclass(frozen=True)
class AttackRun:
    """One attack at one budget.

    Attributes:
      name: Registered name of the attack.
      norm: The norm of its budget or of its distances.
      options: Options with their defaults, JSON values; without name, epsilon and norm.
      result: One value per image; `images` is empty.
      examples: A few images.
      ids: int64 [n], the identities of the images.
      labels: int32 [n].
    """

    name: str
    norm: str
    options: Mapping[str, Any]
    result: AttackResult
    examples: ExampleImages
    ids: np.ndarray
    labels: np.ndarray

    @property
    def is_targeted(self) -> bool:
        """Whether success means one class, so that images of a third class are no success."""
        return is_targeted(self.options)

    @property
    def epsilon(self) -> float | None:
        """The budget; None for an attack without one."""
        budgets = np.unique(self.result.epsilon)
        return None if not budgets.size or np.isnan(budgets).any() else float(budgets.max())

    def find_broken(self, epsilon: float, norm: str) -> np.ndarray:
        """Returns which images are misclassified within a budget, bool [n].

        Misclassified clean images count. An attack with a larger budget, or in another norm, says
        nothing about other images.

        Args:
          epsilon: The budget.
          norm: Its norm.
        """
        broken = ~self.result.correct
        if self.norm != norm:
            return broken
        if self.epsilon is None:
            distances = self.result.distances[norm]
            return broken | (self.result.success & (distances <= epsilon * (1 + 1e-6)))
        is_inside = self.epsilon <= epsilon * (1 + 1e-6)
        return broken | self.result.success if is_inside else broken


def build_attack_run(
    name: str,
    options: Mapping[str, Any],
    result: AttackResult,
    images: Any,
    labels: np.ndarray,
    ids: np.ndarray,
    classifier: LogitsFn,
    *,
    seed: int = 0,
) -> AttackRun:
    """Returns the run of a result, and chooses its images.

    Args:
      name: Registered name of the attack.
      options: Its options with their defaults.
      result: The result.
      images: [n, height, width, channels], the clean images: uint8, or float in [0, 1].
      labels: int [n].
      ids: int [n].
      classifier: It classifies the chosen images.
      seed: Seed of the random choice.
    """
    count = len(result)
    random_rows = np.sort(np.random.default_rng(seed).permutation(count)[:_NUM_RANDOM])
    broken_rows = np.flatnonzero(result.success & result.correct)
    by_distance = np.argsort(result.distances["l2"][broken_rows], kind="stable")
    rows = np.concatenate([random_rows, broken_rows[by_distance[:_NUM_CLOSEST]]])
    clean = np.asarray(images[rows] if count else images[:0])
    if clean.dtype == np.uint8:
        clean = clean / np.float32(255)
    attacked = np.asarray(result.images[rows], np.float32) if count else clean
    classes = np.zeros(0, np.int32)
    if len(rows):
        classes = np.asarray(predict_logits(classifier, attacked)).argmax(-1).astype(np.int32)
    shown = {k: v for k, v in options.items() if k not in ("name", "epsilon", "norm")}
    return AttackRun(
        name=name,
        norm=attacks.get_norm(name, options),
        options=json.loads(json.dumps(shown, default=repr)),
        result=dataclasses.replace(result, images=()),
        examples=ExampleImages(rows, len(random_rows), clean.astype(np.float32), attacked, classes),
        ids=np.asarray(ids, np.int64),
        labels=np.asarray(labels, np.int32),
    )


def write_attack_runs(folder: pathlib.Path, runs: Sequence[AttackRun]) -> list[pathlib.Path]:
    """Writes runs: into `folder` itself, or for several budgets into a folder each.

    Args:
      folder: The folder; records.npz has one value per image, examples.npz a few images, and
        attack.json the options and the flags.
      runs: The budgets of one attack, at least one.

    Returns:
      The folder of each run.
    """
    names = [""]
    if len(runs) > 1:
        names = inputs.build_epsilon_folders([run.epsilon or 0.0 for run in runs])
    for name, run in zip(names, runs, strict=True):
        (folder / name).mkdir(exist_ok=True)
        _write_run(folder / name, run)
    return [folder / name for name in names]


def _write_run(folder: pathlib.Path, run: AttackRun) -> None:
    columns: dict[str, Any] = {
        "id": run.ids,
        "label": run.labels,
        "right": run.result.correct,
        "stages": np.array(run.result.stages),
        "flags": np.array([flag.name for flag in run.result.flags], np.str_),
        **run.result.columns(),
    }
    np.savez(folder / _RECORDS_FILE, **columns)
    np.savez_compressed(folder / _IMAGES_FILE, **dataclasses.asdict(run.examples))
    description = {
        "name": run.name,
        "norm": run.norm,
        "options": dict(run.options),
        "flags": [list(flag) for flag in run.result.flags],
    }
    text = json.dumps(description, indent=1, sort_keys=True)
    (folder / _ATTACK_FILE).write_text(text, encoding="utf-8")


def read_attack_runs(folder: pathlib.Path) -> list[AttackRun]:
    """Reads the runs of `write_attack_runs`, the smallest budget first.

    Raises:
      InputError: The folder holds none, or a file is damaged.
    """
    folders = sorted(path.parent for path in pathlib.Path(folder).rglob(_ATTACK_FILE))
    if not folders:
        raise errors.InputError(f"{folder} holds no records of an attack ({_ATTACK_FILE}).")
    runs = [_read_run(path) for path in folders]
    return sorted(runs, key=lambda run: math.inf if run.epsilon is None else run.epsilon)


def _read_run(folder: pathlib.Path) -> AttackRun:
    try:
        description = json.loads((folder / _ATTACK_FILE).read_text(encoding="utf-8"))
        with np.load(folder / _RECORDS_FILE, allow_pickle=False) as stored:
            columns = dict(stored)
        with np.load(folder / _IMAGES_FILE, allow_pickle=False) as stored:
            arrays = dict(stored)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise errors.InputError(f"The records in {folder} cannot be read: {error}.") from error
    for name in ("right", "flags"):
        columns.pop(name)
    ids, labels = columns.pop("id"), columns.pop("label")
    result = AttackResult(
        images=(),
        distances={norm: columns.pop(norm) for norm in DISTANCE_NORMS},
        stages=tuple(map(str, columns.pop("stages"))),
        flags=tuple(Flag(*flag) for flag in description["flags"]),
        **columns,
    )
    examples = ExampleImages(**{**arrays, "num_random": int(arrays["num_random"])})
    options = description["options"]
    return AttackRun(
        description["name"], description["norm"], options, result, examples, ids, labels
    )
