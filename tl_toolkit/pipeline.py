"""The main job, step by step: the only module that knows all rooms.

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
from tl_toolkit.augmentation import augment, policy_version, shrink
from tl_toolkit.backbones import REGISTRY as BACKBONES
from tl_toolkit.backbones.features import FeatureBank, ViewSource, resolve
from tl_toolkit.backbones.tables import FeatureTables
from tl_toolkit.core import diagnosis
from tl_toolkit.core.console import note, progress, warn
from tl_toolkit.core.diagnosis import Finding
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import CACHE_VARIABLE, cache_folder, write_json, write_text
from tl_toolkit.core.records import (
    Audit,
    Dataset,
    Evaluation,
    ExportedModel,
    SearchSpace,
    Splits,
    TrainingConfig,
)
from tl_toolkit.core.runs import PeakMemory, Stopwatch, new_run_folder, plain
from tl_toolkit.datasets import audit as auditing
from tl_toolkit.datasets import slash
from tl_toolkit.datasets.load import load_dataset
from tl_toolkit.datasets.photos import Photos
from tl_toolkit.datasets.splits import make_splits
from tl_toolkit.engines import REGISTRY as ENGINES
from tl_toolkit.engines.spaces import config_from, find_space, load_space, space_for
from tl_toolkit.evaluation import nested
from tl_toolkit.evaluation.comparison import compare
from tl_toolkit.evaluation.metrics import evaluate
from tl_toolkit.exporters import REGISTRY as EXPORTERS
from tl_toolkit.heads.fitting import fit as fit_heads
from tl_toolkit.heads.fitting import fit_final, joined
from tl_toolkit.sections import page, record

_AUDIT_BACKBONE = "efficientnet_lite0"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """What the user asked for: the options of ``python -m tl_toolkit.search``, and the command line itself."""

    dataset: str
    data_dir: Path | None = None
    allow_sample: bool = True
    space: str | None = None
    engine: str = "optuna"
    trials: int | None = None
    timeout: float | None = None
    seed: int = 0
    metric: str | None = None
    ensemble: int = 5
    folds: int = 5
    inner_folds: int = 5
    out: Path = Path("reports")
    smoke: bool = False
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """Photos that can be trained on, and the plan by which they are."""

    dataset: Dataset
    photos: Photos
    audit: Audit
    splits: Splits


def views_of(prepared: Prepared, config: TrainingConfig, seed: int) -> ViewSource:
    """The views of each photo that ``config`` trains on."""
    photos, digests = prepared.photos, prepared.audit.sha256

    def pixels(index: int, view: int) -> np.ndarray:
        photo = photos[index]
        return augment(
            shrink(photo) if view else photo,
            policy=config.augmentation,
            strength=config.strength,
            seed=seed,
            view=view,
            image_id=digests[index],
        )

    key = f"{policy_version(config.augmentation)}, strength {config.strength}, seed {seed}"
    return ViewSource(ids=digests, key=key, views=config.views, pixels=pixels)


def find_data(options: SearchOptions, watch: Stopwatch) -> Dataset:
    """The data set that the user named; a small part of it for a smoke run."""
    with watch.step("data", f"Looking for {options.dataset}"):
        dataset = load_dataset(options.dataset, data_dir=options.data_dir, allow_sample=options.allow_sample)
        return _first_of_each_class(dataset, 12) if options.smoke else dataset


def prepare(options: SearchOptions, dataset: Dataset, bank: FeatureBank, watch: Stopwatch) -> Prepared:
    """Audit the photos, and plan the folds."""
    with watch.step("audit", f"Reading {len(dataset)} photos in {len(dataset.class_names)} classes"):
        photos = Photos(dataset.root, dataset.paths)
        with progress() as display:
            task = display.add_task("Reading photos", total=len(dataset))
            examination = auditing.examine(dataset, photos, lambda: display.advance(task))
        for one in examination.quarantined:
            warn(f"{one.path} takes no part: {one.reason}.")
        if len(examination.readable) == 0:
            raise UserError(f"None of the {len(dataset)} files in {dataset.root} can be read as a photo.")
        photos = photos.select(examination.readable)
        dataset = replace(
            dataset,
            paths=tuple(dataset.paths[i] for i in examination.readable),
            labels=dataset.labels[examination.readable],
        )
        clean = ViewSource(ids=examination.sha256, key="clean", views=1, pixels=lambda index, _view: photos[index])
        with progress() as display:
            task = display.add_task("Looking for near duplicates", total=len(photos))
            features = bank.features(_AUDIT_BACKBONE, clean, lambda done: display.advance(task, done))
        audit = auditing.group(dataset, examination, features[:, 0])
    splits = make_splits(
        dataset.labels,
        audit.groups,
        dataset.class_names,
        n_outer=3 if options.smoke else options.folds,
        n_inner=2 if options.smoke else options.inner_folds,
        seed=options.seed,
    )
    for text in splits.notes:
        warn(text)
    note(
        f"{len(dataset)} photos, {len(np.unique(audit.groups))} without near duplicates, "
        f"{len(audit.quarantined)} unreadable, {len(audit.conflicts)} groups of twins with different labels"
    )
    return Prepared(dataset=dataset, photos=photos, audit=audit, splits=splits)


def _first_of_each_class(dataset: Dataset, most: int) -> Dataset:
    rank = np.zeros(len(dataset), np.int64)
    for c in range(len(dataset.class_names)):
        members = dataset.labels == c
        rank[members] = np.arange(members.sum())
    chosen = np.flatnonzero(rank < most)
    return replace(
        dataset,
        paths=tuple(dataset.paths[i] for i in chosen),
        labels=dataset.labels[chosen],
        notes=(*dataset.notes, f"A smoke run: at most {most} photos of each class, few folds and trials."),
    )


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
                lambda trials: nested.cross_validate(fit, trials, labels, splits, space.metric),
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


def report(folder: Path) -> Path:
    """Write a run's page again, from its records: without TensorFlow and without the photos.

    Raises:
        UserError: the folder holds no finished run.
    """
    return page.build(folder)


def diagnose() -> list[Finding]:
    """What this machine has of what the main job needs: ``python -m tl_toolkit.doctor``."""
    findings = [*diagnosis.machine(), *diagnosis.variables(slash.DATA_VARIABLE, slash.URL_VARIABLE, CACHE_VARIABLE)]
    findings.append(diagnosis.folder("cache", cache_folder()))
    findings.append(diagnosis.folder("downloaded data", slash.user_folder()))
    found = slash.locate(None)
    advice = "not on this machine: the first search downloads them (228 MB), or goes on with a drawn sample"
    findings.append(Finding(what="Slash photos", found=str(found or advice), ok=found is not None, needed=False))
    for name in BACKBONES:
        backbone = BACKBONES.get(name)
        try:
            findings.append(Finding(what=f"weights of {name}", found=str(backbone.weights())))
        except UserError as error:
            findings.append(Finding(what=f"weights of {name}", found=str(error), ok=False))
    return findings
