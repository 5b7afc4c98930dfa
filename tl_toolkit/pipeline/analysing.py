"""What is found out about a result once it is scored: nothing here chooses or changes anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.backbones.base import Backbone
from tl_toolkit.backbones.features import resolve
from tl_toolkit.backbones.tables import FeatureTables
from tl_toolkit.core.files import write_json
from tl_toolkit.core.records import Audit, Dataset, Evaluation
from tl_toolkit.core.runs import plain
from tl_toolkit.core.runtime import tensorflow
from tl_toolkit.core.settings import FROZEN, NO_BACKBONE, TrainingConfig
from tl_toolkit.core.thumbnails import keep_picture
from tl_toolkit.evaluation.calibration import calibrate
from tl_toolkit.evaluation.comparison import compare
from tl_toolkit.evaluation.curves import epochs_to_look, training_curves
from tl_toolkit.evaluation.explanations import grad_cam, overlay
from tl_toolkit.evaluation.label_issues import find_label_issues
from tl_toolkit.evaluation.learning_curve import learning_curve
from tl_toolkit.evaluation.metrics import evaluate
from tl_toolkit.evaluation.nested import outer_jobs
from tl_toolkit.heads.fitting import course, fit, joined, trained
from tl_toolkit.pipeline.data import Prepared
from tl_toolkit.pipeline.explaining import explainer, keep_overlays
from tl_toolkit.pipeline.options import SearchOptions
from tl_toolkit.sections import data_quality

MOST_MISTAKES = 60
"""Mistakes shown with their pictures, the most confident first: a report stays small enough to mail."""

_BATCH = 16


def analyse(
    folder: Path,
    prepared: Prepared,
    tables: FeatureTables,
    best: Evaluation,
    members: Sequence[Sequence[TrainingConfig]],
    final: Sequence[TrainingConfig],
    scored_folds: int,
    options: SearchOptions,
) -> None:
    """Write ``analysis.json`` and thumbnails of the photos that the report shows.

    Args:
        best: The scored predictions.
        members: The averaged settings of each outer fold.
        final: Those of the exported model.
        scored_folds: Inner folds that the search scored, the first ones.
    """
    dataset, splits, groups = prepared.dataset, prepared.splits, prepared.audit.groups
    rows = np.flatnonzero(splits.scored)
    resamples = 100 if options.smoke else 2000
    largest = largest_class(dataset.labels, splits.outer)[rows]
    found = of_predictions(best, dataset.select(rows), largest, splits.outer[rows], groups[rows], resamples=resamples)

    configs = [config for several in (*members, final) for config in several]
    of_heads = all(config.network == FROZEN for config in configs)
    if of_heads:
        found |= _courses(tables, prepared, members, final[0], scored_folds, options)
    used = {backbone for c in configs if c.backbone != NO_BACKBONE for backbone, _ in resolve(c.backbone)}
    found["weights"] = {backbone.name: backbone.licence for backbone in sorted(used, key=lambda b: b.name)}

    found["twins"] = keep_pictures(folder, lambda index: prepared.photos[index], prepared.audit, found, rows)
    if of_heads:
        _explain(folder, prepared, tables, best, members, found["mistakes"], options.seed)
    elif splits.official and (looked := explainer(folder / "model" / "model.keras")):
        # The exported model is the one that was scored. Elsewhere the networks of the outer folds are no longer there.
        found["one_view"] = looked.one_view
        said = best.probabilities.argmax(1)
        keep_overlays(folder, lambda index: prepared.photos[int(rows[index])], looked, found["mistakes"], said)
    write_json(folder / "analysis.json", plain(found))


def _courses(
    tables: FeatureTables,
    prepared: Prepared,
    members: Sequence[Sequence[TrainingConfig]],
    final: TrainingConfig,
    scored_folds: int,
    options: SearchOptions,
) -> dict[str, Any]:
    """Curves of training and of learning; of heads only, for networks would have to be trained dozens of times."""
    splits, names, labels = prepared.splits, prepared.dataset.class_names, prepared.dataset.labels
    inner = splits.inner[-1]
    folds = range(scored_folds)
    train = [(inner >= 0) & (inner != fold) for fold in folds]
    epochs = epochs_to_look(final.epochs)
    curves = training_curves(
        labels,
        train,
        [inner == fold for fold in folds],
        epochs,
        course(final, train, epochs, tables, len(names), seed=options.seed),
    )
    if splits.official:
        # A learning curve would score the test set again and again.
        return {"curves": curves}
    learning = learning_curve(
        lambda jobs, seed: fit(jobs, tables, len(names), seed=seed),
        [configs[0] for configs in members],
        labels,
        prepared.audit.groups,
        splits,
        len(names),
        seed=options.seed,
        repeats=2 if options.smoke else 3,
        resamples=40 if options.smoke else 200,
    )
    return {"curves": curves, "learning_curve": learning}


def largest_class(labels: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """What a classifier that looks at nothing says of each photo: the largest class that its outer fold trains on.

    Args:
        labels, outer: int64, shape (n,).

    Returns:
        int64, shape (n,).
    """
    said = np.zeros_like(labels)
    for fold in np.unique(outer):
        said[outer == fold] = np.bincount(labels[outer != fold]).argmax()
    return said


def without_twins(best: Evaluation, prepared: Prepared, *, resamples: int) -> dict[str, Any] | None:
    """The score on those photos of an official test set that have no near duplicate among the others.

    None where there is no official test set.
    """
    splits, groups = prepared.splits, prepared.audit.groups
    if not splits.official:
        return None
    rows = splits.scored
    apart = ~np.isin(groups[rows], groups[~rows])
    metrics = None
    if apart.any():
        metrics = evaluate(
            "without near duplicates",
            best.labels[apart],
            best.probabilities[apart],
            groups[rows][apart],
            splits.outer[rows][apart],
            prepared.dataset.class_names,
            resamples=resamples,
        ).metrics
    return {"left_out": int((~apart).sum()), "n": int(apart.sum()), "metrics": metrics}


def of_predictions(
    best: Evaluation, dataset: Dataset, largest: np.ndarray, outer: np.ndarray, groups: np.ndarray, *, resamples: int
) -> dict[str, Any]:
    """What the scored predictions alone tell: calibration, the largest class as a rival, doubtful labels, mistakes.

    Args:
        best: The predictions of the n photos of ``dataset``.
        largest: int64, shape (n,): see :func:`largest_class`.
        outer, groups: int64, shape (n,): the fold that scored each photo, and its group of near duplicates.
    """
    labels, names = dataset.labels, dataset.class_names
    guess = np.eye(len(names), dtype=np.float32)[largest]
    rival = evaluate("always the largest class", labels, guess, groups, outer, names, resamples=resamples)
    mistakes = np.flatnonzero(best.probabilities.argmax(1) != labels)
    surest = np.argsort(-best.probabilities.max(1)[mistakes], kind="stable")
    return {
        "calibration": calibrate(best, groups, resamples=resamples),
        "largest_class": {
            "class": names[int(np.bincount(largest).argmax())],
            "metrics": rival.metrics,
            "comparison": compare(best, rival, groups, resamples=resamples),
        },
        "label_issues": [
            {
                "index": issue.index,
                "path": dataset.paths[issue.index],
                "label": names[issue.label],
                "suggested": names[issue.suggested],
                "self_confidence": issue.self_confidence,
                "margin": issue.margin,
            }
            for issue in find_label_issues(labels, best.probabilities)
        ],
        "mistakes": mistakes[surest][:MOST_MISTAKES],
    }


def keep_pictures(
    folder: Path, photo: Callable[[int], np.ndarray], audit: Audit, found: dict[str, Any], rows: np.ndarray
) -> dict[str, int]:
    """Write thumbnails of the photos that the report shows: mistakes, suspects, and the first groups of duplicates.

    Args:
        photo: Place among all photos -> uint8 RGB, shape (height, width, 3).
        found: See :func:`of_predictions`.
        rows: int64, shape (m,): the places of those that were scored among all photos.

    Returns:
        Path -> place among all photos, of the duplicates.
    """
    suspects = [issue["index"] for issue in found["label_issues"][: data_quality.MOST_SUSPECTS]]
    for index in sorted({*found["mistakes"].tolist(), *suspects}):
        keep_picture(folder, index, photo(int(rows[index])))
    twins = data_quality.pictured((audit.conflicts, audit.exact, audit.near))
    for index in twins:
        keep_picture(folder, index, photo(index), data_quality.TWIN)
    return {audit.paths[index]: index for index in twins}


def _explain(
    folder: Path,
    prepared: Prepared,
    tables: FeatureTables,
    best: Evaluation,
    members: Sequence[Sequence[TrainingConfig]],
    shown: np.ndarray,
    seed: int,
) -> None:
    """Write where the models looked that made these mistakes: each photo's is that of the fold that left it out."""
    places = np.flatnonzero(prepared.splits.scored)
    folds = prepared.splits.outer[places]
    jobs = outer_jobs(members, prepared.splits)
    heads = dict(trained([job for _, job in jobs], tables, len(prepared.dataset.class_names), seed=seed))
    kernels: list[np.ndarray] = []
    parts: list[list[tuple[Backbone, int]]] = []
    wanted: dict[tuple[Backbone, int], list[int]] = defaultdict(list)
    for fold in range(prepared.splits.n_outer):
        own = [position for position, (owner, _) in enumerate(jobs) if owner == fold]
        together, several = joined(
            [heads[position] for position in own],
            [resolve(jobs[position][1].config.backbone) for position in own],
            lambda part: part[0].n_features,
        )
        parts.append(together)
        # The mean of the members' scores is the score of their mean kernel.
        kernels.append(several.mean(0))
        for part in together:
            wanted[part] += shown[folds[shown] == fold].tolist()
    maps = {
        part: dict(zip(indices, _maps(*part, places[indices], prepared), strict=True))
        for part, indices in wanted.items()
        if indices
    }
    for index in shown.tolist():
        photo, fold = prepared.photos[int(places[index])], int(folds[index])
        kernel = kernels[fold][:, best.probabilities[index].argmax()]
        heat = grad_cam([maps[part][index] for part in parts[fold]], kernel, photo.shape[:2])
        keep_picture(folder, index, overlay(photo, heat), "cam")


def _maps(backbone: Backbone, side: int, indices: np.ndarray, prepared: Prepared) -> Iterator[np.ndarray]:
    """The backbone's last maps of each photo, float32 (places high, places wide, n_features)."""
    tf = tensorflow()
    model = backbone.build(side, pooled=False)
    look = tf.function(
        lambda pixels: model(pixels, training=False), input_signature=[tf.TensorSpec((None, side, side, 3), tf.float32)]
    )
    for start in range(0, len(indices), _BATCH):
        batch = indices[start : start + _BATCH].tolist()
        pixels = tf.concat([tf.image.resize(prepared.photos[i][None], (side, side)) for i in batch], 0)
        yield from look(pixels).numpy()
