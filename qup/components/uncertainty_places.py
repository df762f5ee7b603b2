"""Where the uncertainty of a network is measured, and along which lines."""

import dataclasses
import io
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from qup.core import hashing
from qup.datasets import Dataset
from qup.errors import InputError
from qup.measures.uncertainty import Packet, axes
from qup.measures.uncertainty.axes import Axes

_CENTRES = "test"


@dataclasses.dataclass(frozen=True, eq=False)
class Place:
    """Where a packet is measured.

    Attributes:
      data: The images.
      label: Y.
      middle: The centre of a window, float32 [size] in [0, 1].
    """

    data: Dataset
    label: int
    middle: np.ndarray


def place(data: Dataset, label: int, centre: str) -> Place:
    """Returns a place.

    Args:
      data: The images.
      label: Y.
      centre: "mean", of the training images of that label, or "image:7", the
        test image of that number, whatever its label.

    Raises:
      InputError: No training image has the label.
    """
    if centre == "mean":
        chosen = _of_label(data, label).mean(0)
    else:
        images, _, _ = data.arrays(_CENTRES)
        chosen = images[int(centre.partition(":")[2])] / np.float32(255)
    return Place(data, label, chosen.astype(np.float32).ravel())


def _of_label(data: Dataset, label: int) -> np.ndarray:
    images, labels, _ = data.arrays("train")
    if not (labels == label).any():
        raise InputError(
            f"No training image of {data.info.name} has the label {label}, so "
            "they have no mean and no principal axes. Use more training "
            "images, another label, or --centre=image:0."
        )
    return images[labels == label] / np.float32(255)


def lines(
    packet: Packet,
    where: Place,
    given: Mapping[str, Any],
    *,
    file: str | None,
    seed: int,
    required: bool = True,
) -> tuple[Axes, list[str]]:
    """Returns every pixel and the directions asked for.

    Args:
      packet: Of the network.
      where: Its centre is where sign_gradient is taken.
      given: "pca": K, principal axes of the training images of the label;
        "random": K; "sign_gradient": True; "file": digest of `file`;
        "pixel": numbers of those that have rows of their own.
      file: An .npy of [k, size] or of k images.
      seed: Of the random ones.
      required: Whether there has to be a sign_gradient; else it is left out
        where the gradient is 0.

    Returns:
      (axes, names): names of those that have rows of their own.

    Raises:
      InputError: A direction that there is not.
    """
    parts = []
    if "pca" in given:
        images = _of_label(where.data, where.label)
        parts.append(("pca", axes.principal(images, given["pca"])))
    if "sign_gradient" in given:
        rows = _sign_gradient(packet, where.middle, required)
        parts.append(("sign_gradient", rows))
    if "random" in given:
        rows = axes.random(packet.size, given["random"], seed)
        parts.append(("random", rows))
    if "file" in given:
        parts.append(("file", _held(file, given["file"])))
    found = axes.joined(packet.size, parts, None)
    own = [f"pixel:{i}" for i in given.get("pixel", ())]
    return found, own + list(found.names[len(found.pixels) :])


def _sign_gradient(
    packet: Packet, middle: np.ndarray, required: bool
) -> np.ndarray:
    """Returns sign(grad l) as a row; none where the gradient is 0."""
    _, slopes = packet.slopes(middle[None])
    signs = np.sign(slopes)
    signs = signs[np.isfinite(signs).all(1) & signs.any(1)]
    if required and not len(signs):
        raise InputError(
            "The packet has no gradient at the centre, so that sign_gradient "
            "is no direction. Choose another --centre, or leave it out."
        )
    return signs


def _held(file: str, digest: str) -> np.ndarray:
    content = pathlib.Path(file).expanduser().read_bytes()
    if hashing.bytes_digest(content) != digest:
        raise InputError(f"{file} changed while it was in use. Start again.")
    rows = np.load(io.BytesIO(content), allow_pickle=False)
    return rows.reshape(len(rows), -1)
