"""Views: what a photo looks like after a policy, as a pure function of five values.

Invariants, each with a test of its own:

- a view depends on the photo and on (image id, policy, strength, seed, view number), and on nothing else:
  not on the order of calls, the process, the thread, or how many views are asked for;
- view 0 is the clean photo, whatever the policy;
- a policy without operations gives the clean photo for every view;
- a photo has the same views alone and among all photos of an array.
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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tl_toolkit.core.errors import UnknownNameError
from tl_toolkit.core.registry import Registry

if TYPE_CHECKING:
    import albumentations

Image = npt.NDArray[np.uint8]
Images = npt.NDArray[np.uint8]

WORKING_SIDE = 320
"""Longest side of an augmented view, in pixels. Backbones take 224 to 260 px, so 320 leaves room for the
crops of a policy; the cost of nearly every operation grows with the area, and 512 px have 2.5 times as much
of it."""

SMALLEST_SIDE = 32
"""Shortest side that a policy is given, in pixels: below that, crops and blurs have nothing left to work on.
Thinner pictures are stretched in that direction, as a backbone that takes squares would do in any case."""

VERSION = 1
"""Part of :func:`policy_version`: raise it when this module gives other pixels for the same arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayPolicy:
    """A policy at one strength that is NumPy code on many photos at once, where a Compose takes one at a time.

    Attributes:
        transform: (photos, draws) -> views. Photos are RGB, uint8, shape (m, height, width, 3), never written to; draws
            are uint32, shape (m, 8), uniform, and the only source of chance; views are a new array of the shape and
            type of the photos. A view depends on its own photo and draws alone.
    """

    transform: Callable[[Images, npt.NDArray[np.uint32]], Images]


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
    strength, view = _checked(policy, strength, view)
    if image.dtype != np.uint8:
        raise ValueError(f"`image` must be uint8, got {image.dtype}")
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"`image` must have shape (height, width, 3) and a pixel or more, got {image.shape}")

    if view == 0:
        return image
    built = _threads.built(policy, strength)
    if isinstance(built, ArrayPolicy):
        draws = _draws([_digest(image_id, policy, strength, seed, view)])
        return built.transform(shrink(image)[None], draws)[0]
    if not built.transforms:
        return image
    entropy = int.from_bytes(_digest(image_id, policy, strength, seed, view), "big")
    # Not built.set_random_seed: it gives every operation a generator of its own from one and the same
    # seed, so that all first draws are equal, and operations of equal probability happen all together or
    # not at all.
    built.set_random_state(np.random.default_rng(entropy), random.Random(entropy))
    small = shrink(image)
    # A copy: a policy may write into it, and may return it as it is.
    return built(image=small.copy() if small is image else small)["image"]


def augment_all(
    images: Images, *, policy: str, strength: float, seed: int, view: int, image_ids: Sequence[str]
) -> Images | None:
    """One view of every photo of an array, bit by bit what :func:`augment` gives for each.

    Needs the memory of the result and little more.

    Args:
        images: RGB, uint8, shape (n, height, width, 3), at least one pixel. Never written to.
        policy, strength, seed, view: As for :func:`augment`.
        image_ids: That of each photo, length n.

    Returns:
        RGB, uint8, shape (n, height, width, 3): ``images`` itself where all are clean, else a new array. None where
        views must be asked for one by one: the policy is a Compose, or photos of this size are shrunk or stretched.

    Raises:
        UnknownNameError: no policy has that name.
        ValueError: ``strength``, ``view``, ``images`` or ``image_ids`` breaks the rules above.
    """
    strength, view = _checked(policy, strength, view)
    if images.dtype != np.uint8:
        raise ValueError(f"`images` must be uint8, got {images.dtype}")
    if images.ndim != 4 or images.shape[3] != 3 or images.size == 0:
        raise ValueError(f"`images` must have shape (n, height, width, 3) and a pixel or more, got {images.shape}")
    if len(image_ids) != len(images):
        raise ValueError(f"`image_ids` must be as many as `images`, got {len(image_ids)} for {len(images)}")

    if view == 0:
        return images
    built = _threads.built(policy, strength)
    if not isinstance(built, ArrayPolicy):
        return None if built.transforms else images
    height, width = images.shape[1:3]
    if _working_size(height, width) != (height, width):
        return None
    return built.transform(images, _draws([_digest(one, policy, strength, seed, view) for one in image_ids]))


def _checked(policy: str, strength: float, view: int) -> tuple[float, int]:
    """Strength and view as they go into digests."""
    if policy not in _registry():
        raise UnknownNameError(_registry().kind, policy, _registry())
    strength = float(strength) + 0.0  # 1 and 1.0, 0.0 and -0.0 must not be different seeds
    if not 0 <= strength <= 1:
        raise ValueError(f"`0 <= strength <= 1` must hold, got strength={strength}")
    view = operator.index(view)
    if view < 0:
        raise ValueError(f"`view >= 0` must hold, got view={view}")
    return strength, view


def _digest(image_id: str, policy: str, strength: float, seed: int, view: int) -> bytes:
    """What all chance in a view comes from: 32 bytes."""
    # JSON keeps the five apart: no other five have the same text.
    key = json.dumps([image_id, policy, strength, operator.index(seed), view])
    return hashlib.sha256(key.encode()).digest()


def _draws(digests: list[bytes]) -> npt.NDArray[np.uint32]:
    """The digests as numbers: shape (m, 8), the same on machines of either byte order."""
    return np.frombuffer(b"".join(digests), ">u4").astype(np.uint32).reshape(-1, 8)


def shrink(image: Image) -> Image:
    """The photo at the size at which policies work: ``image`` itself where it has it, else a resized copy.

    Shrinking twice changes nothing, so views 1, 2, ... of ``shrink(photo)`` are those of ``photo``. Whoever
    asks for many views of one photo saves 1.2 ms a view (512 px) by shrinking it once.

    Args:
        image: RGB, uint8, shape (height, width, 3).

    Returns:
        RGB, uint8, both sides within ``SMALLEST_SIDE`` to ``WORKING_SIDE``.
    """
    size = _working_size(*image.shape[:2])
    if size == image.shape[:2]:
        return image
    import cv2

    return cv2.resize(np.ascontiguousarray(image), size[::-1], interpolation=cv2.INTER_AREA)


def _working_size(height: int, width: int) -> tuple[int, int]:
    """Height and width at which policies work on photos of this height and width."""
    scale = min(1.0, WORKING_SIDE / max(height, width))
    return max(SMALLEST_SIDE, round(height * scale)), max(SMALLEST_SIDE, round(width * scale))


def policy_version(policy: str) -> str:
    """What the pixels of a policy's views depend on besides the arguments of :func:`augment`; for cache keys.

    Raises:
        UnknownNameError: no policy has that name.
    """
    build = _registry().get(policy)
    ours = f"{policy} {sys.modules[build.__module__].VERSION}, views {VERSION}"
    if isinstance(_threads.built(policy, 0.0), ArrayPolicy):
        return ours
    return f"{ours}, albumentations {importlib.metadata.version('albumentations')}"


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
        self.built = functools.lru_cache(maxsize=32)(_build)


def _build(policy: str, strength: float) -> albumentations.Compose | ArrayPolicy:
    return _registry().get(policy)(strength)


_threads = _Threads()
