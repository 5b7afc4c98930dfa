"""No augmentation: every view is the clean photo.

The control against which the other policies are judged, and the right choice where time is short or photos
are many. 0 distinct operations, 0 ms/image.
"""

from __future__ import annotations

import albumentations as A

VERSION = 1


def build(strength: float) -> A.Compose:
    """An empty Compose: uint8 RGB (height, width, 3) in, the same out.

    Args:
        strength: 0 to 1; of no effect here.
    """
    return A.Compose([], strict=True)
