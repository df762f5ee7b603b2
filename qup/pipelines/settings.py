"""Settings of the road: checked at once, turned into plain arguments."""

import dataclasses
import hashlib
import json
import pathlib
from typing import Any, TypeAlias

import keras

from qup import augmentation, errors, models
from qup.attacks import losses
from qup.training.translator import SCHEDULES
from qup.types import Bounds, Recipe

# An ml_collections ConfigDict with the keys of configs/defaults.py.
Config: TypeAlias = Any
# Where a run's files lie does not change what it computes.
_PLACES = ("workdir", "data_dir", "manual_dir")


def check(config: Config) -> None:
    """Raises an InputError for any setting no stage could use.

    Everything is looked at before the first stage, so that hours of
    training do not end in a misspelt word.
    """
    number = errors.check_number
    for epochs in config.training.epochs or (0,):
        number("epochs", epochs, least=1)
    number("seed", config.seed, least=0)
    for group, key in (
        ("training", "batch_size"), ("attack", "num_steps"),
        ("attack", "restarts"), ("attack", "batch_size"),
        ("attack", "check_size"), ("augmentation", "num_steps"),
        ("augmentation", "batch_size"), ("translator", "epochs"),
        ("translator", "width"), ("translator", "batch_size"),
        ("dataset", "image_size"),
    ):  # fmt: skip
        if config[group][key] is not None:
            number(f"{group}.{key}", config[group][key], least=1)
    number("attack.epsilon", config.attack.epsilon, least=0)
    number("attack.check_steps", config.attack.check_steps, least=0)
    number("augmentation.step_size", config.augmentation.step_size, above=0)
    for group in ("training", "translator"):
        if (rate := config[group].learning_rate) is not None:
            number(f"{group}.learning_rate", rate, above=0)
    number("translator.l1_weight", config.translator.l1_weight, least=0)
    _check_names(config)


def _check_names(config: Config) -> None:
    from qup import attacks, norms

    models.get(config.model.name)
    attacks.get(config.attack.name)
    choices = (
        ("attack.norm", config.attack.norm, norms.NAMES),
        ("attack.loss", config.attack.loss, losses.NAMES),
        ("attack.through", config.attack.through, augmentation.THROUGH),
        ("augmentation.loss", config.augmentation.loss, losses.NAMES),
        ("translator.schedule", config.translator.schedule, SCHEDULES),
        (
            "training.optimizer",
            config.training.optimizer or "adam",
            ("adam", "sgd", "rmsprop"),
        ),
        (
            "dataset.evaluation_split",
            config.dataset.evaluation_split,
            ("test", "validation"),
        ),
    )
    for key, value, known in choices:
        if value not in known:
            raise errors.unknown(f"value of {key}", value, known)
    if (
        config.dataset.evaluation_split == "validation"
        and not config.dataset.validation_size
    ):
        raise errors.InputError(
            "dataset.evaluation_split=validation needs images held out: "
            "give --config.dataset.validation_size as well."
        )


def identity(config: Config) -> dict[str, Any]:
    """Returns the settings that tell one run from another."""
    tree = json.loads(config.to_json_best_effort())
    for group in (tree, tree["dataset"]):
        for place in _PLACES:
            group.pop(place, None)
    return tree


def workdir(config: Config) -> pathlib.Path:
    """Returns the run's folder; the same settings name the same one."""
    if config.workdir is not None:
        return pathlib.Path(config.workdir).expanduser()
    text = json.dumps(identity(config), sort_keys=True)
    mark = hashlib.sha256(text.encode()).hexdigest()[:8]
    name = f"{config.dataset.name}-{config.model.name}-{mark}"
    return pathlib.Path("runs") / name


def image_size(config: Config) -> tuple[int, int] | None:
    """Returns (height, width), or None for the dataset's own."""
    side = config.dataset.image_size
    return None if side is None else (side, side)


def model_options(config: Config) -> dict[str, Any]:
    """Returns the model's keyword arguments that were given."""
    return {
        key: value
        for key, value in config.model.items()
        if key != "name" and value is not None
    }


def bounds(pixel_clip: bool) -> Bounds:
    """Returns the pixel box, or None without clip."""
    return (0.0, 1.0) if pixel_clip else None


def walk_options(config: Config) -> dict[str, Any]:
    """Returns the keyword arguments of augmentation.opposite_deltas."""
    walk = config.augmentation
    return {
        "num_steps": walk.num_steps,
        "step_size": walk.step_size,
        "bounds": bounds(walk.pixel_clip),
        "loss": walk.loss,
        "batch_size": walk.batch_size,
        "points": (*walk.points, walk.num_steps),
    }


def translator_parameters(
    config: Config, translator: keras.Model
) -> dict[str, Any]:
    """Returns what a row of an augmented classifier depends on."""
    walk = config.augmentation
    return {
        "augmentation_num_steps": walk.num_steps,
        "augmentation_pixel_clip": walk.pixel_clip,
        "augmentation_step_size": walk.step_size,
        "translator_epochs": config.translator.epochs,
        "translator_parameters": translator.count_params(),
        "translator_width": config.translator.width,
    }


def recipe(config: Config) -> Recipe:
    """Returns the model's recipe with what the configuration changes."""
    own = models.recipe(config.model.name)
    given = {
        key: config.training[key]
        for key in ("optimizer", "learning_rate", "batch_size")
        if config.training[key] is not None
    }
    if given.get("optimizer", own.optimizer) != own.optimizer:
        given["optimizer_options"] = {}
    return dataclasses.replace(own, **given)
