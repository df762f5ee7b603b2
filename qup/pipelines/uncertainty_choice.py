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
from qup.pipelines.uncertainty_request import Request, number
from qup.types import DatasetInfo

_DIRECTIONS = ("pca", "pixel", "sign_gradient", "random", "file")


def labels(request: Request, info: DatasetInfo) -> list[int]:
    """Returns the labels asked for.

    Raises:
      InputError: One is none of the dataset's.
    """
    if request.labels == ("all",):
        return list(range(info.num_classes))
    found = []
    for text in request.labels:
        label = number("--labels", text, "whole numbers, or all")
        whole = math.isfinite(label) and label.is_integer()
        if not (whole and 0 <= label < info.num_classes):
            raise errors.InputError(
                f"--labels: a label of {info.name} is a whole number from 0 "
                f"to {info.num_classes - 1}; got {text[:40]}."
            )
        found.append(int(label))
    if not found:
        raise errors.InputError("--labels is empty. Give one, or all.")
    return sorted(set(found))


def centre(request: Request, info: DatasetInfo) -> str:
    """Returns the centre, checked."""
    if request.centre == "mean":
        return "mean"
    kind, _, value = request.centre.partition(":")
    size = info.sizes["test"]
    image = _whole(value, 0, size - 1)
    if kind != "image" or image is None:
        raise errors.InputError(
            "--centre must be mean, or image:N with the number of a test "
            f"image, 0 to {size - 1}; got {reprlib.repr(request.centre)}."
        )
    return f"image:{image}"


def directions(
    request: Request, info: DatasetInfo
) -> tuple[dict[str, Any], str | None]:
    """Returns what `uncertainty_places.lines` is given, and the file.

    Raises:
      InputError: A direction that is none, or does not fit the images.
    """
    found: dict[str, Any] = {}
    file = None
    size = int(np.prod(info.image_shape))
    for text in request.directions:
        kind, _, value = text.partition(":")
        if kind not in _DIRECTIONS:
            raise errors.unknown("direction", kind, _DIRECTIONS)
        if kind in found and kind != "pixel":
            raise errors.InputError(f"--directions gives {kind} twice.")
        if kind == "pixel":
            pixel = _counted(kind, value, 0, size - 1)
            found["pixel"] = sorted({*found.get("pixel", ()), pixel})
        elif kind == "file":
            found["file"], file = _file(value, info), value
        elif kind == "sign_gradient":
            if value:
                raise errors.InputError(
                    f"--directions={text}: sign_gradient takes no number."
                )
            found[kind] = True
        else:
            found[kind] = _counted(kind, value, 1, size)
    return found, file


def _file(path: str, info: DatasetInfo) -> str:
    """Returns the digest of a file of directions, checked."""
    try:
        content = pathlib.Path(path).expanduser().read_bytes()
        given = np.lib.format.read_array(io.BytesIO(content))
    # The header of a broken file fails in many ways.
    except Exception as error:
        raise errors.InputError(
            f"--directions=file:{path} cannot be read: {error}. It must be an "
            ".npy file of directions [k, pixels], or of k images."
        ) from error
    if not given.size:
        raise errors.InputError(
            f"--directions=file:{path} is empty; got the shape "
            f"{list(given.shape)}. Give one direction or more."
        )
    try:
        axes.axes(int(np.prod(info.image_shape)), (), given)
    except errors.InputError as error:
        raise errors.InputError(f"--directions=file:{path}: {error}") from error
    return hashing.bytes_digest(content)


def _counted(kind: str, value: str, least: int, most: int) -> int:
    """Returns the number of a direction such as "pca:10"."""
    found = _whole(value, least, most)
    if found is None:
        raise errors.InputError(
            f"--directions={kind}:N takes a whole number from {least} to "
            f"{most}; got {reprlib.repr(value)}."
        )
    return found


def _whole(text: str, least: int, most: int) -> int | None:
    """Returns the number in a text; None where it is none in that range."""
    # A text of thousands of digits is none that Python reads.
    if not text.isdecimal() or len(text) > 18:
        return None
    return int(text) if least <= int(text) <= most else None
