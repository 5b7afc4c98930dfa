"""The records that travel between rooms: frozen, keyword-only, validated where they are made.

Arrays are NumPy arrays and must not be written to. ``n`` is the number of images, ``k`` the number of classes,
``d`` the number of features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("constant", "cosine", "plateau")
FROZEN, FINE_TUNED = "frozen", "fine_tuned"
"""The two values of ``network`` that train on a backbone; any other is a network from scratch."""
NO_BACKBONE = "none"
CLASS_WEIGHTS = ("none", "balanced")
METRICS = ("accuracy", "macro_f1", "weighted_f1", "log_loss")
"""What a search may optimise. ``log_loss`` is minimised, the others are maximised."""


def _require(holds: bool, rule: str, **values: object) -> None:
    if not holds:
        raise ValueError(f"{rule} must hold, got {', '.join(f'{k}={v!r}' for k, v in values.items())}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Labelled photos on disk.

    Attributes:
        name: What reports call it.
        root: Folder that ``paths`` are relative to.
        paths: POSIX paths of the photos, length n.
        labels: int64, shape (n,), indices into ``class_names``.
        class_names: Names of the k classes, sorted.
        source: Where the photos come from, one sentence.
        licence: What is known of the photos' licence, one sentence.
        is_sample: True where the pictures were drawn by this package and stand in for real photos.
        notes: What a reader of the result must know about how this data set came about.
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

    def __post_init__(self) -> None:
        _require(self.labels.shape == (len(self.paths),), "one label a photo", labels=self.labels.shape)
        _require(len(self.class_names) >= 2, "at least two classes", class_names=self.class_names)
        in_range = self.labels.size > 0 and self.labels.min() >= 0 and self.labels.max() < len(self.class_names)
        _require(bool(in_range), "labels are indices of classes", n_classes=len(self.class_names))

    def __len__(self) -> int:
        return len(self.paths)

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

    Attributes:
        outer: int64, shape (n,): the outer fold in which each photo is scored, 0 .. n_outer - 1.
        inner: int64, shape (n_outer + 1, n): row f tells in which inner fold of outer fold f each photo validates,
            -1 for the photos that outer fold f scores. The last row is over all photos: it chooses the final model.
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
    def n_inner(self) -> int:
        return int(self.inner.max()) + 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureTable:
    """What a backbone says of each photo, in each of its views; view 0 is the clean photo.

    Attributes:
        features: float32, shape (n, views, d), average-pooled, not normalised.
        labels: int64, shape (n,).
    """

    features: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """Every hyperparameter of a trial, and nothing else.

    Attributes:
        network: What is trained: :data:`FROZEN`, a softmax head on features that a backbone gives; :data:`FINE_TUNED`,
            the backbone with its head; else the name of a network from scratch.
        backbone: Name of a backbone, or several joined by ``+``: their features are concatenated. ``none`` for a
            network from scratch.
        augmentation: Name of an augmentation policy.
        strength: Strength of the policy, 0..1; without effect for the policy ``none``.
        views: Views of each photo that training draws from, the clean one among them; 1 for the policy ``none``.
        optimizer: ``sgd``, ``adam`` or ``adamw``, each as Keras defines it.
        learning_rate: At the first step.
        momentum: Of SGD; 0 for the others.
        nesterov: Nesterov momentum, for SGD only.
        weight_decay: Decoupled, as in Keras: a step shrinks weights by learning_rate * weight_decay; 0 for ``adam``.
        schedule: ``constant``; ``cosine`` down to zero at the last step; or, of networks only, ``plateau``: divided by
            five where the training loss has not fallen for three epochs, as Keras' ``ReduceLROnPlateau``.
        label_smoothing: Share of the target spread evenly over all classes, 0..1.
        dropout: Share of pooled features set to zero at each step, 0..1. In a network from scratch the rate of its
            largest dropout; its others keep their proportion to it.
        activity_l2: Of networks only: L2 penalty on the activity of their dense layers (of the pooled features, where
            a backbone is fine-tuned).
        class_weight: ``none``, or ``balanced``: the loss of class c is weighted by n / (k * n_c).
        epochs: Passes over the photos; each pass sees one view of each.
        patience: Of networks only: stop where the training loss has not fallen for so many epochs, and keep the weights
            of the epoch at which it was lowest; 0 to train all epochs and keep the last.
        batch_size: Photos of a batch; of heads, before those outside the training rows are left out.
    """

    network: str = FROZEN
    backbone: str = "efficientnet_lite0"
    augmentation: str = "none"
    strength: float = 0.0
    views: int = 1
    optimizer: str = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: str = "constant"
    label_smoothing: float = 0.0
    dropout: float = 0.0
    activity_l2: float = 0.0
    class_weight: str = "none"
    epochs: int = 30
    patience: int = 0
    batch_size: int = 64

    def __post_init__(self) -> None:
        _require(self.optimizer in OPTIMIZERS, f"optimizer in {OPTIMIZERS}", optimizer=self.optimizer)
        _require(self.schedule in SCHEDULES, f"schedule in {SCHEDULES}", schedule=self.schedule)
        _require(
            self.class_weight in CLASS_WEIGHTS,
            f"class_weight in {CLASS_WEIGHTS}",
            class_weight=self.class_weight,
        )
        _require(self.learning_rate > 0, "learning_rate > 0", learning_rate=self.learning_rate)
        _require(0 <= self.momentum < 1, "0 <= momentum < 1", momentum=self.momentum)
        _require(self.weight_decay >= 0, "weight_decay >= 0", weight_decay=self.weight_decay)
        _require(0 <= self.strength <= 1, "0 <= strength <= 1", strength=self.strength)
        _require(0 <= self.label_smoothing < 1, "0 <= label_smoothing < 1", label_smoothing=self.label_smoothing)
        _require(0 <= self.dropout < 1, "0 <= dropout < 1", dropout=self.dropout)
        _require(self.views >= 1, "views >= 1", views=self.views)
        _require(self.activity_l2 >= 0, "activity_l2 >= 0", activity_l2=self.activity_l2)
        _require(self.patience >= 0, "patience >= 0", patience=self.patience)
        _require(self.epochs >= 1, "epochs >= 1", epochs=self.epochs)
        _require(self.batch_size >= 1, "batch_size >= 1", batch_size=self.batch_size)
        if self.network == FROZEN:
            _require(
                self.schedule != "plateau" and self.activity_l2 == 0 and self.patience == 0,
                "schedule plateau, activity_l2 and patience belong to networks",
                schedule=self.schedule,
                activity_l2=self.activity_l2,
                patience=self.patience,
            )
        _require(
            (self.backbone == NO_BACKBONE) == (self.network not in (FROZEN, FINE_TUNED)),
            f"backbone={NO_BACKBONE} for networks from scratch, and for them only,",
            network=self.network,
            backbone=self.backbone,
        )
        if self.optimizer != "sgd":
            _require(
                self.momentum == 0 and not self.nesterov,
                "momentum and nesterov belong to sgd",
                optimizer=self.optimizer,
                momentum=self.momentum,
                nesterov=self.nesterov,
            )
        if self.optimizer == "adam":
            _require(self.weight_decay == 0, "adam has no weight_decay (adamw has)", weight_decay=self.weight_decay)
        if self.augmentation == "none":
            _require(
                self.views == 1 and self.strength == 0,
                "augmentation none has views=1 and strength=0",
                views=self.views,
                strength=self.strength,
            )


ParameterKind = Literal["float", "int", "categorical"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One dimension of a search space; its name is a field of :class:`TrainingConfig`.

    Attributes:
        low, high: Bounds of a float or int, both inclusive.
        log: Sample on a logarithmic scale.
        step: Grid step of a float or int, from ``low``.
        choices: Values of a categorical.
        when: field -> values of that field for which this parameter exists. Otherwise the field keeps its default.
    """

    name: str
    kind: ParameterKind
    low: float | None = None
    high: float | None = None
    log: bool = False
    step: float | None = None
    choices: tuple[Any, ...] = ()
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether the parameter exists, given the values of the fields that it depends on."""
        return all(values.get(name) in allowed for name, allowed in self.when.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """Successive halving on epochs: trials are looked at on their way, and only the best go on.

    Jamieson and Talwalkar 2016, "Non-stochastic best arm identification", arXiv:1502.07943.

    Attributes:
        first: Epochs after which all trials are looked at.
        factor: At each look, one in ``factor`` goes on, for ``factor`` times as many epochs.
    """

    first: int
    factor: int = 3

    def __post_init__(self) -> None:
        _require(self.first >= 1, "first >= 1", first=self.first)
        _require(self.factor >= 2, "factor >= 2", factor=self.factor)

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """Epochs at which a training of ``epochs`` is looked at, rising; the last is ``epochs``."""
        rungs = []
        rung = self.first
        while rung < epochs:
            rungs.append(rung)
            rung *= self.factor
        return (*rungs, epochs)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """What a search may try.

    Attributes:
        name: File name without suffix.
        parameters: In an order in which every parameter comes after those it depends on.
        fixed: field -> value that all trials share.
        reference: The settings that every search is compared with.
        metric: One of :data:`METRICS`.
        trials: Trials of one search, where the command line does not say.
        scored_folds: Inner folds that a trial is scored on, the first ones; None for all of them. Fewer are for
            networks, whose trainings take minutes.
        pruning: How trials that do badly are cut short; None to train all of them to their end.
        sha256: Of the file, so that a result can tell which space it came from.
    """

    name: str
    parameters: tuple[Parameter, ...]
    fixed: Mapping[str, Any]
    reference: TrainingConfig
    metric: str
    trials: int
    sha256: str
    scored_folds: int | None = None
    pruning: Pruning | None = None

    @property
    def direction(self) -> str:
        return "minimize" if self.metric == "log_loss" else "maximize"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Settings that an engine wants scored, in one of its studies.

    Attributes:
        until: Epochs after which to look at the training, whose course stays that of ``config.epochs``; None: at its
            end.
    """

    study: str
    config: TrainingConfig
    until: int | None = None


TrialState = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One configuration, cross-validated on the inner folds of one search.

    Attributes:
        study: ``outer-0`` .. for the searches inside outer folds, ``final`` for the one over all photos.
        number: Within its study, from 0; trial 0 is the reference, where it is enqueued.
        score: The metric on the pooled predictions of all inner folds; None where the trial failed. Of a pruned trial,
            that at its last look.
        fold_scores: The metric on each inner fold.
        trained_epochs: Epochs that it was trained for, fewer than ``config.epochs`` where it was pruned.
        seconds: Its share of the time of the batch in which it was trained.
        error: Why it failed.
    """

    study: str
    number: int
    config: TrainingConfig
    score: float | None
    fold_scores: tuple[float, ...]
    seconds: float
    trained_epochs: int
    state: TrialState = "complete"
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Every trial of every study, and how the searches ended.

    Attributes:
        stopped: ``finished``; ``exhausted``, where the engine found no settings that it had not tried; ``timeout``; or
            ``interrupted``.
        seconds: Wall time of asking, training and telling, features excluded.
    """

    trials: tuple[Trial, ...]
    metric: str
    stopped: str
    seconds: float

    def winner(self, study: str) -> Trial:
        """The best trial of ``study``; ties go to the earlier one."""
        return self.best(study, 1)[0]

    def best(self, study: str, count: int) -> tuple[Trial, ...]:
        """The ``count`` best trials of ``study`` (all that were scored, where they are fewer), its winner first."""
        sign = -1 if self.metric == "log_loss" else 1
        scored = [
            (sign * t.score, -t.number, t)
            for t in self.trials
            if t.study == study and t.state == "complete" and t.score is not None
        ]
        return tuple(t for _, _, t in sorted(scored, key=lambda entry: entry[:2], reverse=True)[:count])


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
    """A model file that works without this package.

    Attributes:
        path: Relative to the run folder.
        format: Name of the exporter.
        sha256: Of the file.
        size: Bytes.
        max_difference: Largest difference of a probability to the pipeline's, over the photos checked.
        checked: Number of photos on which the file was checked after loading it again.
    """

    path: str
    format: str
    sha256: str
    size: int
    max_difference: float
    checked: int
