"""How bright and how sharp photos are, and which of them stand out by it."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tl_toolkit.datasets.photos import Photos

SHARPNESS_SIDE = 256
"""Longest side in px at which sharpness is measured: about what backbones see, and it makes photos comparable, for the
same blur is softer on more pixels. Smaller photos are measured as they are."""

UNUSUAL = 2.5
"""Robust standard deviations from the median beyond which a photo is unusual, as Leys et al. advise (2013, "Detecting
outliers: Do not use standard deviation around the mean, use absolute deviation around the median")."""

_LEAST_SPREAD = {"brightness": 8.0, "sharpness": float(np.log(1.25))}
"""Among photos that are all but equal, a difference that nobody sees would be unusual."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Appearance:
    """What was measured.

    Attributes:
        brightness: float64, shape (n,): mean luma (ITU-R BT.601), 0 black .. 255 white.
        sharpness: float64, shape (n,): variance of the Laplacian of the luma, squared grey levels; 0 where all is even.
    """

    brightness: np.ndarray
    sharpness: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusual:
    """Photos that stand out, as indices, the most unusual first.

    Attributes:
        dark, bright, blurred: Beyond the limits below.
        darkest, brightest: Limits of brightness: mean luma, which may lie outside of what can be.
        blurriest: Limit of sharpness: variance of the Laplacian.
    """

    dark: tuple[int, ...]
    bright: tuple[int, ...]
    blurred: tuple[int, ...]
    darkest: float
    brightest: float
    blurriest: float


def brightness(photo: np.ndarray) -> float:
    """Mean luma, 0..255, of a photo: uint8 RGB, shape (height, width, 3)."""
    import cv2

    return float(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).mean())


def sharpness(photo: np.ndarray) -> float:
    """Variance of the Laplacian of the luma, of a photo of at most :data:`SHARPNESS_SIDE` px.

    Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy". It is low for blur, and for subjects
    without detail, too.

    Args:
        photo: uint8 RGB, shape (height, width, 3).
    """
    import cv2

    luma = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
    height, width = luma.shape
    scale = SHARPNESS_SIDE / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        luma = cv2.resize(luma, size, interpolation=cv2.INTER_AREA)
    return float(cv2.Laplacian(luma, cv2.CV_64F).var())


def measure(photos: Photos, advance: Callable[[], None] = lambda: None) -> Appearance:
    """Measure every photo, on all cores.

    Raises:
        BrokenImageError: a file is not a whole photo; examine the files first.
    """

    def look(index: int) -> tuple[float, float]:
        photo = photos[index]
        advance()
        return brightness(photo), sharpness(photo)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        seen = np.array(list(pool.map(look, range(len(photos)))), np.float64).reshape(-1, 2)
    return Appearance(brightness=seen[:, 0], sharpness=seen[:, 1])


def unusual(appearance: Appearance) -> Unusual:
    """Photos more than :data:`UNUSUAL` robust standard deviations from the median of all.

    The robust standard deviation is 1.4826 times the median absolute deviation, which equals the standard deviation of
    normal data and is not moved by the very photos that are looked for. Of sharpness, which spans magnitudes, the
    logarithm counts.
    """
    light, low, high = _limits(appearance.brightness, "brightness")
    detail, blurred, _ = _limits(np.log1p(appearance.sharpness), "sharpness")
    return Unusual(
        dark=_ranked(light, light < low),
        bright=_ranked(-light, light > high),
        blurred=_ranked(detail, detail < blurred),
        darkest=low,
        brightest=high,
        blurriest=float(np.expm1(blurred)),
    )


def _limits(values: np.ndarray, what: str) -> tuple[np.ndarray, float, float]:
    middle = float(np.median(values))
    spread = max(1.4826 * float(np.median(np.abs(values - middle))), _LEAST_SPREAD[what])
    return values, middle - UNUSUAL * spread, middle + UNUSUAL * spread


def _ranked(values: np.ndarray, chosen: np.ndarray) -> tuple[int, ...]:
    order = np.argsort(values, kind="stable")
    return tuple(order[chosen[order]].tolist())
