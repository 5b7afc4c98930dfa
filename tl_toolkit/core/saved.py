"""A finished run as its folder keeps it: everything that pages are drawn from, without TensorFlow and the photos."""

from __future__ import annotations

import base64
import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.core.errors import UserError

PICTURES = "pictures"
"""Folder of thumbnails in a run folder: ``00012.webp`` is photo 12, ``00012-cam.webp`` where the model looked at it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SavedRun:
    """The records of a run.

    Attributes:
        folder: Where they are.
        run: ``run.json``; its schema is ``core/run.schema.json``.
        trials: Rows of ``trials.csv``.
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
        """A thumbnail as a ``data:`` address; None where the run kept none. ``kind`` is empty or ``cam``."""
        name = f"{index:05d}-{kind}.webp" if kind else f"{index:05d}.webp"
        try:
            data = (self.folder / PICTURES / name).read_bytes()
        except FileNotFoundError:
            return None
        return data_address(data)


def data_address(webp: bytes) -> str:
    """A WebP picture as a ``data:`` address, so that a page needs no file beside it."""
    return f"data:image/webp;base64,{base64.b64encode(webp).decode()}"


def load_run(folder: Path) -> SavedRun:
    """Read a run folder.

    Raises:
        UserError: the folder holds no finished run.
    """
    try:
        run: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        trials = _rows(folder / "trials.csv")
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
