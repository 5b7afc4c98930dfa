"""What more photos would bring: scores with a part of them, and a careful look beyond.

Error rates of classifiers fall with the number of training photos roughly as a power law down to a floor, error(n) =
floor + scale * n ** -rate (Hestness et al. 2017, arXiv:1712.00409). It is fitted to resamples of the photos scored; the
spread of the fits is the uncertainty of what lies beyond.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tl_toolkit.core.records import Interval, Splits
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.evaluation.metrics import by_class, interval, overall, resample, tally
from tl_toolkit.evaluation.nested import Job

FRACTIONS = (0.2, 0.35, 0.5, 0.7, 0.85, 1.0)
FACTORS = (1.5, 2.0, 3.0)
"""How many times as many photos as there are to look ahead to."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LearningCurve:
    """Scores on the outer folds, of the settings that each fold chose, trained on a part of its photos.

    Attributes:
        n_train: Mean number of training photos at each of the f fractions, of the n photos outside an outer fold.
        accuracy, macro_f1: float64, shape (f, repeats). A repeat draws other photos and has another seed, so the last
            row, with all photos, shows what the seed alone does.
        class_f1: float64, shape (f, k): F1 of each class, mean over repeats.
        class_gain: float64, shape (repeats, k): F1 with all photos less F1 with half of them.
        outlook: (times as many photos, accuracy expected with its 95 % interval).
    """

    n_train: tuple[float, ...]
    accuracy: np.ndarray
    macro_f1: np.ndarray
    class_f1: np.ndarray
    class_gain: np.ndarray
    outlook: tuple[tuple[float, Interval], ...]


def subset(rows: np.ndarray, labels: np.ndarray, groups: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """A part of the training photos: the same share of each class, whole groups, at least one group of each class.

    The same seed gives nested subsets: a larger fraction holds the smaller one.

    Args:
        rows: bool, shape (n,).

    Returns:
        bool, shape (n,).
    """
    # Of each group its first photo's class: twins nearly always share one.
    numbers, first = np.unique(groups[rows], return_index=True)
    owner = labels[rows][first]
    order = np.random.default_rng(seed).permutation(len(numbers))
    kept = [
        numbers[order][owner[order] == c][: max(1, round(fraction * int((owner == c).sum())))] for c in np.unique(owner)
    ]
    return rows & np.isin(groups, np.concatenate(kept))


def learning_curve(
    fit: Callable[[Sequence[Job], int], Iterable[tuple[int, np.ndarray]]],
    configs: Sequence[TrainingConfig],
    labels: np.ndarray,
    groups: np.ndarray,
    splits: Splits,
    n_classes: int,
    *,
    seed: int,
    repeats: int = 3,
    resamples: int = 200,
) -> LearningCurve:
    """Train on parts of the photos and score the outer folds.

    Args:
        fit: (jobs, seed) -> predictions, as :data:`~tl_toolkit.evaluation.nested.Fit`.
        configs: The settings of each outer fold, chosen without the photos that it scores.
        labels, groups: integers, shape (n,).
    """
    tests = [splits.outer == fold for fold in range(splits.n_outer)]
    predicted = np.zeros((len(FRACTIONS), repeats, len(labels)), np.int64)
    sizes = np.zeros((len(FRACTIONS), repeats, splits.n_outer))
    for repeat in range(repeats):
        places = [(f, fold) for f in range(len(FRACTIONS)) for fold in range(splits.n_outer)]
        jobs = [
            Job(
                config=configs[fold],
                train=subset(~tests[fold], labels, groups, FRACTIONS[f], seed + repeat),
                test=tests[fold],
            )
            for f, fold in places
        ]
        for position, probabilities in fit(jobs, seed + repeat):
            f, fold = places[position]
            predicted[f, repeat, tests[fold]] = probabilities.argmax(1)
            sizes[f, repeat, fold] = jobs[position].train.sum()

    flat = predicted.reshape(-1, len(labels))
    rows = np.repeat(np.arange(len(flat)), len(labels))
    tallies = tally(np.tile(labels, len(flat)), flat.ravel(), rows, len(flat), n_classes)
    scores = {name: values.reshape(len(FRACTIONS), repeats) for name, values in overall(tallies).items()}
    f1 = by_class(tallies)["f1"].reshape(len(FRACTIONS), repeats, n_classes)
    n_train = sizes.mean((1, 2))
    return LearningCurve(
        n_train=tuple(n_train.tolist()),
        accuracy=scores["accuracy"],
        macro_f1=scores["macro_f1"],
        class_f1=f1.mean(1),
        class_gain=f1[-1] - f1[FRACTIONS.index(0.5)],
        outlook=_outlook(predicted != labels, n_train, groups, resamples, seed),
    )


def _outlook(
    wrong: np.ndarray, n_train: np.ndarray, groups: np.ndarray, resamples: int, seed: int
) -> tuple[tuple[float, Interval], ...]:
    """Accuracy with more photos, from fits to resamples of groups; ``wrong`` is bool, shape (f, repeats, n)."""
    from scipy.optimize import curve_fit

    f, repeats, n = wrong.shape
    members = np.unique(groups, return_inverse=True)[1]
    per_group = np.zeros((members.max() + 1, f * repeats + 1))
    np.add.at(per_group, members, np.column_stack([wrong.reshape(-1, n).T, np.ones(n)]))
    drawn = resample(per_group, resamples, seed)
    errors = (drawn[:, :-1] / drawn[:, -1:]).reshape(resamples, f, repeats).mean(2)
    errors = np.concatenate([wrong.mean((1, 2))[None], errors])

    def law(share: np.ndarray, floor: float, scale: float, rate: float) -> np.ndarray:
        return floor + scale * share**-rate

    share = n_train / n_train[-1]
    ahead = np.array(FACTORS)
    found = []
    for error in errors:
        start = (error[-1] / 2, error[-1] / 2 + 1e-6, 0.5)
        fitted, _ = curve_fit(law, share, error, p0=start, bounds=((0, 0, 0.05), (1, 1, 3)), max_nfev=2000)
        found.append(1 - law(ahead, *fitted))
    values = np.array(found)
    return tuple((factor, interval(float(values[0, i]), values[1:, i])) for i, factor in enumerate(FACTORS))
