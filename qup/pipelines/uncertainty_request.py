"""What is asked of `bin.run_uncertainty`, checked."""

import dataclasses
import pathlib

from qup import errors
from qup.measures.uncertainty.packets import KINDS
from qup.pipelines.request import Request as Attack

ESTIMATORS = ("importance", "mcmc", "both")
_DOMAINS = ("box", "window", "sine")
_SIZES = {
    "num_samples": 20_000, "num_chains": 32, "num_steps": 1000, "num_faces": 8,
}  # fmt: skip
_SMOKE = {
    "num_samples": 2000, "num_chains": 16, "num_steps": 200, "num_faces": 2,
}  # fmt: skip
# What our own networks are called in rows.
_RESERVED = ("untrained", "constant", "random_labels")
# float32 pixels near 1 are 6e-8 apart.
_NARROWEST = 1e-4


@dataclasses.dataclass(frozen=True)
class Request:
    """What is measured, and how.

    Attributes:
      packet: "loss", "sqrt_prob" or "prob".
      domain: "box", "sine" or "window:0.1".
      centre: "mean" or "image:7".
      estimator: One of `ESTIMATORS`; None for both, or of a smoke test
        importance sampling alone.
      labels: Texts, numbers of classes; or "all".
      directions: Texts such as "pca:10".
      num_samples: Points of importance sampling, about; None for 20,000.
      num_chains: Chains of MCMC; None for 32.
      num_steps: Steps of each; None for 1000.
      controls: Measure what a network is to be compared with.
      temperatures: Texts, numbers by which the logits of the newest network
        are divided, as a control.
      stability: Measure half and twice the window's width, as a control.
      model_paths: .keras files to be measured beside.
      num_images: How many images TA and RA are measured on; 0 for all.
      smoke: Few samples.
    """

    packet: str = "loss"
    domain: str = "window:0.1"
    centre: str = "mean"
    estimator: str | None = None
    labels: tuple[str, ...] = ("0",)
    directions: tuple[str, ...] = ()
    num_samples: int | None = None
    num_chains: int | None = None
    num_steps: int | None = None
    controls: bool = True
    temperatures: tuple[str, ...] = ("0.25", "4")
    stability: bool = True
    model_paths: tuple[str, ...] = ()
    num_images: int = 1000
    smoke: bool = False

    def check(self) -> None:
        """Raises an InputError for a request that cannot be met."""
        if self.packet not in KINDS:
            raise errors.unknown("packet", self.packet, KINDS)
        if self.estimator not in (None, *ESTIMATORS):
            raise errors.unknown("estimator", self.estimator, ESTIMATORS)
        sizes = self.sizes()
        for name, least in (("num_samples", 500), ("num_chains", 4),
                            ("num_steps", 50)):  # fmt: skip
            errors.check_number(f"--{name}", sizes[name], least=least)
        errors.check_number("--num_images", self.num_images, least=0)
        self.width()
        self.heats()
        self.imported()

    @property
    def estimators(self) -> list[str]:
        """The estimators of the networks of interest."""
        given = self.estimator or ("importance" if self.smoke else "both")
        return ["importance", "mcmc"] if given == "both" else [given]

    def sizes(self) -> dict[str, int]:
        """Returns the sizes of `uncertainty_case.Case`."""
        sizes = dict(_SMOKE if self.smoke else _SIZES)
        for name in sizes:
            if getattr(self, name, None) is not None:
                sizes[name] = getattr(self, name)
        return sizes

    def width(self) -> float | None:
        """Returns s of a Gaussian window; None of another domain.

        Raises:
          InputError: The domain is none.
        """
        kind, colon, width = self.domain.partition(":")
        if kind not in _DOMAINS:
            raise errors.unknown("domain", kind, _DOMAINS)
        if kind != "window":
            if colon:
                raise errors.InputError(
                    f"--domain={self.domain}: {kind} takes no width; write "
                    f"--domain={kind}."
                )
            return None
        found = number("--domain", width, "a width, such as window:0.1")
        errors.check_number("The width in --domain", found, above=0, below=1e6)
        if found < _NARROWEST:
            raise errors.InputError(
                f"--domain={self.domain}: float32 pixels cannot resolve a "
                f"window narrower than {_NARROWEST}. Give a wider one, such as "
                "window:0.1."
            )
        return found

    def setting(self) -> str:
        """Returns the domain in one spelling."""
        width = self.width()
        return self.domain if width is None else window(width)

    def heats(self) -> list[float]:
        """Returns the temperatures of the control.

        Raises:
          InputError: One is no temperature, or two look alike in the table.
        """
        # At 1 it is the network itself.
        found = {"1": 1.0}
        for text in self.temperatures:
            heat = number("--temperatures", text, "numbers, such as 0.25,4")
            errors.check_number("A temperature", heat, above=0, below=1e6)
            other = found.setdefault(f"{heat:g}", heat)
            if heat != other:
                raise errors.InputError(
                    f"--temperatures: {heat!r} and {other!r} are equal to 6 "
                    "digits, so the table could not tell them apart (at 1.0 "
                    "it has the network itself). Leave one out."
                )
        return [heat for heat in found.values() if heat != 1]

    def imported(self) -> dict[str, pathlib.Path]:
        """Returns the user's own networks, by the names of their files.

        Raises:
          InputError: One is empty, not there, or no .keras file, or two
            have one name.
        """
        found: dict[str, pathlib.Path] = {}
        for given in self.model_paths:
            if not given:
                raise errors.InputError(
                    "--model_path must be .keras files; got an empty name "
                    f"among {list(self.model_paths)}. Take it out."
                )
            path = Attack(attacks=(), model_path=given).imported()
            if path.stem in found or path.stem in _RESERVED:
                raise errors.InputError(
                    f"--model_path={given}: another network is called "
                    f"{path.stem!r} in the table. Rename the file."
                )
            found[path.stem] = path
        return found


def window(width: float) -> str:
    """Returns a window as a domain, its width in the shortest exact text."""
    return f"window:{width!r}".removesuffix(".0")


def number(flag: str, text: str, wanted: str) -> float:
    """Returns the number in a text.

    Args:
      flag: Where it was given.
      text: The text.
      wanted: What the flag takes, for the message.
    """
    try:
        return float(text)
    except ValueError:
        raise errors.InputError(
            f"{flag} takes {wanted}; got {text!r}."
        ) from None
