"""Views: what a photo looks like after a policy, as a pure function of five values.

Invariants, each with a test of its own:

- a view depends on the photo and on (image id, policy, strength, seed, view number), and on nothing else:
  not on the order of calls, the process, the thread, or how many views are asked for;
- view 0 is the clean photo, whatever the policy;
- a policy without operations gives the clean photo for every view.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import operator
import random
import sys
import threading
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tl_toolkit.core.errors import UnknownNameError
from tl_toolkit.core.registry import Registry

if TYPE_CHECKING:
    import albumentations

Image = npt.NDArray[np.uint8]

WORKING_SIDE = 320
"""Longest side of an augmented view, in pixels. Backbones take 224 to 260 px, so 320 leaves room for the
crops of a policy; the cost of nearly every operation grows with the area, and 512 px have 2.5 times as much
of it."""

SMALLEST_SIDE = 32
"""Shortest side that a policy is given, in pixels: below that, crops and blurs have nothing left to work on.
Thinner pictures are stretched in that direction, as a backbone that takes squares would do in any case."""

VERSION = 1
"""Part of :func:`policy_version`: raise it when this module gives other pixels for the same arguments."""


def augment(image: Image, *, policy: str, strength: float, seed: int, view: int, image_id: str) -> Image:
    """One view of one photo.

    Args:
        image: RGB, uint8, shape (height, width, 3), at least one pixel. Never written to.
        policy: A name in ``tl_toolkit.augmentation.REGISTRY``.
        strength: 0 to 1.
        seed: Any integer; another seed gives other views throughout.
        view: 0 for the clean photo, 1, 2, ... for augmented ones.
        image_id: What tells this photo from all others wherever it stands in the data set, such as the hash
            of its content.

    Returns:
        RGB, uint8, shape (height', width', 3). The clean photo is ``image`` itself, neither copied nor
        shrunk; augmented views are arrays of their own, at most ``WORKING_SIDE`` on their longest side.

    Raises:
        UnknownNameError: no policy has that name.
        ValueError: ``strength``, ``view`` or ``image`` breaks the rules above.
    """
    if policy not in _registry():
        raise UnknownNameError(_registry().kind, policy, _registry())
    strength = float(strength) + 0.0  # 1 and 1.0, 0.0 and -0.0 must not be different seeds
    if not 0 <= strength <= 1:
        raise ValueError(f"`0 <= strength <= 1` must hold, got strength={strength}")
    view = operator.index(view)
    if view < 0:
        raise ValueError(f"`view >= 0` must hold, got view={view}")
    if image.dtype != np.uint8:
        raise ValueError(f"`image` must be uint8, got {image.dtype}")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"`image` must have shape (height, width, 3) and a pixel or more, got {image.shape}")

    if view == 0:
        return image
    compose = _threads.compose(policy, strength)
    if not compose.transforms:
        return image
    # JSON keeps the five apart: no other five have the same text.
    key = json.dumps([image_id, policy, strength, operator.index(seed), view])
    entropy = int.from_bytes(hashlib.sha256(key.encode()).digest(), "big")
    # Not compose.set_random_seed: it gives every operation a generator of its own from one and the same
    # seed, so that all first draws are equal, and operations of equal probability happen all together or
    # not at all.
    compose.set_random_state(np.random.default_rng(entropy), random.Random(entropy))
    small = shrink(image)
    # A copy: a policy may write into it, and may return it as it is.
    return compose(image=small.copy() if small is image else small)["image"]


def shrink(image: Image) -> Image:
    """The photo at the size at which policies work: ``image`` itself where it has it, else a resized copy.

    Shrinking twice changes nothing, so views 1, 2, ... of ``shrink(photo)`` are those of ``photo``. Whoever
    asks for many views of one photo saves 1.2 ms a view (512 px) by shrinking it once.

    Args:
        image: RGB, uint8, shape (height, width, 3).

    Returns:
        RGB, uint8, both sides within ``SMALLEST_SIDE`` to ``WORKING_SIDE``.
    """
    height, width = image.shape[:2]
    scale = min(1.0, WORKING_SIDE / max(height, width))
    size = (max(SMALLEST_SIDE, round(width * scale)), max(SMALLEST_SIDE, round(height * scale)))
    if size == (width, height):
        return image
    import cv2

    return cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)


def policy_version(policy: str) -> str:
    """What the pixels of a policy's views depend on besides the arguments of :func:`augment`; for cache keys.

    Raises:
        UnknownNameError: no policy has that name.
    """
    build = _registry().get(policy)
    library = importlib.metadata.version("albumentations")
    return f"{policy} {sys.modules[build.__module__].VERSION}, views {VERSION}, albumentations {library}"


def _registry() -> Registry:
    from tl_toolkit.augmentation import REGISTRY  # not above: that module imports this one

    return REGISTRY


class _Threads(threading.local):
    """Built policies, one set for each thread.

    Building one takes 5 ms for "heavy" (every operation validates its arguments), twice what a view takes. A
    Compose carries the generators of the view it is at, so threads must not share it. A search uses a handful
    of (policy, strength) pairs; the limit is for callers who draw strengths at random.
    """

    def __init__(self) -> None:
        self.compose = functools.lru_cache(maxsize=32)(_build)


def _build(policy: str, strength: float) -> albumentations.Compose:
    return _registry().get(policy)(strength)


_threads = _Threads()
