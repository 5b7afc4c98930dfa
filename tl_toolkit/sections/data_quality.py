"""What is wrong with the data, as far as the audit and the predictions can tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tl_toolkit.core.saved import SavedRun
from tl_toolkit.sections.document import Section

MOST_SUSPECTS = 24
_MOST_GROUPS = 12
_MOST_OF_A_GROUP = 6

TWIN = "twin"
"""The kind of thumbnails of duplicates, by their places among all photos; others are by places among those scored."""

Picture = tuple[str | None, str]
"""``data:`` address, where there is one, and path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Duplicates of one another: the first ones, and how many more there are."""

    shown: tuple[Picture, ...]
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataQuality:
    """Facts about the data.

    Attributes:
        exact, near: Groups of duplicates; at most a dozen of each are shown.
        n_exact, n_near: How many groups there are.
        conflicts: Groups whose photos carry different labels, likewise.
        suspects: Photos whose labels the out-of-fold predictions contradict, the surest first.
        n_suspects: How many there are.
    """

    exact: tuple[Group, ...]
    near: tuple[Group, ...]
    n_exact: int
    n_near: int
    conflicts: tuple[Group, ...]
    suspects: tuple[Mapping[str, Any], ...]
    n_suspects: int


def pictured(groups: Iterable[tuple[tuple[int, ...], ...]]) -> list[int]:
    """The photos whose thumbnails are shown, of some kinds of groups: their places, rising."""
    return sorted({i for kind in groups for group in kind[:_MOST_GROUPS] for i in group[:_MOST_OF_A_GROUP]})


def compute(saved: SavedRun) -> DataQuality:
    """From the audit and, where it was made, the search for wrong labels."""
    audit = saved.run["audit"]
    places: Mapping[str, int] = saved.analysis.get("twins", {})

    def shown(groups: list[list[str]]) -> tuple[Group, ...]:
        return tuple(
            Group(
                shown=tuple(
                    (saved.picture(places[path], TWIN) if path in places else None, path)
                    for path in group[:_MOST_OF_A_GROUP]
                ),
                more=max(0, len(group) - _MOST_OF_A_GROUP),
            )
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
