"""Whether probabilities mean what they say, and what refusing unsure photos buys.

References: Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015;
Guo et al., "On calibration of modern neural networks", ICML 2017 (arXiv:1706.04599); El-Yaniv and Wiener, "On the
foundations of noise-free selective classification", JMLR 11 (2010).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tl_toolkit.core.records import Evaluation, Interval
from tl_toolkit.evaluation.metrics import interval, resample

BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """The photos whose highest probability lies in (low, high].

    Attributes:
        n: How many there are.
        confidence: Mean of the highest probability.
        accuracy: Share classified rightly, with a Wilson interval.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class CoveragePoint:
    """What remains when the least sure photos are refused.

    Attributes:
        coverage: Share of photos that are answered.
        threshold: Their lowest highest probability.
        accuracy: Share of the answered that are right.
    """

    coverage: float
    threshold: float
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Calibration of pooled predictions.

    Attributes:
        bins: Non-empty bins of equal width.
        expected_error: Expected calibration error: the mean distance of confidence and accuracy over the bins, weighted
            by their photos. It is above 0 by chance alone where bins hold few photos; so is its interval.
        mean_confidence: Mean highest probability; above the accuracy means over-confident.
        coverage: From all photos to half of them.
    """

    bins: tuple[ReliabilityBin, ...]
    expected_error: Interval
    mean_confidence: float
    coverage: tuple[CoveragePoint, ...]


def calibrate(evaluation: Evaluation, groups: np.ndarray, *, resamples: int = 2000, seed: int = 0) -> Calibration:
    """Measure calibration; intervals by the bootstrap over groups that the metrics use, too.

    Args:
        evaluation: Pooled predictions of n photos.
        groups: integers, shape (n,): photos with the same number are near duplicates.
    """
    from scipy.stats import binomtest

    sure = evaluation.probabilities.max(1).astype(np.float64)
    right = evaluation.probabilities.argmax(1) == evaluation.labels
    number = np.clip(np.ceil(sure * BINS).astype(int) - 1, 0, BINS - 1)

    # (n, 3 bins): one, confidence and hit of each photo in the columns of its bin.
    cells = np.zeros((len(sure), 3, BINS))
    cells[np.arange(len(sure)), :, number] = np.stack([np.ones(len(sure)), sure, right], 1)
    members = np.unique(groups, return_inverse=True)[1]
    per_group = np.zeros((members.max() + 1, 3 * BINS))
    np.add.at(per_group, members, cells.reshape(len(sure), -1))

    def error(sums: np.ndarray) -> np.ndarray:
        counts, confidence, hits = np.moveaxis(sums.reshape(-1, 3, BINS), 1, 0)
        return np.abs(confidence - hits).sum(1) / counts.sum(1)

    bins = []
    for b in range(BINS):
        inside = number == b
        if inside.any():
            hits = int(right[inside].sum())
            wilson = binomtest(hits, int(inside.sum())).proportion_ci(method="wilson")
            bins.append(
                ReliabilityBin(
                    low=b / BINS,
                    high=(b + 1) / BINS,
                    n=int(inside.sum()),
                    confidence=float(sure[inside].mean()),
                    accuracy=Interval(value=hits / int(inside.sum()), low=float(wilson.low), high=float(wilson.high)),
                )
            )
    order = np.argsort(-sure, kind="stable")
    answered = np.unique(np.round(np.linspace(0.5, 1, 51) * len(sure)).astype(int))
    answered = answered[answered > 0][::-1]
    running = np.cumsum(right[order]) / np.arange(1, len(sure) + 1)
    return Calibration(
        bins=tuple(bins),
        expected_error=interval(float(error(per_group.sum(0))[0]), error(resample(per_group, resamples, seed))),
        mean_confidence=float(sure.mean()),
        coverage=tuple(
            CoveragePoint(
                coverage=float(count / len(sure)),
                threshold=float(sure[order[count - 1]]),
                accuracy=float(running[count - 1]),
            )
            for count in answered
        ),
    )
