"""What is wrong with the data, as far as the audit and the predictions can tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tl_toolkit.core.saved import SavedRun
from tl_toolkit.sections.document import Section

_MOST_GROUPS = 12
MOST_SUSPECTS = 24

Picture = tuple[str | None, str]
"""``data:`` address, where there is one, and path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataQuality:
    """Facts about the data.

    Attributes:
        exact, near: Groups of duplicates; at most a dozen of each are shown.
        n_exact, n_near: How many groups there are.
        conflicts: Groups whose photos carry different labels.
        suspects: Photos whose labels the out-of-fold predictions contradict, the surest first.
        n_suspects: How many there are.
    """

    exact: tuple[tuple[Picture, ...], ...]
    near: tuple[tuple[Picture, ...], ...]
    n_exact: int
    n_near: int
    conflicts: tuple[tuple[Picture, ...], ...]
    suspects: tuple[Mapping[str, Any], ...]
    n_suspects: int


def compute(saved: SavedRun) -> DataQuality:
    """From the audit and, where it was made, the search for wrong labels."""
    audit = saved.run["audit"]
    index = {path: i for i, path in enumerate(saved.paths)}

    def shown(groups: list[list[str]]) -> tuple[tuple[Picture, ...], ...]:
        return tuple(
            tuple((saved.picture(index[path]) if path in index else None, path) for path in group)
            for group in groups[:_MOST_GROUPS]
        )

    issues = saved.analysis.get("label_issues", [])
    return DataQuality(
        exact=shown(audit["exact_duplicates"]),
        near=shown(audit["near_duplicates"]),
        n_exact=len(audit["exact_duplicates"]),
        n_near=len(audit["near_duplicates"]),
        conflicts=shown(audit["label_conflicts"]),
        suspects=tuple({**one, "picture": saved.picture(one["index"])} for one in issues[:MOST_SUSPECTS]),
        n_suspects=len(issues),
    )


SECTION = Section(title="The data", compute=compute)
