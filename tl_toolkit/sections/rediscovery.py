"""Rediscovery of the reference settings: its record, ``rediscovery.json``, its table, ``trials.csv``, and its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.core.files import csv_text
from tl_toolkit.core.records import Audit, Dataset, Evaluation, Splits
from tl_toolkit.core.runs import environment, plain
from tl_toolkit.core.searches import SearchSpace, Trial
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.sections import rediscovery_figures as figures
from tl_toolkit.sections.document import build_page
from tl_toolkit.sections.document import render as fill

SCHEMA_VERSION = 1


def rediscovery_record(
    *,
    dataset: Dataset,
    audit: Audit,
    splits: Splits,
    space: SearchSpace,
    studies: Sequence[str],
    compared: int,
    decides: str,
    batch: int,
    targets: Mapping[str, Any],
    reference: Evaluation | None,
    landscape: Sequence[tuple[TrainingConfig, float | None]],
    searches: Sequence[Any],
    engines: Sequence[Any],
    command: str,
    seed: int,
    smoke: bool,
    stopped: str,
    steps: Mapping[str, float],
    seconds: float,
) -> dict[str, Any]:
    """The content of ``rediscovery.json``; the settings of every single trial are in ``trials.csv``.

    Args:
        studies: That have a blind search, the one that trials are counted in last: over all photos, if that has one.
        compared: Photos of the outer folds that have one.
        decides: The metric that the verdicts are about.
        batch: Trials of a study that were asked for at once.
        targets: Study -> score of the reference, its standard error, and from which score on a trial is near it.
        reference: Its predictions of those photos; None where there are none.
        landscape: Settings and their scores in that study, None where training diverged; empty where not made.
        searches: How each engine fared with each seed.
        engines: What the seeds of each engine come to.
        steps: Seconds of each step.
    """
    return plain(
        {
            "schema_version": SCHEMA_VERSION,
            "command": command,
            "smoke": smoke,
            "seed": seed,
            "stopped": stopped,
            "seconds": seconds,
            "steps": steps,
            "dataset": {
                "name": dataset.name,
                "is_sample": dataset.is_sample,
                "n_photos": len(dataset),
                "n_groups": len(np.unique(audit.groups)),
                "class_names": dataset.class_names,
                "source": dataset.source,
                "licence": dataset.licence,
                "notes": dataset.notes,
                "fingerprint": audit.fingerprint,
            },
            "space": {
                "name": space.name,
                "sha256": space.sha256,
                "metric": space.metric,
                "trials": space.trials,
                "scored_folds": space.scored_folds,
                "pruning": space.pruning,
                "batch": batch,
            },
            "splits": {
                "n_outer": splits.n_outer,
                "n_inner": splits.n_inner,
                "studies": studies,
                "where": where(studies[-1], "drawn pictures" if dataset.is_sample else "photos"),
                "compared": compared,
            },
            "decides": decides,
            "reference": {
                "settings": space.reference,
                "targets": targets,
                "metrics": reference.metrics if reference else {},
            },
            "landscape": [
                {"learning_rate": config.learning_rate, "momentum": config.momentum, "score": score}
                for config, score in landscape
            ],
            "searches": searches,
            "engines": engines,
            "environment": environment(),
        }
    )


def table(searches: Sequence[tuple[Any, Sequence[Trial]]]) -> str:
    """``trials.csv``: one line a trial of every search, with its settings; what is not known is left empty.

    Args:
        searches: What has the attributes ``engine`` and ``seed``, and its trials.
    """
    rows = [
        {
            "engine": search.engine,
            "seed": search.seed,
            "study": trial.study,
            "number": trial.number,
            "state": trial.state,
            "score": trial.score,
            "trained_epochs": trial.trained_epochs,
            "seconds": round(trial.seconds, 4),
            **asdict(trial.config),
            "error": trial.error or "",
        }
        for search, trials in searches
        for trial in trials
    ]
    names = ("engine", "seed", "study", "number", "state", "score", "trained_epochs", "seconds")
    return csv_text(rows, [*names, *TrainingConfig.__dataclass_fields__, "error"])


def build(folder: Path) -> Path:
    """Write ``index.html`` into the folder of a rediscovery, from its record.

    Raises:
        UserError: the folder holds no rediscovery.
    """
    return build_page(folder, "rediscovery.json", "rediscovery", "make it again", lambda record, _: render(record))


def render(record: Mapping[str, Any]) -> str:
    """The page as HTML; every name in it is escaped, for names are data."""
    last = record["splits"]["studies"][-1]
    return fill(
        "rediscovery.html.j2",
        record=record,
        final=last,
        target=record["reference"]["targets"][last],
        answer=answer(record),
        ridge=ridge(record),
        winners=winners(record),
        figures=figures.draw(record),
    )


def where(study: str, what: str) -> str:
    """In words, what a study searches: ``what`` are photos, or drawn pictures."""
    if study.startswith("outer-"):
        return f"inside outer fold {study.removeprefix('outer-')}"
    return f"over all {what}"


def answer(record: Mapping[str, Any]) -> str:
    """What the searches say, in one sentence."""
    engines = record["engines"]
    if not engines:
        return "No search was finished."
    judged = [engine for engine in engines if engine["verdict"]]
    name = _name(record["reference"]["settings"])
    target = record["reference"]["targets"][record["splits"]["studies"][-1]]
    ahead = figures.sign(record) * (target["score"] - target["blind"])
    doubt = ""
    if ahead <= target["standard_error"]:
        doubt = (
            f" But {name} is itself not clearly better than always guessing the largest class "
            f"({target['score']:.3f} against {target['blind']:.3f} on the inner folds): matching it proves little."
        )
    if not judged:
        near = [engine["engine"] for engine in engines if engine["median"] is not None]
        said = f"Blind searches come near {name} with {' and '.join(near)}" if near else f"No engine comes near {name}"
        return f"{said}.{doubt}"
    # The worst first: it must not be read over.
    verdicts = [
        f"{verdict} ({' and '.join(engines)})"
        for verdict in ("worse", "within noise", "better")
        if (engines := [one["engine"] for one in judged if one["verdict"] == verdict])
    ]
    return f"Settings found blind, against {name}: {'; '.join(verdicts)}.{doubt}"


def _name(settings: Mapping[str, Any]) -> str:
    momentum = f" / {settings['momentum']:g}" if settings["optimizer"] == "sgd" else ""
    return f"{settings['optimizer'].upper()} {settings['learning_rate']:g}{momentum}"


def ridge(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the landscape says: its best cell, and the effective rates of the cells that are near the reference.

    None where there is no scored cell.
    """
    cells = [cell for cell in record["landscape"] if cell["score"] is not None]
    if not cells:
        return None
    target = record["reference"]["targets"][record["splits"]["studies"][-1]]
    sign = figures.sign(record)
    near = [cell for cell in cells if sign * cell["score"] >= sign * target["near"]]
    rates = [cell["learning_rate"] / (1 - cell["momentum"]) for cell in near]
    best = max(cells, key=lambda cell: sign * cell["score"])
    return {
        "best": best | {"effective": best["learning_rate"] / (1 - best["momentum"])},
        "cells": len(record["landscape"]),
        "near": len(near),
        # The best may be all that a landscape holds, and the reference's neighbours not be among what was scored.
        "low": min(rates) if rates else None,
        "high": max(rates) if rates else None,
    }


def winners(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The winners of the last study's searches, one for each engine and seed, with their effective rates."""
    rows = []
    for search in record["searches"]:
        course = search["courses"][-1]
        config = course["winner"]["config"]
        rows.append(
            {
                "engine": search["engine"],
                "seed": search["seed"],
                "score": course["winner"]["score"],
                "number": course["winner"]["number"],
                "effective": config["learning_rate"] / (1 - config["momentum"]),
                **config,
            }
        )
    return rows
