"""Optuna: tree-structured Parzen estimators, asked and told in batches.

Several studies advance in step: each is asked for a batch, all batches are trained together (trials that share
features share a matrix product, whichever study they belong to), and each study is told its own scores. A study
learns of nothing but its own trials.
"""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tl_toolkit.core.errors import UserError
from tl_toolkit.core.records import Parameter, Proposal, SearchResult, SearchSpace, TrainingConfig, Trial

Objective = Callable[[Sequence[Proposal]], Iterable[tuple[int, float, tuple[float, ...]]]]
"""Proposals -> (position, score, scores of the inner folds) as they are done."""


def search(
    space: SearchSpace,
    studies: Sequence[str],
    objective: Objective,
    configure: Callable[[Mapping[str, Any]], TrainingConfig],
    *,
    batch: int,
    seed: int,
    deadline: float,
    storage: Path,
    advance: Callable[[int], None] = lambda _: None,
) -> SearchResult:
    """Run every study to its end, to the deadline, or to Ctrl-C.

    The first batch is the reference alone, so that every study has a score to show however early it is stopped.

    Args:
        space: Parameters, metric, number of trials, and the reference, which is trial 0 of every study.
        studies: Names; their searches are independent of one another.
        objective: Trains and scores a batch of trials.
        configure: Values of a trial's parameters -> its settings.
        batch: Most trials of each study that are asked for before any of them is told.
        seed: Of the samplers; study i uses seed + i.
        deadline: On the clock of ``time.monotonic``. The batch under way at that time is cut off between trials.
        storage: A file for Optuna's journal, which ``optuna-dashboard`` opens.
        advance: Called with the number of trials told.

    Raises:
        KeyboardInterrupt: Ctrl-C before every study has a score.
        UserError: no trial of a study could be scored.
    """
    from optuna.trial import TrialState

    opened = _open(space, studies, batch, seed, storage)
    done: list[Trial] = []
    pending: dict[int, tuple[str, Any, TrainingConfig]] = {}
    stopped = "finished"
    started = time.monotonic()
    first = 0
    try:
        while first < space.trials and stopped == "finished":
            after = min(first + batch, space.trials) if first else 1
            asked = [(name, study.ask()) for name, study in opened.items() for _ in range(first, after)]
            # What the space cannot propose of the reference is trained all the same; the sampler learns what it can.
            values = [suggest(space, trial) for _, trial in asked]
            configs = [configure(one) if first else space.reference for one in values]
            pending = {i: (*pair, config) for i, (pair, config) in enumerate(zip(asked, configs, strict=True))}
            begun = time.monotonic()
            for i, score, fold_scores in objective(
                [Proposal(study=name, config=config) for name, _, config in pending.values()]
            ):
                seconds, begun = time.monotonic() - begun, time.monotonic()
                name, trial, config = pending[i]
                trial.set_user_attr("fold_scores", [value if math.isfinite(value) else None for value in fold_scores])
                trial.set_user_attr("config", asdict(config))
                failed = not math.isfinite(score)
                opened[name].tell(trial, None if failed else score, state=TrialState.FAIL if failed else None)
                done.append(
                    Trial(
                        study=name,
                        number=trial.number,
                        config=config,
                        score=None if failed else score,
                        fold_scores=() if failed else fold_scores,
                        seconds=seconds,
                        trained_epochs=config.epochs,
                        state="failed" if failed else "complete",
                        error="training diverged: probabilities are not finite" if failed else None,
                    )
                )
                del pending[i]
                advance(1)
                if first and time.monotonic() >= deadline:
                    stopped = "timeout"
                    break
            first = after
            if first < space.trials and time.monotonic() >= deadline:
                stopped = "timeout"
    except KeyboardInterrupt:
        if {trial.study for trial in done} < set(studies):
            raise
        stopped = "interrupted"
    finally:
        # Asked, but not trained: they are no trials, and a dashboard should not show them as running.
        for name, trial, _ in pending.values():
            opened[name].tell(trial, state=TrialState.FAIL, skip_if_finished=True)

    found = SearchResult(
        trials=tuple(sorted(done, key=lambda t: (studies.index(t.study), t.number))),
        metric=space.metric,
        stopped=stopped,
        seconds=time.monotonic() - started,
    )
    for name in studies:
        if not found.best(name, 1):
            raise UserError(
                f"Every trial of the search {name} diverged: lower the learning rates in the space {space.name}."
            )
    return found


def _open(space: SearchSpace, studies: Sequence[str], batch: int, seed: int, storage: Path) -> dict[str, Any]:
    """One Optuna study for each name, with the reference as its first trial."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("optuna").propagate = False
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    journal = JournalStorage(JournalFileBackend(str(storage)))
    opened = {}
    # Half of the trials are drawn at random: scores on few photos are noisy, and the best of a search that closed in
    # early would be copies of one another, whose average gains nothing.
    random_trials = max(batch, space.trials // 2)
    for index, name in enumerate(studies):
        sampler = optuna.samplers.TPESampler(
            seed=seed + index, multivariate=True, group=True, constant_liar=True, n_startup_trials=random_trials
        )
        study = optuna.create_study(study_name=name, storage=journal, sampler=sampler, direction=space.direction)
        study.set_metric_names([space.metric])
        study.set_user_attr("space", space.name)
        study.enqueue_trial(reference_values(space), user_attrs={"reference": True})
        opened[name] = study
    return opened


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


def reference_values(space: SearchSpace) -> dict[str, Any]:
    """The reference as values of the space's parameters, as far as the space can propose them."""
    config = asdict(space.reference)
    values = {**space.fixed, **config}
    return {p.name: config[p.name] for p in space.parameters if p.applies(values) and _can_be(p, config[p.name])}


def _can_be(parameter: Parameter, value: Any) -> bool:
    if parameter.low is None or parameter.high is None:
        return value in parameter.choices
    return parameter.low <= value <= parameter.high
