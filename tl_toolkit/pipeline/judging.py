"""The one protocol under which the reference, the landscape and every blind search are scored and compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.core.errors import UserError
from tl_toolkit.core.records import Evaluation
from tl_toolkit.core.runs import Stopwatch
from tl_toolkit.core.searches import Proposal, SearchSpace, Trial
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.engines.configuring import config_from
from tl_toolkit.evaluation import nested
from tl_toolkit.evaluation import rediscovery as judging
from tl_toolkit.evaluation.comparison import DIFFERENCES, compare
from tl_toolkit.evaluation.metrics import evaluate, score
from tl_toolkit.pipeline.data import Prepared

BATCH = 4
"""Most trials of a study that are asked for at once. Small, for an engine learns of a trial only when its batch is
done; the heads of all studies together fill a program all the same."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Blind:
    """A finished search, with what its record leaves out."""

    search: judging.BlindSearch
    trials: tuple[Trial, ...]
    evaluation: Evaluation | None


class Judge:
    """Scores settings of one space on the same folds, with the same training.

    Args:
        studies: Outer folds, the first ones, that have a search inside; None for all of them.
        resamples: Of every bootstrap.

    Attributes:
        studies: Names of all searches. In the last, over all photos where that has one, the landscape is scored and
            trials are counted.
        scored: bool, shape (n,): the photos on which winners are compared.
        decides: The metric that the verdicts are about: the space's, where the comparison knows it.
    """

    def __init__(
        self, space: SearchSpace, prepared: Prepared, fit: nested.Fit, *, studies: int | None, resamples: int
    ) -> None:
        self.space, self.fit, self.splits = space, fit, prepared.splits
        self.dataset, self.groups = prepared.dataset, prepared.audit.groups
        # With an official test set the one search is over all other photos; that set is none to compare winners on.
        self.n_outer = 0 if self.splits.official else self.splits.n_outer if studies is None else studies
        self.studies = nested.studies(self.splits)
        if studies is not None and not self.splits.official:
            self.studies = self.studies[:studies] or (nested.FINAL,)
        self.scored = (self.splits.outer >= 0) & (self.splits.outer < self.n_outer)
        self.decides = space.metric if space.metric in DIFFERENCES else "weighted_f1"
        self.resamples = resamples

    def cross_validate(
        self, fit: nested.Fit, proposals: Sequence[Proposal]
    ) -> Iterator[tuple[int, float, tuple[float, ...]]]:
        """:func:`~tl_toolkit.evaluation.nested.cross_validate` on the inner folds that the space scores."""
        labels, space = self.dataset.labels, self.space
        return nested.cross_validate(fit, proposals, labels, self.splits, space.metric, space.scored_folds)

    def reference(self) -> tuple[dict[str, judging.Target], Evaluation | None]:
        """What to come near to in each study, and the reference's predictions of the outer folds that have one."""
        labels, k = self.dataset.labels, len(self.dataset.class_names)
        said: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

        def remembered(jobs: Sequence[nested.Job]) -> Iterator[tuple[int, np.ndarray]]:
            for position, probabilities in self.fit(jobs):
                job = jobs[position]
                frequencies = np.bincount(labels[job.train], minlength=k) / job.train.sum()
                blind = np.broadcast_to(frequencies.astype(np.float32), probabilities.shape)
                said[position] = (np.flatnonzero(job.test), probabilities, blind)
                yield position, probabilities

        proposals = [Proposal(study=study, config=self.space.reference) for study in self.studies]
        scores = {position: scored for position, scored, _ in self.cross_validate(remembered, proposals)}
        folds = len(said) // len(self.studies)
        targets = {}
        for number, study in enumerate(self.studies):
            if not np.isfinite(scores[number]):
                raise UserError(f"The reference of the space {self.space.name} diverged: lower its learning rate.")
            own = [said[number * folds + fold] for fold in range(folds)]
            photos, probabilities, blind = (np.concatenate(part) for part in zip(*own, strict=True))
            metric = self.space.metric
            error = judging.standard_error(
                metric, labels[photos], probabilities, self.groups[photos], resamples=self.resamples
            )
            targets[study] = judging.target(study, metric, scores[number], error, score(metric, labels[photos], blind))
        return targets, self.evaluated("reference settings", [self.space.reference] * self.n_outer)

    def evaluated(self, title: str, configs: Sequence[TrainingConfig]) -> Evaluation | None:
        """Each of ``configs`` refitted and scored on its outer fold; None without any."""
        if not configs:
            return None
        probabilities = nested.outer_predictions(self.fit, [[config] for config in configs], self.splits)
        scored = self.scored
        if not np.isfinite(probabilities[scored]).all():
            raise UserError(f"A winner of {title} diverged when trained on a whole outer fold.")
        return evaluate(
            title,
            self.dataset.labels[scored],
            probabilities[scored],
            self.groups[scored],
            self.splits.outer[scored],
            self.dataset.class_names,
            resamples=self.resamples,
        )

    def landscape(self, grid: Sequence[TrainingConfig]) -> Iterator[tuple[TrainingConfig, float | None]]:
        """Score each of ``grid`` in the last study as it is done; None where the training diverged."""
        proposals = [Proposal(study=self.studies[-1], config=config) for config in grid]
        for position, scored, _ in self.cross_validate(self.fit, proposals):
            yield grid[position], scored if np.isfinite(scored) else None

    def searched(
        self,
        name: str,
        engine: Any,
        seed: int,
        storage: Path,
        targets: dict[str, judging.Target],
        reference: Evaluation | None,
        advance: Callable[[int], None],
    ) -> Blind:
        """One blind search of all studies, and its winners against the reference.

        Raises:
            KeyboardInterrupt: Ctrl-C before it was finished.
        """
        watch = Stopwatch()
        found = engine(
            self.space,
            self.studies,
            lambda proposals, _expired: self.cross_validate(self.fit, proposals),
            lambda values: config_from(self.space, values),
            batch=min(BATCH, self.space.trials),
            seed=seed,
            deadline=float("inf"),
            storage=storage,
            advance=advance,
            enqueue_reference=False,
        )
        if found.stopped == "interrupted":
            raise KeyboardInterrupt
        seconds = watch.total()
        outer = [study for study in self.studies if study != nested.FINAL]
        title = f"{name}, seed {seed}"
        evaluation = self.evaluated(title, [found.winner(study).config for study in outer])
        comparison = None
        if evaluation and reference:
            comparison = compare(evaluation, reference, self.groups[self.scored], resamples=self.resamples)
        search = judging.BlindSearch(
            engine=name,
            seed=seed,
            courses=tuple(judging.course(found, targets[study]) for study in self.studies),
            effort=judging.effort(found.trials, seconds),
            metrics=evaluation.metrics if evaluation else {},
            comparison=comparison,
            verdict=judging.verdict(comparison.differences[self.decides]) if comparison else None,
        )
        return Blind(search=search, trials=found.trials, evaluation=evaluation)

    def summaries(self, blind: Sequence[Blind], reference: Evaluation | None) -> list[judging.EngineSummary]:
        """What the seeds of each engine come to, in the order in which engines first ended."""
        made = []
        for name in dict.fromkeys(one.search.engine for one in blind):
            own = [one for one in blind if one.search.engine == name]
            evaluations = [one.evaluation for one in own if one.evaluation]
            differences = {}
            if reference and evaluations:
                groups = self.groups[self.scored]
                differences = judging.mean_differences(evaluations, reference, groups, resamples=self.resamples)
            made.append(judging.summary([one.search for one in own], self.studies[-1], differences, self.decides))
        return made
