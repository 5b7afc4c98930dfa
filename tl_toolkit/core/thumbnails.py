"""Small pictures for pages."""

from __future__ import annotations

import io

import numpy as np


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
