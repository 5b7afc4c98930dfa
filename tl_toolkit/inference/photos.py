"""What a photo may be given as, and how each kind becomes pixels by the same rules as a file."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tl_toolkit.core.settings import require

if TYPE_CHECKING:
    from PIL import Image

Photo: TypeAlias = "str | PathLike[str] | bytes | np.ndarray | Image.Image"
"""A file's path, a file's whole content, pixels as uint8 RGB of shape (height, width, 3), or a Pillow image."""

Photos: TypeAlias = "Photo | Iterable[Photo]"
"""One photo, or many: of arrays also one array, uint8, shape (n, height, width, 3)."""

Decode: TypeAlias = Callable[[Path | bytes], np.ndarray]
"""A file, or its content -> uint8 RGB, shape (height, width, 3), upright and as small as training saw it."""


def each(photos: Photos) -> Iterable[Photo]:
    """The photos one by one; a single one is a list of one."""
    single = isinstance(photos, str | bytes | PathLike) or _is_image(photos)
    # Numbers of whatever type: row by row, an array that is no photo would be refused for a shape that nobody gave.
    if single or (isinstance(photos, np.ndarray) and photos.ndim in (2, 3) and photos.dtype.kind in "biufc"):
        return [photos]  # type: ignore[list-item]
    return photos  # type: ignore[return-value]


def path_of(photo: Photo) -> str | None:
    """The path that a photo was given as; None where it was given as something else."""
    return str(photo) if isinstance(photo, str | PathLike) else None


def pixels(photo: Photo, decode: Decode) -> np.ndarray:
    """A photo as uint8 RGB, shape (height, width, 3), as :data:`Decode` gives it.

    Raises:
        BrokenImageError: it cannot be decoded in full.
        FileNotFoundError: there is no such file.
        ValueError: it is an array of another shape or type.
        TypeError: it is none of what a :data:`Photo` may be.
    """
    if isinstance(photo, bytes):
        return decode(photo)
    if isinstance(photo, str | PathLike):
        return decode(Path(photo))
    if isinstance(photo, np.ndarray):
        rule = "a photo is an array of uint8 (height, width, 3), RGB, with pixels:"
        fits = photo.dtype == np.uint8 and photo.ndim == 3 and photo.shape[2] == 3 and photo.size > 0
        require(fits, rule, dtype=str(photo.dtype), shape=photo.shape)
        return decode(_bmp(photo))
    if _is_image(photo):
        return decode(_tiff(photo))
    raise TypeError(f"A photo is a path, bytes, an array or a Pillow image, got {type(photo).__name__}")


def _is_image(value: Any) -> bool:
    from PIL import Image

    return isinstance(value, Image.Image)


def _bmp(photo: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(photo).save(file, "BMP")
    return file.getvalue()


def _tiff(image: Image.Image) -> bytes:
    """An image as a file that keeps all bits of its mode, for decoding has rules for modes; the frame that it is at."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("P", "PA", "La", "RGBa") or "transparency" in upright.info:
        upright = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    elif upright.mode in ("YCbCr", "LAB", "HSV"):
        upright = upright.convert("RGB")
    file = io.BytesIO()
    upright.save(file, "TIFF")
    return file.getvalue()
