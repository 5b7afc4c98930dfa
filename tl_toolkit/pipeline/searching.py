"""The main job, step by step.

    data -> audit -> splits -> features -> search -> evaluation -> final model -> report

Each step takes records and gives a record; what one room needs of another is passed here.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from tl_toolkit.augmentation import REGISTRY as AUGMENTATIONS
from tl_toolkit.backbones.features import FeatureBank, resolve
from tl_toolkit.core.console import progress, warn
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import cache_folder, write_json, write_text
from tl_toolkit.core.records import Dataset, Evaluation
from tl_toolkit.core.runs import PeakMemory, Stopwatch, new_run_folder, plain
from tl_toolkit.core.searches import SearchSpace
from tl_toolkit.core.settings import FINE_TUNED, FROZEN, NO_BACKBONE, TrainingConfig
from tl_toolkit.engines import REGISTRY as ENGINES
from tl_toolkit.engines.configuring import config_from
from tl_toolkit.engines.spaces import find_space, load_space, space_for
from tl_toolkit.evaluation import nested
from tl_toolkit.evaluation.comparison import compare
from tl_toolkit.evaluation.metrics import evaluate
from tl_toolkit.evaluation.nested import Job
from tl_toolkit.networks import REGISTRY as NETWORKS
from tl_toolkit.pipeline.analysing import analyse, without_twins
from tl_toolkit.pipeline.baseline import baseline, original_protocol, outer_trainings
from tl_toolkit.pipeline.data import Prepared, find_data, prepare
from tl_toolkit.pipeline.exporting import exporters_of, finish
from tl_toolkit.pipeline.final import export_final
from tl_toolkit.pipeline.fitting import fitted_with
from tl_toolkit.pipeline.keeping import keep_training
from tl_toolkit.pipeline.options import SearchOptions, SpaceOptions
from tl_toolkit.sections import record
from tl_toolkit.training.fitting import Trainer


def chosen_space(options: SpaceOptions, dataset: Dataset) -> SearchSpace:
    """The search space, with the metric and the number of trials that the user asked for."""
    path = find_space(options.space) if options.space else space_for(dataset.name)
    space = load_space(path)
    _check_names(space, path)
    trials = options.trials or (4 if options.smoke else space.trials)
    return replace(space, metric=options.metric or space.metric, trials=trials)


def proposed(space: SearchSpace, field: str) -> set[Any]:
    """All values of a field of settings that the space, its reference included, may propose."""
    searched = [choice for p in space.parameters if p.name == field for choice in p.choices]
    default = getattr(TrainingConfig(), field)
    return {getattr(space.reference, field), *(searched or [space.fixed.get(field, default)])}


def _averaged(options: SearchOptions, space: SearchSpace) -> int:
    """How many of the best trials of a search are averaged: five heads cost little, a network its training."""
    kinds = {network == FROZEN for network in proposed(space, "network")}
    if len(kinds) > 1 and (options.ensemble or 1) > 1:
        raise UserError(f"{space.name} proposes frozen backbones and networks, which are not averaged: --ensemble 1.")
    return options.ensemble or (5 if kinds == {True} else 1)


def _check_names(space: SearchSpace, path: Path) -> None:
    """Every backbone, policy and network that the space may propose must exist."""
    try:
        for backbone in proposed(space, "backbone") - {NO_BACKBONE}:
            resolve(backbone)
        for policy in proposed(space, "augmentation"):
            AUGMENTATIONS.get(policy)
        for network in proposed(space, "network") - {FROZEN, FINE_TUNED}:
            NETWORKS.get(network)
    except UserError as error:
        raise UserError(f"{path.name}: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """Where a run is, and the content of its ``run.json``."""

    folder: Path
    run: dict[str, Any]


def search(options: SearchOptions) -> Outcome:
    """The main job: from the name of a data set to a report and a model file.

    Raises:
        UserError: something that the user can mend. An unfinished run folder is removed; what the bank holds stays.
        KeyboardInterrupt: Ctrl-C while there is nothing to report yet; likewise.
    """
    watch = Stopwatch()
    dataset = find_data(options, watch)
    space = chosen_space(options, dataset)
    engine = ENGINES.get(options.engine)
    exporters_of(options.export)  # what is missing is told before hours of work
    folder = new_run_folder(options.out / dataset.name)
    try:
        return Outcome(folder=folder, run=_search(options, dataset, space, engine, folder, watch))
    except (UserError, OSError, KeyboardInterrupt):
        # Without a result it would only look like one; with one, only the page can be missing.
        if not (folder / "run.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _search(
    options: SearchOptions, dataset: Dataset, space: SearchSpace, engine: Any, folder: Path, watch: Stopwatch
) -> dict[str, Any]:
    memory = PeakMemory()
    n_members = _averaged(options, space)
    bank = FeatureBank(cache_folder() / "features")
    prepared = prepare(options, dataset, bank, watch)
    dataset, splits, groups = prepared.dataset, prepared.splits, prepared.audit.groups
    labels = dataset.labels
    write_json(folder / "audit.json", plain(prepared.audit))
    write_json(folder / "splits.json", {"paths": list(dataset.paths), **plain(splits)})
    keep_training(folder, prepared, splits.final, watch, thumbnails=options.keep_thumbnails)

    with progress() as display:
        tables, trainer, fit = fitted_with(prepared, bank, display, options.seed, folder / "unfinished")
        studies = nested.studies(splits)
        times = f" in each of {len(studies)} searches" if len(studies) > 1 else ""
        with watch.step("search", f"Searching: {space.trials} trials{times}"):
            total = space.trials * len(studies)
            task = display.add_task("Trials", total=total)
            found = engine(
                space,
                studies,
                lambda trials, expired: nested.cross_validate(
                    partial(fit, expired=expired), trials, labels, splits, space.metric, space.scored_folds
                ),
                lambda values: config_from(space, values),
                batch=min(16, max(2, space.trials // 2)),
                seed=options.seed,
                deadline=watch.started + options.timeout if options.timeout else float("inf"),
                storage=folder / "study.log",
                advance=lambda done: display.advance(task, done),
            )
            display.remove_task(task)
        watch.move(tables.seconds, "search", "features")
        found = replace(found, seconds=found.seconds - tables.seconds)
        if found.stopped != "finished":
            stand_in = (
                " The reference settings stand in for the best ones." if len(found.seen) < len(found.trials) else ""
            )
            warn(f"The search ended early ({found.stopped}) after {len(found.seen)} of {total} trials.{stand_in}")

        where = "official test set" if splits.official else "outer folds"
        with watch.step("evaluation", f"Scoring on the {where}"):
            chosen = {study: found.best(study, n_members) for study in studies}
            final = [trial.config for trial in chosen[nested.FINAL]]
            outer = studies if splits.official else studies[:-1]
            members = [[trial.config for trial in chosen[study]] for study in outer]
            rows = np.flatnonzero(splits.scored)
            part = dataset.select(rows)

            def scored(title: str, probabilities: np.ndarray) -> Evaluation:
                if not np.isfinite(probabilities[rows]).all():
                    raise UserError(
                        f"Of the {title}, some diverged when trained on a whole outer fold: lower the learning rates "
                        f"in the space {space.name}."
                    )
                return evaluate(
                    title,
                    part.labels,
                    probabilities[rows],
                    groups[rows],
                    splits.outer[rows],
                    part.class_names,
                    resamples=resamples,
                )

            def shown(jobs: Sequence[Job]) -> Iterator[tuple[int, np.ndarray]]:
                count = sum(job.config.network == FROZEN for job in jobs)
                task = display.add_task("Heads", total=count, visible=count > 0)
                yield from fit(jobs, heads=lambda done: display.advance(task, done))
                display.remove_task(task)

            resamples = 200 if options.smoke else 2000
            folds = min(splits.n_inner, space.scored_folds or splits.n_inner)
            if space.reference.network in NETWORKS:
                # Kept from run to run, and what the baseline of another run is, too.
                said = outer_trainings(space.reference, prepared, trainer, display).probabilities
            else:
                said = nested.outer_predictions(shown, [[space.reference]] * splits.n_outer, splits)
            reference = scored("reference settings", said)
            # After the reference: a network that was trained last need not be trained again to be exported.
            best = scored("search winners", nested.outer_predictions(shown, members, splits))
            comparison = compare(best, reference, groups[rows], resamples=resamples)
        late = options.timeout is not None and watch.total() >= options.timeout
        hurry = late or found.stopped in ("timeout", "interrupted")
        scratch = _from_scratch(options, prepared, trainer, best, watch, display, hurry=hurry)
        shutil.rmtree(folder / "unfinished", ignore_errors=True)
        with watch.step("export", "Training and exporting the final model"):
            exports = export_final(folder, tables, trainer, prepared, final, options, display)
        with watch.step("analysis", "Looking into the result: learning curve, calibration, mistakes"):
            try:
                analyse(folder, prepared, tables, best, members, final, folds, options)
            except KeyboardInterrupt:
                warn("Interrupted: the report goes without the analysis.")
    with watch.step("report", "Writing the report"):
        write_text(folder / "trials.csv", record.trials_table(found))
        write_text(folder / "predictions.csv", record.predictions_table(part, splits.outer[rows], best))
        run = record.run_record(
            dataset=dataset,
            audit=prepared.audit,
            splits=splits,
            space=space,
            engine=options.engine,
            seed=options.seed,
            found=found,
            members={study: [trial.number for trial in trials] for study, trials in chosen.items()},
            evaluation=best,
            without_twins=without_twins(best, prepared, resamples=resamples),
            reference=reference,
            comparison=comparison,
            **scratch,
            exports=exports,
            run_id=folder.name,
            asked=options.asked,
            steps=watch.steps,
            total_seconds=watch.total(),
            peak_memory=memory.bytes(),
            computed=bank.computed,
            reused=bank.reused,
            command=options.command,
            smoke=options.smoke,
        )
        finish(folder, run)
    return run


def _from_scratch(
    options: SearchOptions,
    prepared: Prepared,
    trainer: Trainer,
    best: Evaluation,
    watch: Stopwatch,
    display: Progress,
    *,
    hurry: bool,
) -> dict[str, Any]:
    """``baseline`` and ``leaking`` of ``run.json``, as far as they were asked for."""
    found: dict[str, Any] = {"baseline": None, "leaking": None}
    if hurry:
        if options.baseline != "none" or options.protocol == "original":
            warn("No time is left: the report goes without the network from scratch.")
        return found
    how: dict[str, Any] = {"smoke": options.smoke, "resamples": 200 if options.smoke else 2000, "display": display}
    try:
        if options.baseline != "none":
            with watch.step("baseline", "Training the baseline from scratch"):
                found["baseline"] = baseline(options.baseline, prepared, trainer, best, **how)
        if options.protocol == "original":
            with watch.step("leaking", "Repeating the original protocol, which leaks"):
                mode = "quick" if options.baseline == "none" else options.baseline
                found["leaking"] = original_protocol(mode, prepared, trainer, **how)
    except KeyboardInterrupt:
        warn("Interrupted: the report goes without the network from scratch.")
    return found
