"""Precision, recall and F1 of each class, the weakest first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tl_toolkit.core.saved import SavedRun
from tl_toolkit.sections.document import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassRow:
    """One class; figures have ``value``, ``low`` and ``high``."""

    name: str
    support: int
    precision: Mapping[str, float]
    recall: Mapping[str, float]
    f1: Mapping[str, float]


def compute(saved: SavedRun) -> tuple[ClassRow, ...]:
    """The classes by rising F1."""
    rows = [ClassRow(name=name, **figures) for name, figures in saved.run["evaluation"]["per_class"].items()]
    return tuple(sorted(rows, key=lambda row: row.f1["value"]))


SECTION = Section(title="Class by class", compute=compute)
