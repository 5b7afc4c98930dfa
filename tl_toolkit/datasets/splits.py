"""Nested, stratified, grouped folds.

Invariants, each with a test of its own:

- every photo is scored in exactly one outer fold; with an official test set, exactly the photos of that;
- photos of one group are never on both sides of a split, outer or inner;
- the inner folds of an outer fold never hold a photo that this outer fold scores;
- every class is in the training part of every split;
- the folds depend on labels, groups and seed only.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tl_toolkit.core.errors import UserError
from tl_toolkit.core.records import Splits

_RESHUFFLES = 20

_MANY = 5000
"""Photos beyond which folds are stratified by the first photo of each group: ``StratifiedGroupKFold`` weighs every
group against every fold, half a millisecond each, and among so many no group is more than a speck."""


def make_splits(
    labels: np.ndarray,
    groups: np.ndarray,
    class_names: tuple[str, ...],
    *,
    n_outer: int = 5,
    n_inner: int = 5,
    seed: int = 0,
    test: np.ndarray | None = None,
) -> Splits:
    """Plan the folds.

    Args:
        labels: int64, shape (n,).
        groups: int64, shape (n,): near duplicates share a number.
        class_names: Names of the k classes, for messages.
        n_outer: Outer folds: they score.
        n_inner: Inner folds of each: they choose. Reduced, and said so, where a class is too small. 0 where nothing is
            chosen.
        seed: Of the shuffles.
        test: bool, shape (n,): an official test set, which takes the place of the outer folds. It may hold near
            duplicates of other photos: whoever made it drew the line there.

    Raises:
        UserError: a class has fewer distinct photos than outer folds, or than two inner folds would need; or none in
            the official test set or outside it.
    """
    if test is not None:
        return _official(labels, groups, class_names, test, n_inner, seed)
    if n_outer < 2 or n_inner == 1 or n_inner < 0:
        raise UserError(f"At least 2 folds are needed, got {n_outer} outer and {n_inner} inner ones.")
    distinct = np.array([len(np.unique(groups[labels == c])) for c in range(len(class_names))])
    photos = np.bincount(labels, minlength=len(class_names))
    smallest = int(distinct.argmin())
    # In the worst case one outer fold takes ceil(m / n_outer) of the m groups of a class away from the inner folds.
    left = int(distinct[smallest] - -(-distinct[smallest] // n_outer))
    if distinct[smallest] < n_outer or (left < 2 and n_inner):
        twins = "" if photos[smallest] == distinct[smallest] else f" ({distinct[smallest]} without near duplicates)"
        most = int(distinct[smallest])
        advice = f"ask for --folds {most}" if most >= (3 if n_inner else 2) else "leave the class out"
        raise UserError(
            f"Class {class_names[smallest]!r} has {photos[smallest]} readable photos{twins}: too few for {n_outer} "
            f"folds. Add photos of it, or {advice}."
        )
    notes = []
    if left < n_inner:
        notes.append(
            f"{left} inner folds instead of {n_inner}: class {class_names[smallest]!r} has only "
            f"{distinct[smallest]} distinct photos."
        )
        n_inner = left

    outer = _folds(labels, groups, n_outer, seed)
    inner = np.full((n_outer + 1, len(labels)), -1, np.int64)
    if not n_inner:
        return Splits(outer=outer, inner=inner, seed=seed)
    for fold in range(n_outer):
        rest = outer != fold
        inner[fold, rest] = _folds(labels[rest], groups[rest], n_inner, seed + fold + 1)
    inner[n_outer] = _folds(labels, groups, n_inner, seed + n_outer + 1)
    return Splits(outer=outer, inner=inner, seed=seed, notes=tuple(notes))


def _official(
    labels: np.ndarray, groups: np.ndarray, class_names: tuple[str, ...], test: np.ndarray, n_inner: int, seed: int
) -> Splits:
    """One outer fold, the test set; inner folds of the other photos."""
    rest = ~test
    notes: tuple[str, ...] = ()
    for part, where in ((rest, "outside"), (test, "in")):
        absent = [name for c, name in enumerate(class_names) if not (labels[part] == c).any()]
        if absent:
            raise UserError(f"No photo of the class {absent[0]!r} is {where} the official test set.")
    inner = np.full((1, len(labels)), -1, np.int64)
    if n_inner:
        distinct = [len(np.unique(groups[rest & (labels == c)])) for c in range(len(class_names))]
        least, name = min(distinct), class_names[int(np.argmin(distinct))]
        if least < 2:
            raise UserError(f"Class {name!r} has one distinct photo outside the official test set: add photos of it.")
        if least < n_inner:
            notes = (f"{least} inner folds instead of {n_inner}: class {name!r} has only {least} distinct photos.",)
            n_inner = least
        inner[0, rest] = _folds(labels[rest], groups[rest], n_inner, seed)
    return Splits(outer=np.where(test, 0, -1), inner=inner, seed=seed, notes=notes)


def _folds(labels: np.ndarray, groups: np.ndarray, n_folds: int, seed: int) -> np.ndarray:
    """Fold of each photo, int64, shape (n,), so that every class trains in every fold."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    classes = np.unique(labels)
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    for attempt in range(_RESHUFFLES):
        folds = np.empty(len(labels), np.int64)
        shuffle: dict[str, Any] = {"shuffle": True, "random_state": seed + 1000 * attempt}
        with warnings.catch_warnings():
            # It counts photos of the smallest class; what matters is checked below and in make_splits.
            warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
            if len(labels) > _MANY:
                of_group = np.empty(len(first), np.int64)
                for fold, (_, test) in enumerate(StratifiedKFold(n_folds, **shuffle).split(first, labels[first])):
                    of_group[test] = fold
                folds = of_group[group]
            else:
                splitter = StratifiedGroupKFold(n_folds, **shuffle)
                for fold, (_, test) in enumerate(splitter.split(labels, labels, groups)):
                    folds[test] = fold
        if all(np.isin(classes, labels[folds != fold]).all() for fold in range(n_folds)):
            return folds
    raise UserError(
        f"No {n_folds} folds keep every class in training: near duplicates tie its photos together. "
        "Ask for fewer folds with --folds, or add photos of the smallest class."
    )
