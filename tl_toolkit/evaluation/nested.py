"""Nested cross-validation: inner folds choose, outer folds score, and neither sees what the other holds.

What trains and predicts is given as a :data:`Fit`, so the protocol is the same for heads on frozen features and for
whole networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tl_toolkit.core.records import Splits
from tl_toolkit.core.searches import Proposal
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.evaluation.metrics import score

FINAL = "final"
"""Name of the study over all photos, an official test set apart, which chooses the settings of the exported model."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """Train on some photos, predict others.

    Attributes:
        config: Settings to train with.
        train, test: bool, shape (n,): the photos to train on and those to predict; they have none in common.
        until: Epochs after which to predict, on the way to ``config.epochs``; None for the end.
    """

    config: TrainingConfig
    train: np.ndarray
    test: np.ndarray
    until: int | None = None

    def __post_init__(self) -> None:
        if (self.train & self.test).any():
            raise ValueError("no photo in both training and test must hold")


Fit = Callable[[Sequence[Job]], Iterable[tuple[int, np.ndarray]]]
"""Jobs -> (position of the job, probabilities float32 (its test photos, k)) as they are done, in any order."""


def studies(splits: Splits) -> tuple[str, ...]:
    """``outer-0`` ..., a search inside each outer fold, and :data:`FINAL`; with an official test set that alone."""
    if splits.official:
        return (FINAL,)
    return (*(f"outer-{fold}" for fold in range(splits.n_outer)), FINAL)


def cross_validate(
    fit: Fit,
    trials: Sequence[Proposal],
    labels: np.ndarray,
    splits: Splits,
    metric: str,
    scored_folds: int | None = None,
) -> Iterator[tuple[int, float, tuple[float, ...]]]:
    """Score trials on the inner folds of their studies; photos that a study's outer fold scores take no part.

    The score is the metric on the predictions of all inner folds together: an F1 averaged over folds that hold one or
    two photos of a class is biased (Forman and Scholz 2010, "Apples-to-apples in cross-validation studies").

    Args:
        fit: Trains and predicts. Where it ends early, trials that it has not done on all folds are left out.
        trials: What to score.
        labels: int64, shape (n,).
        splits: Of the same n photos.
        metric: One of :data:`~tl_toolkit.core.searches.METRICS`.
        scored_folds: Inner folds to score on, the first ones; all of them, if None or more than there are.

    Yields:
        (position of the trial, score, score of each inner fold) as trials are done. NaN where a training diverged.
    """
    n_inner = min(splits.n_inner, scored_folds or splits.n_inner)
    folds = [splits.inner[studies(splits).index(trial.study)] for trial in trials]
    jobs = [
        Job(config=trial.config, train=(inner >= 0) & (inner != fold), test=inner == fold, until=trial.until)
        for trial, inner in zip(trials, folds, strict=True)
        for fold in range(n_inner)
    ]
    predicted: dict[int, dict[int, np.ndarray]] = {}
    for position, probabilities in fit(jobs):
        trial, fold = divmod(position, n_inner)
        by_fold = predicted.setdefault(trial, {})
        by_fold[fold] = probabilities
        if len(by_fold) < n_inner:
            continue
        truths = [labels[folds[trial] == fold] for fold in range(n_inner)]
        guesses = [predicted[trial][fold] for fold in range(n_inner)]
        each = tuple(score(metric, truth, guess) for truth, guess in zip(truths, guesses, strict=True))
        yield trial, score(metric, np.concatenate(truths), np.concatenate(guesses)), each
        del predicted[trial]


def outer_jobs(members: Sequence[Sequence[TrainingConfig]], splits: Splits) -> list[tuple[int, Job]]:
    """(outer fold, job) for each of ``members[fold]``: train on what the fold does not score, predict what it does.

    Args:
        members: For each outer fold, settings.
    """
    tests = [splits.outer == fold for fold in range(splits.n_outer)]
    return [
        (fold, Job(config=config, train=~tests[fold], test=tests[fold]))
        for fold, configs in enumerate(members)
        for config in configs
    ]


def outer_predictions(fit: Fit, members: Sequence[Sequence[TrainingConfig]], splits: Splits) -> np.ndarray:
    """Refit ``members[fold]`` on all photos that outer fold ``fold`` does not score, and predict those that it does.

    Args:
        members: For each outer fold the settings whose probabilities are averaged.

    Returns:
        Pooled probabilities, float32, shape (n, k); zero for photos that are not scored.
    """
    jobs = outer_jobs(members, splits)
    by_job = dict(fit([job for _, job in jobs]))
    pooled = np.zeros((len(splits.outer), by_job[0].shape[1]), np.float32)
    # In the order of the jobs: a sum in another order would differ in its last bits.
    for position, (fold, job) in enumerate(jobs):
        pooled[job.test] += by_job[position] / len(members[fold])
    return pooled
