"""Metrics of pooled predictions, with intervals from a bootstrap over groups of near duplicates.

Everything but log loss follows from three counts of each class: photos classified rightly (hits), photos of the class
(support) and photos taken for it (predicted). They add up over photos, so a resample of the bootstrap is a weighted sum
of the groups' counts, and all resamples together are one matrix product.

Conventions, as in scikit-learn with ``zero_division=0``:

- the class predicted is the first one with the highest probability;
- a class that is never predicted has precision and F1 0;
- macro F1 and balanced accuracy are means over the classes that ``labels`` holds.

Reference: Field and Welsh, "Bootstrapping clustered data", J. R. Stat. Soc. B 69 (2007).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tl_toolkit.core.errors import UnknownNameError
from tl_toolkit.core.records import Evaluation, Interval
from tl_toolkit.core.searches import METRICS

# Probabilities are float32, so a right class at 0 means "less than this": scikit-learn's choice, too.
_SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)

# Resampled group numbers held at a time: 16 MB in each of four arrays.
_DRAWS_AT_ONCE = 2_000_000


def score(metric: str, labels: np.ndarray, probabilities: np.ndarray) -> float:
    """One metric of one set of predictions: :func:`score_many` for m = 1.

    Args:
        metric: One of :data:`~tl_toolkit.core.searches.METRICS`.
        labels: integers, shape (n,), 0 .. k - 1.
        probabilities: floats, shape (n, k).

    Raises:
        UnknownNameError: There is no such metric.
        ValueError: Shapes or labels do not fit.
    """
    return float(score_many(metric, labels, np.asarray(probabilities)[None])[0])


def score_many(metric: str, labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """One metric of many sets of predictions for the same photos.

    Args:
        metric: One of :data:`~tl_toolkit.core.searches.METRICS`.
        labels: integers, shape (n,), 0 .. k - 1.
        probabilities: floats, shape (m, n, k).

    Returns:
        float64, shape (m,). NaN for a set that holds a NaN or an infinity, as a training that diverged leaves behind:
        its ``argmax`` would otherwise earn it a score.

    Raises:
        UnknownNameError: There is no such metric.
        ValueError: Shapes or labels do not fit.
    """
    # Searches call this thousands of times on some hundred photos. scikit-learn needs about a millisecond a call, most
    # of it for checks, so the metrics are computed here; the tests compare them with scikit-learn's.
    if metric not in METRICS:
        raise UnknownNameError("metric", metric, METRICS)
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if probabilities.ndim != 3:
        raise ValueError(f"probabilities of shape (m, n, k) must hold, got {probabilities.shape}")
    m, n, k = probabilities.shape
    _check_labels(labels, n, k)
    if metric == "log_loss":
        scores = _losses(labels, probabilities).mean(axis=1)
    else:
        rows = np.repeat(np.arange(m), n)
        scores = overall(tally(np.tile(labels, m), probabilities.argmax(axis=2).ravel(), rows, m, k))[metric]
    return np.where(np.isfinite(probabilities.sum(axis=(1, 2), dtype=np.float64)), scores, np.nan)


def evaluate(
    title: str,
    labels: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray,
    folds: np.ndarray,
    class_names: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Score pooled predictions: overall, by class and by fold, with 95 % intervals.

    The figures are those of all photos together. The intervals are percentile intervals of a bootstrap that draws whole
    groups, because twins are right or wrong together and say less than two strangers. They tell how far a figure might
    move with other photos of the same kind; that another training would give other predictions is not in them.

    A resample may lack a class. It then leaves the class out of its macro mean (F1 = 0 would blame the predictions for
    an accident of drawing) and says nothing of the class's own figures. A class that no resample holds, as one without
    photos, has intervals from 0 to 1: nothing is known of it. An interval is widened to its figure where that lies
    outside. Where all photos of a class are classified rightly, so they are in every resample, and the interval of its
    recall has no width: with few photos, read it together with the support.

    Args:
        title: What is evaluated, for readers.
        labels: integers, shape (n,), 0 .. k - 1.
        probabilities: floats, shape (n, k).
        groups: integers, shape (n,): photos with the same number are near duplicates.
        folds: integers, shape (n,): the outer fold that scored each photo.
        class_names: The k classes.
        resamples: Resamples of the bootstrap.
        seed: Of the bootstrap. The same seed and groups give the same resamples.

    Returns:
        ``metrics`` and ``fold_metrics`` hold accuracy, macro_f1, weighted_f1, balanced_accuracy and log_loss (in nats);
        ``fold_metrics`` has one figure for each fold that occurs, in the order of their numbers.

    Raises:
        ValueError: Shapes, labels or the number of resamples do not fit, or a probability is not finite.
    """
    labels = np.asarray(labels, np.int64)
    probabilities = np.asarray(probabilities, np.float32)
    n, k = len(labels), len(class_names)
    if probabilities.shape != (n, k) or np.shape(folds) != (n,):
        raise ValueError(
            f"probabilities of shape ({n}, {k}) and folds of shape ({n},) must hold, "
            f"got {probabilities.shape} and {np.shape(folds)}"
        )
    _check_labels(labels, n, k)
    if not np.isfinite(probabilities).all():
        raise ValueError("finite probabilities must hold, got NaN or infinity")

    predictions = probabilities.argmax(axis=1)
    losses = _losses(labels, probabilities[None])[0]

    fold_numbers, fold_of = np.unique(folds, return_inverse=True)
    by_fold = tally(labels, predictions, fold_of, len(fold_numbers), k)
    fold_figures = overall(by_fold) | {"log_loss": np.bincount(fold_of, losses) / np.bincount(fold_of)}

    group_tallies = tally_groups(labels, predictions, groups, k)
    group_losses = np.bincount(np.unique(groups, return_inverse=True)[1], losses)
    sums = resample(np.column_stack([group_tallies.reshape(-1, 3 * k), group_losses]), resamples, seed)
    drawn = sums[:, :-1].reshape(resamples, 3, k)
    support = drawn[:, 1]
    drawn_figures = overall(drawn) | {"log_loss": sums[:, -1] / support.sum(axis=1)}

    total = by_fold.sum(axis=0)
    figures = overall(total) | {"log_loss": losses.mean()}
    class_figures, drawn_class_figures = by_class(total), by_class(drawn)
    held = support > 0
    per_class = {
        name: {
            metric: interval(values[c], drawn_class_figures[metric][held[:, c], c])
            if held[:, c].any()
            else Interval(value=float(values[c]), low=0.0, high=1.0)
            for metric, values in class_figures.items()
        }
        for c, name in enumerate(class_names)
    }
    return Evaluation(
        title=title,
        labels=labels,
        probabilities=probabilities,
        metrics={name: interval(value, drawn_figures[name]) for name, value in figures.items()},
        per_class=per_class,
        support={name: int(total[1, c]) for c, name in enumerate(class_names)},
        confusion=np.bincount(labels * k + predictions, minlength=k * k).reshape(k, k),
        fold_metrics={name: tuple(values.tolist()) for name, values in fold_figures.items()},
    )


def tally(labels: np.ndarray, predictions: np.ndarray, rows: np.ndarray, n_rows: int, k: int) -> np.ndarray:
    """Count hits, support and predicted of each class, separately for each row.

    Args:
        labels, predictions: integers, shape (n,), 0 .. k - 1.
        rows: integers, shape (n,), 0 .. n_rows - 1: where each photo is counted.

    Returns:
        float64 (whole numbers), shape (n_rows, 3, k): hits, support, predicted.
    """
    actual, guessed = rows * k + labels, rows * k + predictions
    counts = [np.bincount(cells, minlength=n_rows * k) for cells in (actual[labels == predictions], actual, guessed)]
    return np.stack(counts, axis=0).reshape(3, n_rows, k).swapaxes(0, 1).astype(np.float64)


def tally_groups(labels: np.ndarray, predictions: np.ndarray, groups: np.ndarray, k: int) -> np.ndarray:
    """:func:`tally` with one row for each group of ``groups`` (integers, shape (n,)), in the order of their numbers.

    Raises:
        ValueError: There is not one group number a photo.
    """
    if np.shape(groups) != labels.shape:
        raise ValueError(f"groups of shape {labels.shape} must hold, got {np.shape(groups)}")
    numbers, rows = np.unique(groups, return_inverse=True)
    return tally(labels, predictions, rows, len(numbers), k)


def by_class(tallies: np.ndarray) -> Mapping[str, np.ndarray]:
    """Precision, recall and F1 of tallies of shape (..., 3, k): each float64, shape (..., k)."""
    hits, support, predicted = (tallies[..., i, :] for i in range(3))
    # Counts are whole numbers and hits are in all of them: a denominator of 0 has a numerator of 0, so 1 serves.
    return {
        "precision": hits / np.maximum(predicted, 1),
        "recall": hits / np.maximum(support, 1),
        "f1": 2 * hits / np.maximum(support + predicted, 1),
    }


def overall(tallies: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracy, macro and weighted F1 and balanced accuracy of tallies (..., 3, k): each float64, shape (...)."""
    hits, support = tallies[..., 0, :], tallies[..., 1, :]
    figures = by_class(tallies)
    photos, classes = support.sum(axis=-1), (support > 0).sum(axis=-1)
    return {
        "accuracy": hits.sum(axis=-1) / photos,
        "macro_f1": (figures["f1"] * (support > 0)).sum(axis=-1) / classes,
        "weighted_f1": (figures["f1"] * support).sum(axis=-1) / photos,
        "balanced_accuracy": figures["recall"].sum(axis=-1) / classes,
    }


def resample(per_group: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Draw as many groups as there are, with replacement, and sum what is known of each; many times over.

    Args:
        per_group: float64, shape (g, c): additive quantities of each group.

    Returns:
        float64, shape (resamples, c). The same g, resamples and seed draw the same groups.

    Raises:
        ValueError: ``resamples`` is below 1.
    """
    if resamples < 1:
        raise ValueError(f"resamples >= 1 must hold, got {resamples}")
    g = len(per_group)
    random = np.random.default_rng(seed)
    sums = np.empty((resamples, per_group.shape[1]))
    step = max(1, _DRAWS_AT_ONCE // g)
    for start in range(0, resamples, step):
        chunk = sums[start : start + step]
        # Counted draws are multinomial weights, at a tenth of the price of Generator.multinomial for many groups.
        draws = random.integers(g, size=(len(chunk), g))
        draws += np.arange(len(chunk))[:, None] * g
        weights = np.bincount(draws.ravel(), minlength=draws.size).reshape(draws.shape)
        np.matmul(weights.astype(np.float64), per_group, out=chunk)
    return sums


def interval(value: float, drawn: np.ndarray) -> Interval:
    """The 95 % percentile interval of figures drawn by a bootstrap (floats, shape (r,)), widened to hold ``value``."""
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(value=float(value), low=float(min(low, value)), high=float(max(high, value)))


def _losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Negative log-likelihoods in nats, float64, shape (m, n), of probabilities of shape (m, n, k)."""
    # Indexing leaves the order of memory to NumPy. Rows in one piece are summed alike, however many there are: a set of
    # predictions has the same score to the last bit in any company.
    chosen = probabilities[:, np.arange(len(labels)), labels].astype(np.float64, order="C")
    return -np.log(np.clip(chosen, _SMALLEST_PROBABILITY, 1.0))


def _check_labels(labels: np.ndarray, n: int, k: int) -> None:
    if labels.shape != (n,) or n == 0:
        raise ValueError(f"one label for each of {n} predictions, and at least one, must hold, got {labels.shape}")
    if labels.min() < 0 or labels.max() >= k:
        raise ValueError(f"labels in 0 .. {k - 1} must hold, got {labels.min()} .. {labels.max()}")
