"""``comparison.html``: two runs side by side, from their saved records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.core.errors import UserError
from tl_toolkit.core.records import Comparison, Interval
from tl_toolkit.core.saved import SavedRun
from tl_toolkit.sections.document import render
from tl_toolkit.sections.leaderboard import Entry, NotARunError, entry, figure, pick, readable

METRICS = ("accuracy", "macro_f1", "weighted_f1", "balanced_accuracy", "log_loss")

MOST_CARDS = 60
"""Photos shown as cards in each of the two lists; the others are named, so that the page stays readable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A metric, or the F1 of a class, in both runs.

    Attributes:
        name: Of the metric or the class.
        a, b: None where a run has none, as for a class that it does not know.
        difference: A minus B; None where the data are not the same.
        interval: 95 % interval of the difference; None where it was not tested.
        support: Photos of a class, in A and B, as text; empty for a metric.
    """

    name: str
    a: Interval | None
    b: Interval | None
    difference: float | None
    interval: Interval | None = None
    support: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A fact of both runs, as it is shown; None where a run does not say."""

    name: str
    a: Any
    b: Any

    @property
    def differs(self) -> bool:
        return self.a != self.b


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A photo that one run classified rightly and the other did not.

    Attributes:
        path: POSIX, relative to the data set.
        label: Its class.
        said: What A and B took it for.
        sure: Probabilities that A and B gave to what they said.
        margin: Probability of the true class, by the run that is right, minus the other's.
        picture: A ``data:`` address; None where neither run kept a thumbnail.
    """

    path: str
    label: str
    said: tuple[str, str]
    sure: tuple[float, float]
    margin: float
    picture: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Who was right on the photos of both runs; the two lists with the widest margin first."""

    n_photos: int
    both_right: int
    both_wrong: int
    only_a: tuple[Disagreement, ...]
    only_b: tuple[Disagreement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """Two runs.

    Attributes:
        runs: A and B.
        same_data: Whether the fingerprints of their data are equal.
        same_run: Whether both are the same folder.
        comparison: The paired test, A minus B; None where there is none.
        why_not: The reasons for that, a sentence each.
        warnings: What a reader must know before the figures.
        metrics, classes: In both runs.
        settings: Of the winner over all photos.
        outer: Setting -> values in the winners of A's and of B's outer folds, where not all are the same.
        facts: Of data, folds, search and machine.
        versions: Of Python, the system and the libraries.
        agreement: None where the runs have no photos in common for certain.
    """

    runs: tuple[Entry, Entry]
    same_data: bool
    same_run: bool
    comparison: Comparison | None
    why_not: tuple[str, ...]
    warnings: tuple[str, ...]
    metrics: tuple[Figures, ...]
    classes: tuple[Figures, ...]
    settings: tuple[Row, ...]
    outer: tuple[Row, ...]
    facts: tuple[Row, ...]
    versions: tuple[Row, ...]
    agreement: Agreement | None


def compute(
    a: SavedRun, b: SavedRun, start: Path, *, comparison: Comparison | None, why_not: tuple[str, ...]
) -> SideBySide:
    """Lay two runs side by side.

    Args:
        a, b: The runs.
        start: Folder of the page that is to show them, where its links begin.
        comparison: The paired test, A minus B, where it could be made.
        why_not: Why it could not.

    Raises:
        UserError: a ``run.json`` lacks something.
    """
    first, second = (_entry(saved, start) for saved in (a, b))
    same = first.fingerprint == second.fingerprint
    try:
        return SideBySide(
            runs=(first, second),
            same_data=same,
            same_run=a.folder.resolve() == b.folder.resolve(),
            comparison=comparison,
            why_not=why_not,
            warnings=tuple(_warnings({"A": a, "B": b})),
            metrics=tuple(_metrics(a.run, b.run, same, comparison)),
            classes=tuple(_classes(a.run, b.run, same)),
            settings=tuple(_rows(_settings(a.run), _settings(b.run))),
            outer=tuple(
                row for row in _rows(_outer(a.run), _outer(b.run)) if len({*(row.a or ()), *(row.b or ())}) > 1
            ),
            facts=tuple(_rows(_facts(a.run), _facts(b.run))),
            versions=tuple(_rows(_versions(a.run), _versions(b.run))),
            agreement=_agreement(a, b) if same else None,
        )
    except NotARunError as error:
        raise UserError(f"{a.folder} or {b.folder}: {error}; name runs of this release.") from error


def draw(record: SideBySide) -> str:
    """The page as HTML; every name in it is escaped, for names are data."""
    return render("side_by_side.html.j2", both=record, most=MOST_CARDS)


def _entry(saved: SavedRun, start: Path) -> Entry:
    try:
        return entry(saved.run, saved.folder, name=readable(Path(saved.folder.resolve().name)), start=start)
    except NotARunError as error:
        raise UserError(f"{saved.folder}: {error}; name a run of this release.") from error


def _warnings(runs: dict[str, SavedRun]) -> Iterator[str]:
    for letter, saved in runs.items():
        if saved.run["dataset"]["is_sample"]:
            yield f"Run {letter} is of drawn sample pictures, not of photos: its figures say nothing about photos."
        if saved.run["smoke"]:
            yield f"Run {letter} is a smoke run, on a fraction of the photos: it shows that all works, not how well."
        # Probabilities are saved with six digits, which may decide a tie otherwise: one photo is no contradiction.
        if (moved := _moved(saved)) > 1:
            yield (
                f"The records of run {letter} contradict each other: by predictions.csv, from which tests are made, "
                f"{moved} photos were classified otherwise than by run.json."
            )


def _moved(saved: SavedRun) -> int:
    """Photos by which the confusion matrices of ``predictions.csv`` and ``run.json`` differ, at least."""
    k = len(saved.class_names)
    cells = np.bincount(saved.labels * k + saved.probabilities.argmax(1), minlength=k * k).reshape(k, k)
    said = np.array(pick(saved.run, "evaluation.confusion", list))
    return int(abs(cells - said).sum() + 1) // 2 if said.shape == cells.shape else len(saved.labels)


def _metrics(a: dict[str, Any], b: dict[str, Any], same: bool, comparison: Comparison | None) -> Iterator[Figures]:
    for name in METRICS:
        one, other = (figure(run, f"evaluation.metrics.{name}") for run in (a, b))
        tested = comparison.differences.get(name) if comparison else None
        difference = tested.value if tested else one.value - other.value if same else None
        yield Figures(name=name, a=one, b=other, difference=difference, interval=tested)


def _classes(a: dict[str, Any], b: dict[str, Any], same: bool) -> Iterator[Figures]:
    in_a, in_b = (pick(run, "evaluation.per_class", dict) for run in (a, b))
    for name in dict.fromkeys([*in_a, *in_b]):
        # Not pick's way of writing places: a class may have a dot in its name.
        one, other = (figure(per[name], "f1") if name in per else None for per in (in_a, in_b))
        counts = [str(pick(per[name], "support", int)) if name in per else "none" for per in (in_a, in_b)]
        yield Figures(
            name=name,
            a=one,
            b=other,
            difference=one.value - other.value if same and one and other else None,
            support=counts[0] if counts[0] == counts[1] else " and ".join(counts),
        )


def _rows(a: dict[str, Any], b: dict[str, Any]) -> Iterator[Row]:
    for name in dict.fromkeys([*a, *b]):
        yield Row(name=name, a=a.get(name), b=b.get(name))


def _settings(run: dict[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = pick(run, "training.settings" if "training" in run else "search.best", dict)
    return settings


def _outer(run: dict[str, Any]) -> dict[str, Any]:
    if "training" in run:
        return {}
    winners = list(pick(run, "search.outer_winners", dict).values())
    names = dict.fromkeys(name for winner in winners for name in winner)
    return {name: tuple(winner.get(name) for winner in winners) for name in names}


def _facts(run: dict[str, Any]) -> dict[str, Any]:
    return {
        "data set": pick(run, "dataset.name", str),
        "fingerprint of the data": pick(run, "dataset.fingerprint", str)[:12],
        "photos": pick(run, "dataset.n_images", int),
        "of these, without near duplicates": pick(run, "dataset.n_groups", int),
        "outer and inner folds": f"{pick(run, 'splits.n_outer', int)} and {pick(run, 'splits.n_inner', int)}",
        "seed": pick(run, "seed", int),
        **_how(run),
        "seconds of the run": round(pick(run, "timing.total_seconds", float)),
        "image views computed": pick(run, "features.computed", int),
        "image views reused": pick(run, "features.reused", int),
        "peak memory, GiB": round(pick(run, "peak_memory_bytes", int) / 2**30, 1),
        "size of the model, MB": round(pick(run, "model.size", int) / 1e6, 1),
        "command": pick(run, "command", str),
    }


def _how(run: dict[str, Any]) -> dict[str, Any]:
    """How the settings were found; of a run that searched nothing, how it was scored."""
    if "training" in run:
        return {"search": "none", "scored by": pick(run, "training.protocol", str)}
    search = pick(run, "search", dict)
    compared = search.get("outer_winners_inner_score", 0) is not None
    return {
        "engine": pick(run, "search.engine", str),
        "search space": f"{pick(run, 'search.space', str)} ({pick(run, 'search.space_sha256', str)[:12]})",
        "metric that chose": pick(run, "search.metric", str),
        "trials in all, and in each search": f"{search['n_trials']} and {pick(run, 'search.trials_per_study', int)}",
        "trials that failed": pick(run, "search.n_failed", int),
        "trials averaged in the model": len(pick(run, "search.members.final", list)),
        "the search was": pick(run, "search.stopped", str),
        "score of the single winners, inner folds": pick(run, "search.outer_winners_inner_score", float)
        if compared
        else "not every search had a complete trial",
        "seconds of the search": round(pick(run, "search.seconds", float)),
        "trials a minute": round(pick(run, "search.trials_per_minute", float)),
    }


def _versions(run: dict[str, Any]) -> dict[str, Any]:
    made = {name: pick(run, f"environment.{name}", str) for name in ("python", "platform", "machine")}
    return {**made, "cores": pick(run, "environment.cores", int), **pick(run, "environment.libraries", dict)}


def _agreement(a: SavedRun, b: SavedRun) -> Agreement | None:
    """Who was right on which photo. The data are the same, so the classes are; the paths need not be."""
    place = {path: j for j, path in enumerate(b.paths)}
    both = [(i, place[path]) for i, path in enumerate(a.paths) if path in place]
    if not both or a.class_names != b.class_names:
        return None
    guesses = (a.probabilities.argmax(1), b.probabilities.argmax(1))
    counts: dict[tuple[bool, bool], list[tuple[int, int]]] = {}
    for i, j in both:
        counts.setdefault((bool(guesses[0][i] == a.labels[i]), bool(guesses[1][j] == b.labels[j])), []).append((i, j))

    def photo(i: int, j: int) -> Disagreement:
        said, truth = (int(guesses[0][i]), int(guesses[1][j])), int(a.labels[i])
        return Disagreement(
            path=a.paths[i],
            label=a.class_names[truth],
            said=(a.class_names[said[0]], a.class_names[said[1]]),
            sure=(float(a.probabilities[i, said[0]]), float(b.probabilities[j, said[1]])),
            margin=abs(float(a.probabilities[i, truth] - b.probabilities[j, truth])),
            picture=a.picture(i) or b.picture(j),
        )

    only_a, only_b = (
        tuple(sorted((photo(i, j) for i, j in counts.get(case, [])), key=lambda one: (-one.margin, one.path)))
        for case in ((True, False), (False, True))
    )
    return Agreement(
        n_photos=len(both),
        both_right=len(counts.get((True, True), [])),
        both_wrong=len(counts.get((False, False), [])),
        only_a=only_a,
        only_b=only_b,
    )
