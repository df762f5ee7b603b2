"""The user's images, one folder per class.

```
data_dir/train/<class>/*.png
data_dir/test/<class>/*.png
```
"""

import collections
import concurrent.futures
import dataclasses
import functools
import logging
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from qup import datasets
from qup.core import extras
from qup.core.errors import InputError
from qup.datasets import dataset, image_file
from qup.datasets.dataset import InputRecord
from qup.datasets.image_file import ImageHeader

# A file of such a name must be an image; another file may be one.
_SUFFIXES = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    **{".png": "PNG", ".bmp": "BMP", ".gif": "GIF", ".webp": "WebP"},
}
_BIT_DEPTHS = (8, 10, 12, 14, 16)
_ORDER_SEED = 0
_BLOCK_SIZE = 64
_FORMAT_LIST = ", ".join(image_file.FORMATS)
_HIDDEN, _NOT_AN_IMAGE = "hidden", f"none of {_FORMAT_LIST}"
# Left alone without a word of warning: every folder has such files.
_SYSTEM_FILES = ("thumbs.db", "desktop.ini")


@dataclasses.dataclass(frozen=True)
class _FolderImage:
    """An image of a class folder.

    Attributes:
      path: The file.
      name: Its path within the data's folder.
      header: What the file says of itself, or why it cannot be read.
    """

    path: pathlib.Path
    name: str
    header: ImageHeader | InputError


@datasets.register
def image_folder(
    *,
    data_dir: str | os.PathLike | None = None,
    image_size: tuple[int, int] | None = None,
    channels: int | None = None,
    bit_depth: int | None = None,
) -> dataset.Source:
    """Returns the images of a folder, decoded at the first use.

    PNG, JPEG, GIF, BMP, WebP and TIFF of any size are recognised by their content, in the class
    folders and the folders within. They are turned upright as EXIF says, transparent pixels are
    laid on white, of several frames the first is used, and the image is stretched to `image_size`
    and rounded to 8 bits. Each split's changes are logged, and `Source.report` has those of each
    file. The order is a fixed shuffle, so that the first n are a random sample.

    Files of 16 bits per channel often hold the 10, 12 or 14 bits of a camera. White is the highest
    value of the fewest bits, of 8, 10, 12, 14 and 16, in which all values of all such files fit.

    Args:
      data_dir: Holds train/ and test/, each with the same class folders; or test/ alone, to attack
        a classifier that exists.
      image_size: (height, width) to stretch to, (32, 32) by default.
      channels: 1 or 3; None: 1 if all files are grey, else 3. Grey is repeated, and colour becomes
        grey by the weights of ITU-R BT.601.
      bit_depth: Bits of the values in files of 16 bits per channel; None: as above.

    Returns:
      The source; its classes are the folders' names, sorted.

    Raises:
      InputError: A folder is missing, empty or in one split only, or an option is out of its range.
        A damaged image raises it when the images are read.
    """
    # `image_file` imports it where it is used: other datasets do not need it.
    extras.check_installed("The dataset image_folder", "PIL")
    size = dataset.check_image_size((32, 32) if image_size is None else image_size)
    if channels is not None:
        dataset.check_choice("channels", channels, (1, 3))
    if bit_depth is not None:
        dataset.check_choice("bit_depth", bit_depth, _BIT_DEPTHS)
    if isinstance(data_dir, str | None) and not data_dir:
        raise InputError(
            "image_folder needs data_dir, a folder with train/<class>/ and test/<class>/ in it."
        )
    folder = dataset.parse_path("data_dir", data_dir)
    try:
        splits = _list_splits(folder)
        classes = _list_common_classes(folder, splits)
        images, left_alone = _scan_splits(folder, splits, classes)
    except OSError as error:
        raise InputError(
            f"Cannot read {error.filename or folder}: {error.strerror}. Give access to it."
        ) from error
    headers = [
        image.header
        for of_split in images.values()
        for image, _ in of_split
        if isinstance(image.header, ImageHeader)
    ]
    channels = channels or (1 if headers and all(header.grey for header in headers) else 3)
    decoder = _Decoder(size, channels, bit_depth, [h for h in headers if h.bits == 16])
    report = [*left_alone]
    for split, of_split in images.items():
        records = [decoder.describe(image) for image, _ in of_split]
        report += records
        _log_summary(split, [*records, *(r for r in left_alone if r.name.startswith(f"{split}/"))])
    return dataset.Source(
        image_shape=(*size, channels),
        class_names=tuple(classes),
        origin="a folder of images",
        splits={split: _build_folder_split(images[split], decoder) for split in splits},
        files={image.name: image.path for of_split in images.values() for image, _ in of_split},
        report=tuple(sorted(report, key=lambda record: record.name)),
    )


# Finding files


def list_visible(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the entries of a folder, sorted, without hidden ones."""
    return [entry for entry in _list_entries(folder) if not entry.name.startswith(".")]


def _list_entries(folder: pathlib.Path) -> list[pathlib.Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"Cannot read the folder {folder}: {error.strerror}. Expected "
            "data_dir/train/<class>/ and data_dir/test/<class>/ with images."
        ) from error
    for entry in entries:
        try:
            str(entry).encode("utf-8")
        except UnicodeEncodeError as error:
            raise InputError(f"The name {str(entry)!a} is not in UTF-8. Rename it.") from error
    return entries


def _list_splits(folder: pathlib.Path) -> tuple[str, ...]:
    """Returns ("train", "test"), or ("test",) where there is no train/."""
    names = [entry.name for entry in list_visible(folder) if entry.is_dir()]
    if "test" not in names:
        raise InputError(
            f"Cannot read the folder {folder / 'test'}: there is none; {folder} has "
            f"{', '.join(names[:5]) or 'no folders'}. Expected data_dir/test/<class>/ with images, "
            "and data_dir/train/<class>/ to train on."
        )
    return ("train", "test") if "train" in names else ("test",)


def _list_common_classes(folder: pathlib.Path, splits: Sequence[str]) -> list[str]:
    classes = {split: _list_classes(folder / split) for split in splits}
    if classes["test"] != classes.get("train", classes["test"]):
        difference = sorted(set(classes["train"]) ^ set(classes["test"]))
        raise InputError(
            f"train/ and test/ of {folder} must hold the same class folders; these are in one of "
            f"them only: {', '.join(difference[:10])}{', ...' if len(difference) > 10 else ''}."
        )
    return classes["test"]


def _list_classes(folder: pathlib.Path) -> list[str]:
    names = [entry.name for entry in list_visible(folder) if entry.is_dir()]
    if not names:
        raise InputError(f"{folder} has no class folders in it.")
    return names


def _scan_splits(
    folder: pathlib.Path, splits: Sequence[str], classes: list[str]
) -> tuple[dict[str, list[tuple[_FolderImage, int]]], list[InputRecord]]:
    """Returns the images with their labels by split, and the files that are left alone."""
    left_alone = [
        _leave_alone(entry, folder, "neither train/ nor test/")
        for entry in _list_entries(folder)
        if entry.name not in splits
    ]
    images: dict[str, list[tuple[_FolderImage, int]]] = {}
    with image_file.silence_warnings():
        for split in splits:
            images[split] = []
            left_alone += [
                _leave_alone(entry, folder, "beside the class folders")
                for entry in _list_entries(folder / split)
                if entry.name not in classes
            ]
            for label, name in enumerate(classes):
                found, others = _scan_class(folder / split / name, folder)
                if not found:
                    raise _make_empty_error(folder / split / name, others)
                images[split] += [(image, label) for image in found]
                left_alone += others
    return images, left_alone


def _scan_class(
    folder: pathlib.Path, root: pathlib.Path
) -> tuple[list[_FolderImage], list[InputRecord]]:
    """Returns the images of a class folder, sorted, and the entries that are left alone."""
    paths, left_alone, folders = [], [], [folder]
    while folders:
        for entry in _list_entries(folders.pop()):
            if entry.name.startswith("."):
                left_alone.append(_leave_alone(entry, root, _HIDDEN))
            elif entry.is_dir() and entry.is_symlink():
                left_alone.append(_leave_alone(entry, root, "a link to a folder"))
            elif entry.is_dir():
                folders.append(entry)
            elif entry.exists() and not entry.is_file():
                left_alone.append(_leave_alone(entry, root, "neither a file nor a folder"))
            else:
                paths.append(entry)
    images = []
    for path in sorted(paths):
        try:
            header = image_file.read_header(path)
            reason = _NOT_AN_IMAGE
        except InputError as error:
            header, reason = None, f"unreadable: {error}"
        if header is None and path.suffix.lower() not in _SUFFIXES:
            left_alone.append(_leave_alone(path, root, reason))
            continue
        name = path.relative_to(root).as_posix()
        images.append(_FolderImage(path, name, header or _make_content_error(path, reason)))
    return images, left_alone


def _leave_alone(entry: pathlib.Path, root: pathlib.Path, reason: str) -> InputRecord:
    if entry.name.startswith("."):
        reason = _HIDDEN
    name = entry.relative_to(root).as_posix()
    return InputRecord(f"{name}/" if entry.is_dir() else name, False, (reason,))


def _make_content_error(path: pathlib.Path, reason: str) -> InputError:
    if reason != _NOT_AN_IMAGE:
        return InputError(reason.removeprefix("unreadable: "))
    try:
        is_empty = path.stat().st_size == 0
    except OSError as error:
        return image_file.make_read_error(path, error.strerror)
    text = "the file is empty" if is_empty else f"its content is {_NOT_AN_IMAGE}"
    return image_file.make_read_error(path, text)


def _make_empty_error(folder: pathlib.Path, left_alone: list[InputRecord]) -> InputError:
    first = f" {left_alone[0].name} is {left_alone[0].notes[0]}." if left_alone else ""
    return InputError(f"The class folder {folder} has no images ({_FORMAT_LIST}).{first[:250]}")


# Reading files


class _Decoder:
    """Turns files into images of one size, and says how."""

    def __init__(
        self,
        image_size: tuple[int, int],
        channels: int,
        bit_depth: int | None,
        deep_headers: list[ImageHeader],
    ):
        """Sets the form of the images; `deep_headers` are the files of 16 bits per channel."""
        self._image_size = image_size
        self._channels = channels
        self._bit_depth = bit_depth
        self._deep_headers = deep_headers

    def describe(self, image: _FolderImage) -> InputRecord:
        """Returns how an image is changed."""
        if isinstance(image.header, InputError):
            return InputRecord(image.name, False, ("damaged, refused when the images are read",))
        return InputRecord(image.name, True, tuple(self._iterate_notes(image, image.header)))

    def _iterate_notes(self, image: _FolderImage, header: ImageHeader) -> Iterator[str]:
        height, width = self._image_size
        suffix = image.path.suffix.lower()
        if _SUFFIXES.get(suffix, header.format) != header.format or suffix not in _SUFFIXES:
            yield "recognised by its content, not by its name"
        if header.is_sequence:
            yield "the first of several frames"
        if header.bits == 16:
            yield "16 bits per channel scaled to 8"
        if header.mode == "CMYK":
            yield "CMYK turned into red, green and blue"
        if header.alpha:
            yield "transparency laid on white"
        if header.orientation > 1:
            yield "turned upright as EXIF says"
        if header.grey and self._channels == 3:
            yield "grey repeated in 3 channels"
        if not header.grey and self._channels == 1:
            yield "colour turned into grey"
        if (header.height, header.width) != self._image_size:
            yield f"resized to {height} x {width}"
            if header.height * width != header.width * height:
                yield "stretched, because its proportions differ"

    @functools.cached_property
    def _highest(self) -> int:
        """The value of white in files of 16 bits."""
        if not self._deep_headers:
            return 65535
        with image_file.silence_warnings(), concurrent.futures.ThreadPoolExecutor() as pool:
            values = list(pool.map(image_file.find_highest, self._deep_headers))
        highest = max(values)
        fitting = next(bits for bits in _BIT_DEPTHS if highest < 1 << bits)
        bit_depth = self._bit_depth or fitting
        if highest >= 1 << bit_depth:
            path = self._deep_headers[values.index(highest)].path
            raise InputError(
                f"bit_depth={bit_depth} is for values up to {(1 << bit_depth) - 1}; {path} has "
                f"{highest}. Set bit_depth={fitting}, or leave it out."
            )
        chosen = "as bit_depth says" if self._bit_depth else f"all values fit in {bit_depth} bits"
        dataset.log_once(
            logging.WARNING,
            f"image_folder: {len(values)} files of 16 bits per channel, such as "
            f"{self._deep_headers[0].path}: values up to {highest}; white is "
            f"{(1 << bit_depth) - 1}, {chosen}; rounded to 256 levels. "
            "--config.dataset.bit_depth states another depth.",
        )
        return (1 << bit_depth) - 1

    def decode(self, image: _FolderImage) -> np.ndarray:
        """Returns uint8 [height, width, channels]; InputError if the file is damaged."""
        if isinstance(image.header, InputError):
            raise image.header
        highest = self._highest if image.header.bits == 16 else 255
        pixels = image_file.decode(image.header, channels=self._channels, highest=highest)
        with tf.device("CPU:0"):
            return dataset.resize(pixels, self._image_size).numpy()


def _build_folder_split(
    labelled_images: list[tuple[_FolderImage, int]], decoder: _Decoder
) -> dataset.Split:
    order = np.random.default_rng(_ORDER_SEED).permutation(len(labelled_images))
    images = [labelled_images[i][0] for i in order]
    labels = np.array([labelled_images[i][1] for i in order], np.int32)

    def read_blocks(size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        with image_file.silence_warnings(), concurrent.futures.ThreadPoolExecutor() as pool:
            for start in range(0, size, _BLOCK_SIZE):
                rows = slice(start, min(start + _BLOCK_SIZE, size))
                yield np.stack(list(pool.map(decoder.decode, images[rows]))), labels[rows]

    return dataset.Split(None, len(labels), read_blocks=read_blocks)


# Reporting


def _log_summary(split: str, records: list[InputRecord]) -> None:
    """Logs what became of the files of a split, in one line."""
    used = [record for record in records if record.used]
    changes = _group_notes(used)
    reasons = _group_notes(record for record in records if not record.used)
    text = f"image_folder, {split}: {len(used)} of {len(records)} files used"
    if changes:
        text += f". Changed: {_format_groups(changes)}"
    if reasons:
        text += f". Left alone: {_format_groups(reasons)}"
    is_usual = all(note.startswith("resized") for note in changes) and all(
        reason == _HIDDEN or all(_is_system_file(name) for name in names)
        for reason, names in reasons.items()
    )
    dataset.log_once(logging.INFO if is_usual else logging.WARNING, f"{text}.")


def _is_system_file(name: str) -> bool:
    return name.rpartition("/")[2].lower() in _SYSTEM_FILES


def _group_notes(records: Iterable[InputRecord]) -> dict[str, list[str]]:
    groups = collections.defaultdict(list)
    for record in records:
        for note in record.notes:
            # The details of a damaged file are in the report.
            groups[note.partition(": ")[0]].append(record.name)
    return groups


def _format_groups(groups: dict[str, list[str]]) -> str:
    return "; ".join(
        f"{len(names)} {note} ({names[0]}{', ...' if len(names) > 1 else ''})"
        for note, names in groups.items()
    )
