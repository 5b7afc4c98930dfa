"""What a search may try, what it proposes, how that is scored, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from tl_toolkit.core.settings import TrainingConfig, require

METRICS = ("accuracy", "macro_f1", "weighted_f1", "log_loss")
"""What a search may optimise. ``log_loss`` is minimised, the others are maximised."""

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
        require(self.first >= 1, "first >= 1", first=self.first)
        require(self.factor >= 2, "factor >= 2", factor=self.factor)

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
        score: The metric on the pooled predictions of all inner folds; None where the trial failed or was cut. Of a
            pruned trial, that at its last look.
        state: ``cut`` is the reference where time was up before a trial of its study was complete: it stands in.
        fold_scores: The metric on each inner fold.
        trained_epochs: Epochs at which it was looked at last, fewer than ``config.epochs`` where it was pruned, none
            where it was cut; its own patience may have ended it before.
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
    state: TrialState | Literal["cut"] = "complete"
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

    @property
    def seen(self) -> tuple[Trial, ...]:
        """The trials that were looked at."""
        return tuple(trial for trial in self.trials if trial.state != "cut")

    def winner(self, study: str) -> Trial:
        """The best trial of ``study``; ties go to the earlier one."""
        return self.best(study, 1)[0]

    def best(self, study: str, count: int) -> tuple[Trial, ...]:
        """The ``count`` best trials of ``study`` (all that were scored, where they are fewer), its winner first.

        Where time was up before one was complete, the reference.
        """
        sign = -1 if self.metric == "log_loss" else 1
        scored = [
            (sign * t.score, -t.number, t)
            for t in self.trials
            if t.study == study and t.state == "complete" and t.score is not None
        ]
        if not scored:
            return tuple(trial for trial in self.trials if trial.study == study and trial.state == "cut")
        return tuple(t for _, _, t in sorted(scored, key=lambda entry: entry[:2], reverse=True)[:count])


class Job(Protocol):
    """What to train on (bool, shape (n,)), what to predict (likewise), with which settings, and after which epoch."""

    @property
    def config(self) -> TrainingConfig: ...
    @property
    def train(self) -> np.ndarray: ...
    @property
    def test(self) -> np.ndarray: ...
    @property
    def until(self) -> int | None: ...
