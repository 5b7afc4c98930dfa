"""``index.html`` of a run, from the records in its folder."""

from __future__ import annotations

from pathlib import Path

from tl_toolkit.core.files import write_text
from tl_toolkit.core.saved import SavedRun, load_run
from tl_toolkit.sections import figures
from tl_toolkit.sections.document import render as fill


def build(folder: Path) -> Path:
    """Write ``index.html`` into a run folder, from its records.

    Raises:
        UserError: the folder holds no finished run.
    """
    page = folder / "index.html"
    write_text(page, render(load_run(folder)))
    return page


def render(saved: SavedRun) -> str:
    """The page as HTML; every name in it is escaped, for names are data."""
    run = saved.run
    return fill(
        "page.html.j2",
        run=run,
        confusion=figures.confusion(run["evaluation"]["confusion"], run["dataset"]["class_names"]),
        history=figures.history(saved.trials, run["search"]["metric"]),
        weakest=sorted(run["evaluation"]["per_class"].items(), key=lambda item: item[1]["f1"]["value"]),
    )
