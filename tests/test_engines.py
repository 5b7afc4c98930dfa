"""Engines: how trials are halved, and what each library is told; what all engines owe is in test_contracts.py."""

from __future__ import annotations

import itertools
import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tl_toolkit import engines
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.searches import Parameter, Proposal, Pruning, SearchResult, SearchSpace, TrialState
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.engines import keras_tuner_engine
from tl_toolkit.engines.configuring import config_from
from tl_toolkit.engines.engine import Engine
from tl_toolkit.engines.gaussian_process import QuickGaussianProcess
from tl_toolkit.engines.spaces import load_space
from tl_toolkit.engines.study import Asked, Look, reference_values

FOREVER = float("inf")
RATE = Parameter(name="learning_rate", kind="float", low=1e-3, high=1.0, log=True)

Expired = Callable[[], bool]
Scored = Iterator[tuple[int, float, tuple[float, ...]]]


def space_of(*parameters: Parameter, trials: int = 10, **about: Any) -> SearchSpace:
    """A space that is no file's."""
    about = {"metric": "accuracy", "fixed": {}, "reference": TrainingConfig(), "name": "mine", "sha256": "", **about}
    return SearchSpace(parameters=parameters, trials=trials, **about)


class Listed:
    """A study that asks for given trials, and remembers what it is told."""

    def __init__(self, asks: Sequence[Asked]) -> None:
        self.asks = list(asks)
        self.told: list[tuple[Any, ...]] = []

    def ask(self) -> Asked | None:
        return self.asks.pop(0) if self.asks else None

    def look(self, number: int, look: Look) -> None:
        self.told.append((number, look.epochs, look.score))

    def end(self, number: int, state: TrialState, error: str | None = None) -> None:
        self.told.append((number, state))

    def drop(self, number: int) -> None:
        self.told.append((number, "dropped"))


class Run:
    """A search of listed trials, whose values are their settings."""

    def __init__(self, asks: Sequence[Asked], pruning: Pruning | None = None, direction: str = "accuracy") -> None:
        self.studies = {"final": Listed(asks)}
        numbers = {asked.number for asked in asks}
        self.space = space_of(trials=len(numbers), pruning=pruning, metric=direction)
        self.batches: list[list[tuple[float, int | None]]] = []
        self.advanced = 0

    def objective(self, proposals: Sequence[Proposal], expired: Expired) -> Scored:
        """The score is the learning rate, that of the end with a bonus; NaN above 0.9."""
        self.batches.append([(p.config.learning_rate, p.until) for p in proposals])
        for i, proposal in enumerate(proposals):
            rate = proposal.config.learning_rate
            score = float("nan") if rate > 0.9 else rate + (0.01 if proposal.until is None else 0)
            yield i, score, (score,)

    def advance(self, trials: int) -> None:
        self.advanced += trials

    def __call__(self, batch: int = 100, deadline: float = FOREVER, reference: bool = False) -> SearchResult:
        return Engine(lambda *_, **__: dict(self.studies))(
            self.space,
            tuple(self.studies),
            self.objective,
            lambda values: TrainingConfig(**values),
            batch=batch,
            seed=0,
            deadline=deadline,
            storage=Path("nowhere"),
            advance=self.advance,
            enqueue_reference=reference,
        )


def rates(*given: float, **others: Any) -> list[Asked]:
    return [Asked(number=i, values={"learning_rate": rate, **others}) for i, rate in enumerate(given)]


class TestHalving:
    def test_the_best_third_goes_on_at_each_look(self) -> None:
        run = Run(rates(0.1, 0.5, 0.3, 0.2, 0.4, 0.15, 0.25, epochs=27), Pruning(first=3))
        found = run()
        assert run.batches[0] == [(rate, 3) for rate in (0.1, 0.5, 0.3, 0.2, 0.4, 0.15, 0.25)]
        assert run.batches[1:] == [[(0.5, 9), (0.3, 9), (0.4, 9)], [(0.5, None)]]
        assert [(trial.state, trial.trained_epochs) for trial in found.trials] == [
            ("pruned", 3),
            ("complete", 27),
            ("pruned", 9),
            ("pruned", 3),
            ("pruned", 9),
            ("pruned", 3),
            ("pruned", 3),
        ]
        assert [trial.score for trial in found.trials] == [0.1, 0.51, 0.3, 0.2, 0.4, 0.15, 0.25]
        assert sorted(run.studies["final"].told[7:11]) == [(0, "pruned"), (3, "pruned"), (5, "pruned"), (6, "pruned")]
        assert run.advanced == 7

    def test_low_scores_go_on_where_the_metric_is_minimised_and_ties_to_the_earlier(self) -> None:
        run = Run(rates(0.3, 0.1, 0.1, 0.2, epochs=4), Pruning(first=2, factor=4), "log_loss")
        run()
        assert run.batches[1] == [(0.1, None)]
        assert run.studies["final"].told[-2:] == [(1, 4, pytest.approx(0.11)), (1, "complete")]

    def test_a_trial_of_few_epochs_ends_at_its_own_last_one_and_is_not_counted(self) -> None:
        asks = [
            Asked(number=i, values={"learning_rate": rate, "epochs": epochs})
            for i, (rate, epochs) in enumerate([(0.1, 2), (0.2, 3), (0.3, 5), (0.4, 9), (0.5, 9)])
        ]
        run = Run(asks, Pruning(first=3))
        found = run()
        # Of the three that could go on, one does.
        assert run.batches == [[(0.1, None), (0.2, None), (0.3, 3), (0.4, 3), (0.5, 3)], [(0.5, None)]]
        assert [trial.state for trial in found.trials] == ["complete", "complete", "pruned", "pruned", "complete"]

    def test_a_trial_that_diverges_fails_at_once_and_is_not_counted(self) -> None:
        run = Run(rates(0.95, 0.2, 0.3, 0.99, 0.1, epochs=4), Pruning(first=2))
        found = run()
        assert run.batches[1] == [(0.3, None)]
        failed = found.trials[0]
        assert (failed.state, failed.trained_epochs, failed.score, failed.fold_scores) == ("failed", 2, None, ())
        assert (0, "failed") in run.studies["final"].told
        assert run.advanced == 5

    def test_the_reference_is_a_batch_of_its_own_and_is_looked_at_at_its_end(self) -> None:
        run = Run(rates(0.5, 0.2, 0.3, 0.4, epochs=4), Pruning(first=2))
        found = run(reference=True)
        assert run.batches[:2] == [[(TrainingConfig().learning_rate, None)], [(0.2, 2), (0.3, 2), (0.4, 2)]]
        assert found.trials[0].config == run.space.reference
        assert found.trials[0].state == "complete"

    def test_seconds_are_those_of_all_looks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = iter(range(1000))
        monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
        found = Run(rates(0.1, 0.2, epochs=4), Pruning(first=2, factor=2))()
        assert [trial.seconds for trial in found.trials] == [1.0, 2.0]

    def test_the_deadline_waits_for_a_complete_trial(self) -> None:
        run = Run(rates(0.1, 0.2, 0.3, 0.4, 0.15, epochs=4), Pruning(first=2))
        found = run(batch=4, deadline=0.0)
        assert found.stopped == "timeout"
        assert run.batches == [[(0.1, 2), (0.2, 2), (0.3, 2), (0.4, 2)], [(0.3, None), (0.4, None)]]
        # Trial 3 had been looked at once when the deadline was kept.
        assert [(trial.state, trial.trained_epochs) for trial in found.trials] == [
            ("pruned", 2),
            ("pruned", 2),
            ("complete", 4),
            ("pruned", 2),
        ]
        assert found.best("final", 9) == (found.trials[2],)

    def test_where_all_that_go_on_diverge_it_says_so(self) -> None:
        run = Run(rates(0.1, 0.2, 0.3, epochs=4), Pruning(first=2))
        ends = run.objective

        def diverging(proposals: Sequence[Proposal], expired: Expired) -> Scored:
            for i, score, fold_scores in ends(proposals, expired):
                yield i, score if proposals[i].until else float("nan"), fold_scores

        run.objective = diverging  # type: ignore[method-assign]
        with pytest.raises(UserError, match="Every trial that was to be trained to its end of the search final"):
            run()


class TestDriving:
    def test_studies_are_told_their_own_scores_and_what_was_never_trained(self) -> None:
        run = Run(rates(0.1, 0.2, 0.3))
        run.studies["outer-0"] = Listed(rates(0.4, 0.5, 0.6))

        def cut(proposals: Sequence[Proposal], expired: Expired) -> Scored:
            yield 0, 0.1, (0.1,)
            yield 3, 0.4, (0.4,)
            raise KeyboardInterrupt

        run.objective = cut  # type: ignore[method-assign]
        found = run()
        assert found.stopped == "interrupted"
        assert run.studies["final"].told == [(0, 30, 0.1), (0, "complete"), (1, "dropped"), (2, "dropped")]
        assert run.studies["outer-0"].told == [(0, 30, 0.4), (0, "complete"), (1, "dropped"), (2, "dropped")]
        assert [(trial.study, trial.number) for trial in found.trials] == [("final", 0), ("outer-0", 0)]

    @pytest.mark.parametrize("deadline", [FOREVER, 0.0])
    def test_a_result_that_is_left_out_is_a_defect_but_where_time_is_up(self, deadline: float) -> None:
        run = Run(rates(0.1, 0.2, 0.3))

        def losing(proposals: Sequence[Proposal], expired: Expired) -> Scored:
            assert not expired()
            yield 2, 0.3, (0.3,)

        run.objective = losing  # type: ignore[method-assign]
        if deadline == FOREVER:
            with pytest.raises(RuntimeError, match="left out 2 of 3 trials"):
                run()
        else:
            found = run(deadline=deadline)
            assert (found.stopped, [trial.number for trial in found.trials]) == ("timeout", [2])

    @pytest.mark.parametrize("reference", [0.5, 1.0])
    def test_a_reference_that_diverged_stands_in_for_nothing(
        self, reference: float, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock = itertools.count()
        monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
        run = Run(rates(reference, 0.2, 0.3))
        run.space = replace(run.space, reference=TrainingConfig(learning_rate=reference))
        found = run(deadline=0.0, reference=True)
        assert found.stopped == "timeout"
        assert found.winner("final").config.learning_rate == (reference if reference < 0.9 else 0.2)

    @pytest.mark.parametrize(
        ("moments", "told"),
        [
            ([("ask", 2)], [(0, "dropped"), (1, "dropped")]),
            ([("look", 2)], [(0, "pruned"), (1, "pruned"), (2, "dropped"), (3, "dropped")]),
            ([("end", 2)], [(0, "pruned"), (1, "pruned"), (2, "pruned"), (3, "pruned")]),
            ([("look", 2), ("drop", 1)], [(0, "pruned"), (1, "pruned"), (2, "dropped"), (3, "dropped")]),
        ],
    )
    def test_ctrl_c_while_a_study_is_asked_or_told_comes_when_that_is_done(
        self, moments: list[tuple[str, int]], told: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = Run(rates(0.4, 0.3, 0.2, 0.1), Pruning(first=3, factor=2))
        study, calls = run.studies["final"], Counter[str]()

        def pressed(name: str) -> Callable[..., Any]:
            method = getattr(study, name)

            def call(*given: Any) -> Any:
                calls[name] += 1
                if (name, calls[name]) in moments:
                    signal.raise_signal(signal.SIGINT)
                return method(*given)

            return call

        for name in ("ask", "look", "end", "drop"):
            monkeypatch.setattr(study, name, pressed(name))
        # No trial is complete by then.
        with pytest.raises(KeyboardInterrupt):
            run()
        assert sorted(one for one in study.told if len(one) == 2) == told

    def test_ctrl_c_while_optuna_writes_leaves_its_journal_whole(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from optuna.storages.journal import JournalFileBackend

        append, appended = JournalFileBackend.append_logs, itertools.count()

        def interrupted(backend: Any, logs: Any) -> None:
            if next(appended) == 30:
                signal.raise_signal(signal.SIGINT)
            append(backend, logs)

        monkeypatch.setattr(JournalFileBackend, "append_logs", interrupted)
        found = searched("optuna", space_of(RATE, trials=40), tmp_path, lambda proposal: proposal.config.learning_rate)
        assert found.stopped == "interrupted"
        assert 1 < len(found.trials) < 40
        logs = (tmp_path / "study.log").read_text().splitlines()
        assert next(appended) == len(logs) == len([json.loads(line) for line in logs])
        assert not list(tmp_path.glob("study.log.lock*"))

    def test_a_study_that_asks_for_less_than_its_trials_is_exhausted(self) -> None:
        run = Run(rates(0.1, 0.2))
        run.space = replace(run.space, trials=3)
        assert run().stopped == "exhausted"

    def test_a_trial_asked_for_again_goes_on(self) -> None:
        first = [Asked(number=i, values={"learning_rate": r}, share=Fraction(1, 3)) for i, r in enumerate((0.1, 0.2))]
        whole = Asked(number=1, values={"learning_rate": 0.2}, share=Fraction(1))
        run = Run([*first, whole])
        found = run(batch=2)
        assert run.batches == [[(0.1, 10), (0.2, 10)], [(0.2, None)]]
        assert [(trial.state, trial.trained_epochs) for trial in found.trials] == [("pruned", 10), ("complete", 30)]
        assert run.studies["final"].told[-1] == (0, "pruned")
        assert (found.stopped, run.advanced) == ("finished", 2)

    def test_a_share_that_comes_to_the_same_epochs_is_not_trained_again(self) -> None:
        values = {"learning_rate": 0.1, "epochs": 2}
        run = Run([Asked(number=0, values=values, share=Fraction(1, parts)) for parts in (9, 3, 1)])
        found = run(batch=1)
        assert run.batches == [[(0.1, 1)], [(0.1, None)]]
        assert run.studies["final"].told == [(0, 1, 0.1), (0, 1, 0.1), (0, 2, pytest.approx(0.11)), (0, "complete")]
        assert found.trials[0].trained_epochs == 2


def searched(name: str, space: SearchSpace, folder: Path, score: Any, **how: Any) -> SearchResult:
    def objective(proposals: Sequence[Proposal], expired: Expired) -> Scored:
        for i, proposal in enumerate(proposals):
            seen = score(proposal)
            yield i, seen, (seen, seen)

    how = {"batch": 5, "seed": 0, "deadline": FOREVER, "storage": folder / "study.log", "studies": ("final",), **how}
    found = engines.REGISTRY.get(name)(
        space, how.pop("studies"), objective, lambda values: config_from(space, values), **how
    )
    assert isinstance(found, SearchResult)
    return found


class Epochs:
    """Trains on a clock of its own: an epoch takes a second, and none begins when time is up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trained = self.lost = 0
        monkeypatch.setattr(time, "monotonic", lambda: float(self.trained))
        self.begun: list[Proposal] = []
        self.seen: dict[tuple[str, TrainingConfig], int] = {}

    def __call__(self, proposals: Sequence[Proposal], expired: Expired) -> Scored:
        for i, proposal in enumerate(proposals):
            trial = proposal.study, proposal.config
            begun, until = self.trained, proposal.until or proposal.config.epochs
            self.begun.append(proposal)
            while self.trained - begun < until - self.seen.get(trial, 0):
                if expired():
                    self.lost = self.trained - begun
                    return
                self.trained += 1
            self.seen[trial] = until
            yield i, proposal.config.learning_rate, (proposal.config.learning_rate,)


@pytest.mark.parametrize("name", ["optuna", "keras-tuner"])
@pytest.mark.parametrize(
    ("deadline", "trained", "until", "cut"),
    [
        (20.5, 21, None, ["outer-0", "final"]),  # the reference of the first study, which is trained first
        (45.5, 46, None, ["final"]),  # that of the second
        (65.5, 66, 10, []),  # a trial that was never looked at
        (165.5, 166, None, []),  # one that was
    ],
)
def test_a_training_under_way_ends_at_the_deadline_and_every_study_has_a_trial_to_name(
    deadline: float,
    trained: int,
    until: int | None,
    cut: list[str],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    space, epochs = space_of(RATE, trials=6, pruning=Pruning(first=10)), Epochs(monkeypatch)
    open_studies = engines.REGISTRY.get(name).open_studies
    studies = ("outer-0", "final")
    found = Engine(open_studies)(
        space,
        studies,
        epochs,
        lambda values: config_from(space, values),
        batch=5,
        seed=0,
        deadline=deadline,
        storage=tmp_path / "study.log",
    )
    assert found.stopped == "timeout"
    assert epochs.trained == trained
    assert epochs.begun[-1].until == until
    assert {(t.study, t.config): t.trained_epochs for t in found.seen} == epochs.seen
    assert sum(trial.trained_epochs for trial in found.trials) == trained - epochs.lost
    assert all((t.state == "complete") == (t.trained_epochs == 30) for t in found.trials)
    assert all(found.best(study, 1) for study in studies)
    assert [trial.study for trial in found.trials if trial.state == "cut"] == cut
    for study in cut:
        [trial] = found.best(study, 5)
        assert (trial.number, trial.config, trial.score, trial.fold_scores) == (0, space.reference, None, ())


class TestOptuna:
    def test_a_seed_proposes_what_it_always_did(self, tmp_path: Path) -> None:
        # As Optuna 5.0 gives them without pruning: the first five at random, the last by the estimators.
        (tmp_path / "space.yaml").write_text(
            "metric: accuracy\ntrials: 12\n"
            "parameters:\n  optimizer: {choices: [sgd, adam]}\n  learning_rate: {low: 1e-3, high: 1.0, log: true}\n"
            "  momentum: {low: 0.0, high: 0.9, when: {optimizer: [sgd]}}\n"
            "  epochs: {low: 10, high: 30, step: 10}\n"
            "reference: {learning_rate: 0.01, momentum: 0.7}\n"
        )

        def score(proposal: Proposal) -> float:
            config = proposal.config
            good = 1 - abs(config.learning_rate - 0.1) - abs(config.momentum - 0.5) / 10 + config.epochs / 1000
            return float("nan") if config.learning_rate > 0.7 else good

        found = searched(
            "optuna",
            load_space(tmp_path / "space.yaml"),
            tmp_path,
            score,
            batch=3,
            seed=4,
            studies=("outer-0", "final"),
        )
        configs = [trial.config for trial in found.trials if trial.study == "final"]
        assert [config.learning_rate for config in configs] == pytest.approx(
            [
                0.01,
                0.0041702055892034046,
                0.19848311604777238,
                0.0017467220646110863,
                0.006641396148565795,
                0.054892553088149755,
                0.005764539472148938,
                0.6382620775394264,
                0.19371690457106516,
                0.05681705649226883,
                0.6221882349673432,
                0.04156085340219517,
            ]
        )
        assert [config.epochs for config in configs] == [30, 30, 20, 20, 20, 20, 10, 10, 30, 10, 30, 10]
        assert "".join(config.optimizer[0] for config in configs) == "saasaaasaass"

    def test_the_journal_has_every_look_and_how_each_trial_ended(self, tmp_path: Path) -> None:
        import optuna
        from optuna.storages.journal import JournalFileBackend

        space = space_of(RATE, trials=6, pruning=Pruning(first=10))

        def score(proposal: Proposal) -> float:
            return proposal.config.learning_rate if proposal.config.learning_rate < 0.05 else float("nan")

        found = searched("optuna", space, tmp_path, score)
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
        told = optuna.load_study(study_name="final", storage=storage).trials
        names = {"complete": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}
        assert [trial.state.name for trial in told] == [names[trial.state] for trial in found.trials]
        assert {trial.state for trial in found.trials} == set(names)
        for trial, mine in zip(told, found.trials, strict=True):
            assert trial.value == mine.score
            assert max(trial.intermediate_values, default=None) == (mine.trained_epochs if mine.score else None)
            assert ("error" in trial.user_attrs) == (mine.state == "failed")
        [complete] = [trial for trial in told[1:] if trial.state.name == "COMPLETE"]
        assert list(complete.intermediate_values) == [10, 30]


def oracle_trials(folder: Path) -> dict[str, Any]:
    """KerasTuner's trials of the study ``final``, by id."""
    from keras_tuner.engine.trial import Trial

    files = sorted((folder / "study.keras-tuner" / "final").glob("trial_*/trial.json"))
    return {trial.trial_id: trial for trial in map(Trial.load, map(str, files))}


class TestKerasTuner:
    def test_the_oracle_learns_every_trial_the_reference_among_them(self, tmp_path: Path) -> None:
        def score(proposal: Proposal) -> float:
            return proposal.config.learning_rate if proposal.config.learning_rate < 0.5 else float("nan")

        found = searched("keras-tuner-random", space_of(RATE, trials=8), tmp_path, score, batch=8)
        told = oracle_trials(tmp_path)
        mine = {"reference" if trial.number == 0 else str(trial.number): trial for trial in found.trials}
        assert told.keys() == mine.keys()
        for name, trial in mine.items():
            assert told[name].hyperparameters.values == {"learning_rate": trial.config.learning_rate}
            assert told[name].score == trial.score
            assert told[name].message == trial.error
            assert told[name].status == ("FAILED" if trial.state == "failed" else "COMPLETED")
        assert {trial.state for trial in found.trials} == {"complete", "failed"}
        state = json.loads((tmp_path / "study.keras-tuner" / "final" / "oracle.json").read_text())
        assert state["ongoing_trials"] == {}
        assert sorted(state["end_order"]) == sorted(mine)

    def test_a_reference_that_the_space_cannot_propose_is_scored_and_not_told(self, tmp_path: Path) -> None:
        epochs = Parameter(name="epochs", kind="categorical", choices=(10, 20))
        space = space_of(RATE, epochs, trials=4)
        found = searched("keras-tuner-random", space, tmp_path, lambda proposal: 0.5)
        assert found.trials[0].config == space.reference
        assert sorted(oracle_trials(tmp_path)) == ["0", "1", "2"]

    def test_no_two_studies_share_numbers_not_even_shifted_and_seed_0_is_a_seed(self, tmp_path: Path) -> None:
        drawn = []
        for seed in (0, 0, 1):
            folder = tmp_path / str(len(drawn))
            names = [f"outer-{i}" for i in range(4)]
            found = searched(
                "keras-tuner-random", space_of(RATE, trials=6), folder, lambda proposal: 0.5, studies=names, seed=seed
            )
            drawn.append([trial.config.learning_rate for trial in found.trials if trial.number])
        assert drawn[0] == drawn[1]
        assert len({*drawn[0], *drawn[2]}) == 40

    def test_a_space_without_more_settings_is_exhausted(self, tmp_path: Path) -> None:
        epochs = Parameter(name="epochs", kind="categorical", choices=(10, 20, 30))
        found = searched("keras-tuner-random", space_of(epochs, trials=9), tmp_path, lambda proposal: 0.5)
        assert found.stopped == "exhausted"
        assert found.trials[0].config.epochs == 30
        assert sorted(trial.config.epochs for trial in found.trials) == [10, 20, 30]

    def test_a_pruned_trial_is_told_with_its_last_look_not_its_best(self, tmp_path: Path) -> None:
        space = space_of(RATE, trials=4, pruning=Pruning(first=10))

        def score(proposal: Proposal) -> float:
            return proposal.config.learning_rate / 4 + (0.5 if proposal.until else 0.0)

        found = searched("keras-tuner-random", space, tmp_path, score)
        told = oracle_trials(tmp_path)
        assert [trial.state for trial in found.trials].count("pruned") == 2
        assert [told[str(trial.number)].score for trial in found.trials[1:]] == [t.score for t in found.trials[1:]]
        assert [told[str(t.number)].best_step for t in found.trials[1:]] == [t.trained_epochs for t in found.trials[1:]]

    @pytest.mark.parametrize(
        ("parameter", "raw", "value"),
        [
            (Parameter(name="batch_size", kind="int", low=1, high=8, log=True), 9, 8),
            (Parameter(name="batch_size", kind="int", low=1, high=8), np.int64(3), 3),
            (RATE, 1.0000000000000002, 1.0),
            (RATE, np.float64(0.5), 0.5),
            (Parameter(name="nesterov", kind="categorical", choices=(True, False)), 0, False),
        ],
    )
    def test_its_values_become_the_spaces_own(self, parameter: Parameter, raw: Any, value: Any) -> None:
        found = keras_tuner_engine.values_of(space_of(parameter), {parameter.name: raw, "tuner/epochs": 3})
        assert found == {parameter.name: value}
        assert type(found[parameter.name]) is type(value)

    def test_a_float_with_steps_keeps_its_highest_value(self) -> None:
        made = keras_tuner_engine._hyperparameters(
            space_of(Parameter(name="dropout", kind="float", low=0.0, high=0.3, step=0.1))
        )
        assert made.space[0].values == [0.0, 0.1, 0.2, 0.3]

    @pytest.mark.filterwarnings("ignore:The optimal value found")
    def test_the_quick_gaussian_process_predicts_as_scikit_learns(self) -> None:
        from sklearn.gaussian_process.kernels import Matern

        rng = np.random.default_rng(0)
        x = rng.random((20, 5))
        y = np.sin(3 * x).sum(1)
        how = {"kernel": Matern(nu=2.5), "normalize_y": True, "alpha": 1e-4, "random_state": 0}
        quick = QuickGaussianProcess(**how)
        mean, deviation = quick.predict(x[:1], return_std=True)  # before any fit
        assert (mean.item(), deviation.item()) == (0, 1)
        quick.fit(x, y)
        plain = super(QuickGaussianProcess, quick)
        for point in (*rng.random((5, 5)), x[0]):
            expected = plain.predict(point[None], return_std=True)
            np.testing.assert_allclose(quick.predict(point[None], return_std=True), expected, rtol=1e-6, atol=1e-9)
        assert quick.predict(x).shape == (20,)


class TestHyperband:
    @pytest.mark.parametrize(
        ("proposals", "pruning", "epochs", "halvings"),
        [
            (4, Pruning(first=1), 30, 0),  # a round of one halving has 3 + 2 settings
            (5, Pruning(first=1), 30, 1),
            (16, Pruning(first=1), 30, 1),
            (17, Pruning(first=1), 30, 2),  # 9 + 5 + 3
            (1000, Pruning(first=1), 30, 3),
            (1000, Pruning(first=4), 30, 1),
            (1000, Pruning(first=4, factor=2), 32, 3),
            (1000, Pruning(first=29), 30, 0),
        ],
    )
    def test_brackets_are_as_deep_as_trials_and_epochs_allow(
        self, proposals: int, pruning: Pruning, epochs: int, halvings: int
    ) -> None:
        assert keras_tuner_engine._halvings(proposals, pruning, epochs) == halvings

    @pytest.mark.parametrize("trials", [1, 2, 6, 7, 18, 21, 32])
    @pytest.mark.parametrize("reference", [True, False])
    def test_it_has_exactly_the_trials_asked_for_and_leaves_no_bracket_unfilled(
        self, trials: int, reference: bool, tmp_path: Path
    ) -> None:
        epochs = Parameter(name="epochs", kind="int", low=1, high=27)
        space = space_of(RATE, epochs, trials=trials)
        looks: list[Proposal] = []

        def score(proposal: Proposal) -> float:
            looks.append(proposal)
            return proposal.config.learning_rate

        found = searched("keras-tuner-hyperband", space, tmp_path, score, enqueue_reference=reference)
        assert (found.stopped, [trial.number for trial in found.trials]) == ("finished", list(range(trials)))
        assert all((t.state == "complete") == (t.trained_epochs == t.config.epochs) for t in found.trials)
        assert len(set(looks)) == len(looks)
        told = {name: trial.hyperparameters.values for name, trial in oracle_trials(tmp_path).items()}
        sizes: Counter[tuple[int, int]] = Counter()
        for values in told.values():
            if "tuner/round" in values:
                first: Mapping[str, Any] = values
                while "tuner/trial_id" in first:
                    first = told[first["tuner/trial_id"]]
                sizes[first["tuner/bracket"], values["tuner/round"]] += 1
        assert all(3 * sizes[key] >= sizes[key[0], key[1] - 1] for key in sizes if key[1])
        # Every bracket sends its best to the end.
        assert all(sizes[bracket, bracket] > 0 for bracket, _ in sizes)

    def test_of_each_bracket_the_best_go_on(self, tmp_path: Path) -> None:
        space = space_of(RATE, trials=18)
        found = searched("keras-tuner-hyperband", space, tmp_path, lambda p: p.config.learning_rate, batch=9)
        first = sorted(found.trials[1:10], key=lambda trial: -trial.config.learning_rate)
        assert [trial.trained_epochs for trial in first] == [30, 10, 10, 4, 4, 4, 4, 4, 4]


def test_the_reference_is_values_of_the_space_as_far_as_that_goes() -> None:
    space = space_of(RATE, Parameter(name="epochs", kind="categorical", choices=(10,)))
    assert reference_values(space) == {"learning_rate": 0.01}
