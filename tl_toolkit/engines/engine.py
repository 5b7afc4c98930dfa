"""What drives every engine: ask its studies for settings, look at the trainings, tell the scores.

Several studies advance in step: each is asked for a batch, all batches are trained together (trials that share
features share a matrix product, whichever study they belong to), and each study is told its own scores. A study
learns of nothing but its own trials.

Where the space has :class:`~tl_toolkit.core.searches.Pruning`, the trials of a batch are halved in step, study by
study: all of them are looked at after ``first`` epochs, the best ``ceil(n / factor)`` of the n that could go on after
``factor`` times as many, and so on; the others are pruned. Scores are compared at equal epochs only: a trial with
fewer epochs than the next look ends at its own last one, and does not count among the n. One that diverges has failed,
and does not count either. The reference, where it is enqueued, is a batch of its own and is never pruned.

Every batch sends its own best to the end, so the best of a weak batch may get there, and a better trial of a strong one
may not: that is the price of advancing in step, which a shared matrix product needs. Winners are chosen among complete
trials only (:meth:`~tl_toolkit.core.searches.SearchResult.best`), whatever a pruned one scored on its way.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tl_toolkit.core.errors import UserError
from tl_toolkit.core.interrupts import uninterrupted
from tl_toolkit.core.searches import Proposal, SearchResult, SearchSpace, Trial, TrialState
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.engines.study import Asked, Look, OpenStudies, Study

Objective = Callable[[Sequence[Proposal], Callable[[], bool]], Iterable[tuple[int, float, tuple[float, ...]]]]
"""Proposals, and whether time is up -> (position, score, scores of the inner folds) as they are done.

A score is NaN where a training diverged. Once time is up the results may end early, and at no other time.
"""


@dataclass(frozen=True, slots=True)
class Engine:
    """Searches a space with the studies that ``open_studies`` opens."""

    open_studies: OpenStudies

    def __call__(
        self,
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
        enqueue_reference: bool = True,
    ) -> SearchResult:
        """Run every study to its end, to the deadline, or to Ctrl-C.

        With the reference, the first batch is the reference alone, so that every study soon has a score to show; where
        time is up before, the reference stands in without one.

        Args:
            space: Parameters, metric, number of trials, pruning, and the reference.
            studies: Names; their searches are independent of one another.
            objective: Trains and scores a batch of trials. What it raises is raised.
            configure: Values of a trial's parameters -> its settings.
            batch: Most trials of each study that are asked for before any of them is told.
            seed: Of the samplers; each study has one of its own.
            deadline: On the clock of ``time.monotonic``. The batch under way at that time is cut off: between trials,
                or where the objective ends early. A trial that is cut off is pruned, or, where it was never looked at,
                none, but for the reference of a study that has no complete trial: it stands in for the best of them.
                Where it cannot, for it was not enqueued or diverged, the search goes on until another is complete.
            storage: A file that does not exist yet, for what the engine writes, there or in a folder beside it.
            advance: Called with 1 when a trial is told for the first time.
            enqueue_reference: Whether trial 0 of every study is the reference; False for a search that must find
                settings without being told.

        Raises:
            KeyboardInterrupt: Ctrl-C before every study has a complete trial, or again while the search is closed.
            RuntimeError: the objective left out a trial before time was up.
            UserError: no trial of a study came to its end.
        """
        opened = self.open_studies(space, studies, batch=batch, seed=seed, storage=storage, reference=enqueue_reference)
        run = _Run(space, opened, objective, configure, deadline, advance, enqueue_reference)
        started = time.monotonic()
        try:
            stopped = run.drive(batch)
        except KeyboardInterrupt:
            if run.completed() != opened.keys():
                raise
            stopped = "interrupted"
        finally:
            with uninterrupted():
                trials = run.close()
        seconds = time.monotonic() - started
        for name in studies:
            states = {trial.state for trial in trials if trial.study == name}
            if not states & {"complete", "cut"}:
                said = "Every trial" if states == {"failed"} else "Every trial that was to be trained to its end"
                raise UserError(
                    f"{said} of the search {name} diverged: lower the learning rates in the space {space.name}."
                )
        return SearchResult(trials=tuple(trials), metric=space.metric, stopped=stopped, seconds=seconds)


@dataclass(slots=True, kw_only=True)
class _Course:
    """A trial on its way; ``rungs`` are the epochs at which it is still to be looked at."""

    study: str
    number: int
    config: TrainingConfig
    rungs: tuple[int, ...] = ()
    epochs: int = 0
    seconds: float = 0.0
    look: Look | None = None
    state: TrialState | Literal["cut"] | None = None
    error: str | None = None

    @property
    def proposal(self) -> Proposal:
        until = self.rungs[0] if self.rungs[0] < self.config.epochs else None
        return Proposal(study=self.study, config=self.config, until=until)

    def trial(self) -> Trial:
        seen = self.look if self.state != "failed" else None
        return Trial(
            study=self.study,
            number=self.number,
            config=self.config,
            score=seen.score if seen else None,
            fold_scores=seen.fold_scores if seen else (),
            seconds=self.seconds,
            trained_epochs=self.epochs,
            state=self.state or "pruned",
            error=self.error,
        )


@dataclass(slots=True)
class _Run:
    space: SearchSpace
    opened: Mapping[str, Study]
    objective: Objective
    configure: Callable[[Mapping[str, Any]], TrainingConfig]
    deadline: float
    advance: Callable[[int], None]
    reference: bool
    courses: dict[tuple[str, int], _Course] = field(default_factory=dict)

    def drive(self, batch: int) -> str:
        """Train until the studies ask for nothing more, or until the deadline; says how it stopped."""
        size = 1 if self.reference else batch
        while courses := [course for name in self.opened for course in self.asked(name, size)]:
            size = batch
            if not self.train(courses):
                return "timeout"
        return "finished" if len(self.courses) == self.space.trials * len(self.opened) else "exhausted"

    def asked(self, name: str, size: int) -> list[_Course]:
        """Up to ``size`` trials of a study that are to be trained."""
        courses: list[_Course] = []
        while len(courses) < size:
            with uninterrupted():
                if (asked := self.opened[name].ask()) is None:
                    break
                course = self.course(name, asked)
                if course.look and course.epochs == course.rungs[0]:
                    # Two shares of few epochs can be the same number of them.
                    self.opened[name].look(asked.number, course.look)
                else:
                    courses.append(course)
        return courses

    def course(self, name: str, asked: Asked) -> _Course:
        """Of a trial that is asked for, maybe not for the first time."""
        course = self.courses.get((name, asked.number))
        if course is None:
            config = self.space.reference if self.is_reference(asked.number) else self.configure(asked.values)
            course = self.courses[name, asked.number] = _Course(study=name, number=asked.number, config=config)
        course.rungs = self.rungs(course, asked)
        return course

    def is_reference(self, number: int) -> bool:
        return self.reference and number == 0

    def rungs(self, course: _Course, asked: Asked) -> tuple[int, ...]:
        epochs, pruning = course.config.epochs, self.space.pruning
        if asked.share is not None:
            return (math.ceil(asked.share * epochs),)
        return (epochs,) if pruning is None or self.is_reference(asked.number) else pruning.rungs(epochs)

    def train(self, courses: Sequence[_Course]) -> bool:
        """Look at the courses, go on with the best of them, and so on; False where the deadline ended it."""
        while courses:
            begun = time.monotonic()
            missing = set(range(len(courses)))
            for position, score, fold_scores in self.objective([course.proposal for course in courses], self.expired):
                now = time.monotonic()
                missing.remove(position)
                with uninterrupted():
                    self.seen(courses[position], score, fold_scores, now - begun)
                begun = now
                if self.expired():
                    return False
            if missing:
                if not self.expired():
                    raise RuntimeError(f"the objective left out {len(missing)} of {len(courses)} trials")
                return False
            with uninterrupted():
                courses = self.halved(courses)
        return True

    def seen(self, course: _Course, score: float, fold_scores: tuple[float, ...], seconds: float) -> None:
        study, first = self.opened[course.study], course.epochs == 0
        course.epochs, course.rungs = course.rungs[0], course.rungs[1:]
        course.seconds += seconds
        if math.isfinite(score):
            course.look = Look(config=course.config, epochs=course.epochs, score=score, fold_scores=fold_scores)
            study.look(course.number, course.look)
            if course.epochs >= course.config.epochs:
                self.end(course, "complete")
        else:
            self.end(course, "failed", "training diverged: probabilities are not finite")
        if first:
            self.advance(1)

    def halved(self, courses: Sequence[_Course]) -> list[_Course]:
        """Those that go on; the others, of those that could, are pruned."""
        sign = 1 if self.space.direction == "minimize" else -1
        going: list[_Course] = []
        for name in self.opened:
            own = [course for course in courses if course.study == name and course.rungs and course.state is None]
            ranked = sorted((sign * course.look.score, course.number, course) for course in own if course.look)
            kept = math.ceil(len(ranked) / self.space.pruning.factor) if self.space.pruning else 0
            for _, _, course in ranked[kept:]:
                self.end(course, "pruned")
            going += [course for _, _, course in sorted(ranked[:kept], key=lambda one: one[1])]
        return going

    def end(self, course: _Course, state: TrialState, error: str | None = None) -> None:
        course.state, course.error = state, error
        self.opened[course.study].end(course.number, state, error)

    def expired(self) -> bool:
        """Whether to end before all trials are done: the deadline has passed, and every study has a trial to name."""
        return self.nameable() and self.unfinished() and time.monotonic() >= self.deadline

    def nameable(self) -> bool:
        """Whether every study has a complete trial, or a reference that can stand in for one."""
        waiting = {c.study for c in self.courses.values() if self.is_reference(c.number) and c.state is None}
        return self.completed() | waiting == self.opened.keys()

    def completed(self) -> set[str]:
        """Studies that have a complete trial."""
        return {course.study for course in self.courses.values() if course.state == "complete"}

    def unfinished(self) -> bool:
        asked = len(self.courses) < self.space.trials * len(self.opened)
        return asked or any(course.state is None for course in self.courses.values())

    def close(self) -> list[Trial]:
        """End what is still on its way; gives all trials that were seen at least once, and references that were not."""
        seen = []
        for course in self.courses.values():
            if course.epochs == 0:
                # Asked, but not trained: no trial, and a dashboard should not show it as running.
                self.opened[course.study].drop(course.number)
                if not self.is_reference(course.number):
                    continue
                course.state = "cut"
            elif course.state is None:
                self.end(course, "pruned")
            seen.append(course.trial())
        names = list(self.opened)
        return sorted(seen, key=lambda trial: (names.index(trial.study), trial.number))
