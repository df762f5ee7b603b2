"""The request of `bin.run_uncertainty`: checked fields, and their values for a dataset."""

import dataclasses
import io
import math
import pathlib
import reprlib
from typing import Any

import numpy as np

from qup.core import errors, hashing
from qup.core.types import DatasetInfo
from qup.pipelines.attack_request import AttackRequest, parse_pixel_range
from qup.uncertainty import axes
from qup.uncertainty.packets import PACKET_KINDS

ESTIMATORS = ("importance", "mcmc", "both")
_DOMAINS = ("box", "window", "sine")
_DIRECTION_KINDS = ("pca", "pixel", "sign_gradient", "random", "file")
_DEFAULT_SIZES = {"num_samples": 20_000, "num_chains": 32, "num_steps": 1000, "num_faces": 8}
_SMOKE_SIZES = {"num_samples": 2000, "num_chains": 16, "num_steps": 200, "num_faces": 2}
# Names of controls in rows.
_RESERVED_NAMES = ("untrained", "constant", "random_labels")
# float32 pixels near 1 are 6e-8 apart.
_MIN_WIDTH = 1e-4


@dataclasses.dataclass(frozen=True)
class UncertaintyRequest:
    """The measurements, as on the command line.

    Attributes:
      packet: "loss", "sqrt_prob" or "prob".
      domain: "box", "sine" or "window:0.1".
      centre: "mean" or "image:7".
      estimator: One of `ESTIMATORS`; None for both, in a smoke test for importance sampling.
      labels: Numbers of classes as texts; or "all".
      directions: Such as "pca:10".
      num_samples: Approximate number of points of importance sampling; None for 20,000.
      num_chains: Chains of MCMC; None for 32.
      num_steps: Steps of each chain; None for 1000.
      controls: Also measure networks for comparison.
      temperatures: Numbers as texts; they divide the logits of the last network, as a control.
      stability: Measure half and twice the window's width, as a control.
      model_paths: Further networks, .keras or whole .h5 files.
      pixel_range: The pixels that these take, such as "0,255"; None for 0,1.
      num_images: Number of images for TA and RA; 0 for all.
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
    pixel_range: str | None = None
    num_images: int = 1000
    smoke: bool = False

    def check(self) -> None:
        """Raises an InputError if the request is invalid."""
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
        self.parse_pixel_range()

    @property
    def estimators(self) -> list[str]:
        """The estimators of networks that are not controls."""
        estimator = self.estimator or ("importance" if self.smoke else "both")
        return ["importance", "mcmc"] if estimator == "both" else [estimator]

    def build_sizes(self) -> dict[str, int]:
        """Returns the sizes of `estimation.EstimationTask`."""
        sizes = dict(_SMOKE_SIZES if self.smoke else _DEFAULT_SIZES)
        for name in sizes:
            if getattr(self, name, None) is not None:
                sizes[name] = getattr(self, name)
        return sizes

    def parse_width(self) -> float | None:
        """Returns s of a Gaussian window; None for another domain.

        Raises:
          InputError: Unknown domain.
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
                f"window narrower than {_MIN_WIDTH}. Give a wider one, such as window:0.1."
            )
        return parsed

    def format_domain(self) -> str:
        """Returns the domain in one spelling."""
        width = self.parse_width()
        return self.domain if width is None else format_window(width)

    def parse_temperatures(self) -> list[float]:
        """Returns the temperatures of the control.

        Raises:
          InputError: A text is not a temperature, or two are equal in the table.
        """
        # 1 is the network without a change.
        by_text = {"1": 1.0}
        for text in self.temperatures:
            temperature = parse_number("--temperatures", text, "numbers, such as 0.25,4")
            errors.check_number("A temperature", temperature, above=0, below=1e6)
            other = by_text.setdefault(f"{temperature:g}", temperature)
            if temperature != other:
                raise errors.InputError(
                    f"--temperatures: {temperature!r} and {other!r} are equal to 6 digits, so the "
                    "table cannot distinguish them (1.0 is the network itself). Remove one."
                )
        return [temperature for temperature in by_text.values() if temperature != 1]

    def parse_pixel_range(self) -> tuple[float, float] | None:
        """Returns the pixels that the further networks take.

        Raises:
          InputError: It is no range, or there are no further networks.
        """
        if self.pixel_range is not None and not self.model_paths:
            raise errors.InputError(
                "--pixel_range is for networks of your own. Add --model_path, or omit it."
            )
        return parse_pixel_range(self.pixel_range)

    def find_models(self) -> dict[str, pathlib.Path]:
        """Returns the paths of further networks by the names of their files.

        Raises:
          InputError: A path is empty or not that of a .keras file, or two files have one name.
        """
        paths: dict[str, pathlib.Path] = {}
        for model_path in self.model_paths:
            if not model_path:
                raise errors.InputError(
                    "--model_path must be .keras files; got an empty name "
                    f"among {list(self.model_paths)}. Remove it."
                )
            path = AttackRequest(attacks=(), model_path=model_path).check_model_source()
            if path.stem in paths or path.stem in _RESERVED_NAMES:
                raise errors.InputError(
                    f"--model_path={model_path}: another network has the name "
                    f"{path.stem!r} in the table. Rename the file."
                )
            paths[path.stem] = path
        return paths


def format_window(width: float) -> str:
    """Returns "window:0.1", with the width as the shortest exact text."""
    return f"window:{width!r}".removesuffix(".0")


def parse_number(flag: str, text: str, expected: str) -> float:
    """Returns the number of a flag's text; `expected` describes it in the error."""
    try:
        return float(text)
    except ValueError:
        raise errors.InputError(f"{flag} takes {expected}; got {text!r}.") from None


def parse_labels(request: UncertaintyRequest, info: DatasetInfo) -> list[int]:
    """Returns the requested labels, or raises an InputError for one that the dataset lacks."""
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
        raise errors.InputError("--labels is empty. Give a label, or all.")
    return sorted(set(parsed))


def parse_centre(request: UncertaintyRequest, info: DatasetInfo) -> str:
    """Returns the checked centre."""
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
    """Returns the arguments `directions` and `directions_file` of `estimation.choose_axes`.

    Raises:
      InputError: An unknown direction, or one that does not fit the images.
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
    """Returns the digest of a checked file of directions."""
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
            f"--directions=file:{path} is empty; got the shape {list(directions.shape)}. Give at "
            "least one direction."
        )
    try:
        axes.build_axes(int(np.prod(info.image_shape)), (), directions)
    except errors.InputError as error:
        raise errors.InputError(f"--directions=file:{path}: {error}") from error
    return hashing.hash_bytes(content)


def _parse_direction_number(kind: str, value: str, minimum: int, maximum: int) -> int:
    """Returns the number of a direction, such as 10 of "pca:10"."""
    parsed = _parse_integer(value, minimum, maximum)
    if parsed is None:
        raise errors.InputError(
            f"--directions={kind}:N takes a whole number from {minimum} to "
            f"{maximum}; got {reprlib.repr(value)}."
        )
    return parsed


def _parse_integer(text: str, minimum: int, maximum: int) -> int | None:
    """Returns the integer of a text; None for other texts and outside the range."""
    # Python refuses to convert thousands of digits.
    if not text.isdecimal() or len(text) > 18:
        return None
    return int(text) if minimum <= int(text) <= maximum else None
