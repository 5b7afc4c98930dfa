"""A finished run as its folder keeps it: everything that pages are drawn from, without TensorFlow and the photos."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.core.errors import UserError
from tl_toolkit.core.references import run_folder
from tl_toolkit.core.thumbnails import kept_picture


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SavedRun:
    """The records of a run.

    Attributes:
        folder: Where they are.
        run: ``run.json``; its schema is ``core/run.schema.json``.
        trials: Rows of ``trials.csv``; none where nothing was searched.
        paths: POSIX paths of the n photos that were scored, relative to the data set.
        folds: int64, shape (n,): the outer fold that scored each.
        labels: int64, shape (n,), indices into the class names of ``run``.
        probabilities: float64, shape (n, k).
        analysis: ``analysis.json``: what was found out about the predictions; empty for runs of older releases.
    """

    folder: Path
    run: dict[str, Any]
    trials: list[dict[str, str]]
    paths: tuple[str, ...]
    folds: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    analysis: dict[str, Any]

    @property
    def class_names(self) -> list[str]:
        return self.run["dataset"]["class_names"]

    def picture(self, index: int, kind: str = "") -> str | None:
        """A thumbnail as a ``data:`` address; None where the run kept none. ``cam`` is where the model looked."""
        return kept_picture(self.folder, index, kind)


def load_run(folder: Path) -> SavedRun:
    """Read a run folder, or the one that a reference such as ``reports/slash/latest`` means.

    Raises:
        UserError: the folder holds no finished run.
    """
    folder = run_folder(folder)
    try:
        run: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        trials = _rows(folder / "trials.csv") if "search" in run else []
        predictions = _rows(folder / "predictions.csv")
        analysis = folder / "analysis.json"
        found = json.loads(analysis.read_text(encoding="utf-8")) if analysis.exists() else {}
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError) as error:
        raise UserError(
            f"{folder} holds no finished run (run.json, trials.csv and predictions.csv): name a run folder."
        ) from error
    try:
        names = run["dataset"]["class_names"]
        index = {name: c for c, name in enumerate(names)}
        return SavedRun(
            folder=folder,
            run=run,
            trials=trials,
            paths=tuple(row["path"] for row in predictions),
            folds=np.array([int(row["fold"]) for row in predictions]),
            labels=np.array([index[row["label"]] for row in predictions]),
            probabilities=np.array([[float(row[f"p_{name}"]) for name in names] for row in predictions]),
            analysis=found,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"The records in {folder} are damaged ({error!r}): run the search again.") from error


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
