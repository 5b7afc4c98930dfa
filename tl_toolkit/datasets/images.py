"""Any photo file to RGB pixels, the same way in the audit, in training and in prediction.

A file that cannot be decoded in full is an error with a one-line reason. It is never padded with grey or
black, because a model would learn the padding.
"""

from __future__ import annotations

import io
import logging
import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from tl_toolkit.core.errors import BrokenImageError

SUFFIXES: frozenset[str] = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
)
"""Lower-case file suffixes of what is read here. Decoding goes by content: a PNG named ``.jpg`` is fine."""

MAX_SIDE = 512
"""Longest side of a decoded photo, px. Later stages resize bilinearly without antialiasing to 224 to 260 px:
from 512 px that skips few pixels, from 4,000 px it would alias badly. So the careful shrink is here: bilinear
with antialiasing, from the whole photo, because exported models do the same by two matrix products."""

VERSION = 2
"""Of the pixels that come of a file, for cache keys: another number, other pixels."""

MAX_PIXELS = 100_000_000
"""Photos of more pixels are refused before their pixels are decoded: 100 megapixels, 300 MB as RGB."""

MAX_BYTES = 2**30
"""Files above 1 GiB are refused unread: 100 megapixels of uncompressed 16-bit RGBA are 0.8 GB."""

# Pillow opens some forty formats, some by running other programs (EPS), some on a match so weak that noise
# passes for an image. MPO, which phones write as .jpg, comes with JPEG.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what sets the picture upright. 1, and what EXIF does not define, need nothing."""

_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
"""TIFF tags."""

# Pillow warns and logs about damaged metadata of photos that are whole; photos that are not whole raise. The
# filters stay for good, because `warnings.catch_warnings` around each call would not be thread-safe.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())


def decode_image(source: Path | bytes, *, max_side: int | None = MAX_SIDE) -> np.ndarray:
    """The pixels of a photo, upright, in 8-bit RGB, shrunk to at most ``max_side``.

    Rules, for what is not 8-bit RGB:

    - EXIF orientation is applied; damaged EXIF counts as none. Colour profiles are ignored.
    - Transparency (an alpha channel, a palette with alpha, a transparent colour) is composited on white.
    - 16-bit grey is divided by 257 and rounded, 12-bit grey by 4095 / 255. Of 16-bit colour Pillow keeps the
      high byte, which is within one level of that.
    - 32-bit integers and floats do not say what white is. It is taken to be the smallest of 1 (floats only),
      255 and 65535 that no pixel exceeds, or else the brightest pixel. Negative values and NaN are black.
    - CMYK has Adobe's inverted polarity in JPEG, as browsers assume, and the standard's in TIFF.
    - Of an animation the first frame is taken, of a multi-page TIFF the first page.

    Thread-safe; Pillow decodes outside Python's global lock.

    Args:
        source: A file's path, or its whole content.
        max_side: Longest side of the result, px, or None for the photo's own. A photo that is no larger keeps
            every pixel as it is.

    Returns:
        uint8, shape (height, width, 3), RGB; a writeable array of its own.

    Raises:
        BrokenImageError: (without the file's name) the content is empty, cut short, damaged, in none of the formats,
            above ``MAX_PIXELS`` or ``MAX_BYTES``, or the file must not or cannot be read.
        FileNotFoundError: there is no such file.
        ValueError: ``max_side`` is below 1.
    """
    if max_side is not None and max_side < 1:
        raise ValueError(f"`max_side >= 1` must hold, got max_side={max_side}")
    data = source if isinstance(source, bytes) else _read(source)
    if not data:
        raise BrokenImageError("the file is empty")
    try:
        return _decode(data, max_side)
    except (BrokenImageError, MemoryError):
        raise
    except Image.UnidentifiedImageError as error:
        known = "JPEG, PNG, WebP, BMP, GIF or TIFF"
        raise BrokenImageError(f"not a {known} image, or its header is damaged") from error
    except Image.DecompressionBombError as error:
        raise BrokenImageError(f"more than {MAX_PIXELS // 10**6} megapixels") from error
    # Not a list of types: on damaged data Pillow raises whatever its parsing runs into (OSError, SyntaxError,
    # struct.error, EOFError, KeyError, TypeError, zlib.error, ...), and one missed would end a whole audit.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise BrokenImageError(reason or f"damaged ({type(error).__name__})") from error


def upright_size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels of a photo that :func:`decode_image` can decode, after EXIF orientation.

    Args:
        data: The file's whole content.
    """
    with Image.open(io.BytesIO(data), formats=_FORMATS) as file:
        if file.format in ("PNG", "TIFF"):
            file.load()  # a PNG may have its EXIF behind the pixels, and a TIFF turns upright while it loads
        width, height = file.size
        return (height, width) if _orientation(file) in (5, 6, 7, 8) else (width, height)


def _read(path: Path) -> bytes:
    # The whole file and not an open handle: a damaged TIFF may announce a tag of 30 GB. Reading that from
    # memory stops at the end of what there is, where a file object would reserve 30 GB first.
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BrokenImageError(f"larger than {MAX_BYTES // 2**30} GiB")
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise BrokenImageError("no permission to read") from error
    except OSError as error:
        raise BrokenImageError(f"cannot be read: {error.strerror or error}") from error


def _decode(data: bytes, max_side: int | None) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=_FORMATS) as file:
        width, height = file.size
        if width * height > MAX_PIXELS:
            raise BrokenImageError(f"more than {MAX_PIXELS // 10**6} megapixels: {width} x {height}")
        if width * height == 0:
            raise BrokenImageError(f"no pixels: {width} x {height}")
        file.load()
        if file.format in ("JPEG", "MPO") and not _has_jpeg_end(data):
            raise BrokenImageError("image file is truncated (no end-of-image marker)")
        if file.format == "PNG":
            _scale_transparent_colour(file, depth=data[24])
        image = _in_8_bits(file)
        longest = max(width, height)
        if max_side is not None and longest > max_side:
            # Rounded half up, in whole numbers: exported models find the same size.
            size = [max(1, (2 * length * max_side + longest) // (2 * longest)) for length in (width, height)]
            # No quicker filter goes first (Pillow's `draft` and `reducing_gap` halve the time): graphs have none.
            image = image.resize((size[0], size[1]), Image.Resampling.BILINEAR)
        turn = _UPRIGHT.get(_orientation(file))
        return np.array((image if turn is None else image.transpose(turn)).convert("RGB"))


def _has_jpeg_end(data: bytes) -> bool:
    """Whether an end-of-image marker follows the pixels.

    Pillow notices when a JPEG stops, but not always when its rest is zeros, which interrupted downloads and
    crashed disks leave behind: some Huffman tables read zeros as grey blocks.
    """
    at = 2  # from here past the headers to the start of the scan, because EXIF may hold a whole thumbnail
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] != b"\xda":
        at += 1 if data[at + 1 : at + 2] == b"\xff" else 2 + int.from_bytes(data[at + 2 : at + 4])
    return data.find(b"\xff\xd9", at) >= 0


def _scale_transparent_colour(file: Image.Image, depth: int) -> None:
    """Bring a PNG's transparent colour, which Pillow leaves in ``depth`` bits, to the scale of the pixels."""
    colour = file.info.get("transparency")
    if file.mode == "L" and colour is not None:
        file.info["transparency"] = colour * 255 // (2**depth - 1)
    elif file.mode == "RGB" and colour is not None:
        file.info["transparency"] = tuple(value >> (depth - 8) for value in colour)


def _in_8_bits(file: Image.Image) -> Image.Image:
    """The picture in mode L or RGB and on white, so that shrinking mixes in no hidden colours."""
    if file.mode.startswith(("I", "F")):
        return Image.fromarray(_grey_in_8_bits(file))
    if not file.has_transparency_data:
        return file.convert("L" if file.mode in ("1", "L") else "RGB")
    # Pillow has no direct way from premultiplied grey to RGBA.
    rgba = (file.convert("LA") if file.mode == "La" else file).convert("RGBA")
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white


def _grey_in_8_bits(file: Image.Image) -> np.ndarray:
    """Grey of more than 8 bits as uint8, shape (height, width); Pillow's own conversion would clip at 255."""
    values = np.asarray(file)
    tags = getattr(file, "tag_v2", {})
    white: float
    if file.mode.startswith("I;16"):
        white = 4095 if tags.get(_BITS_PER_SAMPLE) == (12,) else 65535
    else:
        if file.mode == "I" and tags.get(_SAMPLE_FORMAT, (1,)) == (1,):
            values = values.view(np.uint32)  # unsigned in the file, but Pillow's mode I is signed
        brightest = float(values[np.isfinite(values)].max(initial=0))
        usual = (1, 255, 65535) if file.mode == "F" else (255, 65535)
        white = next((level for level in usual if brightest <= level), brightest)
    levels = np.nan_to_num(values.astype(np.float32) * np.float32(255 / white), nan=0.0)
    grey = np.rint(levels.clip(0, 255)).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == 0:  # "white is zero", which Pillow heeds in 8 bits only
        grey = 255 - grey
    if "transparency" in file.info:
        grey[values == file.info["transparency"]] = 255
    return grey


def _orientation(file: Image.Image) -> int:
    # To be asked after loading: a PNG may have its EXIF behind the pixels, and a TIFF turns upright while it
    # loads, after which its orientation reads 1.
    try:
        return file.getexif().get(ExifTags.Base.Orientation, 1)
    except (SyntaxError, ValueError, TypeError, LookupError, OSError, EOFError, struct.error):
        return 1
