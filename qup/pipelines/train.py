"""`qup train`: standard or adversarial training of one classifier, in one folder.

| file | content |
| --- | --- |
| model.keras | the classifier |
| history.csv | the metrics of each epoch |
| curves.png | clean and robust accuracy over the epochs |
| tensorboard/ | the same as summaries |
| checkpoints/ | the state, from which the same command resumes |
| training.json | the settings |

```python
print(run(config, TrainRequest(method="trades", epsilon=0.1)))
```
"""

import csv
import dataclasses
import io
import json
import logging
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from qup import datasets, models, training
from qup.core import errors, files, hashing, plotting
from qup.core.formatting import format_count
from qup.core.numbers import format_epsilon
from qup.core.types import Recipe
from qup.datasets import Dataset
from qup.models import keras_files, saving, user_models
from qup.models.user_models import LoadOptions
from qup.pipelines.attack_request import parse_pixel_range
from qup.pipelines.config import (
    Config,
    build_recipe,
    check_config,
    get_dataset_options,
    get_model_options,
)
from qup.pipelines.training_folder import (
    CHECKPOINTS,
    HISTORY_FILE,
    LOCK_FILE,
    MODEL_FILE,
    SETTINGS_FILE,
    TENSORBOARD,
)
from qup.training.strategies import ReplicaGroup

_log = logging.getLogger("qup")
_RECIPE_KEYS = ("optimizer", "learning_rate", "batch_size")
# Data is compared by its content.
_LOCATIONS = ("data_dir", "manual_dir", "images", "labels")


@dataclasses.dataclass(frozen=True)
class TrainRequest:
    """How a classifier is trained; what is None is left to the settings or to the method.

    Attributes:
      method: See `training.fit`, like all that follow except these.
      epsilon: Radius in units of [0, 1]; None for that of the settings.
      model_path: A file of a Keras model to train; None for a model of the settings.
      imports: Modules with its layers.
      trust_model: Whether the code of `imports` and of Lambda layers may run.
      pixel_range: The pixels that the model takes, such as "0,255"; None for 0,1.
      attack_command: The program that attacks, for the last line: "qup attack".
    """

    method: str = "pgd_at"
    epsilon: float | None = None
    norm: str = "linf"
    num_steps: int | None = None
    step_size: float | None = None
    beta: float | None = None
    num_replays: int | None = None
    warmup_epochs: float = 0.0
    schedule: str = "constant"
    augment: bool = False
    mixed_precision: str | bool = False
    num_robust_images: int = 256
    restore_best: bool = False
    model_path: str | None = None
    imports: tuple[str, ...] = ()
    trust_model: bool = False
    pixel_range: str | None = None
    attack_command: str = "qup attack"


def describe_training(config: Config, request: TrainRequest) -> dict[str, Any]:
    """Returns what a training is, as JSON values; the number of epochs is apart.

    Raises:
      InputError: A setting is invalid.
    """
    return _describe(config, _complete_request(config, request))


def _complete_request(config: Config, request: TrainRequest) -> TrainRequest:
    check_config(config)
    if len(config.training.epochs) != 1:
        raise errors.InputError(
            f"A training takes one number of epochs; got {list(config.training.epochs)}. Give "
            "--epochs=NUMBER."
        )
    if request.epsilon is None:
        request = dataclasses.replace(request, epsilon=float(config.attack.epsilon))
    return request


def run(
    config: Config, request: TrainRequest, strategy: tf.distribute.Strategy | None = None
) -> str:
    """Trains a classifier, or resumes its training.

    Args:
      config: The settings of qup/pipelines/defaults.py.
      request: How it is trained.
      strategy: That of several workers; None for that of the settings. The chief alone writes
        results, other workers write their checkpoints.

    Returns:
      The accuracies of each epoch, the paths of the results and the command that attacks the
      classifier, as text.

    Raises:
      InputError: A setting, the model or the data cannot be used, or the folder holds another
        training. A second call resumes.
    """
    request = _complete_request(config, request)
    group = ReplicaGroup(strategy or training.build_strategy(config.training.strategy))
    description = _describe(config, request)
    workdir = _get_workdir(config, request, description)
    data = datasets.load(
        config.dataset.name,
        scratch_dir=group.get_directory(workdir / "data"),
        **get_dataset_options(config),
    )
    options = LoadOptions(
        imports=request.imports,
        trust=request.trust_model,
        pixel_range=parse_pixel_range(request.pixel_range),
    )
    with group.scope():
        model = _load_model(config, request, data, options)
    recipe = Recipe() if request.model_path else Recipe(**build_recipe(config))
    if request.model_path:
        chosen = {k: v for k, v in config.training.items() if k in _RECIPE_KEYS and v is not None}
        recipe = dataclasses.replace(recipe, **chosen)
    if not group.is_chief:
        _fit(config, request, data, model, recipe, options, workdir, group)
        group.wait_for_all()
        return f"Worker {group.worker_index} has trained; the results are those of worker 0."
    created = _open_workdir(workdir, description)
    with files.lock_file(workdir / LOCK_FILE) as is_held:
        if not is_held:
            raise errors.InputError(
                f"Another process trains in {workdir}. Wait for it, or name another --workdir."
            )
        try:
            history = _fit(config, request, data, model, recipe, options, workdir, group)
        except errors.InputError:
            if created is not None:
                _remove_refused(workdir, created)
            raise
        saving.save_model(model, workdir / MODEL_FILE)
    _write_history(workdir / HISTORY_FILE, history)
    files.write_bytes(workdir / "curves.png", _plot_curves(history, request))
    group.wait_for_all()
    has_test_images = "train" in data.info.sizes
    return "\n".join(_format_report(config, request, history, workdir, has_test_images))


def _describe(config: Config, request: TrainRequest) -> dict[str, Any]:
    """Returns what a training is, as JSON values; the number of epochs is apart."""
    flat = json.loads(config.to_json_best_effort())
    settings = dataclasses.asdict(request)
    for key in ("attack_command", "imports", "trust_model"):
        settings.pop(key)
    if request.model_path is not None:
        settings["model_path"] = hashing.hash_file(_check_model_path(request.model_path))
    else:
        settings["model"] = get_model_options(config) | {"name": config.model.name}
    dataset = {k: v for k, v in flat["dataset"].items() if k not in _LOCATIONS}
    settings |= {f"dataset.{key}": value for key, value in dataset.items()}
    settings |= {key: flat["training"][key] for key in _RECIPE_KEYS}
    if config.dataset.images is not None:
        settings["images"] = hashing.hash_file(pathlib.Path(config.dataset.images).expanduser())
    settings["seed"] = config.seed
    if request.schedule != "constant":
        settings["epochs"] = config.training.epochs[0]
    return json.loads(json.dumps(settings))


def _check_model_path(text: str) -> pathlib.Path:
    path = pathlib.Path(text).expanduser()
    if not (path.is_file() and path.suffix in keras_files.SUFFIXES):
        raise errors.InputError(
            f"--model_path={text[:200]} must be a file that exists, "
            f"{', '.join(keras_files.SUFFIXES)}. Only Keras models can be trained."
        )
    return path


def _get_workdir(
    config: Config, request: TrainRequest, description: Mapping[str, Any]
) -> pathlib.Path:
    """Returns the folder of the results; equal settings have the same default."""
    if config.workdir is not None:
        files.check_local("workdir", config.workdir)
        return pathlib.Path(config.workdir).expanduser()
    name = pathlib.Path(request.model_path).stem if request.model_path else config.model.name
    digest = hashing.hash_json(dict(description))[:8]
    return pathlib.Path("runs") / f"{config.dataset.name}-{name}-{request.method}-{digest}"


def _open_workdir(
    workdir: pathlib.Path, description: Mapping[str, Any]
) -> list[pathlib.Path] | None:
    """Creates the folder of a training.

    Returns:
      The folders that did not exist, the deepest first; None if the training began before.

    Raises:
      InputError: It holds anything else than this training.
    """
    path = workdir / SETTINGS_FILE
    with files.wrap_os_errors(workdir):
        created = files.create_folder(workdir)
        others = [entry.name for entry in workdir.iterdir() if entry.name != "data"]
    if not path.exists():
        if others:
            raise errors.InputError(
                f"The workdir {workdir} has files of something else ({sorted(others)[0]}, ...). "
                "Name an empty or a new --workdir."
            )
        files.write_text(path, json.dumps(dict(description), indent=1))
        return created
    try:
        stored = json.loads(path.read_text("utf-8"))
        differences = [
            key for key in {**stored, **description} if stored.get(key) != description.get(key)
        ]
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise errors.InputError(f"{path} is damaged. Name a new --workdir.") from error
    if differences:
        key = differences[0]
        then, now = (errors.shorten(settings.get(key)) for settings in (stored, description))
        raise errors.InputError(
            f"The workdir {workdir} holds a training with other settings: {key} was {then}, now "
            f"{now}. Name another --workdir."
        )
    return None


def _remove_refused(workdir: pathlib.Path, created: Sequence[pathlib.Path]) -> None:
    """Removes the files of a training that was refused before it made a step, and empty folders.

    Args:
      workdir: Its folder, whose lock this process holds.
      created: The folders that did not exist before.
    """
    if any((workdir / CHECKPOINTS).glob("*.index")):
        return
    for name in (SETTINGS_FILE, CHECKPOINTS, TENSORBOARD, LOCK_FILE):
        files.remove_path(workdir / name)
    files.remove_empty_folders(created)


def _load_model(
    config: Config, request: TrainRequest, data: Dataset, options: LoadOptions
) -> keras.Model:
    """Returns the model of the settings, or the user's."""
    if request.model_path is None:
        if options != LoadOptions():
            raise errors.InputError(
                "--pixel_range, --import and --trust_model are for a model of your own. Add "
                "--model_path, or omit them."
            )
        return models.build(
            config.model.name, data.info, seed=config.seed, **get_model_options(config)
        )
    path = _check_model_path(request.model_path)
    model = user_models.load_user_model(path, options).model
    if not isinstance(model, keras.Model):
        raise errors.InputError(
            f"The model {keras_files.format_path(path)} has several outputs. Save a model with the "
            "output that is to be trained."
        )
    return model


def _fit(
    config: Config,
    request: TrainRequest,
    data: Dataset,
    model: keras.Model,
    recipe: Recipe,
    options: LoadOptions,
    workdir: pathlib.Path,
    group: ReplicaGroup,
) -> training.History:
    if "train" in data.info.sizes:
        images = data
    else:
        _log.info("The images have no training split: all %d are used.", data.get_size("test"))
        images = data.get_arrays("test")[:2]
    names = ("method", "epsilon", "norm", "num_steps", "step_size", "beta", "num_replays")
    names += ("warmup_epochs", "schedule", "augment", "mixed_precision", "num_robust_images")
    names += ("restore_best",)
    return training.fit(
        model,
        images,
        **{name: getattr(request, name) for name in names},
        epochs=config.training.epochs[0],
        optimizer=recipe.optimizer,
        learning_rate=recipe.learning_rate,
        batch_size=recipe.batch_size,
        pixel_range=options.pixel_range,
        seed=config.seed,
        checkpoint_dir=workdir / CHECKPOINTS,
        log_dir=workdir / TENSORBOARD,
        strategy=group.strategy,
    )


def _write_history(path: pathlib.Path, history: training.History) -> None:
    """Writes a row per epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["epoch", *history.history], lineterminator="\n")
    writer.writeheader()
    for epoch, metrics in history.epochs.items():
        writer.writerow(
            {"epoch": epoch, **{name: f"{value:.6g}" for name, value in metrics.items()}}
        )
    files.write_text(path, text.getvalue())


def _plot_curves(history: training.History, request: TrainRequest) -> bytes:
    """Returns a PNG file: clean and robust accuracy over the epochs."""
    styles = {
        "accuracy": ("training images, clean", plotting.BLUE, "--"),
        "val_accuracy": ("validation images, clean", plotting.BLUE, "-"),
        "robust_accuracy": ("training images, attacked", plotting.VERMILION, "--"),
        "val_robust_accuracy": ("validation images, attacked", plotting.VERMILION, "-"),
    }
    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    axis = figure.subplots()
    for name, (label, colour, style) in styles.items():
        if name in history.history:
            axis.plot(list(history.epochs), history.history[name], style, color=colour, label=label)
    epsilon = format_epsilon(request.epsilon)
    axis.set(xlabel="epoch", ylabel="accuracy, %", title=f"{request.method}, epsilon {epsilon}")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    plotting.limit_percent_axis(axis)
    plotting.tidy_axis(axis)
    plotting.add_legend_below(figure, [axis], ncols=2)
    return plotting.render_figure(figure, "png")


def _format_report(
    config: Config,
    request: TrainRequest,
    history: training.History,
    workdir: pathlib.Path,
    has_test_images: bool,
) -> list[str]:
    """Returns the lines of the table, the paths and the command."""
    columns = ("accuracy", "robust_accuracy", "val_accuracy", "val_robust_accuracy")
    lines = [f"{'epoch':>5}" + "".join(f"{name:>21}" for name in columns)]
    for epoch, metrics in history.epochs.items():
        values = (metrics.get(name) for name in columns)
        cells = "".join(f"{'' if v is None else f'{v:.2f}':>21}" for v in values)
        lines.append(f"{epoch:>5}{cells}")
    lines.append(
        f"Percent; robust: PGD of 10 steps, epsilon {format_epsilon(request.epsilon)} "
        f"({request.norm}), {request.num_robust_images} images at most."
    )
    if history.collapsed_epoch:
        lines.append(
            f"Catastrophic overfitting in epoch {history.collapsed_epoch}: the model has the "
            f"weights of epoch {history.best_epoch}."
        )
    elif request.restore_best and history.best_epoch:
        lines.append(f"The model has the weights of epoch {history.best_epoch}.")
    after = format_count(len(history.epochs), "epoch")
    lines += ["", f"Model       {workdir / MODEL_FILE} ({request.method}, {after})"]
    for title, name in (("History", HISTORY_FILE), ("Curves", "curves.png")):
        lines.append(f"{title:12}{workdir / name}")
    command = build_attack_command(config, request, workdir, has_test_images=has_test_images)
    title = "How robust it is:"
    if not has_test_images:
        title = "How robust it is, on images that it was not trained on:"
    return [*lines, "", title, f"    {command}"]


def build_attack_command(
    config: Config, request: TrainRequest, workdir: pathlib.Path, *, has_test_images: bool
) -> str:
    """Returns the command that attacks the trained model on images that it has not seen.

    Args:
      config: The settings.
      request: The request.
      workdir: Folder of the model.
      has_test_images: Whether the data set has a split of its own for training.
    """
    arguments = [f"--dataset={config.dataset.name}"]
    if not has_test_images:
        arguments = ["--images=TEST_IMAGES.npz"]
    elif config.dataset.images is not None:
        arguments = [f"--images={config.dataset.images}"]
        if config.dataset.labels is not None:
            arguments.append(f"--labels={config.dataset.labels}")
    for name in ("data_dir", "manual_dir"):
        if config.dataset[name] is not None:
            arguments.append(f"--{name}={config.dataset[name]}")
    arguments += [f"--model_path={workdir / MODEL_FILE}"]
    if request.pixel_range is not None:
        arguments.append(f"--pixel_range={request.pixel_range}")
    if request.imports:
        arguments += [f"--import={','.join(request.imports)}"]
    if request.trust_model:
        arguments.append("--trust_model")
    arguments.append(f"--epsilon={format_epsilon(request.epsilon)}")
    if request.norm != "linf":
        arguments.append(f"--norm={request.norm}")
    return f"{request.attack_command} {shlex.join(arguments)}"
