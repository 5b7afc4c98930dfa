"""``index.html`` of a run, from the records in its folder."""

from __future__ import annotations

from pathlib import Path

from tl_toolkit.core.files import write_text
from tl_toolkit.core.saved import SavedRun, load_run
from tl_toolkit.sections import REGISTRY
from tl_toolkit.sections.document import render as fill


def build(folder: Path) -> Path:
    """Write ``index.html`` into a run folder, from its records.

    Raises:
        UserError: the folder holds no finished run.
    """
    saved = load_run(folder)
    page = saved.folder / "index.html"
    write_text(page, render(saved))
    return page


def render(saved: SavedRun) -> str:
    """The page as HTML; every name in it is escaped, for names are data."""
    from markupsafe import Markup

    parts, left_out = [], []
    for name in REGISTRY:
        section = REGISTRY.get(name)
        record = section.compute(saved)
        if record is None:
            left_out.append(section.title)
            continue
        html = fill(f"{name}.html.j2", r=record, figures=section.draw(record), run=saved.run, pictures=pictures(saved))
        parts.append((name, section.title, Markup(html)))
    return fill("report.html.j2", run=saved.run, parts=parts, left_out=left_out, pictures=pictures(saved))


def pictures(saved: SavedRun) -> str:
    """What the images of a run are called."""
    return "drawn pictures" if saved.run["dataset"]["is_sample"] else "photos"
