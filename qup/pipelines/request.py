"""What is asked of `bin.run_attack`, checked."""

import dataclasses
import logging
import pathlib
from typing import Any

from qup import attacks, errors, norms
from qup.core import hashing
from qup.pipelines import attack_options

_log = logging.getLogger("qup")


@dataclasses.dataclass(frozen=True)
class AttackRequest:
    """Which attacks, on which classifier.

    Attributes:
      attacks: Their names.
      options: Texts attack.option=value.
      epsilon: Budget; None for the settings' own.
      num_images: How many images; 0 for all.
      model_path: A .keras file to attack, or None.
      saved_model: A SavedModel to attack, or None.
      batch_size: Images a batch.
      precision: "float32" or "bfloat16".
      save_images: Keep the attacked images.
      conjugates: Draw the paper's Table 4.
      diagnose: Look for signs of masked gradients.
    """

    attacks: tuple[str, ...]
    options: tuple[str, ...] = ()
    epsilon: float | None = None
    num_images: int = 1000
    model_path: str | None = None
    saved_model: str | None = None
    batch_size: int = 128
    precision: str = "float32"
    save_images: bool = False
    conjugates: bool = False
    diagnose: bool = False

    def check(self) -> None:
        """Raises an InputError for a request that cannot be met."""
        if not (self.attacks or self.conjugates or self.diagnose):
            raise errors.InputError(
                "Name one or more attacks: --attack=NAME[,NAME...]. Known: "
                f"{', '.join(attacks.names())}."
            )
        if len(set(self.attacks)) < len(self.attacks):
            raise errors.InputError(f"--attack={','.join(self.attacks)} names an attack twice.")
        if self.model_path and self.saved_model:
            raise errors.InputError("Give --model_path or --saved_model, not both.")
        errors.check_number("num_images", self.num_images, at_least=0)
        errors.check_number("batch_size", self.batch_size, at_least=1)

    def build_attack_specs(self, epsilon: float, norm: str = "linf") -> list[dict[str, Any]]:
        """Returns name, epsilon and options of each attack.

        Args:
          epsilon: The budget where the request names none.
          norm: What that budget is measured in.

        Raises:
          InputError: An attack, an option or a value that is none.
        """
        options_by_attack = attack_options.parse_options(self.options)
        attack_specs = []
        for name in self.attacks:
            options = options_by_attack.pop(name, {})
            if attacks.traits(name)["kind"] == "budget":
                options = self._add_budget(name, options, epsilon, norm)
            attack_options.check_options(name, options)
            attack_specs.append({"name": name, **options})
        for name in options_by_attack:
            raise errors.InputError(
                f"--options sets an option of {name}, which is not among "
                f"--attack={','.join(self.attacks)}."
            )
        self._check_epsilon_use()
        return attack_specs

    def _add_budget(
        self, name: str, options: dict[str, Any], epsilon: float, norm: str
    ) -> dict[str, Any]:
        """Returns the options with a budget in the attack's own norm."""
        attack_norm = attack_options.get_attack_norm(name, options)
        norms.check_norm(attack_norm, attacks.traits(name)["norms"])
        if self.epsilon is not None:
            epsilon, norm = self.epsilon, attack_norm
        if "epsilon" not in options and attack_norm != norm:
            raise errors.InputError(
                f"{name} in {attack_norm} needs a budget of its own: the default, "
                f"{epsilon:g}, is one in {norm}. Give --epsilon=NUMBER or "
                f"--options={name}.epsilon=NUMBER."
            )
        options = {"epsilon": epsilon, **options}
        if attack_norm == "linf" and options["epsilon"] > 1:
            raise errors.InputError(
                f"{name}: epsilon must be in units of [0, 1], the pixels' "
                f"range; got {options['epsilon']:g}. Divide by 255 what is "
                "meant in steps of bytes."
            )
        return options

    def _check_epsilon_use(self) -> None:
        """Refuses an epsilon that nobody takes, tells who does not."""
        if self.epsilon is None:
            return
        errors.check_number("epsilon", self.epsilon, at_least=0)
        idle = [n for n in self.attacks if attacks.traits(n)["kind"] != "budget"]
        if not idle:
            return
        message = (
            f"--epsilon={self.epsilon:g} is no budget of {', '.join(idle)}: "
            "they look for the nearest adversarial image."
        )
        if len(idle) < len(self.attacks) or self.conjugates or self.diagnose:
            _log.warning("%s", message)
            return
        raise errors.InputError(
            f"{message} Leave it out, or, for fab and fab_t, set what counts "
            "as broken with --options=fab.epsilon=NUMBER."
        )

    def check_model_source(self) -> pathlib.Path | None:
        """Returns the file or folder of a user's own model, or None.

        Raises:
          InputError: It is not there, or of another kind.
        """
        path = self.model_path or self.saved_model
        if path is None:
            return None
        path = pathlib.Path(path).expanduser()
        if self.model_path and not (path.is_file() and path.suffix == ".keras"):
            raise errors.InputError(
                f"--model_path={path} must be a .keras file that exists. A "
                "SavedModel's folder goes to --saved_model."
            )
        if self.saved_model and not (path / "saved_model.pb").is_file():
            raise errors.InputError(
                f"--saved_model={path} must be a folder with saved_model.pb in it."
            )
        return path


def hash_model_files(path: pathlib.Path) -> str:
    """Returns SHA-256, in hex, of a file, or of all in a folder."""
    file_paths = sorted(p for p in path.rglob("*") if p.is_file()) or [path]
    told: list[str | bytes] = []
    for file_path in file_paths:
        told.append(file_path.relative_to(path).as_posix())
        told.append(bytes.fromhex(hashing.file_digest(file_path)))
    return hashing.joined_digest(told)
