"""From settings to attacks, and to the parameters their rows carry."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from qup import attacks, opposite_fgsm
from qup.pipelines import settings
from qup.types import Attack, Batch


def options(config: settings.Config, **changes: Any) -> dict[str, Any]:
    """Returns the attack's keyword arguments, as parameters of a row.

    Of the settings, those that the attack takes.
    """
    attack = {**config.attack, **changes}
    chosen = {key: attack[key] for key in _OPTIONS if key in _taken(config)}
    if "step_size" in chosen and chosen["step_size"] is None:
        chosen["step_size"] = attack["epsilon"] / attack["num_steps"]
    if clips(config):
        chosen["pixel_clip"] = attack["pixel_clip"]
    return chosen


_OPTIONS = (
    "norm", "loss", "num_steps", "step_size", "random_start", "restarts",
)  # fmt: skip


def _taken(config: settings.Config) -> Mapping[str, Any]:
    return inspect.signature(attacks.get(config.attack.name)).parameters


def clips(config: settings.Config) -> bool:
    """Says whether the attack takes a pixel box at all."""
    return "bounds" in _taken(config)


def bound(config: settings.Config, chosen: Mapping[str, Any]) -> Attack:
    """Returns the attack with `chosen`, of the form `options` returns."""
    arguments = dict(chosen)
    arguments["bounds"] = settings.bounds(arguments.pop("pixel_clip", True))
    arguments |= {"epsilon": config.attack.epsilon, "seed": config.seed}
    taken = _taken(config)
    return attacks.bind(
        config.attack.name,
        **{key: value for key, value in arguments.items() if key in taken},
    )


def on_trajectory(config: settings.Config) -> Attack:
    """Returns the attack on X_n: its ball round X_n, the box if X_n has it."""
    clip = config.attack.pixel_clip and config.augmentation.pixel_clip
    return bound(config, options(config, pixel_clip=clip))


def walked(
    config: settings.Config, classifier: keras.Model, batch: Batch
) -> tf.Tensor:
    """Returns X_N of a batch, by the walk of the settings."""
    options = settings.walk_options(config)
    keys = ("num_steps", "step_size", "bounds", "loss")
    return opposite_fgsm.walk(
        classifier,
        batch["image"],
        batch["label"],
        **{key: options[key] for key in keys},
    )
