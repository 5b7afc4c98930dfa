"""The main job, step by step.

    data -> audit -> splits -> features -> search -> evaluation -> final model -> report

Each step takes records and gives a record; what one room needs of another is passed here.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.augmentation import REGISTRY as AUGMENTATIONS
from tl_toolkit.backbones.features import FeatureBank, resolve
from tl_toolkit.backbones.tables import FeatureTables
from tl_toolkit.core.console import progress, warn
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import cache_folder, write_json, write_text
from tl_toolkit.core.records import (
    Dataset,
    Evaluation,
    ExportedModel,
    SearchSpace,
    TrainingConfig,
)
from tl_toolkit.core.runs import PeakMemory, Stopwatch, new_run_folder, plain
from tl_toolkit.engines import REGISTRY as ENGINES
from tl_toolkit.engines.spaces import config_from, find_space, load_space, space_for
from tl_toolkit.evaluation import nested
from tl_toolkit.evaluation.comparison import compare
from tl_toolkit.evaluation.metrics import evaluate
from tl_toolkit.exporters import REGISTRY as EXPORTERS
from tl_toolkit.heads.fitting import fit as fit_heads
from tl_toolkit.heads.fitting import fit_final, joined
from tl_toolkit.pipeline.analysing import analyse
from tl_toolkit.pipeline.data import Prepared, find_data, prepare, views_of
from tl_toolkit.pipeline.options import SearchOptions
from tl_toolkit.sections import page, record


def chosen_space(options: SearchOptions, dataset: Dataset) -> SearchSpace:
    """The search space, with the metric and the number of trials that the user asked for."""
    path = find_space(options.space) if options.space else space_for(dataset.name)
    space = load_space(path)
    _check_names(space, path)
    trials = options.trials or (4 if options.smoke else space.trials)
    return replace(space, metric=options.metric or space.metric, trials=trials)


def _check_names(space: SearchSpace, path: Path) -> None:
    """Every backbone and policy that the space may propose must exist."""
    proposed: dict[str, list[Any]] = defaultdict(list)
    for name in ("backbone", "augmentation"):
        proposed[name] += [getattr(space.reference, name), *([space.fixed[name]] if name in space.fixed else [])]
        proposed[name] += [c for p in space.parameters if p.name == name for c in p.choices]
    try:
        for backbone in proposed["backbone"]:
            resolve(backbone)
        for policy in proposed["augmentation"]:
            AUGMENTATIONS.get(policy)
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
    bank = FeatureBank(cache_folder() / "features")
    prepared = prepare(options, dataset, bank, watch)
    dataset, splits, groups = prepared.dataset, prepared.splits, prepared.audit.groups
    labels, n_classes = dataset.labels, len(dataset.class_names)
    write_json(folder / "audit.json", plain(prepared.audit))
    write_json(folder / "splits.json", {"paths": list(dataset.paths), **plain(splits)})

    with progress() as display:
        tables = FeatureTables(bank, labels, lambda config: views_of(prepared, config, options.seed), display)
        with watch.step("search", f"Searching: {space.trials} trials in each of {splits.n_outer + 1} searches"):
            total = space.trials * (splits.n_outer + 1)
            task = display.add_task("Trials", total=total)
            fit = partial(fit_heads, tables=tables, n_classes=n_classes, seed=options.seed)
            found = engine(
                space,
                nested.studies(splits),
                lambda trials: nested.cross_validate(fit, trials, labels, splits, space.metric, space.scored_folds),
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
            warn(f"The search ended early ({found.stopped}) after {len(found.trials)} of {total} trials.")

        with watch.step("evaluation", "Scoring on the outer folds"):
            chosen = {study: found.best(study, options.ensemble) for study in nested.studies(splits)}
            members = [[trial.config for trial in trials] for trials in chosen.values()]

            def scored(title: str, members: Sequence[Sequence[TrainingConfig]]) -> Evaluation:
                probabilities = nested.outer_predictions(fit, members, splits)
                return evaluate(
                    title, labels, probabilities, groups, splits.outer, dataset.class_names, resamples=resamples
                )

            resamples = 200 if options.smoke else 2000
            best = scored("search winners", members[:-1])
            reference = scored("reference settings", [[space.reference]] * splits.n_outer)
            comparison = compare(best, reference, groups, resamples=resamples)
        with watch.step("export", "Training and exporting the final model"):
            model = export_final(folder / "model", tables, prepared, members[-1], options.seed)
        with watch.step("analysis", "Looking into the result: learning curve, calibration, mistakes"):
            try:
                analyse(folder, prepared, tables, best, members, options)
            except KeyboardInterrupt:
                warn("Interrupted: the report goes without the analysis.")
    with watch.step("report", "Writing the report"):
        write_text(folder / "trials.csv", record.trials_table(found))
        write_text(folder / "predictions.csv", record.predictions_table(dataset, splits, best))
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
            reference=reference,
            comparison=comparison,
            model=model,
            steps=watch.steps,
            total_seconds=watch.total(),
            peak_memory=memory.bytes(),
            computed=bank.computed,
            reused=bank.reused,
            command=options.command,
            smoke=options.smoke,
        )
        # Last but the page: a folder with a run.json is a finished run.
        write_json(folder / "run.json", run)
        page.build(folder)
    return run


def export_final(
    folder: Path, tables: FeatureTables, prepared: Prepared, members: Sequence[TrainingConfig], seed: int
) -> ExportedModel:
    """Train the final settings on all photos, write the model file, and check it on photos of every class."""
    dataset = prepared.dataset
    checked = np.unique(dataset.labels, return_index=True)[1][:64]
    heads = [fit_final(config, tables, len(dataset.class_names), seed=seed) for config in members]
    said = [
        head.probabilities(tables(config).features[checked, 0])[0] for head, config in zip(heads, members, strict=True)
    ]

    parts, kernels = joined(heads, [resolve(c.backbone) for c in members], lambda part: part[0].n_features)
    return EXPORTERS.get("keras")(
        folder,
        [(backbone.connect, side) for backbone, side in parts],
        kernels,
        np.concatenate([head.biases for head in heads]),
        dataset.class_names,
        [prepared.photos[i] for i in checked],
        np.mean(said, axis=0),
    )
