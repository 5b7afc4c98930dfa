"""Nested folds: one test for each invariant of the module, over drawn labels and groups."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tl_toolkit.core.errors import UserError
from tl_toolkit.core.records import Splits
from tl_toolkit.datasets.splits import make_splits

NAMES = ("Beauty", "Games", "Home", "Tools")
TOO_TIED = "keep every class in training"

Photos = tuple[np.ndarray, np.ndarray]


@st.composite
def photos(draw: st.DrawFn, single_groups: bool = False) -> Photos:
    """Labels and groups: 2 to 4 classes of 6 to 25 groups; groups of 1 to 4 photos, a few across two classes."""
    labels: list[int] = []
    groups: list[int] = []
    k = draw(st.integers(2, len(NAMES)))
    for c in range(k):
        for _ in range(draw(st.integers(6, 25))):
            size = 1 if single_groups else draw(st.sampled_from((1, 1, 1, 1, 2, 4)))
            number = groups[-1] + 1 if groups else 0
            labels += [c] * size
            groups += [number] * size
            if not single_groups and draw(st.integers(0, 15)) == 0:
                labels.append((c + 1) % k)
                groups.append(number)
    order = np.random.default_rng(draw(st.integers(0, 2**16))).permutation(len(labels))
    return np.array(labels, np.int64)[order], np.array(groups, np.int64)[order]


drawn = given(photos(), st.integers(2, 5), st.integers(2, 5), st.integers(0, 2**31))
few = settings(max_examples=20, deadline=None)


def plan(data: Photos, n_outer: int, n_inner: int, seed: int) -> Splits:
    labels, groups = data
    names = NAMES[: labels.max() + 1]
    try:
        return make_splits(labels, groups, names, n_outer=n_outer, n_inner=n_inner, seed=seed)
    except UserError as error:
        # Whether some draw can be split at all is not what these tests are about; any other refusal is.
        assume(TOO_TIED not in str(error))
        raise


@few
@drawn
def test_every_photo_is_scored_in_exactly_one_outer_fold(data: Photos, n_outer: int, n_inner: int, seed: int) -> None:
    splits = plan(data, n_outer, n_inner, seed)
    assert splits.outer.shape == data[0].shape
    assert splits.outer.dtype == splits.inner.dtype == np.int64
    assert np.unique(splits.outer).tolist() == list(range(n_outer))
    assert splits.n_outer == n_outer


@few
@drawn
def test_a_group_is_on_one_side_of_every_split(data: Photos, n_outer: int, n_inner: int, seed: int) -> None:
    splits = plan(data, n_outer, n_inner, seed)
    _, groups = data
    for folds in (splits.outer, *splits.inner):
        pairs = np.unique(np.stack([groups, folds], 1), axis=0)
        assert len(pairs) == len(np.unique(groups))


@few
@drawn
def test_inner_folds_never_hold_what_the_outer_fold_scores(data: Photos, n_outer: int, n_inner: int, seed: int) -> None:
    splits = plan(data, n_outer, n_inner, seed)
    assert splits.inner.shape == (n_outer + 1, len(data[0]))
    for fold in range(n_outer):
        np.testing.assert_array_equal(splits.inner[fold] == -1, splits.outer == fold)
    assert (splits.inner[n_outer] >= 0).all()
    assert splits.n_inner <= n_inner


@few
@drawn
def test_every_class_is_in_the_training_part_of_every_split(
    data: Photos, n_outer: int, n_inner: int, seed: int
) -> None:
    splits = plan(data, n_outer, n_inner, seed)
    labels, _ = data
    classes = set(labels.tolist())
    for folds in (splits.outer, *splits.inner):
        for fold in range(folds.max() + 1):
            assert set(labels[(folds != fold) & (folds >= 0)].tolist()) == classes


@few
@drawn
def test_folds_depend_on_labels_groups_and_seed_only(data: Photos, n_outer: int, n_inner: int, seed: int) -> None:
    first = plan(data, n_outer, n_inner, seed)
    np.random.seed(seed % 1000)  # noqa: NPY002 - it is the global state that must not matter
    labels, groups = data
    names = tuple(f"another {c}" for c in range(labels.max() + 1))
    second = make_splits(labels.copy(), groups.copy(), names, n_outer=n_outer, n_inner=n_inner, seed=seed)
    np.testing.assert_array_equal(first.outer, second.outer)
    np.testing.assert_array_equal(first.inner, second.inner)
    assert first.seed == second.seed == seed


@few
@given(photos(single_groups=True), st.integers(2, 5), st.integers(0, 2**31))
def test_folds_are_stratified_where_no_photo_has_a_twin(data: Photos, n_outer: int, seed: int) -> None:
    splits = plan(data, n_outer, 3, seed)
    labels, _ = data
    for c in np.unique(labels):
        counts = np.bincount(splits.outer[labels == c], minlength=n_outer)
        assert counts.max() - counts.min() <= 1
    # Fewest photos of a class, less those of the largest outer fold.
    assert splits.n_inner == 3


def test_another_seed_shuffles_otherwise() -> None:
    labels = np.repeat(np.arange(2), 30)
    one, two = (make_splits(labels, np.arange(60), ("a", "b"), seed=seed) for seed in (1, 2))
    assert (one.outer != two.outer).any()
    # Nor are the inner plans copies of one another.
    assert (one.inner[5] != one.outer).any()


def classes(*counts: int) -> Photos:
    labels = np.repeat(np.arange(len(counts)), counts)
    return labels, np.arange(len(labels))


def test_a_plan_that_fits_has_no_notes() -> None:
    splits = make_splits(*classes(20, 25), ("a", "b"))
    assert splits.notes == ()
    assert (splits.n_outer, splits.n_inner) == (5, 5)


def test_inner_folds_are_reduced_and_it_is_said() -> None:
    splits = make_splits(*classes(20, 5), ("a", "b"))
    assert splits.n_inner == 4
    assert splits.notes == ("4 inner folds instead of 5: class 'b' has only 5 distinct photos.",)


@pytest.mark.parametrize(("n_outer", "n_inner"), [(1, 5), (5, 1), (0, 0)])
def test_fewer_than_two_folds_are_refused(n_outer: int, n_inner: int) -> None:
    with pytest.raises(UserError, match=f"At least 2 folds are needed, got {n_outer} outer and {n_inner} inner"):
        make_splits(*classes(20, 20), ("a", "b"), n_outer=n_outer, n_inner=n_inner)


def test_a_class_that_is_too_small_is_named_with_what_to_do() -> None:
    with pytest.raises(UserError) as caught:
        make_splits(*classes(20, 4), ("Games", "Home"))
    assert str(caught.value) == (
        "Class 'Home' has 4 readable photos: too few for 5 folds. Add photos of it, or ask for --folds 4."
    )
    splits = make_splits(*classes(20, 4), ("Games", "Home"), n_outer=4)  # the advice works
    assert splits.n_outer == 4


def test_a_class_beyond_help_is_to_be_left_out() -> None:
    with pytest.raises(UserError, match=r"Class 'Home' has 2 readable photos.*leave the class out\.$"):
        make_splits(*classes(20, 2), ("Games", "Home"), n_outer=2)


def test_near_duplicates_do_not_count_twice() -> None:
    labels, groups = classes(20, 12)
    groups[20:] = 20 + np.arange(12) // 4
    with pytest.raises(UserError, match=r"'Home' has 12 readable photos \(3 without near duplicates\): too few for 5"):
        make_splits(labels, groups, ("Games", "Home"))


def test_a_class_in_one_group_is_refused_however_many_photos_it_has() -> None:
    labels, groups = classes(30, 101)
    groups[30:130] = 30  # and one photo on its own
    with pytest.raises(UserError, match=r"'b' has 101 readable photos \(2 without near duplicates\)"):
        make_splits(labels, groups, ("a", "b"), n_outer=2, n_inner=2)


def test_many_photos_are_split_by_the_same_rules() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 40_000, 50_000)
    labels = (groups % 7 > 4).astype(np.int64) + (groups % 11 == 0)
    test = groups % 10 == 0
    splits = make_splits(labels, groups, ("a", "b", "c"), n_inner=10, seed=3, test=test)
    inner = splits.inner[0]
    assert (inner[test] == -1).all()
    rest = ~test
    assert len(np.unique(np.stack([groups[rest], inner[rest]]), axis=1).T) == len(np.unique(groups[rest]))
    _, first = np.unique(np.where(rest, groups, -1), return_index=True)
    for c in range(3):
        of_class = first[1:][labels[first[1:]] == c]
        assert np.bincount(inner[of_class], minlength=10) / len(of_class) == pytest.approx(np.full(10, 0.1), abs=0.002)
