"""Which photos of a test set are in a training set: a score on those says nothing about unseen photos.

Three kinds, the surest first. ``file``: the same bytes. ``pixels``: another file of the same pixels, such as one with
other metadata or in a lossless format. ``near``: near duplicates by the rule of :mod:`~tl_toolkit.datasets.audit`, such
as photos that were resized, compressed again or mirrored, or taken again. Names of files say nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tl_toolkit.datasets.audit import HASH_ALONE, NEAR_DUPLICATES, Examination, Limits, Prints, compare
from tl_toolkit.datasets.images import decode_image

KINDS = ("file", "pixels", "near")
"""Of pairs, the surest first."""

MOST_TWINS = 20
"""Most near duplicates that are kept of one photo of the test set, the closest: among frames of one film, all would be
twins of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A photo of the test set and one of the training set that show the same.

    Attributes:
        test, train: Indices of the photos.
        kind: One of :data:`KINDS`.
        distance: Bits in which their perceptual hashes differ, 0..64.
        cosine: Of their features; None where none were computed.
    """

    test: int
    train: int
    kind: str
    distance: int
    cosine: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaks:
    """What of a test set is in a training set.

    Attributes:
        pairs: By photo of the test set; of each, the closest first.
        n_test: Photos of the test set that were compared.
    """

    pairs: tuple[Pair, ...]
    n_test: int

    @property
    def closest(self) -> tuple[Pair, ...]:
        """Of each photo of the test set that leaks, the closest pair."""
        first: dict[int, Pair] = {}
        for pair in self.pairs:
            first.setdefault(pair.test, pair)
        return tuple(first.values())

    @property
    def counts(self) -> Mapping[str, int]:
        """Photos of the test set that leak, by the kind of their closest pair."""
        found = Counter(pair.kind for pair in self.closest)
        return {kind: found[kind] for kind in KINDS}

    @property
    def share(self) -> float:
        """Of the test set, 0..1."""
        return len(self.closest) / self.n_test


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """Photos on one side of the comparison.

    Attributes:
        files: The photos, length n.
        examination: Of the same photos.
        features: float32, shape (n, d): pooled features of the clean photos; None: compare by hashes alone.
        pixels: :func:`pixel_digest` of each photo in full size, length n, where the files are not at hand; else None.
    """

    files: tuple[Path, ...]
    examination: Examination
    features: np.ndarray | None
    pixels: tuple[str, ...] | None = None

    @property
    def n(self) -> int:
        return len(self.files)


def pixel_digest(photo: np.ndarray) -> str:
    """SHA-256 of a photo's pixels, uint8 RGB of shape (height, width, 3), and of its shape; hexadecimal."""
    digest = hashlib.sha256(repr(photo.shape).encode())
    digest.update(np.ascontiguousarray(photo).data)
    return digest.hexdigest()


def find_leaks(
    train: Side,
    test: Side,
    advance: Callable[[int], None] = lambda _: None,
    *,
    limits: Limits = NEAR_DUPLICATES,
    rows: int = 1024,
    columns: int = 8192,
) -> Leaks:
    """Compare each photo of a test set with each of a training set.

    Memory does not grow with the product of the two: ``rows`` photos of the test set are compared with ``columns`` of
    the training set at a time.

    Args:
        advance: Called with the number of photos of the test set done.
        limits: Of near duplicates; see :func:`~tl_toolkit.datasets.audit.limits_of`.

    Raises:
        BrokenImageError, OSError: a file is no longer the photo that it was when it was examined.
    """
    here, there = (Prints.of(side.examination.hashes, side.features, limits) for side in (test, train))
    by_digest: dict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(train.examination.sha256):
        by_digest[digest].append(index)
    kept: list[Pair] = []
    for start in range(0, test.n, rows):
        block = range(start, min(start + rows, test.n))
        pairs = [
            Pair(test=i, train=j, kind="file", distance=0, cosine=None if test.features is None else 1.0)
            for i in block
            for j in by_digest.get(test.examination.sha256[i], ())[:MOST_TWINS]
        ]
        near: list[Pair] = []
        for other in range(0, train.n, columns):
            near += _near(here.part(start, start + rows), there.part(other, other + columns), start, other)
        pairs += _with_pixels_compared(near, train, test)
        of_photo: Counter[int] = Counter()
        for pair in sorted(pairs, key=_closeness):
            if of_photo[pair.test] < MOST_TWINS:
                kept.append(pair)
            of_photo[pair.test] += 1
        advance(len(block))
    return Leaks(pairs=tuple(kept), n_test=test.n)


def _closeness(pair: Pair) -> tuple[float, ...]:
    return pair.test, KINDS.index(pair.kind), -(pair.cosine or 0), pair.distance, pair.train


def _near(test: Prints, train: Prints, first_test: int, first_train: int) -> list[Pair]:
    """Near duplicates in one block, of each photo of the test set the closest :data:`MOST_TWINS`."""
    distances, cosines, near = compare(test, train)
    i, j = np.nonzero(near)
    distance = distances[i, j].astype(np.int64)
    cosine = np.zeros(len(i)) if cosines is None else np.minimum(cosines[i, j].astype(np.float64).round(6), 1)
    order = np.lexsort((j, distance, -cosine, i))
    order = order[np.arange(len(i)) - np.searchsorted(i, i) < MOST_TWINS]
    return [
        Pair(
            test=int(i[at]) + first_test,
            train=int(j[at]) + first_train,
            kind="near",
            distance=int(distance[at]),
            cosine=None if cosines is None else float(cosine[at]),
        )
        for at in order
    ]


def _with_pixels_compared(pairs: list[Pair], train: Side, test: Side) -> list[Pair]:
    """The pairs of different files; those that have the same pixels, in full size, say so.

    Digests of decoded photos would not do: a JPEG and a PNG of the same pixels are shrunk in different ways.
    """
    one, other = test.examination, train.examination

    def judged(pair: Pair) -> Pair:
        sizes = {(one.widths[pair.test], one.heights[pair.test]), (other.widths[pair.train], other.heights[pair.train])}
        if len(sizes) > 1 or pair.distance > HASH_ALONE:
            return pair
        mine = decode_image(test.files[pair.test], max_side=None)
        if train.pixels is None:
            same = np.array_equal(mine, decode_image(train.files[pair.train], max_side=None))
        else:
            same = pixel_digest(mine) == train.pixels[pair.train]
        return replace(pair, kind="pixels") if same else pair

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        different = [pair for pair in pairs if one.sha256[pair.test] != other.sha256[pair.train]]
        return list(pool.map(judged, different))
