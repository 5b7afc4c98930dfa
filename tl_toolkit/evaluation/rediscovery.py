"""Whether blind searches rediscover given settings: how soon they come near them, and how their winners compare.

A blind search is one that was not shown the settings in question, the reference. A trial is near the reference where
its cross-validated score is no more than one standard error below (of a loss, above) the reference's score on the same
folds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tl_toolkit.core.records import Comparison, Evaluation, Interval
from tl_toolkit.core.searches import SearchResult, Trial
from tl_toolkit.evaluation.comparison import DIFFERENCES
from tl_toolkit.evaluation.metrics import interval, overall, resample, score, tally_groups

BETTER, WITHIN_NOISE, WORSE = "better", "within noise", "worse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What the reference scores on the inner folds of one study, and how uncertain that is.

    Attributes:
        standard_error: See :func:`standard_error`.
        near: The score from which on a trial of that study is near.
        blind: What the class frequencies of the training photos score, whoever is shown: the largest class, always. A
            reference that is no better than this is no proof of anything.
    """

    study: str
    score: float
    standard_error: float
    near: float
    blind: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How one blind search, one study, went.

    Attributes:
        winner: Its best trial.
        best_so_far: Best score after each trial; None while none was scored.
        trials_to_reach: Trials until the best so far was near the reference; None where it never was.
        near: How many of its trials were near.
    """

    study: str
    winner: Trial
    best_so_far: tuple[float | None, ...]
    trials_to_reach: int | None
    near: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What trials cost, and what pruning saved.

    Attributes:
        epochs: That they were trained for, each counted for every inner fold alike.
        full_epochs: That they would have been trained for without pruning. Early stopping is not counted.
        seconds: Wall time.
    """

    trials: int
    pruned: int
    failed: int
    epochs: int
    full_epochs: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindSearch:
    """All studies of one engine with one seed, and what their winners score on the outer folds.

    Attributes:
        metrics: Of the winners' pooled outer predictions; empty where no outer fold had a search.
        comparison: Of these with the reference's predictions of the same photos; None likewise.
        verdict: :func:`verdict` on the difference in the metric that decides; None likewise.
    """

    engine: str
    seed: int
    courses: tuple[Course, ...]
    effort: Effort
    metrics: Mapping[str, Interval]
    comparison: Comparison | None
    verdict: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSummary:
    """All seeds of one engine.

    Attributes:
        trials_to_reach: Of the study that trials are counted in, for each seed; None where it never came near.
        median: Of these, where never is more than any number; None where the median itself is never.
        searches, reached: Searches of all studies, and how many of them came near.
        near_share: Share of all trials that were near: how hard the reference is to match.
        differences: metric -> mean over the seeds of the winners less the reference; empty where no outer fold had a
            search.
        verdict: On that of the metric that decides; None likewise.
    """

    engine: str
    seeds: tuple[int, ...]
    trials_to_reach: tuple[int | None, ...]
    median: float | None
    searches: int
    reached: int
    near_share: float
    differences: Mapping[str, Interval]
    verdict: str | None
    effort: Effort


def standard_error(
    metric: str,
    labels: np.ndarray,
    probabilities: np.ndarray,
    groups: np.ndarray,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> float:
    """Standard error of a metric of pooled predictions: its standard deviation over a bootstrap of groups.

    Not the deviation of the folds' scores over the root of their number: the metric is that of all folds together,
    which for an F1 is no mean over folds; five folds give a deviation on four degrees of freedom; and as folds share
    training photos, it has no unbiased estimate (Bengio and Grandvalet 2004, "No unbiased estimator of the variance of
    k-fold cross-validation").

    Args:
        metric: One of :data:`~tl_toolkit.core.searches.METRICS`.
        labels: integers, shape (n,).
        probabilities: float32, shape (n, k).
        groups: integers, shape (n,): near duplicates, which are drawn together.
    """
    k = probabilities.shape[1]
    if metric == "log_loss":
        # The mean of single losses, so the groups' sums and sizes tell all.
        losses = [score(metric, labels[i : i + 1], probabilities[i : i + 1]) for i in range(len(labels))]
        of_group = np.unique(groups, return_inverse=True)[1]
        sums = resample(np.stack([np.bincount(of_group, losses), np.bincount(of_group)], axis=1), resamples, seed)
        return float((sums[:, 0] / sums[:, 1]).std(ddof=1))
    tallies = tally_groups(labels, probabilities.argmax(axis=1), groups, k)
    drawn = resample(tallies.reshape(len(tallies), -1), resamples, seed).reshape(resamples, 3, k)
    return float(overall(drawn)[metric].std(ddof=1))


def target(study: str, metric: str, scored: float, error: float, blind: float) -> Target:
    """What a trial of ``study`` must score to be near the reference.

    Raises:
        ValueError: the reference's score is not finite, as where its training diverged.
    """
    if not math.isfinite(scored):
        raise ValueError(f"a finite score of the reference must hold, got {scored} in {study}")
    return Target(study=study, score=scored, standard_error=error, near=scored - _sign(metric) * error, blind=blind)


def course(found: SearchResult, aim: Target) -> Course:
    """How the search inside ``aim.study`` went. Trials that were pruned or failed count, and never are near."""
    sign = _sign(found.metric)
    trials = sorted((trial for trial in found.trials if trial.study == aim.study), key=lambda trial: trial.number)
    best: float | None = None
    so_far: list[float | None] = []
    near: list[int] = []
    for count, trial in enumerate(trials, start=1):
        if trial.state == "complete" and trial.score is not None:
            best = trial.score if best is None else sign * max(sign * best, sign * trial.score)
            if sign * trial.score >= sign * aim.near:
                near.append(count)
        so_far.append(best)
    return Course(
        study=aim.study,
        winner=found.winner(aim.study),
        best_so_far=tuple(so_far),
        trials_to_reach=near[0] if near else None,
        near=len(near),
    )


def effort(trials: Sequence[Trial], seconds: float) -> Effort:
    """What ``trials`` took."""
    return Effort(
        trials=len(trials),
        pruned=sum(trial.state == "pruned" for trial in trials),
        failed=sum(trial.state == "failed" for trial in trials),
        epochs=sum(trial.trained_epochs for trial in trials),
        # A training that diverged ended early by itself; no pruning saved its other epochs.
        full_epochs=sum(t.trained_epochs if t.state == "failed" else t.config.epochs for t in trials),
        seconds=seconds,
    )


def median_to_reach(counts: Sequence[int | None]) -> float | None:
    """The median, where None, never, is more than any number; None where that is what it comes to."""
    middle = statistics.median(math.inf if count is None else count for count in counts)
    return middle if math.isfinite(middle) else None


def verdict(difference: Interval) -> str:
    """:data:`BETTER` or :data:`WORSE` where the whole interval lies above or below 0, else :data:`WITHIN_NOISE`."""
    return BETTER if difference.low > 0 else WORSE if difference.high < 0 else WITHIN_NOISE


def mean_differences(
    found: Sequence[Evaluation], reference: Evaluation, groups: np.ndarray, *, resamples: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """Mean over ``found`` of the difference to ``reference``, paired: a resample draws the same groups for all.

    The interval is about other photos of the same kind. How far the seeds lie apart is not in it; show each beside it.

    Args:
        found: Evaluations of the reference's photos, one for each seed.
        groups: integers, shape (n,): near duplicates.

    Returns:
        accuracy, macro_f1 and weighted_f1 -> difference with its 95 % interval; for one evaluation those of
        :func:`~tl_toolkit.evaluation.comparison.compare`.
    """
    labels, k = reference.labels, len(reference.support)
    predictions = [evaluation.probabilities.argmax(axis=1) for evaluation in (*found, reference)]
    tallies = np.stack([tally_groups(labels, guesses, groups, k) for guesses in predictions], axis=1)
    sums = resample(tallies.reshape(len(tallies), -1), resamples, seed)
    drawn = overall(sums.reshape(resamples, len(predictions), 3, k))
    figures = overall(tallies.sum(axis=0))
    return {
        name: interval(
            figures[name][:-1].mean() - figures[name][-1], drawn[name][:, :-1].mean(axis=1) - drawn[name][:, -1]
        )
        for name in DIFFERENCES
    }


def summary(
    searches: Sequence[BlindSearch], counted: str, differences: Mapping[str, Interval], decides: str
) -> EngineSummary:
    """What the seeds of one engine come to.

    Args:
        searches: Of one engine; at least one.
        counted: Name of the study that trials are counted in.
        differences: As :func:`mean_differences` gives them; empty where no outer fold had a search.
        decides: The metric of the verdict.
    """
    courses = [one for search in searches for one in search.courses]
    counts = tuple(one.trials_to_reach for one in courses if one.study == counted)
    efforts = [search.effort for search in searches]
    trials = sum(one.trials for one in efforts)
    return EngineSummary(
        engine=searches[0].engine,
        seeds=tuple(search.seed for search in searches),
        trials_to_reach=counts,
        median=median_to_reach(counts),
        searches=len(courses),
        reached=sum(one.trials_to_reach is not None for one in courses),
        near_share=sum(one.near for one in courses) / trials,
        differences=differences,
        verdict=verdict(differences[decides]) if differences else None,
        effort=Effort(
            trials=trials,
            pruned=sum(one.pruned for one in efforts),
            failed=sum(one.failed for one in efforts),
            epochs=sum(one.epochs for one in efforts),
            full_epochs=sum(one.full_epochs for one in efforts),
            seconds=sum(one.seconds for one in efforts),
        ),
    )


def _sign(metric: str) -> int:
    return -1 if metric == "log_loss" else 1
