"""KerasTuner: its oracles (Gaussian processes, Hyperband, random search), asked and told in batches.

Everything a study asked and was told is beside ``storage``, in the folder ``<its stem>.keras-tuner/<study>``:
``oracle.json``, and for each look of Hyperband, else each trial, ``trial_<id>/trial.json``, which
``keras_tuner.engine.trial.Trial.load`` reads. The reference is the trial ``reference``, where the space can propose
every one of its values; where it cannot, the oracle is not told of it.

A trial of Hyperband here is one setting, however often it is looked at: the oracle's own numbers count looks, and its
epochs are shares of the trial's. Exactly ``trials`` settings are proposed, the reference among them. Brackets are as
deep as lets one whole round of them fit into these; one that the rest cannot fill is left out for a smaller one, down
to settings that are trained whole at once. The space's ``pruning`` gives the least epochs of a first look and the
factor, else 1 and 3. What the oracle does not send on before the search ends is pruned.

Traps of KerasTuner 1.4.8, and what is done about them:

- ``Tuner.run_trial`` needs ``tensorboard``, which nothing declares, and whatever a training raises becomes a "failed
  trial". Only oracles are used, which train nothing: what an objective raises is raised.
- A search ends with an exception after three failures in a row. Here the limit is out of reach: diverged trials are
  told as failed, and the search goes on.
- The seed 0 means a random one, and neighbouring seeds give shifted copies of one stream of numbers: study i + 1 would
  repeat what study i tried. Every study has a seed from ``numpy.random.SeedSequence``, never 0.
- A trial's score is the best of all its steps, as if a training could be undone. Only its last look is told.
- The state is saved before an ended trial is struck off those under way. It is saved again.
- A trial that Hyperband sends on is labelled with the bracket begun last (``tuner/bracket``), not its own. The label is
  not used.
- Pruned trials are unknown to it: they are told as complete, with their score at their last look.
- The Gaussian process begins after three random trials for each parameter, which is later than most searches end. It
  begins where Optuna's estimators do (:func:`~tl_toolkit.engines.study.random_trials`).
- Settings drawn before are drawn again, up to 20 times in a row; then the space counts as exhausted, and the search has
  fewer trials than asked for. The Gaussian process repeats settings without a check, as Optuna does.
- ``conditional_scope`` cannot open inside another where its parent is not conditional in the same way. Parameters are
  made with their list of conditions instead, which must all hold; a parent that does not exist holds no condition.
- Parameters whose condition fails must have no value; the Gaussian process sees them at their lowest or first one.
- A choice of booleans becomes one of 0 and 1: values are looked up among the parameter's own choices.
- Steps of a float are counted in binary: 0.3 // 0.1 is 2, so the highest value is lost. Such a float is a choice here.
- An integer on a logarithmic scale can come out one above its range, and a float a rounding error above: both are cut.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from tl_toolkit.core.runtime import keras
from tl_toolkit.core.searches import Parameter, Pruning, SearchSpace, TrialState
from tl_toolkit.engines.configuring import most_epochs
from tl_toolkit.engines.engine import Engine
from tl_toolkit.engines.study import Asked, Look, Study, random_trials, reference_values

REFERENCE = "reference"
"""KerasTuner's id of the trial that is the reference; its others are numbers."""


class _OracleStudy:
    """A study whose oracle proposes settings and leaves epochs to others.

    Attributes:
        asked: Numbers given so far.
        trials: KerasTuner's trials that are under way, by number.
    """

    def __init__(self, space: SearchSpace, oracle: Any, *, reference: bool) -> None:
        self.space, self.oracle, self.reference = space, oracle, reference
        self.asked = 0
        self.trials: dict[int, Any] = {}
        self.looks: dict[int, Look] = {}

    def ask(self) -> Asked | None:
        if self.reference and self.asked == 0:
            if trial := _reference_trial(self.space, self.oracle):
                self.trials[0] = trial
            self.asked = 1
            return Asked(number=0, values=reference_values(self.space))
        return self.next()

    def next(self) -> Asked | None:
        """Settings that the oracle proposes."""
        if self.asked == self.space.trials or (trial := self.created()) is None:
            return None
        self.trials[self.asked] = trial
        self.asked += 1
        return Asked(number=self.asked - 1, values=values_of(self.space, trial.hyperparameters.values))

    def created(self) -> Any | None:
        """The oracle's next trial; None where it has none, or none before what is under way is told."""
        # On matrices this small, threads wait for one another most of the time.
        with warnings.catch_warnings(action="ignore"), threadpool_limits(1):
            # Each trial has an asker of its own: a known one would be given its trial again.
            trial = self.oracle.create_trial(f"asker-{len(self.oracle.trials)}")
        return trial if trial.status == "RUNNING" else None

    def look(self, number: int, look: Look) -> None:
        self.looks[number] = look

    def end(self, number: int, state: TrialState, error: str | None = None) -> None:
        trial = self.trials.pop(number, None)
        if trial is None:
            return
        with warnings.catch_warnings(action="ignore"):
            if state != "failed":
                look = self.looks[number]
                self.oracle.update_trial(trial.trial_id, {self.space.metric: look.score}, step=look.epochs)
            trial.status, trial.message = "FAILED" if state == "failed" else "COMPLETED", error
            self.oracle.end_trial(trial)
            # What it has saved by now says that the trial is still under way.
            self.oracle.save()

    def drop(self, number: int) -> None:
        self.end(number, "failed", "not trained")


class _HyperbandStudy(_OracleStudy):
    """A study whose oracle decides on epochs: to it, each look is a trial, and one that goes on is another."""

    def __init__(self, space: SearchSpace, oracle: Any, *, reference: bool) -> None:
        super().__init__(space, oracle, reference=reference)
        self.numbers: dict[str, int] = {}

    def next(self) -> Asked | None:
        trial = self.created()
        if trial is None:
            return None
        values = trial.hyperparameters.values
        number = self.numbers[values["tuner/trial_id"]] if "tuner/trial_id" in values else self.asked
        self.asked = max(self.asked, number + 1)
        self.numbers[trial.trial_id], self.trials[number] = number, trial
        share = Fraction(values["tuner/epochs"], self.oracle.max_epochs)
        return Asked(number=number, values=values_of(self.space, values), share=share)

    def look(self, number: int, look: Look) -> None:
        super().look(number, look)
        self.end(number, "complete")


def _reference_trial(space: SearchSpace, oracle: Any) -> Any | None:
    """The reference as a trial that the oracle knows; None where the space cannot propose all of it."""
    from keras_tuner.engine.hyperparameters import Choice
    from keras_tuner.engine.trial import Trial

    hyperparameters = oracle.get_space()
    hyperparameters.values = reference_values(space)
    for one in hyperparameters.space:
        value = hyperparameters.values.get(one.name)
        missing = value is None or (isinstance(one, Choice) and value not in one.values)
        if missing and hyperparameters.is_active(one):
            return None
    oracle.trials[REFERENCE] = Trial(hyperparameters=hyperparameters, trial_id=REFERENCE)
    return oracle.trials[REFERENCE]


def _hyperparameters(space: SearchSpace) -> Any:
    """The parameters as KerasTuner has them, each after those it depends on."""
    from keras_tuner import HyperParameters
    from keras_tuner.engine.hyperparameters import Choice, Float, Int
    from keras_tuner.src.engine.conditions import Parent

    made = HyperParameters()
    for parameter in space.parameters:
        conditions = [Parent(name, list(allowed)) for name, allowed in parameter.when.items()]
        about: dict[str, Any] = {"name": parameter.name, "conditions": conditions}
        choices = _choices(parameter)
        if choices:
            made.merge([Choice(values=choices, **about)])
            continue
        about |= {"min_value": parameter.low, "max_value": parameter.high}
        about |= {"step": parameter.step, "sampling": "log" if parameter.log else "linear"}
        made.merge([(Int if parameter.kind == "int" else Float)(**about)])
    return made


def _choices(parameter: Parameter) -> list[Any]:
    """The values of a categorical or of a float with steps; none of others."""
    if parameter.kind != "float" or parameter.step is None:
        return list(parameter.choices)
    low, high, step = (Fraction(str(bound)) for bound in (parameter.low, parameter.high, parameter.step))
    return [float(low + i * step) for i in range(int((high - low) / step) + 1)]


def values_of(space: SearchSpace, values: Mapping[str, Any]) -> dict[str, Any]:
    """The space's own values among KerasTuner's, within their bounds."""
    found: dict[str, Any] = {}
    for parameter in space.parameters:
        if parameter.name not in values:
            continue
        value = values[parameter.name]
        if parameter.low is None or parameter.high is None:
            found[parameter.name] = parameter.choices[parameter.choices.index(value)]
        else:
            # KerasTuner's may be a number of NumPy, which JSON does not know.
            number = int(value) if parameter.kind == "int" else float(value)
            found[parameter.name] = min(max(number, parameter.low), parameter.high)
    return found


def _bayesian(space: SearchSpace, batch: int, proposals: int, about: dict[str, Any]) -> Any:
    from keras_tuner.oracles import BayesianOptimizationOracle

    from tl_toolkit.engines.gaussian_process import QuickGaussianProcess

    oracle = BayesianOptimizationOracle(
        max_trials=space.trials, num_initial_points=random_trials(space, batch), **about
    )
    oracle.gpr = QuickGaussianProcess(**oracle.gpr.get_params(deep=False))
    return oracle


def _random(space: SearchSpace, batch: int, proposals: int, about: dict[str, Any]) -> Any:
    from keras_tuner.oracles import RandomSearchOracle

    return RandomSearchOracle(max_trials=space.trials, **about)


def _hyperband(space: SearchSpace, batch: int, proposals: int, about: dict[str, Any]) -> Any:
    from keras_tuner.oracles import HyperbandOracle

    class Budgeted(HyperbandOracle):
        """Proposes ``proposals`` settings, and begins no bracket that they do not fill; the smallest has no halving."""

        left = proposals

        def _increment_bracket_num(self) -> None:
            super()._increment_bracket_num()
            while self._current_bracket and self._get_size(self._current_bracket, 0) > self.left:
                self._current_bracket -= 1

        def _random_trial(self, trial_id: str, bracket: dict[str, Any]) -> dict[str, Any]:
            if not self.left:
                return {"status": "IDLE" if self.ongoing_trials else "STOPPED"}
            proposed = super()._random_trial(trial_id, bracket)
            self.left -= proposed["status"] == "RUNNING"
            return proposed

    pruning = space.pruning or Pruning(first=1)
    halvings = _halvings(proposals, pruning, most_epochs(space))
    return Budgeted(
        max_epochs=pruning.factor**halvings, factor=pruning.factor, hyperband_iterations=space.trials, **about
    )


def _halvings(proposals: int, pruning: Pruning, epochs: int) -> int:
    """How often the largest bracket halves: as often as all brackets can be filled once, and each first look allows."""
    halvings = 0
    while epochs >= pruning.first * pruning.factor ** (deeper := halvings + 1):
        sizes = [math.ceil((deeper + 1) / (bracket + 1) * pruning.factor**bracket) for bracket in range(deeper + 1)]
        if sum(sizes) > proposals:
            break
        halvings = deeper
    return halvings


def _open_studies(
    make_oracle: Any,
    study: type[_OracleStudy],
    space: SearchSpace,
    names: Sequence[str],
    *,
    batch: int,
    seed: int,
    storage: Path,
    reference: bool,
) -> dict[str, Study]:
    keras()
    import keras_tuner

    opened: dict[str, Study] = {}
    for index, name in enumerate(names):
        about = {
            "objective": keras_tuner.Objective(space.metric, space.direction[:3]),
            "hyperparameters": _hyperparameters(space),
            "allow_new_entries": False,
            "tune_new_entries": False,
            "seed": int(np.random.SeedSequence([seed, index]).generate_state(1)[0]) or 1,
            "max_consecutive_failed_trials": math.inf,
        }
        oracle = make_oracle(space, batch, space.trials - reference, about)
        oracle.verbose = 0
        oracle._set_project_dir(storage.with_suffix(".keras-tuner"), name)
        opened[name] = study(space, oracle, reference=reference)
    return opened


bayesian = Engine(partial(_open_studies, _bayesian, _OracleStudy))
hyperband = Engine(partial(_open_studies, _hyperband, _HyperbandStudy))
random = Engine(partial(_open_studies, _random, _OracleStudy))
