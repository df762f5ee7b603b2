"""From settings to attacks, and to the parameters their rows carry."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from qup import attacks, opposite_fgsm
from qup.pipelines import settings
from qup.types import Attack, Batch


def options(config: settings.Config, **changes: Any) -> dict[str, Any]:
    """Returns the attack's keyword arguments, as parameters of a row."""
    attack = {**config.attack, **changes}
    chosen = {key: attack[key] for key in ("norm", "loss", "pixel_clip")}
    if config.attack.name != "fgsm":
        keys = ("num_steps", "step_size", "random_start", "restarts")
        chosen |= {key: attack[key] for key in keys}
        if chosen["step_size"] is None:
            steps = attack["num_steps"]
            chosen["step_size"] = attack["epsilon"] / steps
    return chosen


def bound(config: settings.Config, chosen: Mapping[str, Any]) -> Attack:
    """Returns the attack with `chosen`, of the form `options` returns."""
    arguments = dict(chosen)
    box = settings.bounds(arguments.pop("pixel_clip"))
    if "random_start" in chosen:
        arguments["seed"] = config.seed
    return attacks.bind(
        config.attack.name,
        epsilon=config.attack.epsilon,
        bounds=box,
        **arguments,
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
