# The types of qup.attacks. The overloads of `run` stand here, because in the runner they would
# belong to the fingerprint of everything that imports it.

from collections.abc import Callable, Sequence
from typing import Any, overload

from qup.attacks.inputs import check_batch as check_batch
from qup.attacks.inputs import check_number as check_number
from qup.attacks.inputs import validate_bounds as validate_bounds
from qup.attacks.method import Count as Count
from qup.attacks.method import Examples as Examples
from qup.attacks.method import Method as Method
from qup.attacks.method import QueryCounter as QueryCounter
from qup.attacks.method import State as State
from qup.attacks.method import adversarial as adversarial
from qup.attacks.method import clip as clip
from qup.attacks.method import compile_repeated_step as compile_repeated_step
from qup.attacks.method import get_box_width as get_box_width
from qup.attacks.registry import bind as bind
from qup.attacks.registry import build_method as build_method
from qup.attacks.registry import conjugate as conjugate
from qup.attacks.registry import get as get
from qup.attacks.registry import get_norm as get_norm
from qup.attacks.registry import names as names
from qup.attacks.registry import register as register
from qup.attacks.registry import traits as traits
from qup.attacks.results import AttackResult as AttackResult
from qup.attacks.runner import minimal_epsilon as minimal_epsilon
from qup.core.parts import Part
from qup.core.types import LogitsFn

@overload
def run(
    attack: str | Callable,
    logits_fn: LogitsFn,
    images: Any,
    labels: Any = None,
    *,
    part: Part,
    **options: Any,
) -> None: ...
@overload
def run(
    attack: str | Callable,
    logits_fn: LogitsFn,
    images: Any,
    labels: Any = None,
    *,
    epsilons: None = None,
    **options: Any,
) -> AttackResult: ...
@overload
def run(
    attack: str | Callable,
    logits_fn: LogitsFn,
    images: Any,
    labels: Any = None,
    *,
    epsilons: Sequence[float],
    **options: Any,
) -> list[AttackResult]: ...
