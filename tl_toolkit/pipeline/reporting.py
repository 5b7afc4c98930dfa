"""Pages from the records of finished runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import write_text
from tl_toolkit.core.records import Comparison, Evaluation
from tl_toolkit.core.saved import SavedRun, load_run
from tl_toolkit.evaluation.comparison import compare
from tl_toolkit.evaluation.metrics import evaluate
from tl_toolkit.sections import leaderboard, page, side_by_side


def report(folder: Path) -> Path:
    """Write a run's page again, from its records: without TensorFlow and without the photos.

    Raises:
        UserError: the folder holds no finished run.
    """
    return page.build(folder)


def index(folder: Path) -> Path:
    """Write ``index.html`` into a folder: a leaderboard of all runs below it.

    Raises:
        UserError: no finished run lies below the folder, or the folder is a run itself.
    """
    return leaderboard.build(folder)


def compare_runs(a: Path, b: Path, out: Path) -> Path:
    """Write a page with two runs side by side, with a paired test where their predictions can be paired.

    Args:
        a, b: Run folders.
        out: The page, an HTML file; a file of that name is replaced.

    Raises:
        UserError: a folder holds no finished run, or ``out`` cannot be a file.
    """
    first, second = _loaded(a), _loaded(b)
    comparison, why_not = paired(first, second)
    record = side_by_side.compute(first, second, out.parent, comparison=comparison, why_not=why_not)
    html = side_by_side.draw(record)
    try:
        write_text(out, html)
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        raise UserError(f"{out} cannot be written ({error.strerror}): name a file with --out.") from error
    return out


def paired(a: SavedRun, b: SavedRun) -> tuple[Comparison | None, tuple[str, ...]]:
    """The paired test of two runs' saved probabilities, or the reasons why there is none.

    A test needs the same photos, predicted by models that were trained on the same other photos. So it is made where
    these are the same in both runs: the fingerprint of the data, the paths in their order, the fold of each photo, and
    what counts as its near duplicates, for whole groups are drawn by the bootstrap.

    Returns:
        The comparison, A minus B, and no reasons; or None, and at least one reason, a sentence each.
    """
    if a.run["dataset"].get("fingerprint") != b.run["dataset"].get("fingerprint"):
        return None, ("The runs are of different data: other photos, other labels or other classes.",)
    if a.paths != b.paths:
        same = "in another order" if sorted(a.paths) == sorted(b.paths) else "by other paths"
        return None, (f"The runs name the photos {same}, so what they say cannot be paired for certain.",)
    reasons = []
    if moved := int((a.folds != b.folds).sum()):
        reasons.append(
            f"The folds are not the same: {moved} of {len(a.paths)} photos were left out together with other photos, "
            "so the models had learned from other photos. Runs with the same seed and number of folds share folds."
        )
    groups = []
    for letter, saved in (("A", a), ("B", b)):
        try:
            groups.append(groups_of(saved))
        except (OSError, ValueError, KeyError, TypeError):
            reasons.append(f"audit.json of run {letter} does not tell which photos are near duplicates of each other.")
        if not np.isfinite(saved.probabilities).all():
            reasons.append(f"predictions.csv of run {letter} holds probabilities that are not finite.")
    if len(groups) == 2 and not np.array_equal(groups[0], groups[1]):
        reasons.append("Other photos count as near duplicates in one run than in the other.")
    if reasons:
        return None, tuple(reasons)
    return compare(_evaluated("A", a, groups[0]), _evaluated("B", b, groups[0]), groups[0]), ()


def groups_of(saved: SavedRun) -> np.ndarray:
    """Near-duplicate groups of ``saved.paths``: int64, shape (n,), numbered in the order of their first photos."""
    audit = json.loads((saved.folder / "audit.json").read_text(encoding="utf-8"))
    group_of = dict(zip(audit["paths"], audit["groups"], strict=True))
    numbers: dict[int, int] = {}
    # Numbered anew: the same groups are the same numbers, whatever the audit called them.
    return np.array([numbers.setdefault(group_of[path], len(numbers)) for path in saved.paths], np.int64)


def _evaluated(title: str, saved: SavedRun, groups: np.ndarray) -> Evaluation:
    return evaluate(title, saved.labels, saved.probabilities, groups, saved.folds, saved.class_names)


def _loaded(folder: Path) -> SavedRun:
    """A run with photos to compare."""
    saved = load_run(folder)
    if not saved.paths:
        raise UserError(f"{folder / 'predictions.csv'} holds no photo: name another run folder.")
    return saved
