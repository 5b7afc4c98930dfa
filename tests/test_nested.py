"""The protocol: no photo helps to choose or train what predicts it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from tl_toolkit.core.searches import Proposal
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.datasets.splits import make_splits
from tl_toolkit.evaluation.metrics import score
from tl_toolkit.evaluation.nested import FINAL, Job, cross_validate, outer_predictions, studies

LABELS = np.repeat(np.arange(3), 20)
GROUPS = np.arange(60) // 2
SPLITS = make_splits(LABELS, GROUPS, ("a", "b", "c"), n_outer=3, n_inner=2)


class Recorder:
    """Predicts at random, and remembers what it was shown; gives the jobs back in reverse."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []

    def __call__(self, jobs: Sequence[Job]) -> Iterator[tuple[int, np.ndarray]]:
        self.jobs += jobs
        for position in reversed(range(len(jobs))):
            yield position, self.predicted(jobs[position])

    def predicted(self, job: Job) -> np.ndarray:
        noise = np.random.default_rng(np.flatnonzero(job.test)).random((job.test.sum(), 3)).astype(np.float32)
        return noise / noise.sum(1, keepdims=True)


@pytest.mark.parametrize("study", studies(SPLITS))
def test_a_study_sees_nothing_of_what_its_outer_fold_scores(study: str) -> None:
    fit = Recorder()
    list(cross_validate(fit, [Proposal(study=study, config=TrainingConfig())], LABELS, SPLITS, "accuracy"))
    scored = np.zeros(60, bool) if study == FINAL else SPLITS.outer == int(study.removeprefix("outer-"))
    for job in fit.jobs:
        assert not (job.train & scored).any()
        assert not (job.test & scored).any()
        assert not (job.train & job.test).any()
        assert not set(GROUPS[job.train]) & set(GROUPS[job.test])
    np.testing.assert_array_equal(sum(job.test.astype(int) for job in fit.jobs), (~scored).astype(int))


def test_scores_are_of_the_pooled_inner_predictions() -> None:
    fit = Recorder()
    trials = [
        Proposal(study="outer-1", config=TrainingConfig()),
        Proposal(study=FINAL, config=TrainingConfig(learning_rate=0.1)),
    ]
    results = {i: (value, each) for i, value, each in cross_validate(fit, trials, LABELS, SPLITS, "macro_f1")}
    assert sorted(results) == [0, 1]
    for i in (0, 1):
        jobs = fit.jobs[2 * i : 2 * i + 2]
        truth = np.concatenate([LABELS[job.test] for job in jobs])
        guess = np.concatenate([fit.predicted(job) for job in jobs])
        assert results[i][0] == score("macro_f1", truth, guess)
        assert results[i][1] == tuple(score("macro_f1", LABELS[job.test], fit.predicted(job)) for job in jobs)


def test_a_trial_that_was_not_done_on_all_folds_is_left_out() -> None:
    def cut(jobs: Sequence[Job]) -> Iterator[tuple[int, np.ndarray]]:
        for position in (2, 3, 0):
            yield position, Recorder().predicted(jobs[position])

    trials = [Proposal(study=FINAL, config=TrainingConfig(epochs=epochs)) for epochs in (1, 2)]
    assert [position for position, _, _ in cross_validate(cut, trials, LABELS, SPLITS, "accuracy")] == [1]


def test_outer_predictions_are_pooled_in_the_order_of_the_photos() -> None:
    fit = Recorder()
    pooled = outer_predictions(fit, [[TrainingConfig(epochs=e)] for e in (1, 2, 3)], SPLITS)
    for fold, job in enumerate(fit.jobs):
        assert job.config.epochs == fold + 1
        np.testing.assert_array_equal(job.train, SPLITS.outer != fold)
        np.testing.assert_array_equal(pooled[SPLITS.outer == fold], fit.predicted(job))


def test_members_are_averaged() -> None:
    def fit(jobs: Sequence[Job]) -> Iterator[tuple[int, np.ndarray]]:
        for position, job in enumerate(jobs):
            yield position, np.full((job.test.sum(), 3), job.config.epochs, np.float32)

    configs = [TrainingConfig(epochs=e) for e in range(1, 5)]
    pooled = outer_predictions(fit, [configs[:1], configs[1:3], configs], SPLITS)
    np.testing.assert_allclose(pooled[:, 0], np.array([1, 2.5, 2.5])[SPLITS.outer])


def test_a_job_that_leaks_is_refused() -> None:
    everything = np.ones(5, bool)
    with pytest.raises(ValueError, match="in both training and test"):
        Job(config=TrainingConfig(), train=everything, test=everything)
