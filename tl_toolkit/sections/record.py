"""``run.json`` and the tables beside it: what a run found, for machines. Its schema is ``core/run.schema.json``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from tl_toolkit.core.files import csv_text
from tl_toolkit.core.records import Audit, Comparison, Dataset, Evaluation, ExportedModel, Splits
from tl_toolkit.core.runs import environment, plain
from tl_toolkit.core.searches import SearchResult, SearchSpace

SCHEMA_VERSION = 1


def run_record(
    *,
    found: SearchResult,
    space: SearchSpace,
    engine: str,
    members: dict[str, list[int]],
    reference: Evaluation,
    comparison: Comparison,
    baseline: dict[str, Any] | None,
    leaking: dict[str, Any] | None,
    **common: Any,
) -> dict[str, Any]:
    """The content of ``run.json`` of a search; ``common`` are the arguments of :func:`_common`."""
    final = found.winner("final")
    # With an official test set the one search chose what is scored on it.
    outer = [study for study in members if study.startswith("outer-")] or ["final"]
    # None where time was up before a trial was complete.
    inner = [score for study in outer if (score := found.winner(study).score) is not None]
    search = {
        "engine": engine,
        "space": space.name,
        "space_sha256": space.sha256,
        "metric": space.metric,
        "n_trials": len(found.seen),
        "n_failed": sum(trial.state == "failed" for trial in found.trials),
        "n_pruned": sum(trial.state == "pruned" for trial in found.trials),
        "trials_per_study": space.trials,
        "stopped": found.stopped,
        "seconds": found.seconds,
        "trials_per_minute": 60 * len(found.seen) / max(found.seconds, 1e-9),
        "best": final.config,
        "best_inner_score": final.score,
        "members": members,
        "outer_winners": {study: found.winner(study).config for study in outer},
        "outer_winners_inner_score": sum(inner) / len(inner) if len(inner) == len(outer) else None,
        "reference": {"settings": space.reference, **evaluated(reference)},
    }
    own = {"comparison": comparison, "baseline": baseline, "leaking": leaking, "search": search}
    return plain(_common(own, **common))


def training_record(*, training: dict[str, Any], **common: Any) -> dict[str, Any]:
    """The content of ``run.json`` of one training; ``common`` are the arguments of :func:`_common`."""
    return plain(_common({"training": training}, **common))


def _common(
    own: dict[str, Any],
    *,
    dataset: Dataset,
    audit: Audit,
    splits: Splits,
    seed: int,
    evaluation: Evaluation,
    without_twins: dict[str, Any] | None,
    exports: list[ExportedModel],
    run_id: str,
    asked: dict[str, str | None],
    steps: dict[str, float],
    total_seconds: float,
    peak_memory: int,
    computed: int,
    reused: int,
    command: str,
    smoke: bool,
) -> dict[str, Any]:
    """What all runs have, around what is a run's ``own``."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "command": command,
        "smoke": smoke,
        "seed": seed,
        "dataset": {
            "name": dataset.name,
            "is_sample": dataset.is_sample,
            "n_images": len(dataset),
            "n_groups": len(set(audit.groups.tolist())),
            "class_names": dataset.class_names,
            "class_counts": dict(zip(dataset.class_names, dataset.counts.tolist(), strict=True)),
            "source": dataset.source,
            "licence": dataset.licence,
            "notes": dataset.notes,
            "fingerprint": audit.fingerprint,
            **asked,
        },
        "audit": {
            "exact_duplicates": [[audit.paths[i] for i in twins] for twins in audit.exact],
            "near_duplicates": [[audit.paths[i] for i in twins] for twins in audit.near],
            "label_conflicts": [[audit.paths[i] for i in twins] for twins in audit.conflicts],
            "quarantined": [asdict(one) for one in audit.quarantined],
        },
        "splits": {
            "n_outer": splits.n_outer,
            "n_inner": splits.n_inner,
            "official_test_set": splits.official,
            "n_scored": int(splits.scored.sum()),
            "seed": splits.seed,
            "notes": splits.notes,
        },
        "evaluation": evaluated(evaluation),
        "without_twins": without_twins,
        **own,
        "features": {"computed": computed, "reused": reused},
        "model": exports[0],
        "exports": exports,
        "timing": {"total_seconds": total_seconds, "steps": steps},
        "peak_memory_bytes": peak_memory,
        "environment": environment(),
    }


def evaluated(evaluation: Evaluation) -> dict[str, Any]:
    """Scores as ``run.json`` has them."""
    return {
        "metrics": evaluation.metrics,
        "per_class": {
            name: {"support": evaluation.support[name], **figures} for name, figures in evaluation.per_class.items()
        },
        "confusion": evaluation.confusion,
        "fold_metrics": evaluation.fold_metrics,
    }


def trials_table(found: SearchResult) -> str:
    """``trials.csv``: a line a trial, with its settings and the score of every inner fold, empty where it has none."""
    n_inner = max(len(trial.fold_scores) for trial in found.trials)
    rows = [
        {
            "study": trial.study,
            "number": trial.number,
            "state": trial.state,
            "score": trial.score,
            **{f"fold_{i}": trial.fold_scores[i] if trial.fold_scores else None for i in range(n_inner)},
            "seconds": round(trial.seconds, 4),
            "trained_epochs": trial.trained_epochs,
            **asdict(trial.config),
            "error": trial.error or "",
        }
        for trial in found.trials
    ]
    return csv_text(rows, list(rows[0]))


def predictions_table(dataset: Dataset, outer: np.ndarray, evaluation: Evaluation) -> str:
    """``predictions.csv``: one line a photo, as predicted by the model of the outer fold that left it out.

    Args:
        dataset: The n photos that were scored.
        outer: int64, shape (n,): the fold that scored each.
    """
    names = dataset.class_names
    rows = []
    for i, path in enumerate(dataset.paths):
        probabilities = evaluation.probabilities[i]
        rows.append(
            {
                "path": path,
                "fold": int(outer[i]),
                "label": names[dataset.labels[i]],
                "predicted": names[int(probabilities.argmax())],
                **{f"p_{name}": f"{p:.6f}" for name, p in zip(names, probabilities, strict=True)},
            }
        )
    return csv_text(rows, list(rows[0]))
