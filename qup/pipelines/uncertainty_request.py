"""What is asked of `bin.run_uncertainty`, checked."""

import dataclasses
import pathlib

from qup import errors
from qup.measures.uncertainty.packets import PACKET_KINDS
from qup.pipelines.request import AttackRequest as Attack

ESTIMATORS = ("importance", "mcmc", "both")
_DOMAINS = ("box", "window", "sine")
_DEFAULT_SIZES = {"num_samples": 20_000, "num_chains": 32, "num_steps": 1000, "num_faces": 8}
_SMOKE_SIZES = {"num_samples": 2000, "num_chains": 16, "num_steps": 200, "num_faces": 2}
# What our own networks are called in rows.
_RESERVED_NAMES = ("untrained", "constant", "random_labels")
# float32 pixels near 1 are 6e-8 apart.
_MIN_WIDTH = 1e-4


@dataclasses.dataclass(frozen=True)
class UncertaintyRequest:
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
        if self.packet not in PACKET_KINDS:
            raise errors.make_unknown_error("packet", self.packet, PACKET_KINDS)
        if self.estimator not in (None, *ESTIMATORS):
            raise errors.make_unknown_error("estimator", self.estimator, ESTIMATORS)
        sizes = self.build_sizes()
        for name, minimum in (("num_samples", 500), ("num_chains", 4), ("num_steps", 50)):
            errors.check_number(f"--{name}", sizes[name], at_least=minimum)
        errors.check_number("--num_images", self.num_images, at_least=0)
        self.parse_width()
        self.parse_temperatures()
        self.find_models()

    @property
    def estimators(self) -> list[str]:
        """The estimators of the networks of interest."""
        estimator = self.estimator or ("importance" if self.smoke else "both")
        return ["importance", "mcmc"] if estimator == "both" else [estimator]

    def build_sizes(self) -> dict[str, int]:
        """Returns the sizes of `uncertainty_case.Case`."""
        sizes = dict(_SMOKE_SIZES if self.smoke else _DEFAULT_SIZES)
        for name in sizes:
            if getattr(self, name, None) is not None:
                sizes[name] = getattr(self, name)
        return sizes

    def parse_width(self) -> float | None:
        """Returns s of a Gaussian window; None of another domain.

        Raises:
          InputError: The domain is none.
        """
        kind, colon, width = self.domain.partition(":")
        if kind not in _DOMAINS:
            raise errors.make_unknown_error("domain", kind, _DOMAINS)
        if kind != "window":
            if colon:
                raise errors.InputError(
                    f"--domain={self.domain}: {kind} takes no width; write --domain={kind}."
                )
            return None
        parsed = parse_number("--domain", width, "a width, such as window:0.1")
        errors.check_number("The width in --domain", parsed, above=0, below=1e6)
        if parsed < _MIN_WIDTH:
            raise errors.InputError(
                f"--domain={self.domain}: float32 pixels cannot resolve a "
                f"window narrower than {_MIN_WIDTH}. Give a wider one, such as "
                "window:0.1."
            )
        return parsed

    def format_domain(self) -> str:
        """Returns the domain in one spelling."""
        width = self.parse_width()
        return self.domain if width is None else format_window(width)

    def parse_temperatures(self) -> list[float]:
        """Returns the temperatures of the control.

        Raises:
          InputError: One is no temperature, or two look alike in the table.
        """
        # At 1 it is the network itself.
        by_text = {"1": 1.0}
        for text in self.temperatures:
            temperature = parse_number("--temperatures", text, "numbers, such as 0.25,4")
            errors.check_number("A temperature", temperature, above=0, below=1e6)
            other = by_text.setdefault(f"{temperature:g}", temperature)
            if temperature != other:
                raise errors.InputError(
                    f"--temperatures: {temperature!r} and {other!r} are equal to 6 "
                    "digits, so the table could not tell them apart (at 1.0 "
                    "it has the network itself). Leave one out."
                )
        return [temperature for temperature in by_text.values() if temperature != 1]

    def find_models(self) -> dict[str, pathlib.Path]:
        """Returns the user's own networks, by the names of their files.

        Raises:
          InputError: One is empty, not there, or no .keras file, or two
            have one name.
        """
        paths: dict[str, pathlib.Path] = {}
        for model_path in self.model_paths:
            if not model_path:
                raise errors.InputError(
                    "--model_path must be .keras files; got an empty name "
                    f"among {list(self.model_paths)}. Take it out."
                )
            path = Attack(attacks=(), model_path=model_path).check_model_source()
            if path.stem in paths or path.stem in _RESERVED_NAMES:
                raise errors.InputError(
                    f"--model_path={model_path}: another network is called "
                    f"{path.stem!r} in the table. Rename the file."
                )
            paths[path.stem] = path
        return paths


def format_window(width: float) -> str:
    """Returns a window as a domain, its width in the shortest exact text."""
    return f"window:{width!r}".removesuffix(".0")


def parse_number(flag: str, text: str, expected: str) -> float:
    """Returns the number in a text.

    Args:
      flag: Where it was given.
      text: The text.
      expected: What the flag takes, for the message.
    """
    try:
        return float(text)
    except ValueError:
        raise errors.InputError(f"{flag} takes {expected}; got {text!r}.") from None
