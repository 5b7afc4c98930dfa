"""Augmentation policies: what may happen to a photo without its label becoming wrong.

A policy is a file with ``VERSION: int`` and ``build(strength: float) -> albumentations.Compose | ArrayPolicy``. A
Compose maps an RGB photo (uint8, shape (height, width, 3), sides of 32 to 320 px) to another such photo of nearly the
same size; an :class:`~tl_toolkit.augmentation.views.ArrayPolicy` maps many of equal size at once. ``strength`` is 0 for
no change to speak of and 1 for the most that leaves every label true. Everything derived from views is cached under
``VERSION``: raise it whenever the same seed would give other pixels.

Rooms ask :func:`augment` for views, or :func:`augment_all` for those of all photos of an array, and never meet
Albumentations.
"""

from __future__ import annotations

import os

from tl_toolkit.augmentation.views import augment, augment_all, policy_version, shrink
from tl_toolkit.core.registry import Registry

# Albumentations asks the network for a newer release when it is imported, unless told not to. Only policies
# import it, and they are imported on first use, after this line.
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"

REGISTRY = Registry(
    "augmentation policy",
    {
        "none": "tl_toolkit.augmentation.none:build",
        "light": "tl_toolkit.augmentation.light:build",
        "heavy": "tl_toolkit.augmentation.heavy:build",
        "original": "tl_toolkit.augmentation.original:build",
        "flip_shift": "tl_toolkit.augmentation.flip_shift:build",
    },
)

__all__ = ["REGISTRY", "augment", "augment_all", "policy_version", "shrink"]
