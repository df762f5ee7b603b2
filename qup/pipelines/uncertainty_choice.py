"""What a request asks of these very images: labels, centre, directions."""

import io
import math
import pathlib
import reprlib
from typing import Any

import numpy as np

from qup import errors
from qup.core import hashing
from qup.measures.uncertainty import axes
from qup.pipelines.uncertainty_request import UncertaintyRequest, parse_number
from qup.types import DatasetInfo

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
