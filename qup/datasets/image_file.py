"""One image file: what its header says, and its pixels.

The content decides the format, not the name. TensorFlow decodes PNG and JPEG, Pillow the rest.

```python
header = image_file.read_header("photo.jpg")
header.height, header.grey  # 480, False
image_file.decode(header, channels=3)  # [480, 640, 3], values in [0, 255]
```
"""

import contextlib
import dataclasses
import os
import re
import struct
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from qup.core.errors import InputError

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WebP", "TIFF")
_PILLOW_FORMATS = tuple(name.upper() for name in FORMATS)
_GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N")
_ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
# A few kilobytes can claim to be an image that fills the memory.
_MAX_PIXELS = 178_956_970
# ITU-R BT.601: the weights of red, green and blue in grey.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_ORIENTATION_TAG, _BITS_TAG, _PHOTOMETRIC_TAG = 274, 258, 262
_WIDTH_TAG, _HEIGHT_TAG = 256, 257
_PNG_DEPTH_OFFSET, _PNG_COLOUR_BIT = 24, 2


@dataclasses.dataclass(frozen=True)
class ImageHeader:
    """What a file says about its image.

    Attributes:
      path: The file.
      format: One of `FORMATS`.
      height: Rows of pixels, as the image is looked at.
      width: Columns of pixels.
      mode: Pillow's name of the kind of pixels, such as "CMYK".
      grey: Whether there is one colour channel; a palette counts as colour.
      alpha: Whether pixels can be transparent.
      bits: Per channel, 8 or 16; fewer than 8 count as 8.
      orientation: EXIF's number, 1 to 8: how the stored rows must be turned. 1 is upright.
      is_sequence: Whether further frames or pages follow the first.
    """

    path: str
    format: str
    height: int
    width: int
    mode: str
    grey: bool
    alpha: bool
    bits: int
    orientation: int
    is_sequence: bool


def make_read_error(path: str | os.PathLike, reason: Any) -> InputError:
    """Returns the error for a file that is not a whole image."""
    text = " ".join(str(reason).split()).rstrip(".")[:200]
    return InputError(f"Cannot read the image {path}: {text}. Repair or remove it.")


@contextlib.contextmanager
def silence_warnings() -> Iterator[None]:
    """Hides Pillow's warnings about odd headers; not to be entered by several threads at once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_header(path: str | os.PathLike) -> ImageHeader | None:
    """Reads a file's header; None if its content is none of `FORMATS`.

    Raises:
      InputError: The file cannot be opened, its header is damaged, or its kind of pixels is not
        read: more than 16 bits, or 16 bits in colour outside PNG.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=_PILLOW_FORMATS) as image:
            return _describe(str(path), image)
    except (UnidentifiedImageError, InputError) as error:
        if isinstance(error, InputError):
            raise
        return None
    except Image.DecompressionBombError as error:
        raise _make_size_error(path) from error
    except MemoryError:
        raise
    # Pillow's parsers raise whatever the damaged bytes lead them to.
    except Exception as error:
        raise make_read_error(path, getattr(error, "strerror", None) or error) from error


def _describe(path: str, image: Any) -> ImageHeader:
    width, height = image.size
    if width * height > _MAX_PIXELS:
        raise _make_size_error(path)
    bits, grey = 8, image.mode in _GREY_MODES
    if image.format == "PNG":
        orientation, bits, grey = _read_png_chunks(path)
    else:
        orientation = _read_orientation(image.getexif)
    if image.format == "TIFF":
        # Pillow may have exchanged the sides already.
        width, height = image.tag_v2[_WIDTH_TAG], image.tag_v2[_HEIGHT_TAG]
        bits = _check_tiff_bits(path, image)
    if orientation > 4:
        height, width = width, height
    # MPO is a JPEG file with further pictures behind the first.
    return ImageHeader(
        path=path,
        format={"MPO": "JPEG", "WEBP": "WebP"}.get(image.format, image.format),
        height=height,
        width=width,
        mode=image.mode,
        grey=grey,
        alpha=image.mode in _ALPHA_MODES or "transparency" in image.info,
        bits=bits,
        orientation=orientation,
        is_sequence=bool(getattr(image, "is_animated", False)),
    )


def _make_size_error(path: str | os.PathLike) -> InputError:
    return InputError(
        f"The image {path} has more than {_MAX_PIXELS / 1e6:.0f} million pixels, too many to "
        "decode safely. Reduce or remove it."
    )


def _read_orientation(get_exif: Any) -> int:
    # A damaged EXIF block says nothing about the pixels.
    with contextlib.suppress(Exception):
        orientation = int(get_exif().get(_ORIENTATION_TAG, 1))
        if 1 <= orientation <= 8:
            return orientation
    return 1


def _read_png_chunks(path: str) -> tuple[int, int, bool]:
    """Returns a PNG's orientation, bits per channel and whether it is grey.

    Pillow shows neither 16 bits in colour nor, without decoding, an EXIF block behind the pixels.
    """
    from PIL import Image

    orientation = 1
    with open(path, "rb") as file:
        start = file.read(_PNG_DEPTH_OFFSET + 2)
        depth, colour_type = start[_PNG_DEPTH_OFFSET:]
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"eXIf":
                exif, content = Image.Exif(), file.read(min(length, 1 << 20))
                orientation = _read_orientation(lambda e=exif, c=content: e.load(c) or e)
                break
            file.seek(length + 4, os.SEEK_CUR)
    return orientation, 16 if depth == 16 else 8, not colour_type & _PNG_COLOUR_BIT


def _check_tiff_bits(path: str, image: Any) -> int:
    """Returns 8 or 16, the bits per channel of a TIFF file; InputError for what is not read."""
    bits = max(image.tag_v2.get(_BITS_TAG, (1,)))
    deep_grey = image.mode.startswith("I;16") and image.tag_v2.get(_PHOTOMETRIC_TAG) == 1
    if deep_grey:
        return 16
    if bits > 8 or image.mode in ("I", "F"):
        raise InputError(
            f"The image {path} is a TIFF file of {bits} bits per channel, mode {image.mode}; TIFF "
            "is read with 8 bits, or with 16 in grey where black is 0. Save it as PNG of 8 or 16 "
            "bits, or give the pixels as arrays (--dataset=arrays)."
        )
    return 8


def decode(header: ImageHeader, *, channels: int, highest: int = 65535) -> np.ndarray:
    """Decodes a file, upright, with transparent pixels laid on white.

    Args:
      header: Of the file.
      channels: 1, or 3 for red, green and blue. Grey is repeated; colour becomes grey by the
        weights of ITU-R BT.601.
      highest: The value of white in files of 16 bits.

    Returns:
      uint8 or float32 [height, width, channels], values in [0, 255].

    Raises:
      InputError: The file is damaged.
    """
    stored, orientation = read_stored(header)
    pixels = stored[..., : 1 if header.grey else 3]
    if header.bits == 16:
        pixels = pixels * np.float32(255 / highest)
    if header.alpha:
        opacity = stored[..., -1:] / np.float32(65535 if header.bits == 16 else 255)
        pixels = pixels * opacity + 255 * (1 - opacity)
    if channels == 3 and header.grey:
        pixels = np.repeat(pixels, 3, axis=-1)
    elif channels == 1 and not header.grey:
        pixels = pixels.astype(np.float32) @ _LUMA[:, None]
    return _turn_upright(pixels, orientation)


def find_highest(header: ImageHeader) -> int:
    """Returns the highest stored value of a file, transparency apart."""
    stored, _ = read_stored(header)
    return int(stored[..., : 1 if header.grey else 3].max(initial=0))


def read_stored(header: ImageHeader) -> tuple[np.ndarray, int]:
    """Returns a file's numbers as they are stored, and the orientation they still have.

    Returns:
      uint8 or uint16 [rows, columns, 1 or 3 colour channels and, if `header.alpha`, 1 more].

    Raises:
      InputError: The file is damaged.
    """
    try:
        if header.format == "PNG" or (header.format == "JPEG" and header.mode in ("L", "RGB")):
            return _decode_by_tensorflow(header), header.orientation
        return _decode_by_pillow(header)
    except MemoryError:
        raise
    except tf.errors.OpError as error:
        detail = re.sub(r"\{\{.*?\}\} ?| ?\[Op:\w+\].*", "", error.message)
        raise make_read_error(header.path, detail) from error
    # As in `read_header`.
    except Exception as error:
        raise make_read_error(header.path, getattr(error, "strerror", None) or error) from error


def _decode_by_tensorflow(header: ImageHeader) -> np.ndarray:
    # TensorFlow has no form for grey with transparency alone.
    channels = 4 if header.alpha else 1 if header.grey else 3
    with open(header.path, "rb") as file, tf.device("CPU:0"):
        content = file.read()
        if header.format == "JPEG":
            return tf.io.decode_jpeg(content, channels=channels).numpy()
        dtype = tf.uint16 if header.bits == 16 else tf.uint8
        pixels = tf.io.decode_png(content, channels=channels, dtype=dtype).numpy()
    return pixels[..., [0, 3]] if header.alpha and header.grey else pixels


def _decode_by_pillow(header: ImageHeader) -> tuple[np.ndarray, int]:
    from PIL import Image

    # By an open file: of a named one, Pillow maps the rows of a turned TIFF with wrong sides.
    with open(header.path, "rb") as file, Image.open(file, formats=_PILLOW_FORMATS) as image:
        image.load()
        orientation = header.orientation
        if header.format == "TIFF":
            # Pillow turns TIFF files itself, and then forgets the orientation.
            orientation = _read_orientation(image.getexif)
        if header.bits == 16:
            return np.asarray(image).astype(np.uint16)[..., None], orientation
        mode = "RGBA" if header.alpha else "L" if header.grey else "RGB"
        pixels = np.asarray(image.convert(mode))
    if header.alpha and header.grey:
        pixels = pixels[..., [0, 3]]
    return pixels.reshape(*pixels.shape[:2], -1), orientation


def _turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Applies an EXIF orientation: where row 0 and column 0 of the stored pixels are shown."""
    if orientation > 4:
        pixels = pixels.swapaxes(0, 1)
    flips = {2: (0, 1), 3: (1, 1), 4: (1, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}
    rows, columns = flips.get(orientation, (0, 0))
    return pixels[:: -1 if rows else 1, :: -1 if columns else 1]
