"""What all pages share: one HTML file each, with its style, its script and its pictures inside."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import write_text
from tl_toolkit.core.saved import SavedRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section of the report.

    Attributes:
        title: Its heading.
        compute: Saved run -> the section's record; None where the run has not what it needs.
        draw: Record -> figures by name, as SVG that is safe to put into a page.
    """

    title: str
    compute: Callable[[SavedRun], Any]
    draw: Callable[[Any], Mapping[str, Any]] = lambda _record: {}


@cache
def environment() -> Any:
    """The Jinja2 environment of all templates. Everything is escaped: names of classes and files are data."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("tl_toolkit.sections", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["figure"] = lambda value: f"{value['value']:.3f}"
    made.filters["interval"] = lambda value: f"{value['low']:.3f} to {value['high']:.3f}"
    made.filters["setting"] = lambda value: f"{value:.3g}" if isinstance(value, float) else value
    made.filters["percent"] = lambda value: f"{100 * value:.1f} %"
    return made


def render(template: str, **values: Any) -> str:
    """A template of ``sections/templates`` with its values filled in, as HTML."""
    return environment().get_template(template).render(**values)


def build_page(folder: Path, name: str, what: str, again: str, render: Callable[[Any, Path], str]) -> Path:
    """Write ``index.html`` into a folder, from the one record that it is drawn from.

    Args:
        name: Of the record: a JSON file in the folder.
        what, again: What the record is of, and what to do where it cannot be read, for the message.
        render: Record and folder -> the page as HTML.

    Raises:
        UserError: the folder holds no such record.
    """
    try:
        record = json.loads((folder / name).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError) as error:
        raise UserError(f"{folder} holds no {what} ({name}): {again}.") from error
    page = folder / "index.html"
    write_text(page, render(record, folder))
    return page
