"""From argv to checked settings, for every program of this folder.

`--dataset` is read before absl parses, because it chooses the file of
settings that `--config.group.key=value` then overrides; the short flags are
aliases of settings. TensorFlow is imported only after all this.
"""

import contextlib
import difflib
import importlib.util
import logging
import os
import pathlib
import re
import sys
import tempfile
from collections.abc import Callable, Iterator

from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_dict, config_flags

from qup import nesting

_CONFIGS = pathlib.Path(importlib.import_module("configs").__file__).parent

# Short flag -> the setting it is an alias of.
ALIASES = {
    "dataset": "dataset.name",
    "model": "model.name",
    "epochs": "training.epochs",
    "workdir": "workdir",
    "data_dir": "dataset.data_dir",
    "manual_dir": "dataset.manual_dir",
    "seed": "seed",
}
# Under paper_literal these become the paper's printed equations.
_LITERAL = {
    "attack.pixel_clip": False,
    "augmentation.pixel_clip": False,
    "augmentation.num_steps": 200,
    "augmentation.step_size": "attack.epsilon",
}


def define_flags() -> None:
    """Defines the flags every program takes; `run` defines --config."""
    flags.DEFINE_string("dataset", None, "One of: " + ", ".join(_datasets()))
    flags.DEFINE_string(
        "model", None, "Classifier: convnet, ygcnn, resnet, googlenet."
    )
    flags.DEFINE_list(
        "epochs", None, "Epochs of the classifier; a list (1,30,50) runs each."
    )
    flags.DEFINE_string("workdir", None, "Folder of the run's files.")
    flags.DEFINE_string("data_dir", None, "Folder of prepared datasets.")
    flags.DEFINE_string(
        "manual_dir", None, "Folder of original files fetched by hand."
    )
    flags.DEFINE_integer("seed", None, "Seed of everything random.")
    flags.DEFINE_bool("smoke", False, "Few images, few steps: does it work?")


def _datasets() -> list[str]:
    names = (path.stem for path in _CONFIGS.glob("*.py"))
    return sorted(set(names) - {"__init__", "defaults"})


def _given(argv: list[str], flag: str) -> str | None:
    """Returns the last value of `flag` in argv, before absl parses."""
    value = None
    for i, word in enumerate(argv):
        if match := re.fullmatch(rf"--?{flag}(?:=(.*))?", word):
            following = argv[i + 1] if i + 1 < len(argv) else ""
            value = following if match[1] is None else match[1]
    return value


def _settings_file(argv: list[str]) -> str:
    """Chooses the file of settings: --config, else that of --dataset."""
    if (path := _given(argv, "config")) is not None:
        if not pathlib.Path(path.split(":")[0]).is_file():
            raise flags.Error(f"--config: there is no file {path!r}.")
        return path
    name = _given(argv, "dataset") or _given(argv, r"config\.dataset\.name")
    name = name or "digits"
    if name not in _datasets():
        raise flags.Error(
            f"Unknown dataset {name!r}.{_nearest(name, _datasets())} Known: "
            f"{', '.join(_datasets())}."
        )
    smoke = any(re.fullmatch("--?smoke(=true|=1)?", w) for w in argv)
    return f"{_CONFIGS / name}.py" + (":smoke" if smoke else "")


def _nearest(name: str, known) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def parse(argv: list[str]) -> list[str]:
    """Parses argv, whatever the order of --config and its overrides.

    Args:
      argv: The program's name, then its arguments.

    Returns:
      The program's name and what is no flag.

    Raises:
      flags.Error: A flag, a setting or a value that is none.
    """
    path = _settings_file(argv)
    known = _settings_of(path)
    for word in argv[1:]:
        if match := re.match(r"--?(?:no)?config\.([^=]*)", word):
            key = match[1]
            if key not in known:
                raise flags.Error(
                    f"Unknown setting --config.{key}.{_nearest(key, known)} "
                    "configs/defaults.py tells all."
                )
    # The file is the default of --config, so that --config itself, which
    # absl wants before its overrides, can stand anywhere.
    rest, words = [argv[0]], iter(argv[1:])
    for word in words:
        if re.fullmatch("--?config", word):
            next(words, None)
        elif not re.match("--?config=", word):
            rest.append(word)
    config_flags.DEFINE_config_file(
        "config", path, lock_config=True, sys_argv=rest
    )
    return flags.FLAGS(rest)


def _settings_of(path: str) -> list[str]:
    """Returns the names of all settings in a file FILE.py or FILE.py:SIZE."""
    file, *size = path.split(":")
    spec = importlib.util.spec_from_file_location("qup_settings", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(nesting.flatten(module.get_config(*size)))


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
            value = _whole_numbers(value)
        if key in overridden and overridden[key] != value:
            raise flags.Error(
                f"--{flag}={value} and --config.{key}={overridden[key]} "
                "differ. Give one of them."
            )
        config.update_from_flattened_dict({key: value})
    if config.paper_literal:
        flat = nesting.flatten(config)
        for key, value in _LITERAL.items():
            if key not in overridden:
                config.update_from_flattened_dict({key: flat.get(value, value)})
    return config


def _whole_numbers(words: list[str]) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in words)
    except ValueError as error:
        raise flags.Error(
            f"--epochs takes whole numbers, such as 1,30,50; got "
            f"{','.join(words)!r}."
        ) from error


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keeps what C++ writes to standard error, and shows it on failure."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except BaseException:
            hidden.seek(0)
            os.write(saved, hidden.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _log_plainly() -> None:
    """Shows qup's own lines as they are, of other libraries only errors."""
    absl_logging.set_verbosity(absl_logging.ERROR)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("qup")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def start_tensorflow() -> None:
    """Imports TensorFlow, and runs one operation, without its chatter."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with silenced():
        tensorflow = importlib.import_module("tensorflow")
        tensorflow.constant(0.0) + 1.0


def run(main: Callable[[config_dict.ConfigDict], None]) -> None:
    """Parses argv, calls `main` with the settings, and exits.

    Exit status: 0 when main returned, 1 for anything the user can mend
    (told without a traceback), 130 after Ctrl-C.
    """

    def started(argv: list[str]) -> None:
        with _told(flags.Error):
            if len(argv) > 1:
                raise flags.Error(f"Not a flag: {argv[1]!r}.")
            config = resolve()
        _log_plainly()
        start_tensorflow()
        errors = importlib.import_module("qup.errors")
        with _told(errors.InputError):
            main(config)

    def parsed(argv: list[str]) -> list[str]:
        with _told(flags.Error):
            return parse(argv)

    app.run(started, flags_parser=parsed)


@contextlib.contextmanager
def _told(kind: type[Exception]) -> Iterator[None]:
    """Ends the program with a line on standard error for that exception."""
    try:
        yield
    except kind as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("Stopped; the same command goes on.", file=sys.stderr)
        sys.exit(130)
