"""What a user calls a run: its folder, or the newest or the best of a folder of runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tl_toolkit.core.errors import UserError
from tl_toolkit.core.runs import began

LATEST, BEST = "latest", "best"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    folder: Path
    run: dict[str, Any]
    began: datetime


def run_folder(reference: Path) -> Path:
    """The folder that a reference such as ``reports/slash/latest`` means; any other path means itself.

    Nothing is kept for it, such as links: each time, the ``run.json`` of the runs in ``reports/slash`` are read. A
    folder that is really called so is meant itself. Of the runs in the folder, smoke runs and those of drawn pictures
    count only where there are no others.

    ``latest`` is the finished run that began last.

    ``best`` is, among the runs on the same photos and labels as ``latest``, the one with the best score on photos that
    took no part in choosing or training, by the metric that ``latest`` optimised (accuracy, where nothing was
    searched). Runs that scored fewer photos than others, as a training that holds one fold out, do not count: their
    scores are of other photos. Of equal ones, the later is meant. The best of many scores favours itself a little: that
    of the run that was chosen so is not as honest as each by itself.

    Raises:
        UserError: there is no finished run in the folder.
    """
    if reference.name not in (LATEST, BEST) or reference.exists():
        return reference
    runs = _finished(reference.parent)
    if not runs:
        raise UserError(
            f"{reference.parent} holds no finished run, so there is no {reference.name!r}: name a folder of runs and "
            "/latest or /best, such as reports/slash/latest."
        )
    latest = max(runs, key=lambda one: (one.began, one.folder.name))
    if reference.name == LATEST:
        return latest.folder
    metric = latest.run["search"]["metric"] if "search" in latest.run else "accuracy"
    sign = -1 if metric == "log_loss" else 1
    same = [one for one in runs if _data(one) == _data(latest)]
    scored = max(_scored(one) for one in same)
    return max(
        (one for one in same if _scored(one) == scored),
        key=lambda one: (sign * one.run["evaluation"]["metrics"][metric]["value"], one.began, one.folder.name),
    ).folder


def _finished(folder: Path) -> list[_Candidate]:
    """The finished runs in a folder; smoke runs and drawn pictures only where there are no others."""
    found = []
    for path in sorted(folder.glob("*/run.json")):
        run = _read(path)
        if run:
            found.append(_Candidate(folder=path.parent, run=run, began=began(path.parent)[0]))
    real = [one for one in found if not one.run["smoke"] and not one.run["dataset"]["is_sample"]]
    return real or found


def _read(path: Path) -> dict[str, Any] | None:
    """A ``run.json``; None for a file that is called so but is none."""
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    needed = ("schema_version", "smoke", "dataset", "evaluation")
    return run if isinstance(run, dict) and all(name in run for name in needed) else None


def _data(one: _Candidate) -> tuple[str, bool]:
    return one.run["dataset"]["fingerprint"], one.run["smoke"]


def _scored(one: _Candidate) -> int:
    # A training may hold one fold out of its splits: then it scored fewer photos than they have.
    return one.run.get("training", one.run["splits"]).get("n_scored", one.run["dataset"]["n_images"])


def run_of(model: Path) -> Path | None:
    """The run folder that a model file lies in; None where it lies in none."""
    # Files of OpenVINO lie one folder deeper than others.
    return next((folder for folder in model.resolve().parents[1:3] if (folder / "run.json").exists()), None)
