"""What an engine gives to be driven: studies that are asked for settings and told what was seen of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

from tl_toolkit.core.searches import Parameter, SearchSpace, TrialState
from tl_toolkit.core.settings import TrainingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a study wants trained.

    Attributes:
        number: Of the trial within its study, from 0. One that was asked before goes on.
        values: Of the parameters that exist; of trial 0, which may be the reference, as far as the space has them.
        share: Share of the trial's epochs after which to look at it, where the study itself decides on epochs.
    """

    number: int
    values: Mapping[str, Any]
    share: Fraction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen of a trial after some epochs.

    Attributes:
        score: Of all inner folds together; finite.
        fold_scores: Of each inner fold.
    """

    config: TrainingConfig
    epochs: int
    score: float
    fold_scores: tuple[float, ...]


class Study(Protocol):
    """One search of an engine."""

    def ask(self) -> Asked | None:
        """What to train next; None where there is nothing, or nothing before what is under way is told."""

    def look(self, number: int, look: Look) -> None:
        """Learn what was seen of a trial that has not failed."""

    def end(self, number: int, state: TrialState, error: str | None = None) -> None:
        """Learn that a trial is trained no further: ``complete`` and ``pruned`` after a look, ``failed`` without."""

    def drop(self, number: int) -> None:
        """Learn that a trial was never trained."""


class OpenStudies(Protocol):
    """What an engine is: it opens studies."""

    def __call__(
        self, space: SearchSpace, names: Sequence[str], *, batch: int, seed: int, storage: Path, reference: bool
    ) -> dict[str, Study]:
        """A study for each name, of ``space.trials`` trials; trial 0 is the reference, if ``reference``."""


def random_trials(space: SearchSpace, batch: int) -> int:
    """Trials that an engine which models scores draws at random before.

    Half of them: scores on few photos are noisy, and the best of a search that closed in early would be copies of one
    another, whose average gains nothing.
    """
    return max(batch, space.trials // 2)


def reference_values(space: SearchSpace) -> dict[str, Any]:
    """The reference as values of the space's parameters, as far as the space can propose them."""
    config = asdict(space.reference)
    values = {**space.fixed, **config}
    return {p.name: config[p.name] for p in space.parameters if p.applies(values) and _can_be(p, config[p.name])}


def _can_be(parameter: Parameter, value: Any) -> bool:
    if parameter.low is None or parameter.high is None:
        return value in parameter.choices
    return parameter.low <= value <= parameter.high
