"""Flags of the pipelines, and the settings that they resolve to.

`--dataset` is read before absl parses, because it chooses the file of
settings that `--config.group.key=value` then overrides. The short flags are
aliases of settings.
"""

import importlib.util
import pathlib
import re
from collections.abc import Callable
from typing import Any

from absl import flags
from ml_collections import config_dict, config_flags

import qup
from qup.cli import program
from qup.core import config as nested_config
from qup.core import errors, registry
from qup.pipelines import defaults

_QUP = pathlib.Path(qup.__file__).parent
# A wheel has the files of configs/ in this package: setup.py.
_PACKAGED_CONFIGS = pathlib.Path(__file__).parent / "configs"
_CONFIGS = _PACKAGED_CONFIGS if _PACKAGED_CONFIGS.is_dir() else _QUP.parent / "configs"

# Those of qup.training.strategies, whose import starts TensorFlow.
STRATEGIES = ("none", "mirrored", "multi_worker")
# Short flag -> the setting that it sets.
ALIASES = {
    "dataset": "dataset.name",
    "model": "model.name",
    "epochs": "training.epochs",
    "workdir": "workdir",
    "pipeline_root": "pipeline_root",
    "enable_cache": "enable_cache",
    "verify": "verify",
    "data_dir": "dataset.data_dir",
    "manual_dir": "dataset.manual_dir",
    "images": "dataset.images",
    "labels": "dataset.labels",
    "seed": "seed",
    "strategy": "training.strategy",
}


def define_location_flags(enable_cache: bool | None = None, verify: str | None = None) -> None:
    """Defines the flags of folders and of the cache, with these defaults."""
    flags.DEFINE_string("workdir", None, "Folder of the results.")
    flags.DEFINE_string(
        "pipeline_root",
        None,
        "Folder of the artifacts; runs may share it. Default: the environment variable "
        "QUP_PIPELINE_ROOT, else pipeline/ in the workdir.",
    )
    flags.DEFINE_bool("enable_cache", enable_cache, "Reuse results of earlier runs.")
    flags.DEFINE_enum(
        "verify", verify, ["stat", "full"], "Check of reused files; full: by their hashes."
    )
    flags.DEFINE_string("data_dir", None, "Folder of prepared datasets.")
    flags.DEFINE_string("manual_dir", None, "Folder of original files that were fetched by hand.")


def define_flags() -> None:
    """Defines the flags of every pipeline; `parse` defines --config."""
    models = registry.find_registered_names(_QUP / "models")
    for name, choices in (("dataset", _list_datasets()), ("model", models)):
        flags.DEFINE_string(name, None, "One of: " + ", ".join(choices))
    flags.DEFINE_string(
        "images", None, "Images of your own: a .npy file, or an .npz file with labels in it."
    )
    # run_uncertainty replaces it by a flag of another meaning.
    flags.DEFINE_string("labels", None, "Their labels, a .npy file.", allow_override=True)
    flags.DEFINE_list("epochs", None, "Epochs of the classifier; a list (1,30,50) runs each.")
    define_location_flags()
    flags.DEFINE_integer("seed", None, "Seed of all random numbers.")
    flags.DEFINE_enum("strategy", None, STRATEGIES, "Devices of a training.")
    flags.DEFINE_bool("smoke", False, "A small test run: few images, few steps.")


def run(main: Callable[[config_dict.ConfigDict], str]) -> None:
    """Runs a pipeline with the settings of the command line; see `program.run_pipeline`."""
    program.run_pipeline(main, parse=parse, resolve=resolve)


def parse(argv: list[str]) -> list[str]:
    """Parses argv; --config and its overrides may be in any order.

    Args:
      argv: The program's name, then its arguments.

    Returns:
      The program's name and the positional arguments.

    Raises:
      flags.Error: A flag, a setting or a value is unknown or invalid.
    """
    path = _choose_settings_file(argv)
    known = list(nested_config.flatten(load_settings(path)))
    for argument in argv[1:]:
        match = re.match(r"--?(?:no)?config\.([^=]*)", argument)
        if match and match[1] not in known:
            error = errors.make_unknown_error("setting", match[1], known)
            raise flags.Error(f"{error} qup/pipelines/defaults.py explains them.")
    # absl wants --config before its overrides. The file becomes the default of
    # --config, so that the flag can be anywhere.
    _, rest = _parse_early_flags(argv, "config")
    config_flags.DEFINE_config_file("config", path, lock_config=True, sys_argv=rest)
    return flags.FLAGS(rest)


def resolve() -> config_dict.ConfigDict:
    """Returns the settings after the short flags and paper_literal.

    Raises:
      flags.Error: A short flag and its setting differ.
    """
    config = flags.FLAGS.config
    overridden = config_flags.get_override_values(flags.FLAGS["config"])
    for flag, key in ALIASES.items():
        value = flags.FLAGS[flag].value
        if value is None or flags.FLAGS.find_module_defining_flag(flag) != __name__:
            continue
        if flag == "epochs":
            value = _parse_epochs(value)
        if key in overridden and overridden[key] != value:
            raise flags.Error(
                f"--{flag}={value} and --config.{key}={overridden[key]} differ. Give one of them."
            )
        config.update_from_flattened_dict({key: value})
    if config.paper_literal:
        defaults.read_literally(config, keep=overridden)
    return config


def load_settings(path: str) -> config_dict.ConfigDict:
    """Returns the settings of a file FILE.py or FILE.py:SIZE.

    Raises:
      flags.Error: The file has no function get_config(size), or it fails.
    """
    file, *size = path.split(":")
    try:
        spec = importlib.util.spec_from_file_location("qup_settings", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.get_config(*size)
    except Exception as error:
        raise flags.Error(
            f"--config={path} is not a file of settings: {error!r}. It must be Python with a "
            "function get_config(size) that starts from qup.pipelines.defaults.get_config(), "
            "like those in configs/."
        ) from error


def load_dataset_settings(dataset: str, size: str) -> config_dict.ConfigDict:
    """Returns the settings of a dataset at a size, "full" or "smoke"."""
    return load_settings(f"{_CONFIGS / dataset}.py:{size}")


def _list_datasets() -> list[str]:
    names = {path.stem for path in _CONFIGS.glob("*.py")}
    return sorted(names - {"__init__", "defaults"})


def _parse_early_flags(argv: list[str], *names: str) -> tuple[list[Any], list[str]]:
    """Parses some flags alone; returns their values and the other arguments."""
    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    for name in names:
        define = flags.DEFINE_bool if name == "smoke" else flags.DEFINE_string
        define(name, None, "", flag_values=values)
    try:
        rest = values(argv, known_only=True)
    except UnicodeDecodeError as error:
        raise flags.Error(f"A flag file is not text: {error}.") from error
    return [values[name].value for name in names], rest


def _choose_settings_file(argv: list[str]) -> str:
    """Returns the file of --config, or else that of --dataset."""
    (path, name, key, images, smoke), _ = _parse_early_flags(
        argv, "config", "dataset", "config.dataset.name", "images", "smoke"
    )
    if path is None:
        name = name or key or ("arrays" if images else "digits")
        known = _list_datasets()
        if name not in known:
            raise flags.Error(str(errors.make_unknown_error("dataset", name, known)))
        path = f"{_CONFIGS / name}.py"
    elif not pathlib.Path(path.split(":")[0]).is_file():
        raise flags.Error(f"--config: there is no file {path!r}.")
    elif name is not None and name != (expected := load_settings(path).dataset.name):
        raise flags.Error(
            f"--config={path} is for the dataset {expected!r}, but --dataset={name} was given. "
            "Give one of them."
        )
    return path + (":smoke" if smoke and ":" not in path else "")


def _parse_epochs(texts: list[str]) -> tuple[int, ...]:
    try:
        return tuple(int(text) for text in texts)
    except ValueError as error:
        raise flags.Error(
            f"--epochs takes integers, such as 1,30,50; got {','.join(texts)!r}."
        ) from error
