"""Settings of the road, turned into plain arguments."""

import dataclasses
import json
import pathlib
from typing import Any, TypeAlias

from qup import errors, models
from qup.core import hashing

# An ml_collections ConfigDict with the keys of configs/defaults.py.
Config: TypeAlias = Any
# Where a run's files lie, and what it believes of them, does not change what
# it computes; the data itself is compared by its content.
_LOCATION_KEYS = ("workdir", "pipeline_root", "enable_cache", "verify", "data_dir", "manual_dir")


def get_config_identity(config: Config) -> dict[str, Any]:
    """Returns the settings that tell one run from another."""
    tree = json.loads(config.to_json_best_effort())
    for group in (tree, tree["dataset"]):
        for key in _LOCATION_KEYS:
            group.pop(key, None)
    return tree


def compute_config_hash(config: Config) -> str:
    """Returns a name for the settings: the model and a hash of them all."""
    identity = get_config_identity(config)
    if config.dataset.name == "image_folder":
        identity["data_dir"] = str(pathlib.Path(config.dataset.data_dir or "."))
    text = json.dumps(identity, sort_keys=True)
    digest = hashing.text_digest(text)
    return f"{config.model.name}-{digest[:8]}"


def get_workdir(config: Config) -> pathlib.Path:
    """Returns the run's folder; the same settings name the same one."""
    default = pathlib.Path("runs") / f"{config.dataset.name}-{compute_config_hash(config)}"
    return _parse_folder("workdir", config.workdir, default)


def get_pipeline_root(config: Config) -> pathlib.Path:
    """Returns the folder of the artifacts."""
    default = get_workdir(config) / "pipeline"
    return _parse_folder("pipeline_root", config.pipeline_root, default)


def _parse_folder(key: str, value: str | None, default: pathlib.Path) -> pathlib.Path:
    if value is None:
        return default
    if not value:
        raise errors.InputError(f"{key} is empty. Name a folder.")
    try:
        value.encode("utf-8")
        return pathlib.Path(value).expanduser()
    except (RuntimeError, UnicodeEncodeError) as error:
        raise errors.InputError(
            f"{key} {value!a} cannot be used: {error}. Give the whole path, in UTF-8."
        ) from error


def get_dataset_options(config: Config) -> dict[str, Any]:
    """Returns the keyword arguments of datasets.load, but scratch_dir."""
    data = config.dataset
    names = ("data_dir", "manual_dir", "train_size", "test_size", "validation_size")
    side = data.image_size
    return {
        **{name: data[name] for name in names},
        "image_size": None if side is None else (side, side),
        "seed": config.seed,
    }


def get_model_options(config: Config) -> dict[str, Any]:
    """Returns the model's keyword arguments that were given."""
    return {
        key: value for key, value in config.model.items() if key != "name" and value is not None
    }


def build_recipe(config: Config) -> dict[str, Any]:
    """Returns the model's recipe with what the configuration changes."""
    defaults = dataclasses.asdict(models.get_recipe(config.model.name))
    overrides = {
        key: config.training[key]
        for key in ("optimizer", "learning_rate", "batch_size")
        if config.training[key] is not None
    }
    if overrides.get("optimizer", defaults["optimizer"]) != defaults["optimizer"]:
        overrides["optimizer_options"] = {}
    return {**defaults, **overrides}


def get_attack_options(config: Config) -> dict[str, Any]:
    """Returns the group `get_attack_options` without what is no business of an attack."""
    group = json.loads(config.attack.to_json_best_effort())
    return {key: group[key] for key in group if key != "through"}
