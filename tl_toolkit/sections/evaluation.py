"""A model on new photos: its record, ``evaluation.json``, its table, ``predictions.csv``, and its page.

The schema of the record is ``core/evaluation.schema.json``. Sections of the report of a run are drawn from it, too.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.core.files import csv_text
from tl_toolkit.core.prints import TrainingPrints
from tl_toolkit.core.records import Audit, Dataset, Evaluation, Quarantined
from tl_toolkit.core.runs import environment, plain
from tl_toolkit.core.saved import SavedRun
from tl_toolkit.core.thumbnails import kept_picture
from tl_toolkit.sections import REGISTRY
from tl_toolkit.sections.document import build_page
from tl_toolkit.sections.document import render as fill
from tl_toolkit.sections.record import evaluated

SCHEMA_VERSION = 1

SECTIONS = ("per_class", "confusion", "mistakes", "calibration")
"""Of the report of a run."""

SHOWN = 40
"""Most leaking photos, and most that are far away, that the page shows. The table holds all."""

FEW = 20
"""Photos, near duplicates aside, below which the intervals of the scores are not to be trusted."""

_SIGNIFICANT = 0.05
_STRONG = 0.75
"""Area under the ROC curve from which a drift is called strong."""

_NO_RUN = "the model file lies in no run folder"
_OLD_RUN = "the run kept nothing of its training photos (training.npz), as those of older releases: search again"


def evaluation_record(
    *,
    dataset: Dataset,
    model: Mapping[str, Any],
    run: SavedRun | None,
    kept: TrainingPrints | None,
    evaluation: Evaluation,
    unseen: Evaluation | None,
    calibration: Any,
    mistakes: np.ndarray,
    uncertain: np.ndarray,
    one_view: bool | None,
    leaks: Any,
    drift: Mapping[str, Any] | None,
    promise: Any,
    audit: Audit,
    quarantined: Sequence[Quarantined],
    left_out: Mapping[str, int],
    command: str,
    seconds: float,
) -> dict[str, Any]:
    """The content of ``evaluation.json``. What could not be found out is None, and ``missing`` says why.

    Args:
        dataset: The readable photos; its classes are the model's.
        run: The run that the model is of.
        kept: What it kept of its training photos.
        evaluation, calibration: Of all photos.
        unseen: Of those that do not leak; None where all or none do.
        mistakes: Indices of those to show.
        uncertain: Of photos classified rightly to show, the least certain first.
        one_view: Whether the model averages several views, of which the plain one is shown where it looked at; None
            where it cannot be shown where it looked.
        leaks: Pairs; ``train`` counts in ``kept``.
        drift: ``n`` photos, drift of ``features`` and ``shares``, and ``remoteness``.
        promise: The score on photos that do not leak, against that of the run.
        left_out: Photos of classes that the model does not know.
        seconds: What it all took.
    """
    scores = evaluated(evaluation)
    # Nothing is known of classes without a photo.
    scores["per_class"] = {name: row for name, row in scores["per_class"].items() if row["support"]}
    del scores["fold_metrics"]
    why = None if kept else _OLD_RUN if run else _NO_RUN
    every = bool(leaks and len(leaks.closest) == len(dataset))
    no_promise = _NO_RUN if not run else "all photos are among those of the training" if every else None
    if run and not promise and not every:
        no_promise = "the run itself scored no photo of these classes"
    remoteness = drift["remoteness"] if drift else None
    far = np.flatnonzero(remoteness.far) if remoteness else np.array([], np.int64)
    far = far[np.argsort(-remoteness.distances[far], kind="stable")] if remoteness else far
    return plain(
        {
            "schema_version": SCHEMA_VERSION,
            "command": command,
            "seconds": seconds,
            "model": model,
            "run": run
            and {
                "name": run.folder.name,
                "dataset": run.run["dataset"]["name"],
                "smoke": run.run["smoke"],
                "metrics": run.run["evaluation"]["metrics"],
            },
            "dataset": {
                "name": dataset.name,
                "is_sample": dataset.is_sample,
                "n_images": len(dataset),
                "n_groups": len(np.unique(audit.groups)),
                "class_names": dataset.class_names,
                "class_counts": dict(zip(dataset.class_names, dataset.counts.tolist(), strict=True)),
                "fingerprint": audit.fingerprint,
            },
            "left_out": left_out,
            "quarantined": quarantined,
            "evaluation": scores,
            "without_leaks": unseen and {"n": len(unseen.labels), "metrics": unseen.metrics},
            "leaks": None if leaks is None or kept is None else _leaks(leaks, dataset, kept),
            "drift": drift and {name: drift[name] for name in ("n", "features", "shares")},
            "far": None
            if remoteness is None
            else [
                {
                    "index": i,
                    "path": dataset.paths[i],
                    "distance": remoteness.distances[i],
                    "rank": remoteness.rank[i],
                    "right": evaluation.probabilities[i].argmax() == evaluation.labels[i],
                }
                for i in far.tolist()
            ],
            "promise": promise,
            "missing": {"leaks": why, "drift": why, "promise": no_promise},
            "analysis": {
                "calibration": calibration,
                "mistakes": mistakes,
                "uncertain": uncertain,
                "one_view": one_view,
            },
            "environment": environment(),
        }
    )


def _leaks(leaks: Any, dataset: Dataset, kept: TrainingPrints) -> dict[str, Any]:
    closest = sorted(leaks.closest, key=lambda pair: ("file", "pixels", "near").index(pair.kind))
    return {
        "leaking": len(closest),
        "share": leaks.share,
        "counts": leaks.counts,
        "by_hash_alone": not kept.complete,
        "n_training": int(kept.trained.sum()),
        "pairs": [
            {
                "index": pair.test,
                "path": dataset.paths[pair.test],
                "label": dataset.class_names[dataset.labels[pair.test]],
                "train_index": pair.train,
                "train_path": kept.paths[pair.train],
                "train_label": kept.class_names[kept.labels[pair.train]],
                "kind": pair.kind,
                "hash_distance": pair.distance,
                "cosine": pair.cosine,
            }
            for pair in closest
        ],
    }


def verdicts(record: Mapping[str, Any]) -> dict[str, str]:
    """The answers, a sentence or two each: promise, leaks and drift; and a note where photos are few."""
    missing = record["missing"]
    n = record["dataset"]["n_groups"]
    note = f"{_count(n)} without near duplicates: the bootstrap intervals of the scores are too narrow, if not empty."
    return {
        **({"Note": note} if n < FEW else {}),
        "Promise": f"Not known: {missing['promise']}." if missing["promise"] else _promise_said(record),
        "Leaks": f"Not known: {missing['leaks']}." if missing["leaks"] else _leaks_said(record),
        "Drift": f"Not known: {missing['drift']}." if missing["drift"] else _drift_said(record),
    }


def _count(n: int, what: str = "photo") -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _promise_said(record: Mapping[str, Any]) -> str:
    found = record["promise"]
    expected, difference = found["expected"], found["difference"]
    what = {"within": "within", "below": "BELOW", "above": "above"}[found["verdict"]]
    which = _count(found["n"]) + (" that do not leak" if record["without_leaks"] else "")
    text = (
        f"The accuracy on {which}, {found['accuracy']:.3f}, lies {what} what the run promised for "
        f"them: {expected['low']:.3f} to {expected['high']:.3f}."
    )
    if found["verdict"] == "within" and difference["low"] < -0.1:
        text += f" So few leave room for a drop of up to {-difference['low']:.2f}."
    return text


def _leaks_said(record: Mapping[str, Any]) -> str:
    found, n = record["leaks"], record["dataset"]["n_images"]
    if not found["leaking"]:
        return f"None of {_count(n)} was found among the {found['n_training']} that the model was trained on."
    share = f"{found['leaking']} of {_count(n)} ({100 * found['share']:.1f} %)"
    one = found["leaking"] == 1
    text = (
        f"{share} {'is' if one else 'are'}, or {'has' if one else 'have'} a near duplicate, among the "
        f"{found['n_training']} that the model was trained on"
    )
    if record["without_leaks"]:
        return f"{text}; accuracy without them {record['without_leaks']['metrics']['accuracy']['value']:.3f}."
    return f"{text}: there is no score on unseen photos."


def _drift_said(record: Mapping[str, Any]) -> str:
    found = record["drift"]
    if not found["n"]:
        return "Not known: all photos are among those of the training."
    text = _features_said(found)
    shares = found["shares"]
    if shares["p_value"] < _SIGNIFICANT:
        text += f" Class shares differ from training (total variation {shares['total_variation']:.2f})."
    return text


def _features_said(found: Mapping[str, Any]) -> str:
    frechet, separation = found["features"]["frechet"], found["features"]["separation"]
    if not separation:
        return f"{_count(found['n'])}, near duplicates counted once and class by class: too few to tell."
    auc = separation["auc"]
    p_values = [one["p_value"] for one in (frechet, separation) if one]
    # Two tests, so each at half the level.
    if min(p_values) >= _SIGNIFICANT / len(p_values):
        return (
            "No more than there is between training photos: a classifier tells new from training photos with AUC "
            f"{auc['value']:.2f}, and up to {separation['chance_high']:.2f} is chance with so many."
        )
    how = "Strong: the" if auc["value"] >= _STRONG else "The"
    text = f"{how} photos differ from those of the training: a classifier tells them apart with AUC {auc['value']:.2f}"
    if frechet:
        text += (
            f"; Frechet distance {frechet['value']:.2f}, where parts of the training photos have up to "
            f"{frechet['normal_high']:.2f}"
        )
    return text + "."


def shown_leaks(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The leaking photos that the page shows, the surest first."""
    return (record["leaks"] or {"pairs": []})["pairs"][:SHOWN]


def explained(record: Mapping[str, Any]) -> list[int]:
    """The photos of which the page shows where the model looked."""
    return [*record["analysis"]["mistakes"], *record["analysis"]["uncertain"]]


def pictured(record: Mapping[str, Any]) -> list[int]:
    """The photos whose thumbnails the page shows."""
    listed = [one["index"] for one in (*shown_leaks(record), *(record["far"] or [])[:SHOWN])]
    return sorted({*explained(record), *listed})


def predictions_table(dataset: Dataset, evaluation: Evaluation, record: Mapping[str, Any]) -> str:
    """``predictions.csv``: one line a photo; ``leak`` is how it is known from training, empty where it is not."""
    names = dataset.class_names
    kinds = {pair["index"]: pair["kind"] for pair in (record["leaks"] or {"pairs": []})["pairs"]}
    rows = [
        {
            "path": path,
            "label": names[evaluation.labels[i]],
            "predicted": names[int(evaluation.probabilities[i].argmax())],
            "leak": kinds.get(i),
            **{f"p_{name}": f"{p:.6f}" for name, p in zip(names, evaluation.probabilities[i], strict=True)},
        }
        for i, path in enumerate(dataset.paths)
    ]
    return csv_text(rows, list(rows[0]))


def build(folder: Path) -> Path:
    """Write ``index.html`` into the folder of an evaluation, from its record, its table and its pictures.

    Raises:
        UserError: the folder holds no evaluation.
    """
    return build_page(folder, "evaluation.json", "evaluation", "evaluate the model again", render)


def render(record: Mapping[str, Any], folder: Path) -> str:
    """The page as HTML; every name in it is escaped, for names are data."""
    from markupsafe import Markup

    saved = _saved(record, folder)
    what = "drawn pictures" if record["dataset"]["is_sample"] else "photos"
    parts = []
    for name in SECTIONS:
        section = REGISTRY.get(name)
        one = section.compute(saved)
        html = fill(f"{name}.html.j2", r=one, figures=section.draw(one), run=record, pictures=what)
        parts.append((name, section.title, Markup(html)))
    return fill(
        "evaluation.html.j2",
        record=record,
        said=verdicts(record),
        parts=parts,
        leaking=shown_leaks(record),
        far=(record["far"] or [])[:SHOWN],
        absent=[name for name, count in record["dataset"]["class_counts"].items() if not count],
        picture=partial(kept_picture, folder),
    )


def _saved(record: Mapping[str, Any], folder: Path) -> SavedRun:
    """What sections read: an evaluation is to them a run that was scored in one fold."""
    names = record["dataset"]["class_names"]
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return SavedRun(
        folder=folder,
        run=dict(record),
        trials=[],
        paths=tuple(row["path"] for row in rows),
        folds=np.zeros(len(rows), np.int64),
        labels=np.array([names.index(row["label"]) for row in rows]),
        probabilities=np.array([[float(row[f"p_{name}"]) for name in names] for row in rows]),
        analysis=record["analysis"],
    )
