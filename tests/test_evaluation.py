"""Metrics agree with scikit-learn, intervals cover what they should, and comparisons are paired."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as reference

from tl_toolkit.core.errors import UnknownNameError
from tl_toolkit.core.records import Evaluation
from tl_toolkit.core.searches import METRICS
from tl_toolkit.evaluation.comparison import compare
from tl_toolkit.evaluation.metrics import evaluate, resample, score, score_many


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)


def data(n: int = 120, k: int = 5, seed: int = 0, skill: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Labels of uneven classes (n,) and middling probabilities (n, k)."""
    random = np.random.default_rng(seed)
    labels = random.choice(k, n, p=np.arange(1, k + 1) / np.arange(1, k + 1).sum())
    return labels, softmax(random.normal(size=(n, k)) + skill * np.eye(k)[labels])


def one_hot(predictions: np.ndarray, k: int) -> np.ndarray:
    return np.eye(k, dtype=np.float32)[predictions]


def run(labels: Any, probabilities: np.ndarray, groups: Any = None, folds: Any = None, **options: Any) -> Evaluation:
    """:func:`evaluate` with every photo in a group of its own and five folds, unless told otherwise."""
    n, k = probabilities.shape
    groups = np.arange(n) if groups is None else groups
    folds = np.arange(n) % 5 if folds is None else folds
    return evaluate("test", labels, probabilities, groups, folds, [f"class {c}" for c in range(k)], **options)


def expected(metric: str, labels: np.ndarray, probabilities: np.ndarray) -> float:
    """What scikit-learn says."""
    predictions = probabilities.argmax(axis=1)
    present = np.unique(labels)
    match metric:
        case "accuracy":
            return reference.accuracy_score(labels, predictions)
        case "balanced_accuracy":
            return reference.recall_score(labels, predictions, labels=present, average="macro", zero_division=0)
        case "log_loss":
            return reference.log_loss(labels, probabilities, labels=range(probabilities.shape[1]))
    average = metric.removesuffix("_f1")
    return reference.f1_score(labels, predictions, labels=present, average=average, zero_division=0)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n", "k"), [(1, 2), (3, 7), (40, 2), (427, 8), (60, 30)])
def test_scores_are_those_of_scikit_learn(metric: str, n: int, k: int) -> None:
    sets = [data(n, k, seed) for seed in range(8)]
    for labels, probabilities in sets:
        assert score(metric, labels, probabilities) == pytest.approx(expected(metric, labels, probabilities), abs=1e-6)
    labels = sets[0][0]
    stacked = np.stack([probabilities for _, probabilities in sets])
    many = score_many(metric, labels, stacked)
    assert many.dtype == np.float64
    assert many == pytest.approx([expected(metric, labels, each) for each in stacked], abs=1e-6)


def test_a_wrong_certainty_has_a_finite_log_loss() -> None:
    labels, probabilities = np.array([0, 1]), one_hot(np.array([1, 1]), 2)
    assert score("log_loss", labels, probabilities) == pytest.approx(expected("log_loss", labels, probabilities))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_predictions_that_are_not_finite_have_no_score_and_spoil_no_other(metric: str, bad: float) -> None:
    labels, probabilities = data()
    spoilt = probabilities.copy()
    spoilt[7, 2] = bad
    many = score_many(metric, labels, np.stack([probabilities, spoilt]))
    assert many[0] == score(metric, labels, probabilities)
    assert np.isnan(many[1])


def test_unknown_metrics_and_unfit_arrays_are_refused() -> None:
    labels, probabilities = data()
    with pytest.raises(UnknownNameError, match="Did you mean 'macro_f1'"):
        score("macro_f", labels, probabilities)
    with pytest.raises(ValueError, match="one label for each"):
        score("accuracy", labels[1:], probabilities)
    with pytest.raises(ValueError, match="at least one"):
        score("accuracy", labels[:0], probabilities[:0])
    with pytest.raises(ValueError, match=r"labels in 0 \.\. 4"):
        score("accuracy", labels + 1, probabilities)
    with pytest.raises(ValueError, match=r"shape \(m, n, k\)"):
        score_many("accuracy", labels, probabilities)
    with pytest.raises(ValueError, match="groups of shape"):
        run(labels, probabilities, groups=labels[1:])
    with pytest.raises(ValueError, match="folds of shape"):
        run(labels, probabilities, folds=labels[1:])
    with pytest.raises(ValueError, match="resamples >= 1"):
        run(labels, probabilities, resamples=0)
    with pytest.raises(ValueError, match="finite"):
        run(labels, np.full_like(probabilities, np.nan))


def test_an_evaluation_is_that_of_scikit_learn() -> None:
    labels, probabilities = data(427, 8)
    predictions = probabilities.argmax(axis=1)
    folds = np.arange(427) % 4
    result = run(labels, probabilities, folds=folds)
    assert set(result.metrics) == {*METRICS, "balanced_accuracy"} == set(result.fold_metrics)
    for name, figure in result.metrics.items():
        assert figure.value == pytest.approx(expected(name, labels, probabilities), abs=1e-6)
        by_fold = [expected(name, labels[folds == f], probabilities[folds == f]) for f in range(4)]
        assert result.fold_metrics[name] == pytest.approx(by_fold, abs=1e-6)
    np.testing.assert_array_equal(result.confusion, reference.confusion_matrix(labels, predictions))
    assert result.confusion.dtype == np.int64
    assert result.labels.dtype == np.int64
    assert result.probabilities.dtype == np.float32
    table = reference.precision_recall_fscore_support(labels, predictions, labels=range(8))
    assert list(result.support.values()) == table[3].tolist()
    for metric, values in zip(("precision", "recall", "f1"), table, strict=False):
        assert [figures[metric].value for figures in result.per_class.values()] == pytest.approx(values)


def test_resamples_are_those_of_photos_repeated_as_drawn() -> None:
    """The matrix product against the bootstrap written out: rows of every drawn group, scored by scikit-learn."""
    labels, probabilities = data(60, 4)
    groups = np.arange(60) // 2 * 10
    weights = resample(np.eye(30), 200, 3)
    assert (weights.sum(axis=1) == 30).all()
    drawn = [np.repeat(np.arange(60), np.repeat(row.astype(int), 2)) for row in weights]
    result = run(labels, probabilities, groups, resamples=200, seed=3)
    for name, figure in result.metrics.items():
        figures = [expected(name, labels[rows], probabilities[rows]) for rows in drawn]
        assert (figure.low, figure.high) == pytest.approx(tuple(np.percentile(figures, [2.5, 97.5])), abs=1e-6)


def test_every_figure_lies_in_its_interval_and_no_bound_is_nan() -> None:
    for seed in range(5):
        result = run(*data(40, 8, seed), resamples=300)
        figures = [*result.metrics.values(), *(f for row in result.per_class.values() for f in row.values())]
        assert all(figure.low <= figure.value <= figure.high for figure in figures)
    assert result.metrics["accuracy"].low < result.metrics["accuracy"].value < result.metrics["accuracy"].high


def test_perfect_predictions_leave_no_width() -> None:
    labels, _ = data()
    result = run(labels, one_hot(labels, 5))
    for name, figure in result.metrics.items():
        ideal = 0.0 if name == "log_loss" else 1.0
        assert (figure.value, figure.low, figure.high) == (ideal, ideal, ideal)
    assert all(figure.low == figure.high == 1 for row in result.per_class.values() for figure in row.values())


def width(result: Evaluation, metric: str = "accuracy") -> float:
    return result.metrics[metric].high - result.metrics[metric].low


@pytest.mark.parametrize("metric", [*METRICS, "balanced_accuracy"])
def test_more_photos_narrow_an_interval_but_copies_do_not(metric: str) -> None:
    labels, probabilities = data(150)
    alone = run(labels, probabilities)
    more = run(*data(2400))
    assert width(alone, metric) / width(more, metric) == pytest.approx(4, rel=0.3)

    twice = np.repeat(np.arange(150), 4)
    grouped = run(labels[twice], probabilities[twice], groups=twice)
    assert width(grouped, metric) == pytest.approx(width(alone, metric))
    assert width(run(labels[twice], probabilities[twice]), metric) < 0.7 * width(grouped, metric)


@pytest.mark.parametrize("twins", [1, 3])
def test_intervals_cover_the_true_accuracy(twins: int) -> None:
    """200 data sets of 200 groups, whose photos are right together with probability 0.8."""
    random = np.random.default_rng(1)
    covered = 0
    for seed in range(200):
        labels = np.repeat(random.integers(3, size=200), twins)
        right = np.repeat(random.random(200) < 0.8, twins)
        predictions = np.where(right, labels, (labels + 1) % 3)
        groups = np.repeat(np.arange(200), twins)
        figure = run(labels, one_hot(predictions, 3), groups, resamples=500, seed=seed).metrics["accuracy"]
        covered += figure.low <= 0.8 <= figure.high
    assert 0.90 <= covered / 200 <= 0.99


def test_the_seed_decides() -> None:
    labels, probabilities = data()
    first, again, other = (run(labels, probabilities, seed=seed) for seed in (4, 4, 5))
    assert first.metrics == again.metrics
    assert first.per_class == again.per_class
    assert first.metrics["log_loss"] != other.metrics["log_loss"]
    assert first.metrics["log_loss"].value == other.metrics["log_loss"].value


def test_group_numbers_are_only_names() -> None:
    labels, probabilities = data()
    groups = np.arange(120) // 3
    assert run(labels, probabilities, groups).metrics == run(labels, probabilities, groups * 1000 - 7).metrics


def test_a_class_never_predicted_has_figures_of_zero() -> None:
    labels = np.repeat([0, 1, 2], 20)
    result = run(labels, one_hot(np.where(labels == 2, 0, labels), 3))
    for figure in result.per_class["class 2"].values():
        assert (figure.value, figure.low, figure.high) == (0, 0, 0)
    assert result.metrics["macro_f1"].value == pytest.approx((2 / 3 + 1 + 0) / 3)


def test_a_rare_class_is_left_out_of_resamples_without_it() -> None:
    labels = np.array([0] * 30 + [1])
    result = run(labels, one_hot(labels, 2))
    assert result.metrics["macro_f1"].low == 1
    assert result.per_class["class 1"]["recall"].low == 1


def test_a_class_without_photos_is_unknown_and_not_averaged() -> None:
    labels = np.repeat([0, 1], 20)
    result = run(labels, one_hot(labels, 3))
    assert result.support["class 2"] == 0
    assert result.metrics["macro_f1"].value == 1
    assert [(f.value, f.low, f.high) for f in result.per_class["class 2"].values()] == [(0, 0, 1)] * 3


def test_a_fold_without_a_class_averages_over_the_others() -> None:
    labels = np.array([0, 0, 1, 1, 0, 1, 2, 2])
    folds = np.array([0, 0, 0, 0, 3, 3, 3, 3])
    predictions = np.array([0, 0, 1, 2, 0, 1, 2, 0])
    result = run(labels, one_hot(predictions, 3), folds=folds)
    assert result.fold_metrics["macro_f1"] == pytest.approx(((1 + 2 / 3) / 2, (2 / 3 + 1 + 2 / 3) / 3))
    assert result.fold_metrics["balanced_accuracy"] == pytest.approx((0.75, 2.5 / 3))
    assert result.fold_metrics["accuracy"] == (0.75, 0.75)


def test_a_large_evaluation_and_comparison_stay_below_200_mb() -> None:
    labels, probabilities = data(10_000, 100)
    tracemalloc.start()
    try:
        result = run(labels, probabilities, resamples=400)
        compare(result, result, np.arange(10_000), resamples=400)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 200e6


def test_mcnemar_by_hand() -> None:
    """Nine photos only the first has right, two only the second: 2 * (1 + 11 + 55) / 2**11."""
    labels = np.zeros(20, np.int64)
    first = run(labels, one_hot(np.repeat([0, 1, 0], [9, 2, 9]), 2))
    second = run(labels, one_hot(np.repeat([1, 0, 0], [9, 2, 9]), 2))
    result = compare(first, second, np.arange(20))
    assert (result.better, result.worse) == (9, 2)
    assert result.p_value == pytest.approx(2 * (1 + 11 + 55) / 2**11)
    assert result.differences["accuracy"].value == pytest.approx(7 / 20)
    assert compare(second, first, np.arange(20)).p_value == result.p_value
    assert compare(second, first, np.arange(20)).differences["accuracy"].value == pytest.approx(-7 / 20)


def test_an_evaluation_does_not_differ_from_itself() -> None:
    result = run(*data())
    same = compare(result, result, np.arange(120))
    assert (same.better, same.worse, same.p_value) == (0, 0, 1.0)
    assert set(same.differences) == {"accuracy", "macro_f1", "weighted_f1"}
    assert all((f.value, f.low, f.high) == (0, 0, 0) for f in same.differences.values())


def test_differences_are_paired_grouped_and_reproducible() -> None:
    labels, probabilities = data(200)
    wrong = probabilities.copy()
    wrong[:10] = one_hot((labels[:10] + 1) % 5, 5)
    first, second = run(labels, probabilities), run(labels, wrong)
    alone = compare(first, second, np.arange(200), seed=2)
    for name, figure in alone.differences.items():
        assert figure.value == pytest.approx(first.metrics[name].value - second.metrics[name].value)
        assert figure.low <= figure.value <= figure.high
    # Ten photos differ at most: unpaired resamples would differ by the noise of all 200.
    difference = alone.differences["accuracy"]
    assert difference.high - difference.low < 0.6 * width(first)
    assert alone == compare(first, second, np.arange(200), seed=2)
    assert alone != compare(first, second, np.arange(200), seed=3)
    grouped = compare(first, second, np.arange(200) // 10).differences["accuracy"]
    assert grouped.high - grouped.low > 1.5 * (difference.high - difference.low)


def test_other_photos_or_classes_cannot_be_compared() -> None:
    labels, probabilities = data()
    result = run(labels, probabilities)
    with pytest.raises(ValueError, match="same photos"):
        compare(result, run(labels[::-1], probabilities), np.arange(120))
    with pytest.raises(ValueError, match="same photos"):
        compare(result, run(labels[1:], probabilities[1:]), np.arange(120))
    with pytest.raises(ValueError, match="same photos"):
        compare(result, run(labels, np.pad(probabilities, ((0, 0), (0, 1)))), np.arange(120))
    with pytest.raises(ValueError, match="groups of shape"):
        compare(result, result, np.arange(119))
