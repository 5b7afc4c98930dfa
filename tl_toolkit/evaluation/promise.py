"""Whether a score on new photos lies within what cross-validation promised.

The promise is a share of right photos for each class, known from the photos that cross-validation scored. New photos
may be of other shares of classes, so the promise is taken class by class, and says which accuracies are to be expected
of just these photos: a prediction interval. Both uncertainties are in it, that of the promise and that of few new
photos, and it holds for one new photo, too, which a bootstrap of that photo would not.

The share of right photos of a class is drawn from a beta distribution with Jeffreys' prior, in which a group of near
duplicates counts as one photo, for they are right or wrong together. Reference: Brown, Cai and DasGupta, "Interval
estimation for a binomial proportion", Statist. Sci. 16 (2001).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tl_toolkit.core.records import Interval
from tl_toolkit.evaluation.metrics import interval


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """Predictions of n photos.

    Attributes:
        labels, predictions, groups: int64, shape (n,).
    """

    labels: np.ndarray
    predictions: np.ndarray
    groups: np.ndarray

    @property
    def right(self) -> np.ndarray:
        return self.predictions == self.labels

    def select(self, rows: np.ndarray) -> Scored:
        return Scored(labels=self.labels[rows], predictions=self.predictions[rows], groups=self.groups[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """A score against what was to be expected.

    Attributes:
        verdict: ``within``, ``below`` or ``above`` what was to be expected.
        accuracy: Of the new photos that could be compared.
        expected: Mean and 95 % prediction interval of the accuracy on just these photos, had nothing changed.
        difference: Accuracy less the promised one at the same class shares; its interval tells how large a change of
            the true accuracy these photos leave open.
        balanced: The same where each class counts alike.
        promised: Accuracy in cross-validation, at the class shares there.
        n: New photos that were compared.
        left_out: New photos of classes that cross-validation did not score.
    """

    verdict: str
    accuracy: float
    expected: Interval
    difference: Interval
    balanced: Interval
    promised: float
    n: int
    left_out: int


def compare_with_promise(promised: Scored, new: Scored, *, draws: int = 4000, seed: int = 0) -> Promise | None:
    """Compare new photos with those that cross-validation scored; None where they share no class.

    Args:
        promised: Each photo as predicted by a model that had not seen it.
        new: Photos that the model had not seen.
        draws: From the distributions.
    """
    known = np.unique(promised.labels)
    rows = np.isin(new.labels, known)
    if not rows.any():
        return None
    left_out = int((~rows).sum())
    new = new.select(rows)
    classes = np.unique(new.labels)
    random = np.random.default_rng(seed)
    before, after = (_recalls(one, classes, draws, random) for one in (promised, new))

    hits = np.zeros(draws)
    for c, recall in zip(classes, before.T, strict=True):
        _, sizes = np.unique(new.groups[new.labels == c], return_counts=True)
        for size, count in zip(*np.unique(sizes, return_counts=True), strict=True):
            hits += size * random.binomial(int(count), recall)
    n = len(new.labels)
    shares = np.array([(new.labels == c).mean() for c in classes])
    fixed = [np.array([one.right[one.labels == c].mean() for c in classes]) for one in (promised, new)]
    low, high = np.percentile(hits / n, [2.5, 97.5])
    accuracy = float(new.right.mean())
    return Promise(
        verdict="below" if accuracy < low - 1e-9 else "above" if accuracy > high + 1e-9 else "within",
        accuracy=accuracy,
        expected=Interval(value=float((hits / n).mean()), low=float(low), high=float(high)),
        difference=interval(float((fixed[1] - fixed[0]) @ shares), (after - before) @ shares),
        balanced=interval(float((fixed[1] - fixed[0]).mean()), (after - before).mean(1)),
        promised=float(promised.right.mean()),
        n=n,
        left_out=left_out,
    )


def _recalls(scored: Scored, classes: np.ndarray, draws: int, random: np.random.Generator) -> np.ndarray:
    """Shares of right photos of each class: float64, shape (draws, classes)."""
    drawn = np.empty((draws, len(classes)))
    for column, c in zip(drawn.T, classes, strict=True):
        own = scored.labels == c
        independent = len(np.unique(scored.groups[own])) / own.sum()
        hits, misses = (float(wanted.sum()) * independent for wanted in (scored.right[own], ~scored.right[own]))
        column[:] = random.beta(hits + 0.5, misses + 0.5, draws)
    return drawn
