"""The request of `qup attack`, with checked options of attacks.

```python
parse_options(("pgd.num_steps=100", "pgd.random_start=true"))
# {"pgd": {"num_steps": 100, "random_start": True}}
```
"""

import ast
import dataclasses
import inspect
import logging
import math
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from qup import attacks
from qup.attacks import losses
from qup.core import errors, hashing, norms
from qup.core.numbers import format_epsilon
from qup.models import keras_files, user_models
from qup.models.saved_model import DEFAULT_SIGNATURE
from qup.models.user_models import LoadOptions
from qup.robustness.report.protocol import (
    STANDARD,
    STANDARD_NORMS,
    PlannedAttack,
    check_unit_range,
    choose_norm_option,
    plan_standard,
)

_log = logging.getLogger("qup")
# Options that are set for all attacks together, and how.
_GLOBAL_OPTIONS = {"seed": "--seed", "ids": "the images' places in their split"}
# Attacks compute with int32 and float32.
_INTEGER_LIMIT = 2**31
_MAX_FLOAT = 3.4e38
_BOOLS = {"true": True, "false": False}
_TARGETS = (*losses.TARGET_CHOICES, "all")


def parse_options(texts: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Returns the options of each attack, from texts attack.option=value.

    The types are those of the attacks' annotations.

    Raises:
      InputError: An attack, an option or a value is unknown or invalid.
    """
    options: dict[str, dict[str, Any]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        name, dot, option = key.strip().partition(".")
        if not (equals and dot and option):
            raise errors.InputError(
                f"--options takes attack.option=value, such as pgd.num_steps=100; received "
                f"{text[:40]!r}."
            )
        option_type = _get_option_type(name, option)
        value = _parse_value(f"{name}.{option}", value.strip(), option_type)
        options.setdefault(name, {})[option] = value
    return options


def check_options(name: str, options: dict[str, Any]) -> None:
    """Raises an InputError if the attack does not accept the options."""
    keyword_options = {key: value for key, value in options.items() if key != "targets"}
    attacks.bind(name, **keyword_options)
    if attacks.traits(name)["method"]:
        attacks.build_method(name, **keyword_options)
        return
    if "norm" in keyword_options:
        norms.check_norm(keyword_options["norm"], attacks.traits(name)["norms"])
    if "epsilon" in keyword_options:
        errors.check_number("epsilon", keyword_options["epsilon"], at_least=0)
    for option, value in keyword_options.items():
        if option.startswith("num_"):
            errors.check_number(f"{name}.{option}", value, at_least=1)


def _get_option_type(name: str, option: str) -> Any:
    """Returns the annotation of an attack's option."""
    known = dict(inspect.signature(attacks.get(name)).parameters)
    is_targeted = attacks.traits(name)["targeted"]
    if option in _GLOBAL_OPTIONS:
        raise errors.InputError(
            f"--options={name}.{option} cannot be set for one attack. It is set for all attacks "
            f"by {_GLOBAL_OPTIONS[option]}."
        )
    if option == "targeted" and is_targeted:
        raise errors.InputError(
            f"--options={name}.targeted would use the true classes as targets. "
            f"Set {name}.targets to one of: {', '.join(_TARGETS)}."
        )
    if option == "targets":
        if not is_targeted:
            raise errors.InputError(
                f"--options={name}.targets: {name} has no targeted form. "
                f"Targeted attacks: {', '.join(_list_targeted())}."
            )
        return _TARGETS
    if option not in list(known)[3:]:
        raise errors.make_unknown_error(f"option of {name}", option, list(known)[3:])
    return known[option].annotation


def _list_targeted() -> list[str]:
    names = attacks.names()
    return [name for name in names if attacks.traits(name)["targeted"]]


def _parse_value(key: str, text: str, option_type: Any) -> Any:
    """Returns a text as a value of a type."""
    if option_type is _TARGETS:
        if text not in _TARGETS:
            raise errors.make_unknown_error(key, text, _TARGETS)
        return text
    literal = _parse_literal(text)
    if option_type is str:
        return literal if isinstance(literal, str) else text
    if option_type is bool:
        literal = _BOOLS.get(text.lower(), literal)
        _require(isinstance(literal, bool), key, "true or false", text)
        return literal
    option_types = get_args(option_type) or (option_type,)
    if literal is None and type(None) in option_types:
        return None
    is_number = isinstance(literal, int | float) and not isinstance(literal, bool)
    is_number = is_number and _is_finite(literal)
    if int in option_types or attacks.Count in option_types:
        is_integer = is_number and literal == int(literal) and abs(literal) < _INTEGER_LIMIT
        _require(is_integer, key, f"an integer below {_INTEGER_LIMIT:,}", text)
        return int(literal)
    if float in option_types:
        is_float = is_number and abs(literal) <= _MAX_FLOAT
        _require(is_float, key, "a finite number that float32 can hold", text)
        return float(literal)
    return literal


def _is_finite(number: float) -> bool:
    """Returns whether a number is finite; False for an integer that no float can hold."""
    try:
        return math.isfinite(number)
    except OverflowError:
        return False


def _parse_literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _require(condition: bool, key: str, expected: str, text: str) -> None:
    if not condition:
        raise errors.InputError(f"--options={key} must be {expected}; received {text[:40]!r}.")


@dataclasses.dataclass(frozen=True)
class AttackRequest:
    """Which attacks, on which classifier.

    Attributes:
      attacks: Names of attacks; "standard" for the protocol of `robustness.report`.
      options: Texts attack.option=value.
      epsilons: Budgets in units of [0, 1], increasing; empty for that of the settings.
      norm: Norm of the budgets and distances; None for the default of each attack.
      num_images: Number of images, from the first; 0 for all.
      model_path: A file of a Keras model to attack; None for a model of the settings.
      saved_model: Folder of a SavedModel to attack, or None.
      signature: The SavedModel's signature; None for serving_default.
      output: The model's output with the logits; None for "logits", or for the only one.
      imports: Modules with the layers of the Keras model.
      trust_model: Whether the code of `imports` and of Lambda layers may run.
      pixel_range: The pixels that the model takes, such as "0,255"; None for 0,1.
      class_names: Names of the classes, on the page and in its files; empty for those of the data.
      batch_size: Images per batch.
      fixed_batch: See `attacks.run`; parts need it.
      precision: "float32" or "bfloat16", of the attacked model.
      save_images: Save the attacked images.
      conjugates: Plot the paper's Table 4.
      diagnose: Check for signs of masked gradients; the standard protocol always does.
      command: The command that makes the same request, for the page; "" for none.
    """

    attacks: tuple[str, ...]
    options: tuple[str, ...] = ()
    epsilons: tuple[float, ...] = ()
    norm: str | None = None
    num_images: int = 1000
    model_path: str | None = None
    saved_model: str | None = None
    signature: str | None = None
    output: str | None = None
    imports: tuple[str, ...] = ()
    trust_model: bool = False
    pixel_range: str | None = None
    class_names: tuple[str, ...] = ()
    batch_size: int = 128
    fixed_batch: bool = False
    precision: str = "float32"
    save_images: bool = False
    conjugates: bool = False
    diagnose: bool = False
    command: str = ""

    @property
    def is_standard(self) -> bool:
        """Whether the standard protocol is among the attacks."""
        return STANDARD in self.attacks

    @property
    def searches_masking(self) -> bool:
        """Whether to check for signs of masked gradients."""
        return self.diagnose or self.is_standard

    def check(self) -> None:
        """Raises an InputError if the request is invalid."""
        if not (self.attacks or self.conjugates or self.diagnose):
            raise errors.InputError(
                "Name one or more attacks: --attack=NAME[,NAME...]. Known: "
                f"{', '.join(attacks.names())}."
            )
        if len(set(self.attacks)) < len(self.attacks):
            raise errors.InputError(f"--attack={','.join(self.attacks)} names an attack twice.")
        self.check_model_source()
        self.build_load_options()
        errors.check_number("num_images", self.num_images, at_least=0)
        errors.check_number("batch_size", self.batch_size, at_least=1)

    def build_attack_specs(self, epsilon: float, norm: str = "linf") -> list[dict[str, Any]]:
        """Returns name, options and budget of each attack: "epsilon", or "epsilons" for several.

        Args:
          epsilon: The budget of the settings, for a request without one.
          norm: The norm of that budget.

        Raises:
          InputError: An attack, an option or a value is unknown or invalid.
        """
        options_by_attack = parse_options(self.options)
        attack_specs = []
        for planned in self._plan_attacks(epsilon, norm):
            name = planned.name
            if name in [spec["name"] for spec in attack_specs]:
                raise errors.InputError(
                    f"--attack={','.join(self.attacks)} names {name} twice: the standard protocol "
                    "contains it. Name it alone, or the standard protocol alone."
                )
            options = {**planned.options, **options_by_attack.pop(name, {})}
            budgets = list(planned.epsilons)
            if attacks.traits(name)["kind"] == "budget":
                budgets, options = self._choose_budgets(name, budgets, options, epsilon, norm)
            budget = {} if not budgets else {"epsilon": budgets[0]}
            check_options(name, budget | options)
            if len(budgets) > 1:
                budget = {"epsilons": budgets}
            attack_specs.append({"name": name, **budget, **options})
        for name in options_by_attack:
            raise errors.InputError(
                f"--options sets an option of {name}, which is not among "
                f"--attack={','.join(self.attacks)}."
            )
        self._check_epsilon_use()
        return attack_specs

    def _plan_attacks(self, epsilon: float, norm: str) -> Iterator[PlannedAttack]:
        """Yields the attacks, those of the standard protocol with their budgets."""
        for name in self.attacks:
            if name == STANDARD:
                budgets = [e for e in self.epsilons or (epsilon,) if e > 0]
                if not budgets:
                    raise errors.InputError(
                        "--attack=standard needs an epsilon above 0, such as --epsilon=8/255."
                    )
                standard_norm = self.norm or norm
                norms.check_norm(standard_norm, STANDARD_NORMS)
                self._check_budget_norm("The standard protocol", standard_norm, norm)
                for budget in budgets:
                    check_unit_range(standard_norm, budget, "The standard protocol")
                yield from plan_standard(budgets, standard_norm)
            else:
                options = {} if self.norm is None else choose_norm_option(name, self.norm)
                yield PlannedAttack(name, (), options)

    def _choose_budgets(
        self, name: str, budgets: list[float], options: dict[str, Any], epsilon: float, norm: str
    ) -> tuple[list[float], dict[str, Any]]:
        """Returns the budgets of an attack in its norm, and the options without "epsilon"."""
        attack_norm = attacks.get_norm(name, options)
        norms.check_norm(attack_norm, attacks.traits(name)["norms"])
        if "epsilon" in options:
            options = dict(options)
            budgets = [options.pop("epsilon")]
        elif not budgets and self.epsilons:
            budgets = list(self.epsilons)
        elif not budgets:
            self._check_budget_norm(name, attack_norm, norm, epsilon)
            budgets = [epsilon]
        for budget in budgets:
            errors.check_number("epsilon", budget, at_least=0)
            check_unit_range(attack_norm, budget, name)
        return budgets, options

    def _check_budget_norm(
        self, name: str, attack_norm: str, norm: str, epsilon: float | None = None
    ) -> None:
        """Raises an InputError if the default budget is in another norm than the attack."""
        if attack_norm == norm or self.epsilons:
            return
        advice = "Set --epsilon=NUMBER"
        default = "the default"
        if epsilon is not None:
            default += f", {epsilon:g},"
            advice += f" or --options={name}.epsilon=NUMBER"
        raise errors.InputError(
            f"{name} in {attack_norm} needs an explicit budget: {default} is in {norm}. {advice}."
        )

    def _check_epsilon_use(self) -> None:
        """Raises an InputError if no attack uses --epsilon; warns if some do not."""
        if not self.epsilons:
            return
        for epsilon in self.epsilons:
            errors.check_number("epsilon", epsilon, at_least=0)
        idle = [n for n in self.attacks if n != STANDARD and attacks.traits(n)["kind"] != "budget"]
        if not idle:
            return
        text = ",".join(format_epsilon(epsilon) for epsilon in self.epsilons)
        message = (
            f"--epsilon={text} is for attacks with a budget; it is not used by {', '.join(idle)}, "
            "with the distance as the goal."
        )
        if len(idle) < len(self.attacks) or self.conjugates or self.searches_masking:
            _log.warning("%s", message)
            return
        raise errors.InputError(
            f"{message} Omit it; or, for fab and fab_t, set the distance of a success with "
            "--options=fab.epsilon=NUMBER."
        )

    def check_model_source(self) -> pathlib.Path | None:
        """Returns the file or folder of the user's model, or None.

        Raises:
          InputError: It does not exist, or has another format.
        """
        if self.model_path is not None and self.saved_model is not None:
            raise errors.InputError("Give --model_path or --saved_model, not both.")
        for flag, value in (("model_path", self.model_path), ("saved_model", self.saved_model)):
            if value is not None and not value.strip():
                raise errors.InputError(f"--{flag} is empty. Name the model, or omit the flag.")
        if self.model_path is not None:
            path = pathlib.Path(self.model_path).expanduser()
            if not (path.is_file() and path.suffix in keras_files.SUFFIXES):
                raise errors.InputError(
                    f"--model_path={self.model_path[:200]} must be a file that exists, "
                    f"{', '.join(keras_files.SUFFIXES)}. The folder of a SavedModel is "
                    "--saved_model."
                )
            return path
        if self.saved_model is not None:
            path = pathlib.Path(self.saved_model).expanduser()
            if not (path / "saved_model.pb").is_file():
                raise errors.InputError(
                    f"--saved_model={self.saved_model[:200]} must be a folder that contains "
                    "saved_model.pb."
                )
            return path
        return None

    def build_load_options(self) -> LoadOptions:
        """Returns how the user's model is read.

        Raises:
          InputError: An option is invalid, or does not apply.
        """
        flags = {
            "signature": self.signature,
            "output": self.output,
            "import": self.imports or None,
            "trust_model": self.trust_model or None,
            "pixel_range": self.pixel_range,
        }
        given = [f"--{flag}" for flag, value in flags.items() if value is not None]
        if given and self.model_path is None and self.saved_model is None:
            raise errors.InputError(
                f"{', '.join(given)}: for a model of your own. Add --model_path or --saved_model."
            )
        if self.signature is not None and self.saved_model is None:
            raise errors.InputError("--signature is for a SavedModel. Omit it with --model_path.")
        if self.imports and self.model_path is None:
            raise errors.InputError(
                "--import is for the layers of a Keras file. A SavedModel needs none: omit it."
            )
        return LoadOptions(
            signature=self.signature or DEFAULT_SIGNATURE,
            output=self.output,
            imports=self.imports,
            trust=self.trust_model,
            pixel_range=parse_pixel_range(self.pixel_range),
        )


def parse_pixel_range(text: str | None) -> tuple[float, float] | None:
    """Returns the range of a text such as "0,255"; None for None.

    Raises:
      InputError: It is not two increasing numbers.
    """
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise errors.InputError(
            "--pixel_range takes the lowest and the highest pixel, such as 0,255 or -1,1; received "
            f"{text[:40]!r}."
        )
    return low, high


def hash_model_files(path: pathlib.Path, options: LoadOptions | None = None) -> str:
    """Returns SHA-256, in hex, of a user's model: its files, and how they are read.

    Args:
      path: A file, or a folder whose files all count.
      options: How it is read; what differs from the defaults counts, with the code of imported
        modules.

    Raises:
      InputError: A module cannot be imported, or is not trusted.
    """
    file_paths = sorted(p for p in path.rglob("*") if p.is_file()) or [path]
    parts: list[str | bytes] = []
    for file_path in file_paths:
        parts.append(file_path.relative_to(path).as_posix())
        parts.append(bytes.fromhex(hashing.hash_file(file_path)))
    differences = options.list_differences() if options else {}
    if differences:
        parts.append(hashing.dump_canonical_json(differences))
        user_models.check_trust(options)
        for module_path in user_models.find_module_files(options.imports):
            parts.append(bytes.fromhex(hashing.hash_file(module_path)))
    return hashing.hash_parts(parts)
