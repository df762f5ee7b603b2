"""Which plug-ins enter the fingerprints of what components make.

A component that reaches a package of plug-ins by its imports depends on all
of them, unless it says which it uses.
"""

from collections.abc import Mapping
from typing import Any

from qup.orchestration.components import Chosen


def none(parameters: Mapping[str, Any]) -> Chosen:
    """Chooses no dataset and no attack: images and gradients alone."""
    return {"qup.datasets": [], "qup.attacks": []}


def attack(parameters: Mapping[str, Any]) -> Chosen:
    """Chooses the attack that the parameter `attack` names."""
    return {"qup.datasets": [], "qup.attacks": [parameters["attack"]["name"]]}
