"""Whether new photos look like those of the training, and what is normal between photos of one kind.

Of each group of near duplicates one photo counts. Photos are compared class by class: where new photos are of other
classes than the training photos mostly are, that is a shift of class shares, which has a figure of its own, and not a
drift of what photos of a class look like.

Two statistics of features, reduced to their first principal components at unit variance:

- Frechet distance of two normal distributions that are fitted to both sides: |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^½).
  What is normal is measured by the same statistic between parts of the training photos: as many photos of each class
  are drawn from them as from the new ones, and both are compared with the same rest. Folds of cross-validation are
  such parts, but five of them are five figures; here are some hundred.
- A classifier two-sample test: how well a linear classifier tells new from training photos that it did not learn from,
  as area under the ROC curve (0.5: not at all), against permutations within classes of what is new.

References: Dowson and Landau, "The Frechet distance between multivariate normal distributions", J. Multivar. Anal. 12
(1982); Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017 (arXiv:1610.06545); Rabanser,
Guennemann and Lipton, "Failing loudly: an empirical study of methods for detecting dataset shift", NeurIPS 2019
(arXiv:1810.11953).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tl_toolkit.core.records import Interval
from tl_toolkit.evaluation.metrics import interval

LEAST = 20
"""Fewest photos on each side from which anything is said."""

SIGNIFICANT = 0.05

_COMPONENTS = 32
_FOLDS = 5
_MOST = 2000
"""Photos of each side that are compared, drawn at random from more: a thousand tell an AUC to about 0.01."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sample:
    """Photos of one side.

    Attributes:
        features: floats, shape (n, d).
        labels: int64, shape (n,).
        groups: int64, shape (n,): photos with the same number are near duplicates.
    """

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """A statistic of new against training photos, and the same of training against training photos.

    Attributes:
        value: Median over the draws.
        normal, normal_high: Median and 95 % quantile between training photos.
        p_value: Share of draws of training photos that are as far away, the value itself counted in.
        n: New photos in a draw, and training photos that stand for them.
    """

    value: float
    normal: float
    normal_high: float
    p_value: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """How well a classifier tells new from training photos.

    Attributes:
        auc: Area under the ROC curve, with a bootstrap interval.
        chance_high: 95 % quantile of the permutations: what is below would pass unseen with so many photos.
        p_value: Of the permutations, one-sided.
        n: Photos on each side.
    """

    auc: Interval
    chance_high: float
    p_value: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What was found; None where photos are too few for it."""

    frechet: Distance | None
    separation: Separation | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareShift:
    """How far class shares lie apart.

    Attributes:
        total_variation: Half the sum of absolute differences of shares, 0..1.
        p_value: Of random draws from both sides together, one photo of each group.
    """

    total_variation: float
    p_value: float


def measure_drift(training: Sample, new: Sample, *, draws: int = 200, permutations: int = 500, seed: int = 0) -> Drift:
    """Compare new with training photos; both statistics and what is normal for them.

    Args:
        draws: Of training photos, for the Frechet distance.
        permutations: Of what is new, for the classifier.
        seed: Of all that is drawn. The same seed and photos give the same figures.
    """
    from sklearn.decomposition import PCA

    random = np.random.default_rng(seed)
    # The Frechet distance sets half of the training photos of each class aside, at most.
    old, fresh = (_one_of_each_group(sample, random) for sample in (training, new))
    n = min(len(old.labels), len(fresh.labels))
    components = min(_COMPONENTS, n // 2, new.features.shape[1])
    if components < 1:
        return Drift(frechet=None, separation=None)
    # Of both sides together, and without asking which is which: a direction that only new photos vary in counts.
    both = np.concatenate([old.features, fresh.features]).astype(np.float64)
    reduced = PCA(components, whiten=True, random_state=seed).fit_transform(both)
    x, y = reduced[: len(old.labels)], reduced[len(old.labels) :]
    return Drift(
        frechet=_distance(x, old.labels, y, fresh.labels, draws, random),
        separation=_separation(x, old.labels, y, fresh.labels, permutations, random),
    )


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Frechet distance of the normal distributions fitted to two sets of points, floats (n, d) and (m, d)."""
    first, second = (np.cov(points, rowvar=False, bias=True).reshape(2 * (points.shape[1],)) for points in (a, b))
    values, vectors = np.linalg.eigh(first)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    # The square root of C1 C2 has the trace of that of C1^½ C2 C1^½, which is symmetric.
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0, None)).sum()
    apart = np.square(a.mean(0) - b.mean(0)).sum()
    return float(max(0.0, apart + np.trace(first) + np.trace(second) - 2 * cross))


def share_shift(training: Sample, new: Sample, n_classes: int, *, draws: int = 2000, seed: int = 0) -> ShareShift:
    """How far the class shares of new photos lie from those of training photos; features are not looked at.

    The figure is over all photos; its p-value over one photo of each group, for twins are of one class.
    """
    random = np.random.default_rng(seed)

    def variation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.abs(a / a.sum(-1, keepdims=True) - b / b.sum(-1, keepdims=True)).sum(-1) / 2

    counts = [np.bincount(sample.labels, minlength=n_classes) for sample in (training, new)]
    firsts = [
        np.bincount(sample.labels[np.unique(sample.groups, return_index=True)[1]], minlength=n_classes)
        for sample in (training, new)
    ]
    together = firsts[0] + firsts[1]
    drawn = random.multivariate_hypergeometric(together, int(firsts[1].sum()), size=draws)
    chance = variation(together - drawn, drawn)
    reached = int((chance >= variation(*firsts) - 1e-12).sum())
    return ShareShift(total_variation=float(variation(*counts)), p_value=(1 + reached) / (1 + draws))


def _one_of_each_group(sample: Sample, random: np.random.Generator) -> Sample:
    """At most :data:`_MOST` photos, none of them a near duplicate of another."""
    order = random.permutation(len(sample.labels))
    firsts = order[np.unique(sample.groups[order], return_index=True)[1]]
    chosen = random.permutation(firsts)[:_MOST]
    return Sample(features=sample.features[chosen], labels=sample.labels[chosen], groups=sample.groups[chosen])


def _distance(
    x: np.ndarray, x_labels: np.ndarray, y: np.ndarray, y_labels: np.ndarray, draws: int, random: np.random.Generator
) -> Distance | None:
    """Frechet distances of new photos ``y`` and of training photos, to the same rest of the training photos ``x``."""
    classes = np.unique(y_labels)
    counts = [min(int((y_labels == c).sum()), int((x_labels == c).sum()) // 2) for c in classes]
    n = sum(counts)
    if n < LEAST:
        return None
    found = np.empty((draws, 2))
    for row in found:
        # Both are compared with a rest that lacks the training photos that were drawn.
        drawn = _drawn(x_labels, classes, counts, random)
        rest = np.delete(x, drawn, axis=0)
        row[:] = frechet(y[_drawn(y_labels, classes, counts, random)], rest), frechet(x[drawn], rest)
    value = float(np.median(found[:, 0]))
    return Distance(
        value=value,
        normal=float(np.median(found[:, 1])),
        normal_high=float(np.quantile(found[:, 1], 0.95)),
        p_value=float((1 + (found[:, 1] >= value).sum()) / (1 + draws)),
        n=n,
    )


def _drawn(labels: np.ndarray, classes: np.ndarray, counts: list[int], random: np.random.Generator) -> np.ndarray:
    """Indices of so many photos of each class, without replacement."""
    parts = [
        random.choice(np.flatnonzero(labels == c), count, replace=False)
        for c, count in zip(classes, counts, strict=True)
    ]
    return np.concatenate(parts)


def _separation(
    x: np.ndarray,
    x_labels: np.ndarray,
    y: np.ndarray,
    y_labels: np.ndarray,
    permutations: int,
    random: np.random.Generator,
) -> Separation | None:
    """A ridge classifier, cross-validated, on as many new as training photos of each class."""
    from scipy.stats import rankdata

    classes = np.unique(y_labels)
    counts = [min(int((y_labels == c).sum()), int((x_labels == c).sum())) for c in classes]
    n = sum(counts)
    if n < LEAST:
        return None
    points = np.concatenate(
        [side[_drawn(labels, classes, counts, random)] for side, labels in ((x, x_labels), (y, y_labels))]
    )
    strata = np.tile(np.repeat(classes, counts), 2)
    new = np.repeat([False, True], n)

    sides = np.empty((len(points), 1 + permutations), bool)
    sides[:, 0] = new
    fold = np.empty(len(points), np.int64)
    for c in classes:
        members = np.flatnonzero(strata == c)
        sides[members, 1:] = random.permuted(np.tile(new[members][:, None], permutations), axis=0)
        # By class and not by side: folds must be the same for all permutations.
        fold[random.permutation(members)] = np.arange(len(members)) % _FOLDS

    aucs = np.full((_FOLDS, 1 + permutations), np.nan)
    parts = []
    for f in range(_FOLDS):
        test, train = fold == f, fold != f
        centre = points[train].mean(0)
        inner, targets = points[train] - centre, sides[train] - sides[train].mean(0)
        # Components have unit variance: a ridge of a tenth of the photos shrinks each weight by about a tenth.
        gram = inner.T @ inner + 0.1 * len(inner) * np.eye(points.shape[1])
        scores = (points[test] - centre) @ np.linalg.solve(gram, inner.T @ targets)
        positives = sides[test].sum(0)
        pairs = positives * (test.sum() - positives)
        ranks = np.where(sides[test], rankdata(scores, axis=0), 0).sum(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            aucs[f] = np.where(pairs > 0, (ranks - positives * (positives + 1) / 2) / pairs, np.nan)
        parts.append((scores[:, 0], sides[test, 0]))
    # Within folds, and then their mean: scores of different folds have different zeros.
    found = np.nanmean(aucs, axis=0)
    value, chance = float(found[0]), found[1:]
    return Separation(
        auc=interval(value, _resampled_aucs(parts, 1000, random)),
        chance_high=float(np.quantile(chance, 0.95)),
        p_value=float((1 + (chance >= value).sum()) / (1 + permutations)),
        n=n,
    )


def _resampled_aucs(
    parts: list[tuple[np.ndarray, np.ndarray]], resamples: int, random: np.random.Generator
) -> np.ndarray:
    """The mean of the folds' areas, with the photos of each side and fold drawn again; float64, shape (resamples,)."""
    sums, used = np.zeros(resamples), 0
    for scores, new in parts:
        if not 0 < new.sum() < len(new):
            continue
        above, below = scores[new][:, None], scores[~new][None]
        wins = (above > below) + 0.5 * (above == below)
        weights = [random.multinomial(size, np.full(size, 1 / size), resamples) / size for size in wins.shape]
        sums += np.einsum("rj,rj->r", weights[0] @ wins, weights[1])
        used += 1
    return sums / used
