"""Which new photos are unlike all that a model was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tl_toolkit.evaluation.drift import Sample

NEIGHBOURS = 5
"""Training photos whose mean distance tells how far away a new one is."""

FAR = 0.01
"""A new photo is far away if fewer training photos than this share are as far from the others."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Remoteness:
    """How far new photos are from training photos.

    Attributes:
        distances: float64, shape (n,): mean cosine distance to the nearest training photos.
        rank: float64, shape (n,): share of training photos that are as far from training photos of other groups.
        far: bool, shape (n,): ``rank`` is below :data:`FAR`.
    """

    distances: np.ndarray
    rank: np.ndarray
    far: np.ndarray


def remoteness(training: Sample, new: np.ndarray) -> Remoteness:
    """How far each new photo is from its nearest training photos, and how usual that is among these.

    Args:
        training: n photos of at least two groups.
        new: floats, shape (m, d): features.
    """
    known = _directions(training.features)
    usual = np.sort(_nearest(known, known, training.groups))
    distances = _nearest(_directions(new), known)
    rank = 1 - np.searchsorted(usual, distances - 1e-9) / len(usual)
    return Remoteness(distances=distances, rank=rank, far=rank < FAR)


def _directions(features: np.ndarray) -> np.ndarray:
    rows = features.astype(np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def _nearest(points: np.ndarray, known: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
    """Mean cosine distance to the nearest of ``known``; float64, shape (n,).

    Args:
        own: Groups, where the points are the known ones: those of a point's own group do not count as near it.
    """
    found = []
    for start in range(0, len(points), 1024):
        distance = 1 - points[start : start + 1024] @ known.T
        if own is not None:
            distance[own[start : start + 1024, None] == own[None]] = np.inf
        k = min(NEIGHBOURS, distance.shape[1])
        nearest = np.partition(distance, k - 1, axis=1)[:, :k].astype(np.float64)
        finite = np.isfinite(nearest)
        found.append(np.where(finite, nearest, 0).sum(1) / np.maximum(finite.sum(1), 1))
    return np.concatenate(found)
