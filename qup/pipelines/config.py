"""Settings of a pipeline: their identity, folders and checks, and the arguments of its nodes."""

import dataclasses
import json
import os
import pathlib
from typing import Any, TypeAlias

from qup import attacks, models, training
from qup.attacks import losses
from qup.augmentation.translator import GRADIENT_PATHS, SCHEDULES
from qup.core import environment, errors, extras, files, hashing
from qup.core.config import flatten
from qup.core.types import DatasetInfo
from qup.datasets import dataset
from qup.models.serving import exports, runtimes
from qup.orchestration.storage import ROOT_VARIABLE
from qup.robustness.evaluation import build_trajectory_options, get_pixel_bounds
from qup.training.strategies import STRATEGIES

# An ml_collections ConfigDict with the keys of qup/pipelines/defaults.py.
Config: TypeAlias = Any
# Folders and cache settings do not change results; data is compared by its content.
_LOCATION_KEYS = (
    *("workdir", "pipeline_root", "enable_cache", "verify"),
    *("data_dir", "manual_dir", "images", "labels"),
)
# Options of some datasets alone: without them, settings are what they were before.
_DATASET_OPTIONS = ("channels", "bit_depth", "images", "labels", "value_range")
_INTEGER_KEYS = (
    "attack.num_steps",
    "attack.restarts",
    "attack.batch_size",
    "attack.check_size",
    "attack.check_steps",
    "augmentation.num_steps",
    "augmentation.batch_size",
    "augmentation.num_images",
    "dataset.train_size",
    "dataset.test_size",
    "dataset.validation_size",
    "training.batch_size",
    "translator.epochs",
    "translator.width",
    "translator.batch_size",
)
_MAY_BE_ZERO_KEYS = ("attack.check_steps", "dataset.validation_size")
_POSITIVE_KEYS = (
    "attack.step_size",
    "augmentation.step_size",
    "model.width",
    "training.learning_rate",
    "translator.learning_rate",
)


def get_config_identity(config: Config) -> dict[str, Any]:
    """Returns the settings that results depend on."""
    tree = json.loads(config.to_json_best_effort())
    # What is pushed with a model changes no measurement.
    tree.pop("serving", None)
    for group in (tree, tree["dataset"]):
        for key in _LOCATION_KEYS:
            group.pop(key, None)
    for key in _DATASET_OPTIONS:
        if tree["dataset"].get(key) is None:
            tree["dataset"].pop(key, None)
    if tree["training"].get("strategy") == "none":
        del tree["training"]["strategy"]
    return tree


def compute_config_hash(config: Config) -> str:
    """Returns the model's name and a hash of all settings."""
    identity = get_config_identity(config)
    if config.dataset.name == "image_folder":
        identity["data_dir"] = str(pathlib.Path(config.dataset.data_dir or "."))
    elif config.dataset.name == "arrays":
        identity["images"] = str(pathlib.Path(config.dataset.images or "."))
    digest = hashing.hash_text(json.dumps(identity, sort_keys=True))
    return f"{config.model.name}-{digest[:8]}"


def get_workdir(config: Config) -> pathlib.Path:
    """Returns the folder of a run; equal settings have the same default."""
    default = pathlib.Path("runs") / f"{config.dataset.name}-{compute_config_hash(config)}"
    return _parse_folder("workdir", config.workdir, default)


def get_pipeline_root(config: Config) -> pathlib.Path:
    """Returns the folder of the artifacts: the setting, else the variable QUP_PIPELINE_ROOT."""
    if config.pipeline_root is None and (shared := os.environ.get(ROOT_VARIABLE)):
        return _parse_folder(ROOT_VARIABLE, shared, pathlib.Path())
    default = get_workdir(config) / "pipeline"
    return _parse_folder("pipeline_root", config.pipeline_root, default)


def _parse_folder(key: str, value: str | None, default: pathlib.Path) -> pathlib.Path:
    if value is None:
        return default
    if not value:
        raise errors.InputError(f"{key} is empty. Name a folder.")
    files.check_local(key, value)
    try:
        value.encode("utf-8")
        return pathlib.Path(value).expanduser()
    except (RuntimeError, UnicodeEncodeError) as error:
        raise errors.InputError(
            f"{key} {value!a} cannot be used: {error}. Give the full path, in UTF-8."
        ) from error


def get_dataset_options(config: Config) -> dict[str, Any]:
    """Returns the keyword arguments of datasets.load, except scratch_dir."""
    data = config.dataset
    names = ("data_dir", "manual_dir", "train_size", "test_size", "validation_size")
    for name in (*names[:2], "images", "labels"):
        files.check_local(f"dataset.{name}", data[name] or "")
    return {
        **{name: data[name] for name in names},
        **{name: data[name] for name in _DATASET_OPTIONS if data[name] is not None},
        "image_size": _parse_image_size(data.image_size),
        "seed": config.seed,
    }


def _parse_image_size(value: Any) -> tuple[int, int] | None:
    """Returns (height, width) of one number, for squares, or of two."""
    if value is None:
        return None
    sides = (value, value) if type(value) is int else value
    if not isinstance(sides, tuple | list) or len(sides) != 2:
        raise errors.InputError(
            "dataset.image_size must be one number, or height and width: "
            f"--config.dataset.image_size=28,36; received {value!r}."
        )
    return tuple(sides)


def get_model_options(config: Config) -> dict[str, Any]:
    """Returns the model's keyword arguments that are not None."""
    return {
        key: value for key, value in config.model.items() if key != "name" and value is not None
    }


def build_recipe(config: Config) -> dict[str, Any]:
    """Returns the model's recipe with the changes of the settings."""
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
    """Returns the group `attack` without "through", which is not an option of an attack."""
    group = json.loads(config.attack.to_json_best_effort())
    return {key: group[key] for key in group if key != "through"}


def get_serving_runtimes(config: Config) -> list[str]:
    """Returns the runtimes that check a model before it is pushed, those of the exports too."""
    names = _split_names(config.serving.runtimes)
    of_exports = [runtimes.RUNTIME_OF_EXPORT[name] for name in get_serving_exports(config)]
    return list(dict.fromkeys([*names, *of_exports]))


def get_serving_exports(config: Config) -> list[str]:
    """Returns the formats that are pushed with a SavedModel."""
    return _split_names(config.serving.exports)


def _split_names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _check_serving(config: Config) -> None:
    """Raises an InputError for what is unknown or not installed, before the first step."""
    for name in get_serving_exports(config):
        exports.check_format(name)
    names = get_serving_runtimes(config)
    if not names:
        raise errors.InputError(
            "serving.runtimes is empty, and a model that no runtime has loaded is not pushed. "
            "Give one or several: --config.serving.runtimes=tensorflow."
        )
    for name in names:
        if name not in runtimes.LOCAL_RUNTIMES:
            raise errors.make_unknown_error(
                "value of serving.runtimes", name, runtimes.LOCAL_RUNTIMES
            )
        modules = runtimes.RUNTIMES[name].modules
        extras.check_installed(f"serving.runtimes={name}", *modules, extra="serving")


def check_config(config: Config) -> None:
    """Raises an InputError for the first setting that is out of range or unknown.

    All settings are checked before the first step, so that a typing error
    does not end a run after hours of training.
    """
    if not config.training.epochs:
        raise errors.InputError("epochs is empty. Give one or several numbers.")
    for epochs in config.training.epochs:
        _check_integer("epochs", epochs, least=1)
    for point in config.augmentation.points:
        _check_integer("augmentation.points", point, least=0)
    if config.training.strategy == "multi_worker":
        raise errors.InputError(
            "Workers cannot share a pipeline. Train with qup train-worker on each of them, then "
            "give the model to qup attack: --model_path=.../model.keras."
        )
    if config.training.strategy not in STRATEGIES:
        raise errors.make_unknown_error("strategy", config.training.strategy, STRATEGIES)
    # The random number generators of the attacks need a seed of 32 bits.
    _check_integer("seed", config.seed, least=0, below=2**31)
    flat = flatten(config)
    for key in _INTEGER_KEYS:
        if flat[key] is not None:
            _check_integer(key, flat[key], least=0 if key in _MAY_BE_ZERO_KEYS else 1)
    errors.check_number("attack.epsilon", config.attack.epsilon, at_least=0, below=1e6)
    errors.check_number("translator.l1_weight", config.translator.l1_weight, at_least=0)
    errors.check_number("translator.beta_1", config.translator.beta_1, at_least=0, below=1)
    for key in _POSITIVE_KEYS:
        if flat[key] is not None:
            errors.check_number(key, flat[key], above=0, below=1e6)
    if config.attack.restarts > 1 and not config.attack.random_start:
        raise errors.InputError(
            f"attack.restarts={config.attack.restarts} without attack.random_start "
            "would repeat the same attack. Set --config.attack.random_start=true, or restarts=1."
        )
    _parse_image_size(config.dataset.image_size)
    _check_names(config)
    _check_serving(config)


def _check_integer(name: str, value: Any, *, least: int, below: int = 2**31):
    errors.check_number(name, value, at_least=least, below=below)
    if value != int(value):
        raise errors.InputError(f"{name} must be an integer; got {value!r}.")


def _check_names(config: Config) -> None:
    models.get(config.model.name)
    attacks.get(config.attack.name)
    choices = (
        ("verify", config.verify, ("stat", "full")),
        ("attack.norm", config.attack.norm, attacks.traits(config.attack.name)["norms"]),
        ("attack.loss", config.attack.loss, losses.NAMES),
        ("attack.through", config.attack.through, GRADIENT_PATHS),
        ("augmentation.loss", config.augmentation.loss, losses.NAMES),
        ("translator.schedule", config.translator.schedule, SCHEDULES),
        ("training.optimizer", config.training.optimizer, (None, *training.list_optimizers())),
        ("dataset.evaluation_split", config.dataset.evaluation_split, ("test", "validation")),
    )
    for key, value, known in choices:
        if value not in known:
            raise errors.make_unknown_error(f"value of {key}", value, known)
    if config.dataset.evaluation_split == "validation" and not config.dataset.validation_size:
        raise errors.InputError(
            "dataset.evaluation_split=validation needs validation images: "
            "set --config.dataset.validation_size too."
        )


@dataclasses.dataclass(frozen=True)
class NodeArguments:
    """The arguments of each component, from the settings; channels are added by the pipeline.

    Attributes:
      config: The settings.
      info: Sizes, shape and classes of the data.
      log_dir: TensorBoard's folder.
    """

    config: Config
    info: DatasetInfo
    log_dir: pathlib.Path

    def build_example_gen_kwargs(self, source: str) -> dict[str, Any]:
        """Returns the arguments of ExampleGen; `source` is the digest of the data's files."""
        scratch = get_workdir(self.config) / "data"
        return {
            **get_dataset_options(self.config),
            "dataset": self.config.dataset.name,
            "source": source,
            "scratch_dir": str(scratch.absolute()),
        }

    def build_trainer_kwargs(self, epochs: int) -> dict[str, Any]:
        """Returns the arguments of Trainer; `InputError` if there are no training images."""
        config = self.config
        options = get_model_options(config)
        rows = {f"model_{key}": value for key, value in options.items()}
        if "train" not in self.info.sizes:
            raise dataset.make_training_error(self.info.name)
        rows["train_size"] = self.info.sizes["train"]
        for key, value in config.training.items():
            # Values of the model's own recipe are not parameters of rows.
            if key != "epochs" and value not in (None, False, "none"):
                rows[f"training_{key}"] = value
        return {
            "model_name": config.model.name,
            "model_options": options,
            "recipe": build_recipe(config),
            "augment": config.training.augment,
            "epochs": epochs,
            "seed": config.seed,
            "row_parameters": rows,
            "log_dir": str(self.log_dir),
            "strategy": config.training.strategy,
        }

    def build_evaluator_kwargs(self) -> dict[str, Any]:
        """Returns the arguments of Evaluator."""
        return {
            "attack": get_attack_options(self.config),
            "split": self.config.dataset.evaluation_split,
            "seed": self.config.seed,
        }

    def build_delta_gen_kwargs(self) -> dict[str, Any]:
        """Returns the arguments of DeltaGen."""
        group = self.config.augmentation
        names = ("num_steps", "step_size", "loss", "batch_size", "num_images")
        options = {name: group[name] for name in names}
        # Points above N do not change the iterates.
        reached_points = {n for n in group.points if n < group.num_steps}
        options["points"] = sorted({*reached_points, group.num_steps})
        options["bounds"] = get_pixel_bounds(group.pixel_clip)
        return {
            "walk": options,
            "attack": self._build_trajectory_attack(),
            "seed": self.config.seed,
        }

    def _build_trajectory_attack(self) -> dict[str, Any]:
        clip = self.config.augmentation.pixel_clip
        return build_trajectory_options(get_attack_options(self.config), pixel_clip=clip)

    def build_translator_kwargs(self) -> dict[str, Any]:
        """Returns the arguments of TranslatorTrainer."""
        return {
            "options": dict(self.config.translator),
            "seed": self.config.seed,
            "log_dir": str(self.log_dir),
            "strategy": self.config.training.strategy,
        }

    def _build_augmentation_rows(self) -> dict[str, Any]:
        """Returns the parameters of rows of X_n, and of a translator trained on them."""
        group = self.config.augmentation
        names = ("loss", "num_images", "pixel_clip", "step_size")
        return {f"augmentation_{name}": group[name] for name in names if group[name] is not None}

    def build_combiner_kwargs(self) -> dict[str, Any]:
        """Returns the arguments of Combiner."""
        rows = {f"translator_{k}": v for k, v in self.config.translator.items()}
        rows |= self._build_augmentation_rows()
        rows["augmentation_num_steps"] = self.config.augmentation.num_steps
        through = self.config.attack.through
        return {"through": through, "row_parameters": rows}

    def build_analyzer_kwargs(self) -> dict[str, Any]:
        """Returns the arguments of Analyzer."""
        return {
            "attack": self._build_trajectory_attack(),
            "split": self.config.dataset.evaluation_split,
            "seed": self.config.seed,
            "row_parameters": self._build_augmentation_rows(),
        }

    def build_infra_validator_kwargs(self) -> dict[str, Any]:
        """Returns the arguments of InfraValidator."""
        names = get_serving_runtimes(self.config)
        formats = get_serving_exports(self.config)
        packages = {runtimes.RUNTIMES[name].distribution for name in names}
        packages |= {exports.CONVERTERS[name] for name in formats}
        return {
            "runtimes": names,
            "exports": formats,
            # TensorFlow's version counts for every component.
            "versions": environment.get_package_versions(sorted(packages - {"tensorflow"})),
            "split": self.config.dataset.evaluation_split,
        }

    def build_pusher_kwargs(self, name: str, epochs: int) -> dict[str, Any]:
        """Returns the arguments of Pusher for "classifier" or "augmented_classifier"."""
        folder = get_workdir(self.config) / "serving" / name
        return {"destination": str(folder.absolute()), "version": epochs}
