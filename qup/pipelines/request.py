"""What is asked of `bin.run_attack`, checked."""

import ast
import dataclasses
import hashlib
import pathlib
from typing import Any

from qup import attacks, errors


@dataclasses.dataclass(frozen=True)
class Request:
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
            raise errors.InputError(
                f"--attack={','.join(self.attacks)} names an attack twice."
            )
        if self.model_path and self.saved_model:
            raise errors.InputError(
                "Give --model_path or --saved_model, not both."
            )
        errors.check_number("num_images", self.num_images, least=0)
        errors.check_number("batch_size", self.batch_size, least=1)

    def chosen(self, epsilon: float) -> list[dict[str, Any]]:
        """Returns name, epsilon and options of each attack.

        Args:
          epsilon: The budget where the request names none.

        Raises:
          InputError: An attack, an option or a value that is none.
        """
        given = self._given()
        budget = epsilon if self.epsilon is None else self.epsilon
        chosen = []
        for name in self.attacks:
            traits = attacks.traits(name)
            options = given.pop(name, {})
            if traits["kind"] == "budget":
                options = {"epsilon": budget, **options}
            attacks.bind(name, **options)
            if traits["method"]:
                attacks.method(name, **options)
            chosen.append({"name": name, **options})
        for name in given:
            attacks.get(name)
            raise errors.InputError(
                f"--options sets an option of {name}, which is not among "
                f"--attack={','.join(self.attacks)}."
            )
        return chosen

    def _given(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for text in self.options:
            key, equals, value = text.partition("=")
            name, dot, option = key.strip().partition(".")
            if not (equals and dot and option):
                raise errors.InputError(
                    f"--options takes attack.option=value, such as "
                    f"pgd.num_steps=100; got {text!r}."
                )
            try:
                value = ast.literal_eval(value.strip())
            except (ValueError, SyntaxError):
                value = value.strip()
            found.setdefault(name, {})[option] = value
        return found

    def imported(self) -> pathlib.Path | None:
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
                f"--saved_model={path} must be a folder with saved_model.pb "
                "in it."
            )
        return path


def digest(path: pathlib.Path) -> str:
    """Returns SHA-256, in hex, of a file, or of all in a folder."""
    told = hashlib.sha256()
    parts = sorted(p for p in path.rglob("*") if p.is_file()) or [path]
    for part in parts:
        told.update(part.relative_to(path).as_posix().encode())
        with part.open("rb") as file:
            told.update(hashlib.file_digest(file, "sha256").digest())
    return told.hexdigest()
