"""Small pictures for pages: made of photos, kept beside the records, and put into pages."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np

from tl_toolkit.core.files import written_whole

PICTURES = "pictures"
"""Folder beside the records: ``00012.webp`` is photo 12, ``00012-cam.webp`` a picture of it of another kind."""

TRAIN = "train"
"""The kind of thumbnails that ``--keep-thumbnails`` keeps: of training photos, by their places in ``training.npz``."""


def thumbnail(photo: np.ndarray, side: int = 160, quality: int = 70) -> bytes:
    """A photo as a small WebP file, in its own shape; one that is small already is not enlarged.

    Args:
        photo: uint8 RGB, shape (height, width, 3).
        side: Longest side of the result, px.
        quality: Of the lossy compression, 0..100. At 70, 160 px take about 4 kB.

    Returns:
        The content of a WebP file; the same photo gives the same bytes.

    Raises:
        ValueError: ``photo`` is not uint8 RGB, or ``side`` or ``quality`` is out of range.
    """
    from PIL import Image

    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
        raise ValueError(f"uint8 of shape (height, width, 3) must hold, got {photo.dtype} of shape {photo.shape}")
    if side < 1 or not 0 <= quality <= 100:
        raise ValueError(f"side >= 1 and 0 <= quality <= 100 must hold, got side={side}, quality={quality}")
    image = Image.fromarray(photo)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, format="WEBP", quality=quality, method=4)
    return file.getvalue()


def picture_file(folder: Path, index: int, kind: str = "") -> Path:
    """Where the thumbnail of photo ``index`` is kept in the folder of its records."""
    return folder / PICTURES / (f"{index:05d}-{kind}.webp" if kind else f"{index:05d}.webp")


def keep_picture(
    folder: Path, index: int, photo: np.ndarray, kind: str = "", *, side: int = 160, quality: int = 70
) -> None:
    """Write a thumbnail to its :func:`picture_file`; see :func:`thumbnail`."""
    with written_whole(picture_file(folder, index, kind)) as file:
        file.write(thumbnail(photo, side, quality))


def kept_picture(folder: Path, index: int, kind: str = "") -> str | None:
    """A kept thumbnail as a ``data:`` address, so that a page needs no file beside it; None where there is none."""
    try:
        webp = picture_file(folder, index, kind).read_bytes()
    except FileNotFoundError:
        return None
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"
