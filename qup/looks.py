"""Looks at a classifier: the attacks that one group of settings asks for.

Beside the attack as configured, the same with the pixel clip the other way
(the paper does not say which it used), and a stronger check. Settings of an
attack are a mapping with the keys of the group `attack` of
configs/defaults.py.

```python
for look in looks(settings):
    attack = bound(look.options, seed=0)
```
"""

import inspect
from collections.abc import Mapping
from typing import Any, NamedTuple

from qup import attacks
from qup.types import Attack, Bounds

_ATTACK_OPTIONS = ("norm", "loss", "num_steps", "step_size", "random_start", "restarts")


class AttackCondition(NamedTuple):
    """One attack on one part of the images.

    Attributes:
      title: For a log.
      options: Name, epsilon and options, as a row tells them.
      max_images: Only the first that many images; None for all.
    """

    title: str
    options: dict[str, Any]
    max_images: int | None


def build_attack_options(settings: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Returns the attack's name, epsilon and options, as a row tells them.

    Args:
      settings: Those of the attack.
      **changes: Settings to take instead.
    """
    attack_settings = {**settings, **changes}
    accepted = _get_parameters(attack_settings["name"])
    chosen = {key: attack_settings[key] for key in _ATTACK_OPTIONS if key in accepted}
    if "step_size" in chosen and chosen["step_size"] is None:
        chosen["step_size"] = attack_settings["epsilon"] / attack_settings["num_steps"]
    if has_pixel_bounds(attack_settings):
        chosen["pixel_clip"] = attack_settings["pixel_clip"]
    name_and_epsilon = {
        "name": attack_settings["name"],
        "epsilon": float(attack_settings["epsilon"]),
    }
    return {**name_and_epsilon, **chosen}


def _get_parameters(name: str) -> Mapping[str, Any]:
    return inspect.signature(attacks.get(name)).parameters


def has_pixel_bounds(settings: Mapping[str, Any]) -> bool:
    """Says whether the attack takes a pixel box at all."""
    return "bounds" in _get_parameters(settings["name"])


def get_pixel_bounds(pixel_clip: bool) -> Bounds:
    """Returns the pixel box, or None without clip."""
    return (0.0, 1.0) if pixel_clip else None


def bind_attack(options: Mapping[str, Any], *, seed: int) -> Attack:
    """Returns the attack with options of the form `build_attack_options` returns."""
    arguments = {**options, "seed": seed}
    name = arguments.pop("name")
    arguments["bounds"] = get_pixel_bounds(arguments.pop("pixel_clip", True))
    accepted = _get_parameters(name)
    return attacks.bind(name, **{key: value for key, value in arguments.items() if key in accepted})


def build_trajectory_options(settings: Mapping[str, Any], *, pixel_clip: bool) -> dict[str, Any]:
    """Returns the options on X_n: its ball round X_n, the box if X_n has it.

    Args:
      settings: Those of the attack.
      pixel_clip: Whether the walk clips.
    """
    clip = bool(settings["pixel_clip"] and pixel_clip)
    return build_attack_options(settings, pixel_clip=clip)


def build_attack_conditions(settings: Mapping[str, Any]) -> list[AttackCondition]:
    """Returns the looks that the settings of an attack ask for."""
    name, clip = settings["name"], settings["pixel_clip"]
    clip_titles = {True: "with pixel clip", False: "without pixel clip"}
    conditions = [
        AttackCondition(
            f"{name} {clip_titles[clip_on]}",
            build_attack_options(settings, pixel_clip=clip_on),
            None,
        )
        for clip_on in ((clip, not clip) if has_pixel_bounds(settings) else (clip,))
    ]
    steps = settings["check_steps"]
    if steps and "random_start" in build_attack_options(settings):
        stronger = build_attack_options(
            settings,
            num_steps=steps,
            step_size=2.5 * settings["epsilon"] / steps,
            random_start=True,
        )
        conditions.append(
            AttackCondition(f"{name} of {steps} steps", stronger, settings["check_size"])
        )
    return conditions
