"""The records that travel between rooms: frozen, keyword-only, validated where they are made.

Arrays are NumPy arrays and must not be written to. ``n`` is the number of images, ``k`` the number of classes,
``d`` the number of features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.core.settings import require


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Labelled photos, as files or as arrays.

    Attributes:
        name: What reports call it.
        root: Folder that ``paths`` are relative to; of arrays, the folder that they were read from.
        paths: POSIX paths of the photos, length n; of arrays, names that look like them.
        labels: int64, shape (n,), indices into ``class_names``.
        class_names: Names of the k classes, sorted.
        source: Where the photos come from, one sentence.
        licence: What is known of the photos' licence, one sentence.
        is_sample: True where the pictures were drawn by this package and stand in for real photos.
        notes: What a reader of the result must know about how this data set came about.
        pixels: uint8 RGB, shape (n, height, width, 3): the photos where they are arrays; None where they are files.
        test: bool, shape (n,): the photos of the official test set; None where there is none.
    """

    name: str
    root: Path
    paths: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    source: str
    licence: str
    is_sample: bool = False
    notes: tuple[str, ...] = ()
    pixels: np.ndarray | None = None
    test: np.ndarray | None = None

    def __post_init__(self) -> None:
        require(self.labels.shape == (len(self.paths),), "one label a photo", labels=self.labels.shape)
        if self.pixels is not None:
            require(len(self.pixels) == len(self.paths), "one name a photo", pixels=self.pixels.shape)
        if self.test is not None:
            both = self.test.shape == self.labels.shape and 0 < self.test.sum() < len(self.test)
            require(bool(both), "some photos in the test set and some outside", test=self.test.shape)
        require(len(self.class_names) >= 2, "at least two classes", class_names=self.class_names)
        in_range = self.labels.size > 0 and self.labels.min() >= 0 and self.labels.max() < len(self.class_names)
        require(bool(in_range), "labels are indices of classes", n_classes=len(self.class_names))

    def __len__(self) -> int:
        return len(self.paths)

    def select(self, indices: np.ndarray) -> Dataset:
        """The photos at ``indices``, int64, as a data set of their own; a test set only where it is not all of it."""
        if len(indices) == len(self) and (np.diff(indices) == 1).all():
            return self
        test = None if self.test is None else self.test[indices]
        return replace(
            self,
            paths=tuple(self.paths[i] for i in indices),
            labels=self.labels[indices],
            pixels=None if self.pixels is None else self.pixels[indices],
            test=None if test is None or test.all() or not test.any() else test,
        )

    @property
    def counts(self) -> np.ndarray:
        """int64, shape (k,): photos of each class."""
        return np.bincount(self.labels, minlength=len(self.class_names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A file that could not be read as a photo; it takes no part in anything, and is never deleted."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Audit:
    """What was found out about the photos of a data set, before any training.

    Attributes:
        paths: The photos that could be read, length n.
        sha256: Hexadecimal digest of each file's bytes, length n.
        widths, heights: int64, shape (n,), pixels, after EXIF orientation.
        groups: int64, shape (n,): photos with the same number are duplicates or near duplicates of one another.
        exact: Groups of identical files, as indices.
        near: Groups of near duplicates (which may hold identical files, too), as indices.
        conflicts: The groups of ``exact`` and ``near`` whose photos carry different labels.
        quarantined: The files that could not be read.
        fingerprint: SHA-256 over all photos' digests and labels: the identity of the data.
    """

    paths: tuple[str, ...]
    sha256: tuple[str, ...]
    widths: np.ndarray
    heights: np.ndarray
    groups: np.ndarray
    exact: tuple[tuple[int, ...], ...]
    near: tuple[tuple[int, ...], ...]
    conflicts: tuple[tuple[int, ...], ...]
    quarantined: tuple[Quarantined, ...]
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Splits:
    """Nested, stratified, grouped folds: the one plan that all trials share.

    Where there is an official test set, it is the only outer fold, and one search over the other photos chooses the
    final model, which is the one that is scored.

    Attributes:
        outer: int64, shape (n,): the outer fold in which each photo is scored, 0 .. n_outer - 1; with an official test
            set 0 for its photos, and -1 for the others.
        inner: int64, shape (n_outer + 1, n): row f tells in which inner fold of outer fold f each photo validates,
            -1 for the photos that outer fold f scores. The last row is over all photos: it chooses the final model.
            With an official test set there is but one row, with -1 for its photos.
        seed: What shuffled them.
        notes: Reductions of the plan that the data forced.
    """

    outer: np.ndarray
    inner: np.ndarray
    seed: int
    notes: tuple[str, ...] = ()

    @property
    def n_outer(self) -> int:
        return int(self.outer.max()) + 1

    @property
    def official(self) -> bool:
        """Whether the scored photos are an official test set."""
        return len(self.inner) == 1

    @property
    def scored(self) -> np.ndarray:
        """bool, shape (n,): the photos that are scored."""
        return self.outer >= 0

    @property
    def final(self) -> np.ndarray:
        """bool, shape (n,): the photos that the final model is trained on."""
        return ~self.scored if self.official else np.ones_like(self.scored)

    @property
    def n_inner(self) -> int:
        return int(self.inner.max()) + 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureTable:
    """What a backbone says of each photo, in each of its views; view 0 is the clean photo.

    Attributes:
        features: float32, shape (n, views, d), average-pooled, not normalised.
        labels: int64, shape (n,).
        tensor: ``features`` as a tf.Tensor in the same memory; None: TensorFlow copies them for each program.
    """

    features: np.ndarray
    labels: np.ndarray
    tensor: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """Predictions for photos that took no part in choosing or training what predicted them.

    Attributes:
        title: What was evaluated, for readers.
        labels: int64, shape (n,).
        probabilities: float32, shape (n, k).
        metrics: name -> figure over all photos.
        per_class: class name -> metric (precision, recall, f1) -> figure.
        support: class name -> photos.
        confusion: int64, shape (k, k); rows are true classes, columns predictions.
        fold_metrics: name -> figure in each outer fold.
    """

    title: str
    labels: np.ndarray
    probabilities: np.ndarray
    metrics: Mapping[str, Interval]
    per_class: Mapping[str, Mapping[str, Interval]]
    support: Mapping[str, int]
    confusion: np.ndarray
    fold_metrics: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A paired test of two evaluations of the same photos.

    Attributes:
        better, worse: Photos that only the first / only the second classified rightly.
        p_value: Two-sided exact McNemar test.
        differences: metric -> first minus second, with a bootstrap interval over near-duplicate groups.
    """

    first: str
    second: str
    better: int
    worse: int
    p_value: float
    differences: Mapping[str, Interval]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedModel:
    """A model file, or a folder of files, that works without this package.

    Attributes:
        path: Relative to the folder ``model`` of the run.
        format: Name of the exporter.
        sha256: Of the file; of several, over their digests in the order of their paths. None where it failed.
        size: Bytes.
        max_difference: Largest difference of a probability to the pipeline's, over the photos checked.
        agreement: Share of these photos that are given the class that the pipeline gives them.
        accuracy_loss: Share of these photos that the pipeline tells right, less the share that the file tells right; a
            difference alone, for the model may have been trained on them.
        checked: Number of photos on which the file was checked, in its own runtime and a fresh process.
        milliseconds: Median time of one photo at a time, decoded already, on all cores.
        error: Why it failed; None where it passed.
    """

    path: str
    format: str
    sha256: str | None = None
    size: int | None = None
    max_difference: float | None = None
    agreement: float | None = None
    accuracy_loss: float | None = None
    checked: int | None = None
    milliseconds: float | None = None
    error: str | None = None
