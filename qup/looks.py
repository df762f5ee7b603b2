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

_OPTIONS = (
    "norm", "loss", "num_steps", "step_size", "random_start", "restarts",
)  # fmt: skip


class Look(NamedTuple):
    """One attack on one part of the images.

    Attributes:
      title: For a log.
      options: Name, epsilon and options, as a row tells them.
      limit: Only the first that many images; None for all.
    """

    title: str
    options: dict[str, Any]
    limit: int | None


def options(settings: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Returns the attack's name, epsilon and options, as a row tells them.

    Args:
      settings: Those of the attack.
      **changes: Settings to take instead.
    """
    attack = {**settings, **changes}
    taken = _taken(attack["name"])
    chosen = {key: attack[key] for key in _OPTIONS if key in taken}
    if "step_size" in chosen and chosen["step_size"] is None:
        chosen["step_size"] = attack["epsilon"] / attack["num_steps"]
    if clips(attack):
        chosen["pixel_clip"] = attack["pixel_clip"]
    named = {"name": attack["name"], "epsilon": float(attack["epsilon"])}
    return {**named, **chosen}


def _taken(name: str) -> Mapping[str, Any]:
    return inspect.signature(attacks.get(name)).parameters


def clips(settings: Mapping[str, Any]) -> bool:
    """Says whether the attack takes a pixel box at all."""
    return "bounds" in _taken(settings["name"])


def box(pixel_clip: bool) -> Bounds:
    """Returns the pixel box, or None without clip."""
    return (0.0, 1.0) if pixel_clip else None


def bound(chosen: Mapping[str, Any], *, seed: int) -> Attack:
    """Returns the attack with options of the form `options` returns."""
    arguments = {**chosen, "seed": seed}
    name = arguments.pop("name")
    arguments["bounds"] = box(arguments.pop("pixel_clip", True))
    taken = _taken(name)
    return attacks.bind(
        name, **{key: value for key, value in arguments.items() if key in taken}
    )


def on_trajectory(
    settings: Mapping[str, Any], *, pixel_clip: bool
) -> dict[str, Any]:
    """Returns the options on X_n: its ball round X_n, the box if X_n has it.

    Args:
      settings: Those of the attack.
      pixel_clip: Whether the walk clips.
    """
    clip = bool(settings["pixel_clip"] and pixel_clip)
    return options(settings, pixel_clip=clip)


def looks(settings: Mapping[str, Any]) -> list[Look]:
    """Returns the looks that the settings of an attack ask for."""
    name, clip = settings["name"], settings["pixel_clip"]
    words = {True: "with pixel clip", False: "without pixel clip"}
    found = [
        Look(f"{name} {words[on]}", options(settings, pixel_clip=on), None)
        for on in ((clip, not clip) if clips(settings) else (clip,))
    ]
    steps = settings["check_steps"]
    if steps and "random_start" in options(settings):
        stronger = options(
            settings,
            num_steps=steps,
            step_size=2.5 * settings["epsilon"] / steps,
            random_start=True,
        )
        found.append(
            Look(f"{name} of {steps} steps", stronger, settings["check_size"])
        )
    return found
