"""Settings of the road, turned into plain arguments."""

import dataclasses
import hashlib
import json
import pathlib
from typing import Any, TypeAlias

import keras

from qup import errors, models
from qup.types import Bounds, DatasetInfo, Recipe

# An ml_collections ConfigDict with the keys of configs/defaults.py.
Config: TypeAlias = Any
# Where a run's files lie does not change what it computes; the data itself
# is compared by its fingerprint.
_PLACES = ("workdir", "data_dir", "manual_dir")


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
        try:
            config.workdir.encode("utf-8")
            return pathlib.Path(config.workdir).expanduser()
        except (RuntimeError, UnicodeEncodeError) as error:
            raise errors.InputError(
                f"workdir {config.workdir!a} cannot be used: {error}. Give "
                "the whole path, in UTF-8."
            ) from error
    told = identity(config)
    if config.dataset.name == "image_folder":
        told["data_dir"] = str(pathlib.Path(config.dataset.data_dir or "."))
    text = json.dumps(told, sort_keys=True)
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
        "num_images": walk.num_images,
    }


def classifier_parameters(config: Config, info: DatasetInfo) -> dict[str, Any]:
    """Returns what every row depends on beside its own columns.

    What was left to the model's recipe is left out.
    """
    given = {f"model_{k}": v for k, v in model_options(config).items()}
    given["train_size"] = info.sizes["train"]
    for key, value in config.training.items():
        if key != "epochs" and value not in (None, False):
            given[f"training_{key}"] = value
    return given


def walk_parameters(config: Config) -> dict[str, Any]:
    """Returns what a row of X_n, or of what learnt from it, depends on."""
    walk = config.augmentation
    names = ("loss", "num_images", "pixel_clip", "step_size")
    return {
        f"augmentation_{name}": walk[name]
        for name in names
        if walk[name] is not None
    }


def translator_parameters(
    config: Config, translator: keras.Model
) -> dict[str, Any]:
    """Returns what a row of an augmented classifier depends on."""
    return {
        **walk_parameters(config),
        "augmentation_num_steps": config.augmentation.num_steps,
        "translator_parameters": translator.count_params(),
        **{f"translator_{k}": v for k, v in config.translator.items()},
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
