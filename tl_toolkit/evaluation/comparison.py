"""Paired comparison of two evaluations of the same photos.

References: McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
Psychometrika 12 (1947); Dietterich, "Approximate statistical tests for comparing supervised classification learning
algorithms", Neural Computation 10 (1998).
"""

from __future__ import annotations

import numpy as np

from tl_toolkit.core.records import Comparison, Evaluation
from tl_toolkit.evaluation.metrics import interval, overall, resample, tally_groups

DIFFERENCES = ("accuracy", "macro_f1", "weighted_f1")


def compare(
    first: Evaluation, second: Evaluation, groups: np.ndarray, *, resamples: int = 2000, seed: int = 0
) -> Comparison:
    """Test whether the first evaluation is better than the second, or worse.

    The p-value is McNemar's, exact: of the photos that only one of the two classified rightly, each would fall to
    either with probability 1/2. It takes photos for independent. Where many have near duplicates it is too small;
    trust the intervals of the differences more, whose bootstrap draws whole groups, the same ones for both.

    Args:
        first, second: Evaluations of the same photos in the same order.
        groups: integers, shape (n,): photos with the same number are near duplicates.
        resamples: Resamples of the bootstrap.
        seed: Of the bootstrap.

    Returns:
        ``differences`` holds accuracy, macro_f1 and weighted_f1, first minus second, with 95 % percentile intervals.

    Raises:
        ValueError: The evaluations differ in labels or classes, or there is not one group a photo.
    """
    if not np.array_equal(first.labels, second.labels) or tuple(first.support) != tuple(second.support):
        raise ValueError(
            f"evaluations of the same photos must hold, got other labels or classes for {first.title!r} "
            f"than for {second.title!r}"
        )
    from scipy.stats import binomtest  # takes a second to import

    labels, k = first.labels, len(first.support)
    predictions = [evaluation.probabilities.argmax(axis=1) for evaluation in (first, second)]
    right = [guesses == labels for guesses in predictions]
    better, worse = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())

    # Shape (g, 2, 3, k): both evaluations side by side, so that a resample draws the same groups for both.
    tallies = np.stack([tally_groups(labels, guesses, groups, k) for guesses in predictions], axis=1)
    drawn = overall(resample(tallies.reshape(len(tallies), -1), resamples, seed).reshape(resamples, 2, 3, k))
    figures = overall(tallies.sum(axis=0))
    return Comparison(
        first=first.title,
        second=second.title,
        better=better,
        worse=worse,
        # Without a photo on which they differ there is nothing to test, and nothing to tell them apart.
        p_value=float(binomtest(better, better + worse).pvalue) if better + worse else 1.0,
        differences={
            name: interval(figures[name][0] - figures[name][1], drawn[name][:, 0] - drawn[name][:, 1])
            for name in DIFFERENCES
        },
    )
