"""Jobs done with heads, and heads of different backbones side by side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tl_toolkit.core.records import FeatureTable
from tl_toolkit.core.searches import SearchResult, Trial
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.evaluation.nested import Job
from tl_toolkit.heads.batched import Heads
from tl_toolkit.heads.fitting import fit, fit_final, joined

RNG = np.random.default_rng(0)
WIDTHS = {"a": 3, "b": 5, "c": 2}
FEATURES = {name: RNG.normal(size=(40, 2, width)).astype(np.float32) for name, width in WIDTHS.items()}
LABELS = RNG.integers(0, 3, 40)


def tables(config: TrainingConfig) -> FeatureTable:
    features = np.concatenate([FEATURES[part] for part in config.backbone.split("+")], axis=2)
    return FeatureTable(features=features, labels=LABELS)


def config(backbone: str) -> TrainingConfig:
    return TrainingConfig(backbone=backbone, epochs=3, batch_size=8)


def test_every_job_gets_its_own_test_photos_whatever_it_shares_a_program_with() -> None:
    rng = np.random.default_rng(1)
    jobs = []
    for number in range(7):
        test = rng.random(40) < 0.3
        jobs.append(Job(config=config(["a", "b", "a+b"][number % 3]), train=~test, test=test))
    together = dict(fit(jobs, tables, 3, seed=0))
    assert sorted(together) == list(range(7))
    for position, job in enumerate(jobs):
        assert together[position].shape == (job.test.sum(), 3)
        [(_, alone)] = fit([job], tables, 3, seed=0)
        np.testing.assert_array_equal(together[position], alone)


def test_when_time_is_up_no_more_heads_are_trained_and_no_more_features_turned_to() -> None:
    test = np.arange(40) < 10
    settings = [config("a"), config("b"), replace(config("a"), dropout=0.5), config("a")]
    jobs = [Job(config=one, train=~test, test=test) for one in settings]
    done: list[int] = []
    looked_up: list[str] = []

    def looked(config: TrainingConfig) -> FeatureTable:
        looked_up.append(config.backbone)
        return tables(config)

    def trained_before(most: int) -> list[int]:
        done.clear()
        looked_up.clear()
        for position, _ in fit(jobs, looked, 3, seed=0, expired=lambda: len(done) >= most):
            done.append(position)
        return list(done)

    assert trained_before(1) == [0, 3]  # of one program
    assert set(looked_up) == {"a"}
    assert trained_before(3) == [0, 3, 2]
    assert set(looked_up) == {"a"}
    assert trained_before(9) == [0, 3, 2, 1]


def test_joined_heads_say_what_each_said_on_its_own_features() -> None:
    members = ["a+b", "c", "b+a", "b+c"]
    heads = [
        fit_final(config(member), tables, np.ones(len(tables(config(member)).labels), bool), 3, seed=0)
        for member in members
    ]
    parts, kernels = joined(heads, [member.split("+") for member in members], WIDTHS.__getitem__)
    assert parts == ["a", "b", "c"]
    everything = np.concatenate([FEATURES[part][:, 0] for part in parts], axis=1)
    together = Heads(kernels=kernels, biases=np.concatenate([head.biases for head in heads])).probabilities(everything)
    for number, (head, member) in enumerate(zip(heads, members, strict=True)):
        own = head.probabilities(tables(config(member)).features[:, 0])[0]
        np.testing.assert_allclose(together[number], own, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("metric", "order"), [("accuracy", [3, 0, 2]), ("log_loss", [2, 0, 3])])
def test_the_best_trials_come_first_and_failed_ones_never(metric: str, order: list[int]) -> None:
    trial = Trial(
        study="final", number=0, config=config("a"), score=0.5, fold_scores=(0.5,), seconds=1.0, trained_epochs=3
    )
    trials = (
        trial,
        replace(trial, number=1, score=None, state="failed", error="diverged"),
        replace(trial, number=2, score=0.4),
        replace(trial, number=3, score=0.9),
        replace(trial, number=4, study="outer-0", score=1.0),
    )
    found = SearchResult(trials=trials, metric=metric, stopped="finished", seconds=1.0)
    assert [one.number for one in found.best("final", 5)] == order
    assert found.best("final", 1) == (found.winner("final"),)


def test_equal_scores_are_in_the_order_of_their_numbers() -> None:
    trial = Trial(
        study="final", number=0, config=config("a"), score=0.5, fold_scores=(0.5,), seconds=1.0, trained_epochs=3
    )
    trials = tuple(replace(trial, number=number) for number in (2, 0, 1))
    found = SearchResult(trials=trials, metric="accuracy", stopped="finished", seconds=1.0)
    assert [one.number for one in found.best("final", 2)] == [0, 1]
