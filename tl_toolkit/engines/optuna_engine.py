"""Optuna: tree-structured Parzen estimators, asked and told in batches.

The journal opens in ``optuna-dashboard``. Where the space prunes, it has every look at a trial as an intermediate
value; the estimators rank pruned trials below complete ones, by the epochs they came to, then by their value there.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tl_toolkit.core.searches import SearchSpace, TrialState
from tl_toolkit.engines.engine import Engine
from tl_toolkit.engines.study import Asked, Look, Study, random_trials, reference_values


class _OptunaStudy:
    def __init__(self, space: SearchSpace, study: Any) -> None:
        self.space, self.study = space, study
        self.trials: list[Any] = []
        self.scores: dict[int, float] = {}

    def ask(self) -> Asked | None:
        if len(self.trials) == self.space.trials:
            return None
        trial = self.study.ask()
        self.trials.append(trial)
        # What the space cannot propose of the reference is trained all the same; the sampler learns what it can.
        return Asked(number=trial.number, values=suggest(self.space, trial))

    def look(self, number: int, look: Look) -> None:
        trial, self.scores[number] = self.trials[number], look.score
        trial.set_user_attr("fold_scores", [value if math.isfinite(value) else None for value in look.fold_scores])
        trial.set_user_attr("config", asdict(look.config))
        if self.space.pruning:
            trial.report(look.score, step=look.epochs)

    def end(self, number: int, state: TrialState, error: str | None = None) -> None:
        from optuna.trial import TrialState as Told

        trial = self.trials[number]
        if error:
            trial.set_user_attr("error", error)
        told = {"complete": Told.COMPLETE, "pruned": Told.PRUNED, "failed": Told.FAIL}[state]
        # The value of a pruned trial is the last one reported.
        self.study.tell(trial, self.scores[number] if state == "complete" else None, state=told)

    def drop(self, number: int) -> None:
        self.end(number, "failed", "not trained")


def _open_studies(
    space: SearchSpace, names: Sequence[str], *, batch: int, seed: int, storage: Path, reference: bool
) -> dict[str, Study]:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("optuna").propagate = False
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    journal = JournalStorage(JournalFileBackend(str(storage)))
    opened: dict[str, Study] = {}
    for index, name in enumerate(names):
        sampler = optuna.samplers.TPESampler(
            seed=seed + index,
            multivariate=True,
            group=True,
            constant_liar=True,
            n_startup_trials=random_trials(space, batch),
        )
        study = optuna.create_study(study_name=name, storage=journal, sampler=sampler, direction=space.direction)
        study.set_metric_names([space.metric])
        study.set_user_attr("space", space.name)
        if reference:
            study.enqueue_trial(reference_values(space), user_attrs={"reference": True})
        opened[name] = _OptunaStudy(space, study)
    return opened


search = Engine(_open_studies)


def suggest(space: SearchSpace, trial: Any) -> dict[str, Any]:
    """Values for the parameters that exist under the values drawn before them."""
    values: dict[str, Any] = dict(space.fixed)
    drawn: dict[str, Any] = {}
    for parameter in space.parameters:
        if not parameter.applies(values):
            continue
        if parameter.kind == "categorical":
            value = trial.suggest_categorical(parameter.name, list(parameter.choices))
        elif parameter.kind == "int":
            step = int(parameter.step or 1)
            value = trial.suggest_int(parameter.name, parameter.low, parameter.high, log=parameter.log, step=step)
        else:
            value = trial.suggest_float(
                parameter.name, parameter.low, parameter.high, log=parameter.log, step=parameter.step
            )
        values[parameter.name] = drawn[parameter.name] = value
    return drawn
