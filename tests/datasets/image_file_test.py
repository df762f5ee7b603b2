"""Files of every kind against a reference in NumPy, and damaged ones."""

import itertools
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from qup.core.errors import InputError
from qup.datasets import image_file

_SHAPE = (11, 14)
_SUFFIXES = ("png", "PNG", "jpg", "", "dat")


def _chunk(kind, content):
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def _encode_png(pixels, orientation):
    """A PNG of 8 or 16 bits with its EXIF block behind the pixels."""
    content = tf.io.encode_png(pixels).numpy()
    end = content.index(b"IEND") - 4
    tags = struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 274, 3, 1, orientation, 0, 0)
    return content[:end] + _chunk(b"eXIf", tags) + content[end:]


def _lay_on_white(pixels, white, channels):
    """The reference: float64 [height, width, channels] in [0, 255]."""
    pixels = pixels.astype(np.float64) / white
    colour_count = pixels.shape[-1] - (pixels.shape[-1] in (2, 4))
    colours = pixels[..., :colour_count]
    if colour_count < pixels.shape[-1]:
        opacity = pixels[..., -1:]
        colours = colours * opacity + (1 - opacity)
    if channels == 3:
        colours = np.broadcast_to(colours, (*colours.shape[:2], 3))
    elif colour_count == 3:
        colours = (colours * [0.299, 0.587, 0.114]).sum(-1, keepdims=True)
    return 255 * colours


def _turn(image, orientation):
    """Where EXIF shows each stored pixel, pixel by pixel."""
    rows, columns = image.shape[:2]
    shown = np.empty((columns, rows) if orientation > 4 else (rows, columns), object)
    for r, c in itertools.product(range(rows), range(columns)):
        bottom, right = rows - 1 - r, columns - 1 - c
        place = {
            1: (r, c),
            2: (r, right),
            3: (bottom, right),
            4: (bottom, c),
            5: (c, r),
            6: (c, bottom),
            7: (right, bottom),
            8: (right, r),
        }[orientation]
        shown[place] = image[r, c]
    return np.stack([np.stack(list(row)) for row in shown])


def _draw(rng, bits, samples):
    pixels = rng.integers(0, 1 << bits, (*_SHAPE, samples))
    return pixels.astype(np.uint8 if bits == 8 else np.uint16)


def _write(path, pixels, container, orientation):
    if container == "png":
        path.write_bytes(_encode_png(pixels, orientation))
        return
    exif = Image.Exif()
    exif[274] = orientation
    mode = {1: None, 2: "LA", 3: "RGB", 4: "RGBA"}[pixels.shape[-1]]
    image = Image.fromarray(pixels[..., 0]) if mode is None else Image.fromarray(pixels, mode)
    options = {"lossless": True, "exact": True} if container == "webp" else {}
    image.save(path, container, exif=exif, **options)


def _list_kinds():
    """Yields container, bits and samples per pixel."""
    yield from itertools.product(("png",), (8, 16), (1, 2, 3, 4))
    yield from itertools.product(("tiff",), (8,), (1, 2, 3, 4))
    yield "tiff", 16, 1
    yield from itertools.product(("webp",), (8,), (3, 4))


@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
def test_files_of_every_kind_equal_the_reference(tmp_path):
    rng = np.random.default_rng(0)
    count = 0
    for (container, bits, samples), orientation, channels in itertools.product(
        _list_kinds(), range(1, 9), (1, 3)
    ):
        pixels = _draw(rng, bits, samples)
        suffix = _SUFFIXES[count % len(_SUFFIXES)]
        path = tmp_path / f"{count}{'.' if suffix else ''}{suffix}"
        _write(path, pixels, container, orientation)
        header = image_file.read_header(path)
        where = (container, bits, samples, orientation, channels)
        assert (header.bits, header.grey, header.alpha, header.orientation) == (
            *(bits, samples < 3, samples in (2, 4), orientation),
        ), where
        white = 255 if bits == 8 else int(pixels[..., : 1 if samples < 3 else 3].max())
        scaled = pixels.astype(np.float64)
        if samples in (2, 4):
            # The opacity always has the whole range.
            scaled[..., -1] *= white / (255 if bits == 8 else 65535)
        expected = _turn(_lay_on_white(scaled, white, channels), orientation)
        decoded = image_file.decode(header, channels=channels, highest=white)
        assert decoded.shape[:2] == (header.height, header.width), where
        np.testing.assert_allclose(decoded, expected, atol=0.01, err_msg=str(where))
        assert image_file.find_highest(header) == pixels[..., : 1 if samples < 3 else 3].max()
        count += 1
    assert count >= 200


def _list_palettes():
    """Yields Pillow images of fewer than 8 bits or with a palette, and their pixels."""
    rng = np.random.default_rng(1)
    palette = rng.integers(0, 256, (16, 3)).astype(np.uint8)
    numbers = rng.integers(0, 16, _SHAPE).astype(np.uint8)
    image = Image.fromarray(numbers).convert("P")
    image.putpalette(palette.tobytes())
    yield "palette", image, {}, palette[numbers]
    clear = palette[numbers].astype(np.float64)
    clear[numbers == 3] = 255
    yield "palette with a clear colour", image, {"transparency": 3}, clear
    bits = numbers > 7
    yield "1 bit", Image.fromarray(bits), {}, np.repeat(bits[..., None] * 255, 3, -1)


@pytest.mark.parametrize("container", ["png", "gif", "bmp", "tiff"])
def test_palettes_and_single_bits(tmp_path, container):
    for name, image, options, expected in _list_palettes():
        if options and container in ("bmp", "tiff"):
            continue
        image.save(tmp_path / "x", container, **options)
        header = image_file.read_header(tmp_path / "x")
        decoded = image_file.decode(header, channels=3)
        np.testing.assert_array_equal(decoded, expected, err_msg=f"{container} {name}")


@pytest.mark.parametrize("kind", ["grey", "colour"])
def test_a_clear_colour_of_png_is_laid_on_white(tmp_path, kind):
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    image = Image.fromarray(grey)
    clear = 80
    if kind == "colour":
        image, clear = image.convert("RGB"), (80, 80, 80)
    image.save(tmp_path / "x.png", transparency=clear)
    header = image_file.read_header(tmp_path / "x.png")
    decoded = image_file.decode(header, channels=1)[..., 0]
    np.testing.assert_allclose(decoded, np.where(grey == 80, 255, grey), atol=1e-3)


def _write_png(path, rows, *, bits, colour_type, transparent):
    """Writes bytes of rows as a PNG with a transparent colour."""
    header = struct.pack(">IIBBBBB", *_SMALL[::-1], bits, colour_type, 0, 0, 0)
    parts = [_chunk(b"IHDR", header), _chunk(b"tRNS", transparent)]
    parts.append(_chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts) + _chunk(b"IEND", b""))


_SMALL = (4, 8)


@pytest.mark.parametrize("bits", [1, 2, 4, 16])
@pytest.mark.parametrize("colour", [False, True])
def test_clear_colours_of_any_depth_are_laid_on_white(tmp_path, bits, colour):
    if colour and bits < 16:
        return
    samples = 3 if colour else 1
    pixels = np.random.default_rng(4).integers(0, 1 << bits, (*_SMALL, samples))
    pixels[1, 2:5] = 1
    if bits == 16:
        rows = [row.astype(">u2").tobytes() for row in pixels]
    else:
        digits = (pixels[..., 0, None] >> np.arange(bits - 1, -1, -1)) & 1
        rows = [np.packbits(row.reshape(-1)).tobytes() for row in digits]
    colour_type = 2 if colour else 0
    clear = struct.pack(">H", 1) * samples
    path = tmp_path / "x.png"
    _write_png(path, rows, bits=bits, colour_type=colour_type, transparent=clear)
    header = image_file.read_header(path)
    expected = pixels * 255 / ((1 << bits) - 1)
    expected[(pixels == 1).all(-1)] = 255
    decoded = image_file.decode(header, channels=3)
    np.testing.assert_allclose(decoded, np.broadcast_to(expected, (*_SMALL, 3)), atol=0.01)


def test_cmyk_becomes_colour(tmp_path):
    colour = Image.new("RGB", (16, 16), (200, 40, 90))
    colour.convert("CMYK").save(tmp_path / "x.jpg", quality=98)
    header = image_file.read_header(tmp_path / "x.jpg")
    assert header.mode == "CMYK" and not header.grey
    np.testing.assert_allclose(image_file.decode(header, channels=3)[8, 8], (200, 40, 90), atol=6)


def _list_whole_files():
    rng = np.random.default_rng(2)
    image = Image.fromarray(rng.integers(0, 256, (20, 24, 3)).astype(np.uint8))
    exif = Image.Exif()
    exif[274] = 6
    for container in ("png", "jpeg", "gif", "bmp", "webp", "tiff"):
        yield container, image, {"exif": exif} if container not in ("gif", "bmp") else {}
    yield "gif", image, {"save_all": True, "append_images": [image.rotate(90)]}
    yield "tiff", image, {"compression": "tiff_lzw"}


def test_damaged_files_give_an_image_or_one_line(tmp_path):
    rng = np.random.default_rng(3)
    path, refused = tmp_path / "x", 0
    for container, image, options in _list_whole_files():
        image.save(path, container, **options)
        whole = path.read_bytes()
        for _ in range(60):
            content = np.frombuffer(whole, np.uint8).copy()
            places = rng.integers(0, min(len(content), rng.choice([64, 10**6])), rng.integers(1, 9))
            content[places] = rng.integers(0, 256, len(places))
            path.write_bytes(content[: rng.integers(1, len(content) + 1)].tobytes())
            try:
                with image_file.silence_warnings():
                    header = image_file.read_header(path)
                    if header is not None and header.height * header.width < 1e6:
                        image_file.decode(header, channels=3)
            except InputError as error:
                refused += 1
                assert len(str(error)) < 600 and "\n" not in str(error)
    assert refused > 100
