"""The main job, step by step: the only module that knows all rooms.

    data -> audit -> splits -> features -> search -> evaluation -> final model -> report

Each step takes records and gives a record; what one room needs of another is passed here.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.augmentation import REGISTRY as AUGMENTATIONS
from tl_toolkit.augmentation import augment, policy_version, shrink
from tl_toolkit.backbones.features import FeatureBank, ViewSource, resolve
from tl_toolkit.core.console import note, progress, warn
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import cache_folder, write_json, write_text
from tl_toolkit.core.records import (
    Audit,
    Dataset,
    Evaluation,
    ExportedModel,
    FeatureTable,
    SearchSpace,
    Splits,
    TrainingConfig,
)
from tl_toolkit.core.runs import PeakMemory, Stopwatch, new_run_folder, plain
from tl_toolkit.datasets import audit as auditing
from tl_toolkit.datasets.load import load_dataset
from tl_toolkit.datasets.photos import Photos
from tl_toolkit.datasets.splits import make_splits
from tl_toolkit.engines import REGISTRY as ENGINES
from tl_toolkit.engines.spaces import config_from, find_space, load_space, space_for
from tl_toolkit.evaluation.comparison import compare
from tl_toolkit.evaluation.metrics import evaluate, score
from tl_toolkit.exporters import REGISTRY as EXPORTERS
from tl_toolkit.heads.batched import Heads, HeadTask, train_heads
from tl_toolkit.sections import page, record

FINAL = "final"
"""Name of the study over all photos, which chooses the settings of the exported model."""

_AUDIT_BACKBONE = "efficientnet_lite0"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """What the user asked for; the fields are the options of ``python -m tl_toolkit.search``."""

    dataset: str
    data_dir: Path | None = None
    allow_sample: bool = True
    space: str | None = None
    engine: str = "optuna"
    trials: int | None = None
    timeout: float | None = None
    seed: int = 0
    metric: str | None = None
    folds: int = 5
    inner_folds: int = 5
    out: Path = Path("reports")
    smoke: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """Photos that can be trained on, and the plan by which they are."""

    dataset: Dataset
    photos: Photos
    audit: Audit
    splits: Splits


class FeatureTables:
    """Feature tables of one data set by configuration; each is made once a run, from the bank where that has it."""

    def __init__(self, prepared: Prepared, bank: FeatureBank, seed: int) -> None:
        self._prepared, self._bank, self._seed = prepared, bank, seed
        self._tables: dict[tuple[str, str, float], np.ndarray] = {}
        self.seconds = 0.0

    def table(self, config: TrainingConfig) -> FeatureTable:
        """The features that ``config`` trains on, with at least as many views as it asks for."""
        key = (config.backbone, config.augmentation, config.strength)
        known = self._tables.get(key)
        if known is None or known.shape[1] < config.views:
            begun = time.monotonic()
            known = self._tables[key] = self._make(config)
            self.seconds += time.monotonic() - begun
        return FeatureTable(features=known, labels=self._prepared.dataset.labels)

    def _make(self, config: TrainingConfig) -> np.ndarray:
        photos, audit = self._prepared.photos, self._prepared.audit

        def pixels(index: int, view: int) -> np.ndarray:
            photo = photos[index]
            return augment(
                shrink(photo) if view else photo,
                policy=config.augmentation,
                strength=config.strength,
                seed=self._seed,
                view=view,
                image_id=audit.sha256[index],
            )

        source = ViewSource(
            ids=audit.sha256,
            key=f"{policy_version(config.augmentation)}, strength {config.strength}, seed {self._seed}",
            views=config.views,
            pixels=pixels,
        )
        what = f"{config.backbone}, {config.augmentation}" + (f" {config.strength}" if config.strength else "")
        with progress() as display:
            parts = len(resolve(config.backbone))
            task = display.add_task(f"Features: {what}", total=len(photos) * config.views * parts)
            return self._bank.features(config.backbone, source, lambda done: display.advance(task, done))


def prepare(options: SearchOptions, bank: FeatureBank, watch: Stopwatch) -> Prepared:
    """Find the photos, audit them, and plan the folds."""
    with watch.step("data", f"Looking for {options.dataset}"):
        dataset = load_dataset(options.dataset, data_dir=options.data_dir, allow_sample=options.allow_sample)
        if options.smoke:
            dataset = _first_of_each_class(dataset, 12)
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


def train_on(
    tables: FeatureTables, n_classes: int, jobs: Sequence[tuple[TrainingConfig, np.ndarray]], seed: int
) -> list[Heads]:
    """One head for each (configuration, training rows); jobs that share features are trained as one program."""
    together: dict[tuple[str, str, float], list[int]] = defaultdict(list)
    for index, (config, _) in enumerate(jobs):
        together[config.backbone, config.augmentation, config.strength].append(index)
    heads: list[Heads | None] = [None] * len(jobs)
    for members in together.values():
        table = tables.table(max((jobs[i][0] for i in members), key=lambda c: c.views))
        tasks = [HeadTask(config=jobs[i][0], rows=jobs[i][1]) for i in members]
        trained = train_heads(table, n_classes, tasks, seed=seed)
        for position, index in enumerate(members):
            heads[index] = Heads(
                kernels=trained.kernels[position : position + 1], biases=trained.biases[position : position + 1]
            )
    return [one for one in heads if one is not None]


def make_objective(
    tables: FeatureTables, prepared: Prepared, metric: str, seed: int
) -> Callable[[Sequence[tuple[str, TrainingConfig]]], list[tuple[float, tuple[float, ...]]]]:
    """Cross-validation on the inner folds of a trial's study.

    The score is the metric on the predictions of all inner folds together: an F1 averaged over folds that hold one or
    two photos of a class is biased (Forman and Scholz 2010).
    """
    inner = prepared.splits.inner
    labels, n_classes = prepared.dataset.labels, len(prepared.dataset.class_names)
    n_inner = prepared.splits.n_inner

    def row(study: str) -> int:
        return len(inner) - 1 if study == FINAL else int(study.removeprefix("outer-"))

    def objective(trials: Sequence[tuple[str, TrainingConfig]]) -> list[tuple[float, tuple[float, ...]]]:
        jobs = []
        for study, config in trials:
            folds = inner[row(study)]
            jobs += [(config, (folds >= 0) & (folds != fold)) for fold in range(n_inner)]
        heads = train_on(tables, n_classes, jobs, seed)
        scores = []
        for number, (study, config) in enumerate(trials):
            folds, clean = inner[row(study)], tables.table(config).features[:, 0]
            predicted = np.zeros((len(labels), n_classes), np.float32)
            for fold in range(n_inner):
                held_out = folds == fold
                predicted[held_out] = heads[number * n_inner + fold].probabilities(clean[held_out])[0]
            seen = folds >= 0
            each = tuple(
                float(score(metric, labels[folds == fold], predicted[folds == fold])) for fold in range(n_inner)
            )
            scores.append((float(score(metric, labels[seen], predicted[seen])), each))
        return scores

    return objective


def outer_evaluation(
    title: str, tables: FeatureTables, prepared: Prepared, configs: Sequence[TrainingConfig], seed: int, resamples: int
) -> Evaluation:
    """Refit ``configs[fold]`` on all photos that outer fold ``fold`` does not score, and pool the predictions."""
    dataset, outer = prepared.dataset, prepared.splits.outer
    heads = train_on(
        tables, len(dataset.class_names), [(config, outer != fold) for fold, config in enumerate(configs)], seed
    )
    predicted = np.zeros((len(dataset), len(dataset.class_names)), np.float32)
    for fold, (config, head) in enumerate(zip(configs, heads, strict=True)):
        clean = tables.table(config).features[:, 0]
        predicted[outer == fold] = head.probabilities(clean[outer == fold])[0]
    return evaluate(
        title, dataset.labels, predicted, prepared.audit.groups, outer, dataset.class_names, resamples=resamples
    )


def export_final(
    folder: Path, tables: FeatureTables, prepared: Prepared, config: TrainingConfig, seed: int
) -> ExportedModel:
    """Train the final settings on all photos, write the model file, and check it on photos of every class."""
    dataset = prepared.dataset
    [head] = train_on(tables, len(dataset.class_names), [(config, np.ones(len(dataset), bool))], seed)
    checked = np.unique([int(np.flatnonzero(dataset.labels == c)[0]) for c in range(len(dataset.class_names))])[:64]
    branches = [(backbone.build, side) for backbone, side in resolve(config.backbone)]
    return EXPORTERS.get("keras")(
        folder,
        branches,
        head.kernels[0],
        head.biases[0],
        dataset.class_names,
        [prepared.photos[i] for i in checked],
        head.probabilities(tables.table(config).features[checked, 0])[0],
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """Where a run is, and the content of its ``run.json``."""

    folder: Path
    run: dict[str, Any]


def search(options: SearchOptions) -> Outcome:
    """The main job: from the name of a data set to a report and a model file."""
    memory, watch = PeakMemory(), Stopwatch()
    command = " ".join([Path(sys.executable).name, "-m", "tl_toolkit.search", *sys.argv[1:]])
    bank = FeatureBank(cache_folder() / "features")
    prepared = prepare(options, bank, watch)
    dataset, splits = prepared.dataset, prepared.splits
    space = chosen_space(options, dataset)
    folder = new_run_folder(options.out / dataset.name)
    write_json(folder / "audit.json", plain(prepared.audit))
    write_json(folder / "splits.json", {"paths": list(dataset.paths), **plain(splits)})

    tables = FeatureTables(prepared, bank, options.seed)
    studies = [*(f"outer-{fold}" for fold in range(splits.n_outer)), FINAL]
    resamples = 200 if options.smoke else 2000
    total = space.trials * len(studies)
    with (
        watch.step("search", f"Searching: {space.trials} trials in each of {len(studies)} searches"),
        progress() as bar,
    ):
        task = bar.add_task("Trials", total=total)
        deadline = watch.started + options.timeout if options.timeout else float("inf")
        found = ENGINES.get(options.engine)(
            space,
            studies,
            make_objective(tables, prepared, space.metric, options.seed),
            lambda values: config_from(space, values),
            trials=space.trials,
            batch=min(16, max(2, space.trials // 2)),
            seed=options.seed,
            deadline=deadline,
            storage=folder / "study.log",
            advance=lambda done: bar.advance(task, done),
        )
    in_search = tables.seconds
    watch.steps["search"] -= in_search
    watch.steps["features"] = in_search
    if found.stopped != "finished":
        warn(f"The search ended early ({found.stopped}) after {len(found.trials)} of {total} trials.")

    with watch.step("evaluation", "Scoring on the outer folds"):
        winners = [found.winner(f"outer-{fold}").config for fold in range(splits.n_outer)]
        best = outer_evaluation("search winners", tables, prepared, winners, options.seed, resamples)
        reference = outer_evaluation(
            "reference settings", tables, prepared, [space.reference] * splits.n_outer, options.seed, resamples
        )
        comparison = compare(best, reference, prepared.audit.groups, resamples=resamples)
    final = found.winner(FINAL).config
    with watch.step("export", "Training and exporting the final model"):
        model = export_final(folder / "model", tables, prepared, final, options.seed)
    found = replace(found, seconds=found.seconds - in_search)
    with watch.step("report", "Writing the report"):
        write_text(folder / "trials.csv", record.trials_table(found))
        write_text(folder / "predictions.csv", record.predictions_table(dataset, splits, best))
        # Last but the page: a folder with a run.json is a finished run.
        run = record.run_record(
            dataset=dataset,
            audit=prepared.audit,
            splits=splits,
            space=space,
            engine=options.engine,
            seed=options.seed,
            found=found,
            evaluation=best,
            reference=reference,
            comparison=comparison,
            model=model,
            steps=watch.steps,
            total_seconds=watch.total(),
            peak_memory=memory.bytes(),
            computed=bank.computed,
            reused=bank.reused,
            command=command,
            smoke=options.smoke,
        )
        write_json(folder / "run.json", run)
        page.build(folder)
    return Outcome(folder=folder, run=run)
