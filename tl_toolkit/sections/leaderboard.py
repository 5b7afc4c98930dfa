"""``index.html`` of a folder of runs: a leaderboard, from each run's ``run.json`` alone."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import write_text
from tl_toolkit.core.records import Interval
from tl_toolkit.core.runs import began
from tl_toolkit.sections.document import render
from tl_toolkit.sections.record import SCHEMA_VERSION

METRICS = ("accuracy", "macro_f1", "weighted_f1")

_OF_A_RUN = ("audit.json", "splits.json", "study.log", "trials.csv", "predictions.csv")


class NotARunError(Exception):
    """A folder that cannot be listed as a run; the message is the reason, for the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the leaderboard knows of one run.

    Attributes:
        name: What to call it.
        link: Relative address of its page, URL-quoted; None where the run folder holds no page.
        when: Local time: when the run began, by its folder's name; else when its ``run.json`` was written.
        when_from_file: Whether ``when`` is the time of the file.
        metrics: Each of :data:`METRICS` -> figure with its 95 % interval.
        n_trials, n_failed: Of all searches of the run.
        stopped: Why its search ended: "finished", "exhausted", "timeout" or "interrupted".
        seconds: Of the whole run.
    """

    name: str
    link: str | None
    when: datetime
    when_from_file: bool
    dataset: str
    fingerprint: str
    n_images: int
    n_classes: int
    is_sample: bool
    smoke: bool
    metrics: dict[str, Interval]
    n_trials: int
    n_failed: int
    stopped: str
    seconds: float
    engine: str
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Runs whose figures may be compared: of one data set, with one fingerprint; smoke runs by themselves.

    Attributes:
        entries: At least one, the highest accuracy first.
        low, high: Ends of the axis on which the intervals of accuracy are drawn.
    """

    entries: tuple[Entry, ...]
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A folder that is not listed as a run, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """All runs below a folder; photos first, then smoke runs, then drawn pictures."""

    tables: tuple[Table, ...]
    refused: tuple[Refused, ...]

    @property
    def datasets(self) -> list[str]:
        return sorted({table.entries[0].dataset for table in self.tables})


def build(folder: Path) -> Path:
    """Write ``index.html`` into a folder of runs.

    Raises:
        UserError: no finished run lies below the folder, or the folder is a run itself.
    """
    html = draw(compute(folder))
    page = folder / "index.html"
    write_text(page, html)
    return page


def compute(folder: Path) -> Leaderboard:
    """Read all runs at ``<run>/`` and ``<dataset>/<run>/`` below a folder.

    Raises:
        UserError: no finished run lies below the folder, or the folder is a run itself.
    """
    if (folder / "run.json").exists():
        # Its own page is called index.html, too.
        raise UserError(f"{folder} is a run: name the folder that holds the runs, or leave out --index.")
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: name one that holds <dataset>/<run>/run.json.")
    groups: dict[tuple[Any, ...], list[Entry]] = {}
    refused = []
    for found in _candidates(folder):
        name = readable(found.relative_to(folder))
        try:
            one = entry(read(found), found, name=name, start=folder)
        except NotARunError as error:
            refused.append(Refused(name=name, reason=str(error)))
            continue
        groups.setdefault((one.is_sample, one.smoke, one.dataset, one.fingerprint), []).append(one)
    if not groups:
        most = f" {refused[0].name}: {refused[0].reason}." if refused else ""
        raise UserError(f"{folder} holds no finished run, as <dataset>/<run>/run.json.{most}")
    return Leaderboard(tables=tuple(_table(groups[key]) for key in sorted(groups)), refused=tuple(refused))


def draw(record: Leaderboard) -> str:
    """The page as HTML; every name in it is escaped, for names are data."""
    return render("leaderboard.html.j2", board=record, metrics=METRICS)


def _table(entries: list[Entry]) -> Table:
    figures = [one.metrics["accuracy"] for one in entries]
    low, high = min(f.low for f in figures), max(f.high for f in figures)
    return Table(
        entries=tuple(sorted(entries, key=lambda one: (-one.metrics["accuracy"].value, one.name))),
        low=low,
        # An axis needs a length, also where a single run has an interval without one.
        high=high if high > low else low + 1e-3,
    )


def _candidates(folder: Path) -> Iterator[Path]:
    """Folders that are runs, or where a run would be: no deeper, so that a wrong folder does not cost minutes."""
    for outer in _folders(folder):
        if any((outer / name).exists() for name in ("run.json", *_OF_A_RUN)):
            yield outer
            continue
        # A folder without folders is listed itself: nothing that lies here is passed over in silence.
        yield from _folders(outer) or [outer]


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError:
        return []


def read(folder: Path) -> dict[str, Any]:
    """The content of a folder's ``run.json``.

    Raises:
        NotARunError: there is none that can be read.
    """
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        begun = any((folder / name).exists() for name in _OF_A_RUN)
        raise NotARunError("a run without run.json: it was not finished" if begun else "no run.json") from None
    except OSError as error:
        raise NotARunError(f"run.json cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise NotARunError(f"run.json is not JSON ({error})") from error
    if not isinstance(run, dict) or "schema_version" not in run:
        raise NotARunError("run.json is not of this toolkit: it has no schema_version")
    if run["schema_version"] != SCHEMA_VERSION:
        raise NotARunError(f"run.json of schema_version {SCHEMA_VERSION} must hold, got {run['schema_version']!r}")
    return run


def entry(run: dict[str, Any], folder: Path, *, name: str, start: Path) -> Entry:
    """What a ``run.json`` says of its run.

    Args:
        run: The content of ``run.json``.
        folder: Where it lies.
        name: What to call it.
        start: Folder of the page that links to the run's.

    Raises:
        NotARunError: something is missing, or of another type.
    """
    when, when_from_file = began(folder)
    return Entry(
        name=name,
        link=link(folder, start),
        when=when,
        when_from_file=when_from_file,
        dataset=pick(run, "dataset.name", str),
        fingerprint=pick(run, "dataset.fingerprint", str),
        n_images=pick(run, "dataset.n_images", int),
        n_classes=len(pick(run, "dataset.class_names", list)),
        is_sample=pick(run, "dataset.is_sample", bool),
        smoke=pick(run, "smoke", bool),
        metrics={metric: figure(run, f"evaluation.metrics.{metric}") for metric in METRICS},
        **_searched(run),
        seconds=pick(run, "timing.total_seconds", float),
        seed=pick(run, "seed", int),
    )


def _searched(run: dict[str, Any]) -> dict[str, Any]:
    """What an entry says of the search; of a run that searched nothing, what was trained."""
    if "training" not in run:
        return {
            "n_trials": pick(run, "search.n_trials", int),
            "n_failed": pick(run, "search.n_failed", int),
            "stopped": pick(run, "search.stopped", str),
            "engine": pick(run, "search.engine", str),
        }
    ends = {training["stopped"] for training in pick(run, "training.trainings", list)}
    return {
        "n_trials": 0,
        "n_failed": 0,
        "stopped": "timeout" if "deadline" in ends else "finished",
        "engine": f"none ({pick(run, 'training.settings.network', str)})",
    }


def pick(run: dict[str, Any], place: str, kind: type) -> Any:
    """What stands in ``run.json`` at a place such as ``search.engine``.

    Raises:
        NotARunError: nothing stands there, or something of another type, or a number that is not finite.
    """
    value: Any = run
    for key in place.split("."):
        if not isinstance(value, dict) or key not in value:
            raise NotARunError(f"run.json lacks {place}")
        value = value[key]
    fits = isinstance(value, (int, float) if kind is float else kind) and (kind is bool or not isinstance(value, bool))
    if not fits or (isinstance(value, float) and not math.isfinite(value)):
        raise NotARunError(f"run.json: {place} must be of type {kind.__name__}, got {str(value)[:40]!r}")
    return value


def figure(run: dict[str, Any], place: str) -> Interval:
    """A figure with its 95 % interval from ``run.json``; raises like :func:`pick`."""
    low, value, high = (pick(run, f"{place}.{end}", float) for end in ("low", "value", "high"))
    if not low <= value <= high:
        raise NotARunError(f"run.json: low <= value <= high must hold of {place}, got {low}, {value}, {high}")
    return Interval(value=value, low=low, high=high)


def link(folder: Path, start: Path) -> str | None:
    """Relative address of a run's page, for a page in the folder ``start``; None where the run has no page."""
    if not (folder / "index.html").exists():
        return None
    way = os.path.relpath(folder / "index.html", start)
    # Bytes, for a name need not be UTF-8; and "#", "?" and ":" are letters of a name here.
    return quote(os.fsencode(Path(way).as_posix()))


def readable(path: Path) -> str:
    """A path for readers: POSIX, with a mark in place of what is not UTF-8."""
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")
