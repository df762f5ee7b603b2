"""Looks at every setting before the first stage."""

from typing import Any

from qup import attacks, augmentation, errors, models, nesting
from qup.attacks import losses
from qup.pipelines.settings import Config
from qup.translation import SCHEDULES


def check_config(config: Config) -> None:
    """Raises an InputError for any setting no stage could use.

    Everything is looked at before the first stage, so that hours of
    training do not end in a misspelt word.
    """
    if not config.training.epochs:
        raise errors.InputError("epochs is empty. Give one number, or several.")
    for epochs in config.training.epochs:
        _check_integer("epochs", epochs, least=1)
    for point in config.augmentation.points:
        _check_integer("augmentation.points", point, least=0)
    # The attacks' generators take a seed of 32 bits.
    _check_integer("seed", config.seed, least=0, below=2**31)
    flat = nesting.flatten(config)
    for key in _INTEGER_KEYS:
        if flat[key] is not None:
            _check_integer(key, flat[key], least=0 if key in _MAY_BE_ZERO_KEYS else 1)
    check_number = errors.check_number
    check_number("attack.epsilon", config.attack.epsilon, at_least=0, below=1e6)
    check_number("translator.l1_weight", config.translator.l1_weight, at_least=0)
    for key in _POSITIVE_KEYS:
        if flat[key] is not None:
            check_number(key, flat[key], above=0, below=1e6)
    check_number("translator.beta_1", config.translator.beta_1, at_least=0, below=1)
    if config.attack.restarts > 1 and not config.attack.random_start:
        raise errors.InputError(
            f"attack.restarts={config.attack.restarts} without "
            "attack.random_start would climb the same path again. Set "
            "--config.attack.random_start=true, or restarts=1."
        )
    _check_names(config)


_INTEGER_KEYS = (
    "attack.num_steps",
    "attack.restarts",
    "attack.batch_size",
    "attack.check_size",
    "attack.check_steps",
    "augmentation.num_steps",
    "augmentation.batch_size",
    "augmentation.num_images",
    "dataset.image_size",
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


def _check_integer(name: str, value: Any, *, least: int, below: int = 2**31):
    errors.check_number(name, value, at_least=least, below=below)
    if value != int(value):
        raise errors.InputError(f"{name} must be whole; got {value!r}.")


def _check_names(config: Config) -> None:
    models.get(config.model.name)
    attacks.get(config.attack.name)
    choices = (
        ("verify", config.verify, ("stat", "full")),
        ("attack.norm", config.attack.norm, attacks.traits(config.attack.name)["norms"]),
        ("attack.loss", config.attack.loss, losses.NAMES),
        ("attack.through", config.attack.through, augmentation.GRADIENT_PATHS),
        ("augmentation.loss", config.augmentation.loss, losses.NAMES),
        ("translator.schedule", config.translator.schedule, SCHEDULES),
        ("training.optimizer", config.training.optimizer, (None, "adam", "sgd", "rmsprop")),
        ("dataset.evaluation_split", config.dataset.evaluation_split, ("test", "validation")),
    )
    for key, value, known in choices:
        if value not in known:
            raise errors.make_unknown_error(f"value of {key}", value, known)
    if config.dataset.evaluation_split == "validation" and not config.dataset.validation_size:
        raise errors.InputError(
            "dataset.evaluation_split=validation needs images held out: "
            "give --config.dataset.validation_size as well."
        )
