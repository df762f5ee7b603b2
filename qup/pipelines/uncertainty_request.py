"""What a request asks of these very images: labels, centre, directions."""

import dataclasses
import io
import math
import pathlib
import reprlib
from typing import Any

import numpy as np

from qup.core import errors, hashing
from qup.core.types import DatasetInfo
from qup.pipelines.attack_request import AttackRequest as Attack
from qup.uncertainty import axes
from qup.uncertainty.packets import PACKET_KINDS

# What is asked of `bin.run_uncertainty`, checked.


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


_DIRECTION_KINDS = ("pca", "pixel", "sign_gradient", "random", "file")


def parse_labels(request: UncertaintyRequest, info: DatasetInfo) -> list[int]:
    """Returns the labels asked for.

    Raises:
      InputError: One is none of the dataset's.
    """
    if request.labels == ("all",):
        return list(range(info.num_classes))
    parsed = []
    for text in request.labels:
        label = parse_number("--labels", text, "whole numbers, or all")
        is_integer = math.isfinite(label) and label.is_integer()
        if not (is_integer and 0 <= label < info.num_classes):
            raise errors.InputError(
                f"--labels: a label of {info.name} is a whole number from 0 "
                f"to {info.num_classes - 1}; got {text[:40]}."
            )
        parsed.append(int(label))
    if not parsed:
        raise errors.InputError("--labels is empty. Give one, or all.")
    return sorted(set(parsed))


def parse_centre(request: UncertaintyRequest, info: DatasetInfo) -> str:
    """Returns the centre, checked."""
    if request.centre == "mean":
        return "mean"
    kind, _, value = request.centre.partition(":")
    size = info.sizes["test"]
    image = _parse_integer(value, 0, size - 1)
    if kind != "image" or image is None:
        raise errors.InputError(
            "--centre must be mean, or image:N with the number of a test "
            f"image, 0 to {size - 1}; got {reprlib.repr(request.centre)}."
        )
    return f"image:{image}"


def parse_directions(
    request: UncertaintyRequest, info: DatasetInfo
) -> tuple[dict[str, Any], str | None]:
    """Returns what `uncertainty_places.lines` is given, and the file.

    Raises:
      InputError: A direction that is none, or does not fit the images.
    """
    parsed: dict[str, Any] = {}
    directions_file = None
    size = int(np.prod(info.image_shape))
    for text in request.directions:
        kind, _, value = text.partition(":")
        if kind not in _DIRECTION_KINDS:
            raise errors.make_unknown_error("direction", kind, _DIRECTION_KINDS)
        if kind in parsed and kind != "pixel":
            raise errors.InputError(f"--directions gives {kind} twice.")
        if kind == "pixel":
            pixel = _parse_direction_number(kind, value, 0, size - 1)
            parsed["pixel"] = sorted({*parsed.get("pixel", ()), pixel})
        elif kind == "file":
            parsed["file"], directions_file = _hash_directions_file(value, info), value
        elif kind == "sign_gradient":
            if value:
                raise errors.InputError(f"--directions={text}: sign_gradient takes no number.")
            parsed[kind] = True
        else:
            parsed[kind] = _parse_direction_number(kind, value, 1, size)
    return parsed, directions_file


def _hash_directions_file(path: str, info: DatasetInfo) -> str:
    """Returns the digest of a file of directions, checked."""
    try:
        content = pathlib.Path(path).expanduser().read_bytes()
        directions = np.lib.format.read_array(io.BytesIO(content))
    # The header of a broken file fails in many ways.
    except Exception as error:
        raise errors.InputError(
            f"--directions=file:{path} cannot be read: {error}. It must be an "
            ".npy file of directions [k, pixels], or of k images."
        ) from error
    if not directions.size:
        raise errors.InputError(
            f"--directions=file:{path} is empty; got the shape "
            f"{list(directions.shape)}. Give one direction or more."
        )
    try:
        axes.build_axes(int(np.prod(info.image_shape)), (), directions)
    except errors.InputError as error:
        raise errors.InputError(f"--directions=file:{path}: {error}") from error
    return hashing.bytes_digest(content)


def _parse_direction_number(kind: str, value: str, minimum: int, maximum: int) -> int:
    """Returns the number of a direction such as "pca:10"."""
    parsed = _parse_integer(value, minimum, maximum)
    if parsed is None:
        raise errors.InputError(
            f"--directions={kind}:N takes a whole number from {minimum} to "
            f"{maximum}; got {reprlib.repr(value)}."
        )
    return parsed


def _parse_integer(text: str, minimum: int, maximum: int) -> int | None:
    """Returns the number in a text; None where it is none in that range."""
    # A text of thousands of digits is none that Python reads.
    if not text.isdecimal() or len(text) > 18:
        return None
    return int(text) if minimum <= int(text) <= maximum else None
