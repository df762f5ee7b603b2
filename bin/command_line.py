"""From argv to checked settings, for every program of this folder.

`--dataset` is read before absl parses, because it chooses the file of
settings that `--config.group.key=value` then overrides; the short flags are
aliases of settings. TensorFlow is imported only after all this.
"""

import importlib.util
import pathlib
import re

from absl import flags
from ml_collections import config_dict, config_flags

import qup
from configs import defaults
from qup.core import config as nested_config
from qup.core import errors, registry

_CONFIGS = pathlib.Path(defaults.__file__).parent
_MODELS = registry.find_registered_names(pathlib.Path(qup.__file__).parent / "models")

# Short flag -> the setting it is an alias of.
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
    "seed": "seed",
}


def define_flags() -> None:
    """Defines the flags every program takes; `run` defines --config."""
    for name, choices in (("dataset", _list_names(_CONFIGS)), ("model", _MODELS)):
        flags.DEFINE_string(name, None, "One of: " + ", ".join(choices))
    flags.DEFINE_list("epochs", None, "Epochs of the classifier; a list (1,30,50) runs each.")
    flags.DEFINE_string("workdir", None, "Folder of the run's files.")
    flags.DEFINE_string("pipeline_root", None, "Folder of the artifacts; several may share it.")
    flags.DEFINE_bool("enable_cache", None, "Reuse what earlier runs made.")
    flags.DEFINE_enum("verify", None, ["stat", "full"], "How reused files are looked at.")
    flags.DEFINE_string("data_dir", None, "Folder of prepared datasets.")
    flags.DEFINE_string("manual_dir", None, "Folder of original files fetched by hand.")
    flags.DEFINE_integer("seed", None, "Seed of everything random.")
    flags.DEFINE_bool("smoke", False, "Few images, few steps: does it work?")


def _list_names(folder: pathlib.Path) -> list[str]:
    names = (path.stem for path in folder.glob("*.py"))
    return sorted(set(names) - {"__init__", "defaults"})


def _parse_early_flags(argv: list[str], *names: str) -> tuple[list[str | None], list[str]]:
    """Parses some flags alone; returns their values and what is left."""
    values = flags.FlagValues()
    values.set_gnu_getopt(True)
    for name in names:
        define = flags.DEFINE_bool if name == "smoke" else flags.DEFINE_string
        define(name, None, "", flag_values=values)
    try:
        rest = values(argv, known_only=True)
    except UnicodeDecodeError as error:
        raise flags.Error(f"A flag file is no text: {error}.") from error
    return [values[name].value for name in names], rest


def _choose_settings_file(argv: list[str]) -> str:
    """Chooses the file of settings: --config, else that of --dataset."""
    (path, name, key, smoke), _ = _parse_early_flags(
        argv, "config", "dataset", "config.dataset.name", "smoke"
    )
    if path is None:
        name = name or key or "digits"
        if name not in _list_names(_CONFIGS):
            known = _list_names(_CONFIGS)
            raise flags.Error(str(errors.make_unknown_error("dataset", name, known)))
        path = f"{_CONFIGS / name}.py"
    elif not pathlib.Path(path.split(":")[0]).is_file():
        raise flags.Error(f"--config: there is no file {path!r}.")
    elif name is not None and name != (expected := _load_settings(path).dataset.name):
        raise flags.Error(
            f"--config={path} is for the dataset {expected!r}, and --dataset="
            f"{name} is given. Give one of them."
        )
    return path + (":smoke" if smoke and ":" not in path else "")


def _load_settings(path: str) -> config_dict.ConfigDict:
    """Returns the settings of a file FILE.py or FILE.py:SIZE."""
    file, *size = path.split(":")
    try:
        spec = importlib.util.spec_from_file_location("qup_settings", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.get_config(*size)
    except Exception as error:
        raise flags.Error(
            f"--config={path} is no file of settings: {error!r}. It must be "
            "Python with a function get_config(size), like those in configs/."
        ) from error


def parse(argv: list[str]) -> list[str]:
    """Parses argv, whatever the order of --config and its overrides.

    Args:
      argv: The program's name, then its arguments.

    Returns:
      The program's name and what is no flag.

    Raises:
      flags.Error: A flag, a setting or a value that is none.
    """
    path = _choose_settings_file(argv)
    known = list(nested_config.flatten(_load_settings(path)))
    for argument in argv[1:]:
        match = re.match(r"--?(?:no)?config\.([^=]*)", argument)
        if match and match[1] not in known:
            error = errors.make_unknown_error("setting", match[1], known)
            raise flags.Error(f"{error} configs/defaults.py explains them.")
    # The file becomes the default of --config, so that --config itself,
    # which absl wants before its overrides, can stand anywhere.
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
        if value is None:
            continue
        if flag == "epochs":
            value = _parse_integers(value)
        if key in overridden and overridden[key] != value:
            raise flags.Error(
                f"--{flag}={value} and --config.{key}={overridden[key]} differ. Give one of them."
            )
        config.update_from_flattened_dict({key: value})
    if config.paper_literal:
        defaults.read_literally(config, keep=overridden)
    return config


def _parse_integers(texts: list[str]) -> tuple[int, ...]:
    try:
        return tuple(int(text) for text in texts)
    except ValueError as error:
        raise flags.Error(
            f"--epochs takes whole numbers, such as 1,30,50; got {','.join(texts)!r}."
        ) from error
