"""What the first Slash classifier did to its photos: Keras' ``ImageDataGenerator`` at its most daring.

Horizontal flip; a turn of up to 45 degrees; zoom in, width and height drawn apart, until as little as half of a side
is left; brightness down to a fifth. Borders that a turn uncovers repeat the outermost pixels. Unlike "light" and
"heavy" it does not keep every label true: a quarter of the photo may be all that is left of it, askew and almost black.
It is here so that the original's figures can be compared under the original's policy.

One difference: the factor of the zoom is uniform in 1 to 2, where Keras draws the side that is left uniformly from 0.5
to 1. So 0.69 of a side is left on average, not 0.75.

4 distinct operations; 1.7 times the time of "light" at 300 px and strength 1.
"""

from __future__ import annotations

import albumentations as A
import cv2

VERSION = 1


def build(strength: float) -> A.Compose:
    """The policy at one strength: uint8 RGB (height, width, 3) in and out, of the same size.

    Args:
        strength: 0 (nothing happens) to 1 (the amounts above). Amounts grow linearly; up to 0.5, flips also become
            more frequent.
    """
    zoom = (1.0, 1 / (1 - 0.5 * strength))
    return A.Compose(
        [
            A.HorizontalFlip(p=0.5 * min(1.0, 2 * strength)),
            # Two warps, not one: Keras turns first, and Albumentations' single warp would zoom first.
            A.Affine(rotate=(-45 * strength, 45 * strength), border_mode=cv2.BORDER_REPLICATE, p=1.0),
            A.Affine(scale={"x": zoom, "y": zoom}, border_mode=cv2.BORDER_REPLICATE, p=1.0),
            # Brightness as Keras and Pillow mean it, a factor on all pixels.
            A.MultiplicativeNoise((1 - 0.8 * strength, 1.0), p=1.0),
        ],
        strict=True,
    )
