"""Optuna: tree-structured Parzen estimators, asked and told in batches.

Several studies advance in step: each is asked for a batch, all batches are trained together (trials that share
features share a matrix product, whichever study they belong to), and each study is told its own scores. A study
learns of nothing but its own trials.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tl_toolkit.core.records import SearchResult, SearchSpace, TrainingConfig, Trial

Objective = Callable[[Sequence[tuple[str, TrainingConfig]]], Sequence[tuple[float, tuple[float, ...]]]]
"""(study, configuration) of each trial -> (score, scores of the inner folds) of each."""


def search(
    space: SearchSpace,
    studies: Sequence[str],
    objective: Objective,
    configure: Callable[[Mapping[str, Any]], TrainingConfig],
    *,
    trials: int,
    batch: int,
    seed: int,
    deadline: float,
    storage: Path,
    advance: Callable[[int], None] = lambda _: None,
) -> SearchResult:
    """Run every study to its end, to the deadline, or to Ctrl-C.

    Args:
        space: Parameters, metric and the reference, which is trial 0 of every study.
        studies: Names; their searches are independent of one another.
        objective: Trains and scores a batch of trials.
        configure: Values of a trial's parameters -> its configuration.
        trials: Of each study.
        batch: Trials of each study that are asked for before any of them is told.
        seed: Of the samplers; study i uses seed + i.
        deadline: On the clock of ``time.monotonic``; no batch starts after it, but for the first.
        storage: A file for Optuna's journal, which ``optuna-dashboard`` opens.
        advance: Called with the number of trials told.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("optuna").propagate = False
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    journal = JournalStorage(JournalFileBackend(str(storage)))
    opened = {}
    for index, name in enumerate(studies):
        sampler = optuna.samplers.TPESampler(
            seed=seed + index, multivariate=True, group=True, constant_liar=True, n_startup_trials=batch
        )
        opened[name] = optuna.create_study(
            study_name=name, storage=journal, sampler=sampler, direction=space.direction, load_if_exists=False
        )
        opened[name].set_metric_names([space.metric])
        opened[name].set_user_attr("space", space.name)
        opened[name].enqueue_trial(reference_values(space), user_attrs={"reference": True}, skip_if_exists=True)

    done: list[Trial] = []
    stopped = "finished"
    started = time.monotonic()
    pending: list[tuple[str, Any, TrainingConfig]] = []
    try:
        for first in range(0, trials, batch):
            if first and time.monotonic() >= deadline:
                stopped = "timeout"
                break
            pending = []
            for name, study in opened.items():
                for number in range(first, min(first + batch, trials)):
                    trial = study.ask()
                    config = configure(suggest(space, trial))
                    if number == 0 and config != space.reference:
                        # What the space cannot propose is trained all the same; the sampler learns what it can.
                        config = space.reference
                    pending.append((name, trial, config))
            begun = time.monotonic()
            scores = objective([(name, config) for name, _, config in pending])
            share = (time.monotonic() - begun) / len(pending)
            for (name, trial, config), (score, fold_scores) in zip(pending, scores, strict=True):
                trial.set_user_attr("fold_scores", list(fold_scores))
                trial.set_user_attr("config", asdict(config))
                opened[name].tell(trial, score)
                done.append(
                    Trial(
                        study=name,
                        number=trial.number,
                        config=config,
                        score=score,
                        fold_scores=tuple(fold_scores),
                        seconds=share,
                    )
                )
            pending = []
            advance(len(scores))
    except KeyboardInterrupt:
        if not done:
            raise
        stopped = "interrupted"
        # Asked, but not trained: they are no trials, and a dashboard should not show them as running.
        told = {(trial.study, trial.number) for trial in done}
        for name, trial, _ in pending:
            if (name, trial.number) not in told:
                opened[name].tell(trial, state=optuna.trial.TrialState.FAIL)

    sign = -1 if space.direction == "minimize" else 1
    winners = {
        name: max((t for t in done if t.study == name), key=lambda t: (sign * (t.score or 0.0), -t.number)).number
        for name in studies
    }
    return SearchResult(
        trials=tuple(done),
        metric=space.metric,
        stopped=stopped,
        seconds=time.monotonic() - started,
        winners=winners,
    )


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
            assert parameter.low is not None
            assert parameter.high is not None
            step = int(parameter.step or 1)
            value = trial.suggest_int(
                parameter.name, int(parameter.low), int(parameter.high), log=parameter.log, step=step
            )
        else:
            assert parameter.low is not None
            assert parameter.high is not None
            value = trial.suggest_float(
                parameter.name, parameter.low, parameter.high, log=parameter.log, step=parameter.step
            )
        values[parameter.name] = drawn[parameter.name] = value
    return drawn


def reference_values(space: SearchSpace) -> dict[str, Any]:
    """The reference as values of the space's parameters, as far as the space has them."""
    config = asdict(space.reference)
    values = dict(space.fixed)
    found: dict[str, Any] = {}
    for parameter in space.parameters:
        values[parameter.name] = config[parameter.name]
        if parameter.applies(values):
            found[parameter.name] = config[parameter.name]
    return found
