"""`qup.evaluate`: attacks, the search for masked gradients, and the report, in one call.

```python
report = evaluate(model, images, labels, epsilon=8 / 255, output="runs/mine")
```
"""

import contextlib
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

import qup
from qup import attacks
from qup.attacks import inputs
from qup.core import environment, errors, files, hashing, norms, progress
from qup.core.classifier import Classifier, wrap_classifier
from qup.core.numbers import parse_epsilons
from qup.core.types import LogitsFn
from qup.datasets import tf_data
from qup.robustness import masking
from qup.robustness.evaluation import resolve_attack_parameters
from qup.robustness.masking.case import CheckResult
from qup.robustness.report.attack_runs import AttackRun, build_attack_run, check_untargeted
from qup.robustness.report.protocol import (
    STANDARD,
    STANDARD_NORMS,
    PlannedAttack,
    add_early_leaving,
    check_unit_range,
    choose_norm_option,
    plan_standard,
)
from qup.robustness.report.report import Report

# Images of the search for masked gradients, whose checks are many attacks.
NUM_CHECKED_IMAGES = 200
_PACKAGES = ("tensorflow", "keras", "numpy")
_MASKING = "search for masked gradients"


def evaluate(
    model: LogitsFn,
    images,
    labels=None,
    *,
    epsilon: float | str | Sequence[float] = 8 / 255,
    norm: str = "linf",
    attack: str | Sequence[str] = STANDARD,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    check_masking: bool = True,
    batch_size: int = 128,
    seed: int = 0,
    ids=None,
    pixel_range: tuple[float, float] | None = None,
    class_names: Sequence[str] = (),
    name: str | None = None,
    dataset: str = "images",
    output: str | pathlib.Path | None = None,
    show_progress: bool = True,
) -> Report:
    """Measures how robust a classifier is.

    Args:
      model: A Keras model, or a function from images to logits, see `attacks.run`.
      images: float [n, height, width, channels] in [0, 1] or uint8, or a tf.data.Dataset of (image,
        label) with such images.
      labels: int [n] or [n, 1]; None for such a dataset.
      epsilon: The budget in units of [0, 1], or several; as a text too: "8/255", "0:16/255:9". The
        largest is the headline.
      norm: "linf", "l2" or "l1".
      attack: "standard" (PGD of 40 steps at several budgets, AutoAttack at each requested one), or
        names of attacks.
      options: Options of attacks by the attack's name.
      check_masking: Whether to search for masked gradients, on the first 200 images.
      batch_size: Largest number of images that are attacked together.
      seed: Seed of all random numbers.
      ids: int [n], the identities of the images; None for 0, 1, 2, ...
      pixel_range: (lowest, highest) pixel that the classifier takes; None for (0, 1).
      class_names: One name per class of the model; default: their numbers.
      name: Name of the classifier in the report; default: its own.
      dataset: Name of the images in the report.
      output: Folder for the report; print(report) names its page. Also for finished parts of the
        attacks, so that the same call resumes after an interruption. None keeps all in memory.
      show_progress: Show the part, its share and the time that is left on standard error.

    Returns:
      The report.

    Raises:
      InputError: An argument is invalid.
    """
    budgets = validate_budgets(epsilon, norm)
    images, labels = _load_images(images, labels)
    ids = np.arange(len(labels)) if ids is None else np.asarray(ids)
    classifier = wrap_classifier(model, pixel_range=pixel_range)
    for attack_name, attack_options in (options or {}).items():
        check_untargeted(attack_name, attack_options)
    plan = plan_attacks(attack, budgets, norm, options or {})
    names_of_classes = _check_class_names(class_names, classifier, images[:batch_size])
    folder = None if output is None else pathlib.Path(output).expanduser()
    settings: dict[str, Any] = {"batch_size": batch_size, "seed": seed}
    names = [planned.name for planned in plan] + [_MASKING] * check_masking
    runs: list[AttackRun] = []
    checks: Sequence[CheckResult] = ()
    seconds: dict[str, float] = {}
    with progress.open_parts(dict.fromkeys(names), lines=show_progress) as parts:
        for planned in plan:
            with _measure(planned.name, parts, seconds):
                runs += run_planned(
                    planned,
                    classifier,
                    images,
                    labels,
                    ids,
                    output=None if folder is None else folder / "attacks" / planned.name,
                    show_progress=show_progress,
                    **settings,
                )
        if check_masking:
            first = slice(NUM_CHECKED_IMAGES)
            with _measure(_MASKING, parts, seconds):
                checks = masking.diagnose(
                    classifier,
                    images[first],
                    labels[first],
                    epsilon=budgets[-1],
                    norm=norm,
                    **settings,
                )
    report = Report(
        classifier=name or classifier.name.strip("'"),
        dataset=dataset,
        class_names=names_of_classes,
        norm=norm,
        epsilon=budgets[-1],
        runs=tuple(runs),
        checks=tuple(checks),
        protocol={
            "attack": attack if isinstance(attack, str) else list(attack),
            "batch_size": batch_size,
            "checked_images": min(len(labels), NUM_CHECKED_IMAGES) if checks else 0,
            "images_digest": compute_images_digest(images, labels),
            "pixel_range": list(pixel_range or (0, 1)),
            "seed": seed,
        },
        versions={
            "qup": qup.__version__,
            **environment.get_package_versions(_PACKAGES),
            **environment.describe_environment(),
        },
        seconds=seconds,
    )
    if folder is not None:
        write_report(report, folder)
    return report


def _check_class_names(
    class_names: Sequence[str], classifier: Classifier, images: np.ndarray
) -> tuple[str, ...]:
    """Returns the names of the classes; raises an InputError unless each class has one, or none."""
    names = tuple(map(str, () if isinstance(class_names, str) else class_names))
    if not len(class_names):
        return ()
    num_classes = classifier.inspect(images).num_classes
    if len(names) != num_classes:
        raise errors.InputError(
            f"class_names must be a list of {num_classes} texts, one per class of the model; "
            f"received {errors.shorten(class_names)}."
        )
    return names


@contextlib.contextmanager
def _measure(name: str, parts: progress.Parts, seconds: dict[str, float]) -> Iterator[None]:
    """Enters a part of the work, and adds its wall time to `seconds`."""
    parts.begin(name)
    start = time.monotonic()
    yield
    seconds[name] = time.monotonic() - start


def validate_budgets(epsilon: Any, norm: str) -> list[float]:
    """Returns budgets, increasing and without 0.

    Args:
      epsilon: A number, a text (see `parse_epsilons`) or several numbers.
      norm: Their norm.

    Raises:
      InputError: A budget is not a number above 0, or too large for L-inf.
    """
    if isinstance(epsilon, str):
        budgets = parse_epsilons(epsilon)
    else:
        budgets = inputs.validate_epsilons(epsilon if np.ndim(epsilon) else [epsilon])
    budgets = sorted(set(budgets) - {0.0})
    if not budgets:
        raise errors.InputError("epsilon must be above 0, such as 8/255; received only 0.")
    check_unit_range(norm, budgets[-1])
    return budgets


def _load_images(images: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns float32 images in [0, 1] and labels, int [n]."""
    if labels is None:
        if not isinstance(images, tf.data.Dataset):
            raise errors.InputError(
                "The labels are missing: evaluate(model, images, labels). Only a tf.data.Dataset "
                f"of (image, label) holds them; received images of type {type(images).__name__}."
            )
        images, labels = tf_data.read_elements("images", images)
    labels = inputs.validate_labels(labels)
    images = np.asarray(images)
    if images.dtype == np.uint8:
        images = inputs.scale_bytes(images)
    if not len(labels):
        raise errors.InputError("There are no images to evaluate. Pass at least one.")
    if len(images) != len(labels):
        raise errors.InputError(
            f"There must be one label per image; received {len(images)} images and {len(labels)} "
            "labels."
        )
    images = images.astype(np.float32, copy=False)
    low, high = float(images.min()), float(images.max())
    if not (low >= 0 and high <= 1):
        raise errors.InputError(
            f"Images must be floats in [0, 1], or uint8; received {images.dtype} from {low:g} to "
            f"{high:g}. Divide pixels of 8 bits by 255. pixel_range says what the model takes, not "
            "what the images are."
        )
    return images, labels


def plan_attacks(
    attack: str | Sequence[str],
    budgets: Sequence[float],
    norm: str,
    options: Mapping[str, Mapping[str, Any]],
) -> list[PlannedAttack]:
    """Returns the attacks of an evaluation.

    Args:
      attack: "standard", or names of attacks.
      budgets: The requested budgets, increasing.
      norm: Their norm.
      options: Options of attacks, by name.

    Raises:
      InputError: An attack or option is unknown, or an attack lacks the norm.
    """
    names = [attack] if isinstance(attack, str) else list(attack)
    if names == [STANDARD]:
        norms.check_norm(norm, STANDARD_NORMS)
        plan = plan_standard(budgets, norm)
    else:
        plan = [_plan_attack(name, budgets, norm) for name in names]
    for name in options:
        if name not in [planned.name for planned in plan]:
            known = [planned.name for planned in plan]
            raise errors.make_unknown_error("attack of this evaluation", name, known)
    plan = [
        PlannedAttack(p.name, p.epsilons, {**p.options, **options.get(p.name, {})}) for p in plan
    ]
    for planned in plan:
        attacks.bind(planned.name, **planned.options)  # Checks the options.
    return plan


def _plan_attack(name: str, budgets: Sequence[float], norm: str) -> PlannedAttack:
    options = choose_norm_option(name, norm)
    if attacks.traits(name)["kind"] != "budget":
        return PlannedAttack(name, (), options)
    return PlannedAttack(name, tuple(budgets), add_early_leaving(name, options))


def run_planned(
    planned: PlannedAttack,
    classifier: Classifier,
    images: Any,
    labels: np.ndarray,
    ids: np.ndarray,
    *,
    batch_size: int,
    seed: int,
    output: pathlib.Path | None = None,
    **settings: Any,
) -> Iterator[AttackRun]:
    """Yields one run per budget of an attack, see `attacks.run` for the arguments."""
    arguments: dict[str, Any] = {
        **{"ids": ids, "batch_size": batch_size, "seed": seed, "output": output},
        **settings,
        **planned.options,
    }
    if planned.epsilons:
        arguments["epsilons"] = planned.epsilons
    results: Any = attacks.run(planned.name, classifier, images, labels, **arguments)
    budgets = planned.epsilons or (None,)
    for epsilon, result in zip(budgets, results if planned.epsilons else [results], strict=True):
        budget = {} if epsilon is None else {"epsilon": epsilon}
        parameters = resolve_attack_parameters({"name": planned.name, **budget, **planned.options})
        yield build_attack_run(
            planned.name, parameters, result, images, labels, ids, classifier, seed=seed
        )


def compute_images_digest(images: np.ndarray, labels: np.ndarray) -> str:
    """Returns SHA-256, in hex, of images and labels."""
    parts = (np.ascontiguousarray(images).tobytes(), np.asarray(labels, np.int64).tobytes())
    return hashing.hash_parts(parts)


def write_report(report: Report, folder: str | pathlib.Path) -> list[pathlib.Path]:
    """Writes the files of a report: pages, result.json, images.csv, the curve.

    Args:
      report: The report.
      folder: Their folder.

    Returns:
      The paths, the page first.

    Raises:
      InputError: The disk is full, or the folder cannot be written.
    """
    from qup.robustness.report import figures, page

    folder = pathlib.Path(folder).expanduser()
    paths = [
        report.save_html(folder / "robustness.html"),
        report.save_markdown(folder / "robustness.md"),
        report.save_json(folder / "result.json"),
        folder / "images.csv",
        folder / "curve.png",
        folder / "curve.svg",
    ]
    files.write_text(paths[3], page.format_csv(report.to_records()))
    figure = report.plot()
    for path in paths[4:]:
        figures.save_figure(figure, path)
    return paths
