"""Drift of features, shift of class shares, and the promise of cross-validation: what is found, and what is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tl_toolkit.evaluation.drift import LEAST, Sample, frechet, measure_drift, share_shift
from tl_toolkit.evaluation.promise import Scored, compare_with_promise
from tl_toolkit.evaluation.remoteness import remoteness


def sample(random: np.random.Generator, counts: list[int], shift: float = 0.0, scale: float = 1.0) -> Sample:
    """Classes around centres of their own, which are the same for all samples."""
    centres = np.random.default_rng(7).normal(size=(len(counts), 40)) * 2
    labels = np.repeat(np.arange(len(counts)), counts)
    features = centres[labels] + scale * random.normal(size=(len(labels), 40))
    features[:, 0] += shift
    return Sample(features=features, labels=labels, groups=np.arange(len(labels)))


class TestDrift:
    def test_photos_of_one_kind_are_rarely_called_drifted(self) -> None:
        p_values = []
        for seed in range(25):
            random = np.random.default_rng(seed)
            found = measure_drift(
                sample(random, [60, 30, 20]), sample(random, [20, 10, 8]), draws=60, permutations=99, seed=seed
            )
            assert found.frechet
            assert found.separation
            p_values.append((found.frechet.p_value, found.separation.p_value))
        # Of 25, one is expected at 0.05, and more than 5 once in 800 times.
        assert (np.array(p_values) <= 0.05).sum(0).max() <= 5

    def test_other_class_shares_are_no_drift(self) -> None:
        random = np.random.default_rng(0)
        training, new = sample(random, [120, 60, 60]), sample(random, [2, 3, 40])
        found = measure_drift(training, new)
        assert found.frechet
        assert found.separation
        assert found.frechet.p_value > 0.05
        assert found.separation.p_value > 0.05
        shift = share_shift(training, new, 3)
        assert shift.p_value < 0.001
        assert shift.total_variation == pytest.approx(40 / 45 - 0.25)

    @pytest.mark.parametrize(("shift", "scale"), [(2.0, 1.0), (0.0, 3.0)], ids=["moved", "spread"])
    def test_photos_of_another_kind_are_found(self, shift: float, scale: float) -> None:
        random = np.random.default_rng(0)
        found = measure_drift(sample(random, [80, 40]), sample(random, [30, 20], shift, scale))
        assert found.frechet
        assert found.frechet.p_value < 0.01
        assert found.frechet.value > found.frechet.normal_high
        if shift:  # a linear classifier does not see a spread
            assert found.separation
            assert found.separation.p_value < 0.01
            assert found.separation.auc.low > 0.6
            assert found.separation.auc.value > found.separation.chance_high

    def test_few_photos_tell_nothing(self) -> None:
        random = np.random.default_rng(0)
        few = sample(random, [LEAST - 1, 0], shift=9)
        found = measure_drift(sample(random, [80, 40]), few)
        assert found.frechet is None
        assert found.separation is None
        one = sample(random, [1, 0])
        assert measure_drift(sample(random, [80, 40]), one).frechet is None

    def test_near_duplicates_count_once(self) -> None:
        random = np.random.default_rng(0)
        new = sample(random, [LEAST // 2, 0])
        twins = Sample(
            features=np.tile(new.features, (5, 1)), labels=np.tile(new.labels, 5), groups=np.tile(new.groups, 5)
        )
        assert measure_drift(sample(random, [80, 40]), twins).separation is None

    def test_the_same_seed_gives_the_same_figures(self) -> None:
        random = np.random.default_rng(0)
        training, new = sample(random, [50, 40]), sample(random, [20, 20])
        assert measure_drift(training, new, seed=3) == measure_drift(training, new, seed=3)


class TestFrechet:
    @given(st.integers(0, 10**6), st.integers(1, 6))
    @settings(max_examples=30, deadline=None)
    def test_it_is_a_distance(self, seed: int, d: int) -> None:
        a, b = np.random.default_rng(seed).normal(size=(2, 20, d))
        assert frechet(a, a) == pytest.approx(0, abs=1e-9)
        assert frechet(a, b) == pytest.approx(frechet(b, a))
        assert frechet(a, a + 3) == pytest.approx(9 * d)
        assert frechet(a, b) > 0

    def test_of_one_dimension_it_is_known(self) -> None:
        a, b = np.array([[0.0], [2.0]]), np.array([[0.0], [6.0]])
        assert frechet(a, b) == pytest.approx((1 - 3) ** 2 + (1 - 3) ** 2)


class TestRemoteness:
    def test_strangers_are_far_and_others_are_not(self) -> None:
        random = np.random.default_rng(0)
        training = sample(random, [150, 150])
        new = np.concatenate([sample(random, [20, 20]).features, random.normal(size=(3, 40)) * 5])
        found = remoteness(training, new)
        assert found.far[-3:].all()
        assert found.far[:-3].sum() <= 2
        assert (found.rank >= 0).all()
        assert (found.rank <= 1).all()

    def test_twins_in_training_do_not_make_it_look_dense(self) -> None:
        random = np.random.default_rng(0)
        training = sample(random, [100])
        doubled = Sample(
            features=np.repeat(training.features, 6, 0),
            labels=np.repeat(training.labels, 6),
            groups=np.repeat(training.groups, 6),
        )
        assert remoteness(doubled, sample(random, [50]).features).far.mean() < 0.2


def scored(random: np.random.Generator, counts: list[int], recalls: list[float]) -> Scored:
    labels = np.repeat(np.arange(len(counts)), counts)
    right = random.random(len(labels)) < np.array(recalls)[labels]
    return Scored(
        labels=labels, predictions=np.where(right, labels, (labels + 1) % len(counts)), groups=np.arange(len(labels))
    )


class TestPromise:
    def test_a_kept_promise_is_mostly_called_kept(self) -> None:
        verdicts = []
        for seed in range(200):
            random = np.random.default_rng(seed)
            promised, new = (scored(random, counts, [0.95, 0.8, 0.6]) for counts in ([200, 60, 40], [30, 30, 30]))
            found = compare_with_promise(promised, new, draws=1000)
            assert found
            verdicts.append(found.verdict)
        assert 180 <= verdicts.count("within") <= 199

    def test_a_broken_one_is_found(self) -> None:
        random = np.random.default_rng(0)
        promised, new = scored(random, [200, 100], [0.95, 0.9]), scored(random, [50, 50], [0.7, 0.7])
        found = compare_with_promise(promised, new)
        assert found
        assert found.verdict == "below"
        assert found.difference.high < 0
        assert found.balanced.high < 0
        assert found.accuracy < found.expected.low

    def test_only_weak_classes_are_expected_to_be_weak(self) -> None:
        random = np.random.default_rng(0)
        found = compare_with_promise(scored(random, [900, 100], [0.99, 0.5]), scored(random, [0, 80], [1, 0.5]))
        assert found
        assert found.promised > 0.9
        assert found.expected.value == pytest.approx(0.5, abs=0.1)
        assert found.verdict == "within"

    @pytest.mark.parametrize("right", [True, False])
    def test_one_photo_breaks_no_ordinary_promise(self, right: bool) -> None:
        promised = scored(np.random.default_rng(0), [100, 100], [0.9, 0.9])
        new = Scored(labels=np.array([0]), predictions=np.array([0 if right else 1]), groups=np.array([0]))
        found = compare_with_promise(promised, new)
        assert found
        assert found.verdict == "within"
        assert found.difference.high - found.difference.low > 0.5

    def test_twins_do_not_break_it_together(self) -> None:
        promised = scored(np.random.default_rng(0), [100, 100], [0.9, 0.9])
        wrong = {"labels": np.zeros(12, np.int64), "predictions": np.ones(12, np.int64)}
        alone = compare_with_promise(promised, Scored(**wrong, groups=np.arange(12)))
        twins = compare_with_promise(promised, Scored(**wrong, groups=np.zeros(12, np.int64)))
        assert alone
        assert twins
        assert (alone.verdict, twins.verdict) == ("below", "within")

    def test_classes_that_were_not_scored_are_left_out(self) -> None:
        random = np.random.default_rng(0)
        promised = scored(random, [50, 50, 0], [0.9, 0.9, 0.9])
        new = Scored(labels=np.array([0, 2, 2]), predictions=np.array([0, 2, 2]), groups=np.arange(3))
        found = compare_with_promise(promised, new)
        assert found
        assert (found.n, found.left_out) == (1, 2)
        rows = np.array([1, 2])
        assert compare_with_promise(promised, new.select(rows)) is None
