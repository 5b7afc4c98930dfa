"""``index.html`` of a run, from the records in its folder."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import write_text
from tl_toolkit.sections import figures


def build(folder: Path) -> Path:
    """Write ``index.html`` into a run folder, from ``run.json`` and ``trials.csv``.

    Raises:
        UserError: the folder holds no finished run.
    """
    try:
        run: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
            trials = list(csv.DictReader(file))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError) as error:
        raise UserError(f"{folder} holds no finished run (run.json and trials.csv): name a run folder.") from error
    page = folder / "index.html"
    write_text(page, render(run, trials))
    return page


def render(run: dict[str, Any], trials: list[dict[str, str]]) -> str:
    """The page as HTML; every name in it is escaped, for names are data."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("tl_toolkit.sections", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["figure"] = lambda v: f"{v['value']:.3f}"
    environment.filters["interval"] = lambda v: f"{v['low']:.3f} to {v['high']:.3f}"
    environment.filters["setting"] = lambda v: f"{v:.3g}" if isinstance(v, float) else v
    return environment.get_template("page.html.j2").render(
        run=run,
        confusion=figures.confusion(run["evaluation"]["confusion"], run["dataset"]["class_names"]),
        history=figures.history(trials, run["search"]["metric"]),
        weakest=sorted(run["evaluation"]["per_class"].items(), key=lambda item: item[1]["f1"]["value"]),
    )
