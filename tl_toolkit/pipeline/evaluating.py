"""How good a model is on new labelled photos, and whether that says something: what ``python -m tl_toolkit.evaluate``
does.

model, photos -> examination -> predictions -> score; leaks, drift and promise, from what the run kept -> page
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.backbones.features import FeatureBank
from tl_toolkit.core.console import progress
from tl_toolkit.core.errors import UnknownNameError, UserError
from tl_toolkit.core.files import cache_folder, digest, write_json, write_text
from tl_toolkit.core.prints import TrainingPrints, load_prints
from tl_toolkit.core.records import Audit, Dataset, Evaluation
from tl_toolkit.core.references import run_of
from tl_toolkit.core.runs import Stopwatch
from tl_toolkit.core.saved import SavedRun, load_run
from tl_toolkit.core.thumbnails import PICTURES, TRAIN, keep_picture, picture_file
from tl_toolkit.datasets import audit as auditing
from tl_toolkit.datasets.audit import Examination
from tl_toolkit.datasets.image_folder import scan
from tl_toolkit.datasets.leaks import Leaks, Side
from tl_toolkit.datasets.leaks import find_leaks as compared
from tl_toolkit.datasets.photos import Photos
from tl_toolkit.evaluation.calibration import calibrate
from tl_toolkit.evaluation.drift import Sample, measure_drift, share_shift
from tl_toolkit.evaluation.metrics import evaluate
from tl_toolkit.evaluation.promise import Scored, compare_with_promise
from tl_toolkit.evaluation.remoteness import remoteness
from tl_toolkit.pipeline.data import clean_views, examined
from tl_toolkit.pipeline.explaining import explainer, keep_overlays
from tl_toolkit.pipeline.predicting import load_model
from tl_toolkit.pipeline.reporting import groups_of
from tl_toolkit.sections import evaluation as page

_BATCH = 32
_MOST_MISTAKES = 60
_FEW = 12
"""Pictures that there should be: where mistakes are fewer, right answers that were least certain are shown as well."""

_BUDGET = 2**29


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions:
    """What the user asked for: the options of ``python -m tl_toolkit.evaluate``, and the command line itself."""

    model: str
    folder: Path
    ignore_unknown: bool = False
    out: Path = Path("reports")
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FolderEvaluation:
    """Where the page is, the content of its ``evaluation.json``, and what it says of each question in a sentence."""

    page: Path
    record: dict[str, Any]
    verdicts: dict[str, str]


def evaluate_folder(options: EvaluateOptions) -> FolderEvaluation:
    """Score a model on a folder of photos: to ``<out>/evaluations/<folder>-by-<run>/index.html``.

    What an earlier evaluation of these names left there is replaced.

    Raises:
        UserError: something that the user can mend, such as a class that the model does not know.
    """
    watch = Stopwatch()
    found = scan(options.folder, least=1)
    with watch.step("model", f"Loading {options.model}"):
        model = load_model(options.model)
        names, file = tuple(model.classes_.tolist()), model.path
        run = run_of(file)
        saved = load_run(run) if run else None
        kept = load_prints(run) if run else None
    if kept and kept.class_names != names:
        raise UserError(f"{file} knows other classes than {run} was trained on: name the model of a run, unchanged.")
    unknown = [name for name in found.class_names if name not in names]
    if unknown and not options.ignore_unknown:
        raise UserError(
            f"{UnknownNameError('class', unknown[0], names)}"
            + (f" Unknown, too: {', '.join(map(repr, unknown[1:]))}." if unknown[1:] else "")
            + " Rename the folders, or leave their photos out with --ignore-unknown."
        )
    places = [i for i, label in enumerate(found.labels) if found.class_names[label] in names]
    if not places:
        raise UserError(f"No photo in {options.folder} is of a class of the model: {', '.join(names)}.")
    dataset = Dataset(
        name=options.folder.resolve().name,
        root=options.folder.resolve(),
        paths=tuple(found.paths[i] for i in places),
        labels=np.array([names.index(found.class_names[found.labels[i]]) for i in places], np.int64),
        class_names=names,
        source=f"the folder {options.folder.name!r}",
        licence="not stated",
        is_sample=bool(saved and saved.run["dataset"]["is_sample"]),
    )
    dataset, photos, examination = _read(dataset, watch)
    backbone = kept.backbone if kept else auditing.backbone_for(examination)
    source = clean_views(photos, examination.sha256)
    with watch.step("features", "Looking at what they show"), progress() as display:
        bank = FeatureBank(cache_folder() / "features")
        task = display.add_task("Computing features", total=bank.missing(backbone, source))
        table = bank.features(backbone, source, lambda done: display.advance(task, done))
        features = table[:, 0, : auditing.FEATURES]
        audit = auditing.group(dataset, examination, features, limits=auditing.limits_of(backbone))
    with watch.step("prediction", f"Classifying {len(dataset)} photos"), progress() as display:
        task = display.add_task("Classifying photos", total=len(dataset))
        said = []
        for start in range(0, len(dataset), _BATCH):
            batch = [photos[i] for i in range(start, min(start + _BATCH, len(dataset)))]
            said.append(model.predict_proba(batch))
            display.advance(task, len(batch))
    with watch.step("evaluation", "Scoring"):
        best = _scored("new photos", dataset, np.concatenate(said), audit.groups, np.arange(len(dataset)))
        calibration = calibrate(best, audit.groups)

    pairs = None
    if kept:
        with watch.step("leaks", "Comparing with the training photos"), progress() as display:
            task = display.add_task("Comparing photos", total=len(dataset))
            pairs = _leaks(kept, dataset, photos, examination, features, lambda done: display.advance(task, done))
    fresh = np.ones(len(dataset), bool)
    if pairs:
        fresh[[pair.test for pair in pairs.closest]] = False
    rows = np.flatnonzero(fresh)
    with watch.step("drift", "Measuring drift, and what was promised"):
        unseen = None
        if pairs and 0 < len(rows) < len(dataset):
            unseen = _scored("without leaking photos", dataset, best.probabilities, audit.groups, rows)
        drift = _drift(kept, dataset, features, audit, rows) if kept else None
        promise = _promise(saved, best, audit, rows) if saved else None

    with watch.step("explanation", "Looking where the model looked"):
        looked = explainer(file)
    with watch.step("page", "Writing the page"):
        predicted, confidence = best.probabilities.argmax(1), best.probabilities.max(1)
        by_confidence = np.argsort(-confidence, kind="stable")
        right = (predicted == dataset.labels)[by_confidence]
        surest, least = by_confidence[~right], by_confidence[right][::-1]
        record = page.evaluation_record(
            dataset=dataset,
            model={"path": file.as_posix(), "sha256": model_digest(file)},
            run=saved,
            kept=kept,
            evaluation=best,
            unseen=unseen,
            calibration=calibration,
            mistakes=surest[:_MOST_MISTAKES],
            uncertain=least[: max(0, _FEW - len(surest))],
            one_view=looked.one_view if looked else None,
            leaks=pairs,
            drift=drift,
            promise=promise,
            audit=audit,
            quarantined=examination.quarantined,
            left_out={name: sum(found.class_names[one] == name for one in found.labels) for name in unknown},
            command=options.command,
            seconds=watch.total(),
        )
        folder = options.out / "evaluations" / f"{dataset.name}-by-{run.name if run else file.stem}"
        # Those of an earlier evaluation may be of other photos under the same numbers.
        shutil.rmtree(folder / PICTURES, ignore_errors=True)
        for index in page.pictured(record):
            keep_picture(folder, index, photos[index])
        if looked:
            keep_overlays(folder, lambda index: photos[index], looked, page.explained(record), predicted)
        for pair in page.shown_leaks(record):
            _copy_picture(run, pair["train_index"], folder, pair["index"])
        write_text(folder / "predictions.csv", page.predictions_table(dataset, best, record))
        write_json(folder / "evaluation.json", record)
        written = page.build(folder)
    return FolderEvaluation(page=written, record=record, verdicts=page.verdicts(record))


def model_digest(path: Path) -> str:
    """Hexadecimal SHA-256 of a model file or folder, as in the ``exports`` of a run."""
    # OpenVINO keeps the weights in a second file.
    return digest(path, path.with_suffix(".bin")) if path.suffix == ".xml" else digest(path)


def _read(dataset: Dataset, watch: Stopwatch) -> tuple[Dataset, Photos, Examination]:
    with watch.step("audit", f"Reading {len(dataset)} photos of {dataset.name}"):
        photos = Photos(dataset.root, dataset.paths, budget=_BUDGET)
        examination = examined(dataset, photos)
    return dataset.select(examination.readable), photos.select(examination.readable), examination


def _scored(
    title: str, dataset: Dataset, probabilities: np.ndarray, groups: np.ndarray, rows: np.ndarray
) -> Evaluation:
    one_fold = np.zeros(len(rows), np.int64)
    return evaluate(title, dataset.labels[rows], probabilities[rows], groups[rows], one_fold, dataset.class_names)


def _leaks(
    kept: TrainingPrints,
    dataset: Dataset,
    photos: Photos,
    examination: Examination,
    features: np.ndarray,
    advance: Callable[[int], None],
) -> Leaks:
    """The new photos that are among those that the model was trained on; of the pairs, ``train`` counts in ``kept``."""
    rows = np.flatnonzero(kept.trained)
    known = Side(
        files=tuple(Path(kept.paths[i]) for i in rows),
        examination=Examination(
            readable=rows,
            sha256=tuple(kept.sha256[i].tobytes().hex() for i in rows),
            widths=kept.widths[rows],
            heights=kept.heights[rows],
            hashes=kept.hashes[rows],
            quarantined=(),
        ),
        features=kept.features.astype(np.float32) if kept.complete else None,
        pixels=tuple(kept.pixels[i].tobytes().hex() for i in rows),
    )
    new = Side(
        files=tuple(photos.file(i) for i in range(len(dataset))),
        examination=examination,
        features=features if kept.complete else None,
    )
    found = compared(known, new, advance, limits=auditing.limits_of(kept.backbone))
    return replace(found, pairs=tuple(replace(pair, train=int(rows[pair.train])) for pair in found.pairs))


def _drift(
    kept: TrainingPrints, dataset: Dataset, features: np.ndarray, audit: Audit, rows: np.ndarray
) -> dict[str, Any]:
    """Drift of the photos that do not leak, and how far away each photo is."""
    training = Sample(
        features=kept.features.astype(np.float32),
        labels=kept.labels[kept.featured],
        groups=kept.groups[kept.featured],
    )
    new = Sample(features=features[rows], labels=dataset.labels[rows], groups=audit.groups[rows])
    everything = Sample(features=training.features, labels=kept.labels[kept.trained], groups=kept.groups[kept.trained])
    return {
        "n": len(rows),
        "features": measure_drift(training, new) if len(rows) else None,
        "shares": share_shift(everything, new, len(dataset.class_names)) if len(rows) else None,
        "remoteness": remoteness(training, features),
    }


def _promise(saved: SavedRun, best: Evaluation, audit: Audit, rows: np.ndarray) -> Any:
    """The score on the photos that do not leak against the run's; None where all of them do."""
    try:
        groups = groups_of(saved)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"The records in {saved.folder} are damaged ({error!r}): run the search again.") from error
    promised = Scored(labels=saved.labels, predictions=saved.probabilities.argmax(1), groups=groups)
    new = Scored(labels=best.labels, predictions=best.probabilities.argmax(1), groups=audit.groups)
    return compare_with_promise(promised, new.select(rows))


def _copy_picture(run: Path | None, train: int, folder: Path, index: int) -> None:
    """The thumbnail of a training photo, where the run kept one."""
    source = picture_file(run, train, TRAIN) if run else None
    if source and source.exists():
        shutil.copy(source, picture_file(folder, index, TRAIN))
