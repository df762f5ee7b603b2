"""Looks at every setting before the first stage."""

from typing import Any

from qup import attacks, augmentation, errors, models, nesting
from qup.attacks import losses
from qup.pipelines.settings import Config
from qup.translation import SCHEDULES


def check(config: Config) -> None:
    """Raises an InputError for any setting no stage could use.

    Everything is looked at before the first stage, so that hours of
    training do not end in a misspelt word.
    """
    if not config.training.epochs:
        raise errors.InputError("epochs is empty. Give one number, or several.")
    for epochs in config.training.epochs:
        _whole("epochs", epochs, least=1)
    for point in config.augmentation.points:
        _whole("augmentation.points", point, least=0)
    # The attacks' generators take a seed of 32 bits.
    _whole("seed", config.seed, least=0, below=2**31)
    flat = nesting.flatten(config)
    for key in _WHOLE:
        if flat[key] is not None:
            _whole(key, flat[key], least=0 if key in _MAY_BE_ZERO else 1)
    number = errors.check_number
    number("attack.epsilon", config.attack.epsilon, least=0, below=1e6)
    number("translator.l1_weight", config.translator.l1_weight, least=0)
    for key in _POSITIVE:
        if flat[key] is not None:
            number(key, flat[key], above=0, below=1e6)
    number("translator.beta_1", config.translator.beta_1, least=0, below=1)
    if config.attack.restarts > 1 and not config.attack.random_start:
        raise errors.InputError(
            f"attack.restarts={config.attack.restarts} without "
            "attack.random_start would climb the same path again. Set "
            "--config.attack.random_start=true, or restarts=1."
        )
    _check_names(config)


_WHOLE = (
    "attack.num_steps", "attack.restarts", "attack.batch_size",
    "attack.check_size", "attack.check_steps", "augmentation.num_steps",
    "augmentation.batch_size", "augmentation.num_images",
    "dataset.image_size", "dataset.train_size", "dataset.test_size",
    "dataset.validation_size", "training.batch_size", "translator.epochs",
    "translator.width", "translator.batch_size",
)  # fmt: skip
_MAY_BE_ZERO = ("attack.check_steps", "dataset.validation_size")
_POSITIVE = (
    "attack.step_size", "augmentation.step_size", "model.width",
    "training.learning_rate", "translator.learning_rate",
)  # fmt: skip


def _whole(name: str, value: Any, *, least: int, below: int = 2**31):
    errors.check_number(name, value, least=least, below=below)
    if value != int(value):
        raise errors.InputError(f"{name} must be whole; got {value!r}.")


def _check_names(config: Config) -> None:
    models.get(config.model.name)
    attacks.get(config.attack.name)
    choices = (
        ("verify", config.verify, ("stat", "full")),
        (
            "attack.norm",
            config.attack.norm,
            attacks.traits(config.attack.name)["norms"],
        ),
        ("attack.loss", config.attack.loss, losses.NAMES),
        ("attack.through", config.attack.through, augmentation.THROUGH),
        ("augmentation.loss", config.augmentation.loss, losses.NAMES),
        ("translator.schedule", config.translator.schedule, SCHEDULES),
        (
            "training.optimizer",
            config.training.optimizer,
            (None, "adam", "sgd", "rmsprop"),
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
