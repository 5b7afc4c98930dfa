"""What networks are fed: pixels of views, computed once and shared, and the batches of an epoch.

Not by tf.data, which would prefetch on cores that the steps use: on two of them, with other work beside, view and
batches of an epoch of 50,000 photos took 1.3 s where ``cifar_cnn`` trains for 33 s, and 13 s at 128 px, where a
backbone trains for 314 s.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tl_toolkit.core.runtime import tensorflow
from tl_toolkit.core.settings import TrainingConfig

Photos = Callable[[int, int], np.ndarray]
"""(photo number, view number) -> uint8 RGB, shape (height, width, 3); view 0 is clean. Called from several threads."""

Together = Callable[[int], np.ndarray | None]
"""View number -> all photos in that view, uint8 RGB, shape (n, height, width, 3); None where they come one by one."""

_RESIZED = 256
"""Photos that are resized at a time: 27 MiB of float32 at 96 px."""


class ViewPixels:
    """The photos of a data set in their views, at the size of a network's input.

    Photos are resized by the operation that an exported model uses, and rounded to uint8: a quarter of the memory, at
    a cost of at most half a grey level. No probability of a slash_cnn on the 427 Slash photos moved by more than 3e-5.

    A view is computed for all photos when it is first asked for, and kept: n * side * side * 3 bytes a view, which is
    5 MiB for 427 photos at 64 px and 61 MiB at 224. Trainings with the same policy and strength share them. Where all
    together exceed ``most_bytes``, the policies that were not used for longest are forgotten first, then the oldest
    views of the one in use, to be computed again when their turn comes.

    Photos that come all together, and are no larger than the input, are resized when they are asked for instead. Of
    their views the latest augmented one is kept, for it is quickly computed again; the clean one is the data set's own
    array, which all policies share.

    Args:
        photos: Settings -> where their views come from, one by one.
        n: Number of photos.
        together: Settings -> where they come from all at once, the same pixels; by default nowhere.
        most_bytes: Memory for views of photos that come one by one.
    """

    def __init__(
        self,
        photos: Callable[[TrainingConfig], Photos],
        n: int,
        *,
        together: Callable[[TrainingConfig], Together] = lambda _: lambda _view: None,
        most_bytes: int = 2**30,
    ) -> None:
        self._photos = photos
        self._n = n
        self._together = together
        self._most = most_bytes
        self._kept: dict[tuple[str, float, int], dict[int, np.ndarray]] = {}
        self._wholes: dict[tuple[str, float, int], np.ndarray | None] = {}

    def __call__(self, config: TrainingConfig, side: int, images: np.ndarray, views: np.ndarray) -> np.ndarray:
        """Pixels of some photos, each in a view of its own.

        Args:
            config: Of it, the augmentation policy and its strength matter.
            images, views: int64, shape (m,).

        Returns:
            uint8, shape (m, side, side, 3).
        """
        pixels = np.empty((len(images), side, side, 3), np.uint8)
        for view in np.unique(views):
            seen = self._view(config, side, int(view))
            own = np.flatnonzero(views == view)
            for start in range(0, len(own), _RESIZED):
                some = own[start : start + _RESIZED]
                pixels[some] = _resized(seen[images[some]], side)
        return pixels

    def _view(self, config: TrainingConfig, side: int, view: int) -> np.ndarray:
        """One view of all photos, uint8, shape (n, height, width, 3): smaller ones as they are, others at ``side``."""
        clean = self._whole(config, 0)
        if clean is not None and max(clean.shape[1:3]) <= side:
            whole = self._whole(config, view)
            if whole is not None:
                return whole
        return self._one_by_one(config, side, view)

    def _whole(self, config: TrainingConfig, view: int) -> np.ndarray | None:
        """One view of all photos at their own size; None where they come one by one."""
        clean, own = ("none", 0.0, 0), (config.augmentation, config.strength, view)
        key = own if view else clean
        if key not in self._wholes:
            # Before the next one is computed: both at once need twice the memory.
            self._wholes = {clean: self._wholes[clean]} if clean in self._wholes else {}
            self._wholes[key] = self._together(config)(view)
        return self._wholes[key]

    def _one_by_one(self, config: TrainingConfig, side: int, view: int) -> np.ndarray:
        """One view of all photos at the size of the input. The clean one is the same for all policies."""
        clean, own = ("none", 0.0, side), (config.augmentation, config.strength, side)
        key = own if view else clean
        group = self._kept[key] = self._kept.pop(key, {})  # the last in order is the last used
        if view not in group:
            group[view] = self._compute(self._photos(config), side, view)
            for other in [key for key in self._kept if key not in (clean, own)]:
                if self._bytes() > self._most:
                    del self._kept[other]
            for older in [number for number in group if number != view]:
                if self._bytes() > self._most:
                    del group[older]
        return group[view]

    def _compute(self, photos: Photos, side: int, view: int) -> np.ndarray:
        pixels = np.empty((self._n, side, side, 3), np.uint8)
        tensorflow()  # imported here, for threads must not do it at the same time

        def fill(image: int) -> None:
            pixels[image] = _resized(photos(image, view), side)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(fill, range(self._n)):
                pass  # raises what a thread raised
        return pixels

    def _bytes(self) -> int:
        return sum(pixels.nbytes for group in self._kept.values() for pixels in group.values())


def _resized(pixels: np.ndarray, side: int) -> np.ndarray:
    """Photos at the size of the input, the same alone and among others: uint8, shape (..., side, side, 3)."""
    if pixels.shape[-3:-1] == (side, side):
        return pixels
    return np.rint(tensorflow().image.resize(pixels, (side, side)).numpy()).astype(np.uint8)


def batches(
    rows: np.ndarray, config: TrainingConfig, *, seed: int, epoch: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches of one epoch: each training photo once, in its view of that epoch.

    The epochs go round the augmented views, in a new order each round. View 7 of one photo says nothing of view 7 of
    another, so this is as random as drawing for each photo, and no view is computed before its turn. View 0 is the
    clean one of all photos, which would make an epoch unlike the others: each photo has it with probability
    1 / ``config.views``.

    A pure function of its arguments. Photos that two sets of rows have in common come in the same order and in the same
    views (common random numbers). All batches are full but the last.

    Args:
        rows: bool, shape (n,): the photos to train on.
        epoch: From 0.

    Yields:
        Photo numbers and view numbers, int64, both of shape (m,), m at most ``config.batch_size``.
    """
    rng = np.random.default_rng([seed % 2**64, epoch])
    order = rng.permutation(len(rows))
    augmented = config.views - 1
    if augmented:
        turn, place = divmod(epoch, augmented)
        view = 1 + np.random.default_rng([seed % 2**64, turn, config.views]).permutation(augmented)[place]
        of_photo = np.where(rng.random(len(rows)) < 1 / config.views, 0, view)
    else:
        of_photo = np.zeros(len(rows), np.int64)
    order = order[rows[order]]
    for start in range(0, len(order), config.batch_size):
        images = order[start : start + config.batch_size]
        yield images, of_photo[images]
