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

_CENTRE_SPLIT = "test"


@dataclasses.dataclass(frozen=True, eq=False)
class PacketLocation:
    """Where a packet is measured.

    Attributes:
      data: The images.
      label: Y.
      centre: The centre of a window, float32 [size] in [0, 1].
    """

    data: Dataset
    label: int
    centre: np.ndarray


def build_location(data: Dataset, label: int, centre: str) -> PacketLocation:
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
        centre_image = _load_label_images(data, label).mean(0)
    else:
        images, _, _ = data.get_arrays(_CENTRE_SPLIT)
        centre_image = images[int(centre.partition(":")[2])] / np.float32(255)
    return PacketLocation(data, label, centre_image.astype(np.float32).ravel())


def _load_label_images(data: Dataset, label: int) -> np.ndarray:
    images, labels, _ = data.get_arrays("train")
    if not (labels == label).any():
        raise InputError(
            f"No training image of {data.info.name} has the label {label}, so "
            "they have no mean and no principal axes. Use more training "
            "images, another label, or --centre=image:0."
        )
    return images[labels == label] / np.float32(255)


def choose_axes(
    packet: Packet,
    location: PacketLocation,
    directions: Mapping[str, Any],
    *,
    directions_file: str | None,
    seed: int,
    required: bool = True,
) -> tuple[Axes, list[str]]:
    """Returns every pixel and the directions asked for.

    Args:
      packet: Of the network.
      location: Its centre is where sign_gradient is taken.
      directions: "pca": K, principal axes of the training images of the label;
        "random": K; "sign_gradient": True; "file": digest of `directions_file`;
        "pixel": numbers of those that have rows of their own.
      directions_file: An .npy of [k, size] or of k images.
      seed: Of the random ones.
      required: Whether there has to be a sign_gradient; else it is left out
        where the gradient is 0.

    Returns:
      (axes, names): names of those that have rows of their own.

    Raises:
      InputError: A direction that there is not.
    """
    groups = []
    if "pca" in directions:
        images = _load_label_images(location.data, location.label)
        groups.append(("pca", axes.compute_principal_axes(images, directions["pca"])))
    if "sign_gradient" in directions:
        rows = _compute_sign_gradient(packet, location.centre, required)
        groups.append(("sign_gradient", rows))
    if "random" in directions:
        rows = axes.sample_directions(packet.size, directions["random"], seed)
        groups.append(("random", rows))
    if "file" in directions:
        groups.append(("file", _load_directions(directions_file, directions["file"])))
    all_axes = axes.join_axes(packet.size, groups, None)
    pixel_names = [f"pixel:{i}" for i in directions.get("pixel", ())]
    return all_axes, pixel_names + list(all_axes.names[len(all_axes.pixels) :])


def _compute_sign_gradient(packet: Packet, centre: np.ndarray, required: bool) -> np.ndarray:
    """Returns sign(grad l) as a row; none where the gradient is 0."""
    _, gradients = packet.value_and_gradient(centre[None])
    signs = np.sign(gradients)
    signs = signs[np.isfinite(signs).all(1) & signs.any(1)]
    if required and not len(signs):
        raise InputError(
            "The packet has no gradient at the centre, so that sign_gradient "
            "is no direction. Choose another --centre, or leave it out."
        )
    return signs


def _load_directions(path: str, digest: str) -> np.ndarray:
    content = pathlib.Path(path).expanduser().read_bytes()
    if hashing.bytes_digest(content) != digest:
        raise InputError(f"{path} changed while it was in use. Start again.")
    rows = np.load(io.BytesIO(content), allow_pickle=False)
    return rows.reshape(len(rows), -1)
