"""What is wrong with the photos, found out before anything is trained on them.

1. :func:`examine` reads every file once: digest, size, perceptual hash, and whether it is a photo at all.
2. :func:`group` puts duplicates and near duplicates together. Groups go into the splits, so that no photo is
   scored by a model that was trained on its twin.

Whether the photos of one folder are in another is what :mod:`~tl_toolkit.datasets.leaks` tells, by the same rule.
"""

from __future__ import annotations

import hashlib
import itertools
import os
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from tl_toolkit.core.records import Audit, Dataset, Quarantined
from tl_toolkit.datasets.collection import Collection
from tl_toolkit.datasets.images import BrokenImageError, decode_image, upright_size
from tl_toolkit.datasets.photos import Photos

Limits = tuple[tuple[int, float], ...]
"""Rows of most bits and least cosine; see :data:`NEAR_DUPLICATES`."""

NEAR_DUPLICATES: Limits = ((8, 0.50), (12, 0.80), (64, 0.90))
"""Two photos are near duplicates if, in one row, the bits in which their hashes differ (of 64) are at most the first
figure and the cosine of their features is at least the second: alike in outline, fairly alike in both, or alike in
content. On the Slash photos these find re-shot and re-coloured packages of one product, and keep apart different
products on like backgrounds."""

BACKBONE = "efficientnet_lite0"
"""Whose features the cosines of :data:`NEAR_DUPLICATES` are of: those of another one have other angles."""

FEATURES = 1280
"""Of these features, cosines are of the first so many: those of its head."""

SMALL, OF_SMALL = 64, "efficientnet_lite0_levels@128"
"""Photos of at most so many pixels a side, all of them, are looked at in 128: more would tell little more. Behind the
features of the head are others, which searches on such photos want: so that none is computed twice."""

OF_SMALL_LIMITS: Limits = ((6, 0.65), (8, 0.73), (12, 0.77), (14, 0.80), (18, 0.85), (64, 0.90))
"""What :data:`NEAR_DUPLICATES` are for photos that are looked at with :data:`OF_SMALL`. A hash of 32 pixels tells less:
with the limits of larger photos, half of the pairs of least cosine on CIFAR-10 are different things before one sky. Of
100 pairs drawn from those that these limits find between its test and its training photos, 7 were plainly of different
things to one pair of eyes, and 7 doubtful."""

HASH_ALONE = NEAR_DUPLICATES[0][0]
"""Most bits in which the hashes of near duplicates differ where there are no features to ask. Of the pairs of Slash
photos that differ in so few, all have a cosine above 0.5."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examination:
    """What one reading of every file showed.

    Attributes:
        readable: int64, shape (n,): indices of the files that are photos; the other arrays are of these n.
        sha256: Hexadecimal digests.
        widths, heights: int64, shape (n,), pixels, after EXIF orientation.
        hashes: bool, shape (n, 64): perceptual hashes.
        quarantined: The other files.
    """

    readable: np.ndarray
    sha256: tuple[str, ...]
    widths: np.ndarray
    heights: np.ndarray
    hashes: np.ndarray
    quarantined: tuple[Quarantined, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prints:
    """What photos are compared by.

    Attributes:
        signs: float32, shape (n, 64): perceptual hashes, -1 for a bit that is not set and 1 for one that is.
        directions: float32, shape (n, d): features at unit length; None: by their hashes alone.
        limits: Of near duplicates.
    """

    signs: np.ndarray
    directions: np.ndarray | None
    limits: Limits

    @classmethod
    def of(cls, hashes: np.ndarray, features: np.ndarray | None, limits: Limits = NEAR_DUPLICATES) -> Prints:
        """From hashes, bool of shape (n, 64), and pooled features, float32 of shape (n, d)."""
        signs = hashes.astype(np.float32) * 2 - 1
        if features is None:
            return cls(signs=signs, directions=None, limits=limits)
        norms = np.linalg.norm(features, axis=1, keepdims=True)
        return cls(signs=signs, directions=features / np.maximum(norms, np.finfo(np.float32).tiny), limits=limits)

    def part(self, start: int, stop: int | None = None) -> Prints:
        """Those of the photos from ``start`` to before ``stop``."""
        directions = None if self.directions is None else self.directions[start:stop]
        return Prints(signs=self.signs[start:stop], directions=directions, limits=self.limits)


def examine(dataset: Dataset | Collection, photos: Photos, advance: Callable[[], None] = lambda: None) -> Examination:
    """Read, digest, decode and hash every file, on all cores; decoded photos stay in ``photos``.

    The digest of a photo that is an array is that of its pixels.
    """
    import imagehash
    from PIL import Image

    def look(index: int) -> tuple[str, int, int, np.ndarray] | Quarantined:
        try:
            if photos.pixels is None:
                data = photos.file(index).read_bytes()
                photo = photos.keep(index, decode_image(data))
                width, height = upright_size(data)
            else:
                photo = photos[index]
                data = photo.tobytes()
                height, width = photo.shape[:2]
        except (BrokenImageError, OSError) as error:
            # strerror: the message of an OSError repeats the path.
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            return Quarantined(path=dataset.paths[index], reason=reason)
        finally:
            advance()
        bits = imagehash.phash(Image.fromarray(photo)).hash.ravel()
        return hashlib.sha256(data).hexdigest(), width, height, bits

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        seen = list(pool.map(look, range(len(dataset))))
    found = [(i, *one) for i, one in enumerate(seen) if not isinstance(one, Quarantined)]
    return Examination(
        readable=np.array([one[0] for one in found], np.int64),
        sha256=tuple(one[1] for one in found),
        widths=np.array([one[2] for one in found], np.int64),
        heights=np.array([one[3] for one in found], np.int64),
        hashes=np.array([one[4] for one in found], bool).reshape(-1, 64),
        quarantined=tuple(one for one in seen if isinstance(one, Quarantined)),
    )


def backbone_for(photos: Examination | Audit) -> str:
    """The backbone, and its input size, whose features tell near duplicates among these photos."""
    small = max(photos.widths.max(), photos.heights.max()) <= SMALL
    return OF_SMALL if small else BACKBONE


def limits_of(backbone: str) -> Limits:
    """Of near duplicates that are told by this backbone's features."""
    return OF_SMALL_LIMITS if backbone == OF_SMALL else NEAR_DUPLICATES


def group(
    dataset: Dataset,
    examination: Examination,
    features: np.ndarray,
    advance: Callable[[int], None] = lambda _: None,
    *,
    limits: Limits = NEAR_DUPLICATES,
) -> Audit:
    """Group duplicates and near duplicates.

    Args:
        dataset: The readable photos only.
        examination: Of the same photos.
        features: float32, shape (n, d): pooled features of the clean photos.
        advance: Called with numbers of photos that were compared with all others, for progress.
        limits: Of near duplicates; see :func:`limits_of`.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = len(dataset)
    first, second = _near_pairs(Prints.of(examination.hashes, features, limits), advance)
    by_digest: dict[str, list[int]] = defaultdict(list)
    for index, digest in enumerate(examination.sha256):
        by_digest[digest].append(index)
    exact = tuple(tuple(twins) for twins in by_digest.values() if len(twins) > 1)
    chains = [pair for twins in exact for pair in itertools.pairwise(twins)]
    links = np.concatenate([np.stack([first, second], 1), np.array(chains, np.int64).reshape(-1, 2)])
    graph = coo_matrix((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(n, n))
    _, groups = connected_components(graph, directed=False)

    members: dict[int, list[int]] = defaultdict(list)
    for index, number in enumerate(groups):
        members[int(number)].append(index)
    several = [tuple(m) for m in members.values() if len(m) > 1]
    identity = sorted(zip(examination.sha256, dataset.labels.tolist(), strict=True))
    return Audit(
        paths=dataset.paths,
        sha256=examination.sha256,
        widths=examination.widths,
        heights=examination.heights,
        groups=groups.astype(np.int64),
        exact=exact,
        near=tuple(m for m in several if len({examination.sha256[i] for i in m}) > 1),
        conflicts=tuple(m for m in several if len({int(dataset.labels[i]) for i in m}) > 1),
        quarantined=examination.quarantined,
        fingerprint=hashlib.sha256(repr((identity, dataset.class_names)).encode()).hexdigest(),
    )


def compare(first: Prints, second: Prints) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Compare each photo of ``first`` with each of ``second``, by the limits of ``first``.

    Returns:
        Arrays of shape (n_first, n_second). float32: bits in which the hashes differ, 0..64. float32: cosines of the
        features, or None where there are none. bool: whether they are near duplicates.
    """
    distance = (64 - first.signs @ second.signs.T) / 2
    if first.directions is None or second.directions is None:
        return distance, None, distance <= first.limits[0][0]
    cosine = first.directions @ second.directions.T
    near = np.zeros(cosine.shape, bool)
    for most, least in first.limits:
        near |= (distance <= most) & (cosine >= least)
    return distance, cosine, near


def _near_pairs(prints: Prints, advance: Callable[[int], None] = lambda _: None) -> tuple[np.ndarray, np.ndarray]:
    """All pairs first < second of near duplicates, so many photos against all at a time as 128 MiB a matrix allow."""
    n = len(prints.signs)
    rows = max(1, min(1024, 2**25 // max(1, n)))
    pairs = []
    for start in range(0, n, rows):
        _, _, near = compare(prints.part(start, start + rows), prints.part(start))
        a, b = np.nonzero(np.triu(near, 1))
        pairs.append(np.stack([a, b]) + start)
        advance(min(rows, n - start))
    first, second = np.concatenate(pairs, 1)
    return first, second
