"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tl_toolkit.core.saved import SavedRun
from tl_toolkit.sections.document import Section
from tl_toolkit.sections.figures import canvas, svg

_MOST_PAIRS = 6
_MOST_PICTURES = 6
_READABLE = 25
"""Most classes whose cells still have room for a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Photos of one class that were taken for another.

    Attributes:
        count: How many.
        share: Of the photos of the true class.
        pictures: (``data:`` address, path) of some.
    """

    true: str
    predicted: str
    count: int
    share: float
    pictures: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Confusion:
    """The confusion matrix.

    Attributes:
        counts: int64, shape (k, k); rows are true classes.
        class_names: The k names.
        pairs: The most frequent confusions, the most frequent first.
    """

    counts: np.ndarray
    class_names: tuple[str, ...]
    pairs: tuple[Pair, ...]


def compute(saved: SavedRun) -> Confusion:
    """The matrix, and the pairs of classes with the most mistakes."""
    counts = np.array(saved.run["evaluation"]["confusion"])
    predicted = saved.probabilities.argmax(1)
    off = counts * ~np.eye(len(counts), dtype=bool)
    order = np.argsort(-off, axis=None, kind="stable")[:_MOST_PAIRS]
    pairs = []
    for true, guess in zip(*np.unravel_index(order, off.shape), strict=True):
        if off[true, guess] == 0:
            break
        found = np.flatnonzero((saved.labels == true) & (predicted == guess))
        pictures = [(saved.picture(int(i)), saved.paths[i]) for i in found]
        pairs.append(
            Pair(
                true=saved.class_names[true],
                predicted=saved.class_names[guess],
                count=int(off[true, guess]),
                share=float(off[true, guess] / counts[true].sum()),
                pictures=tuple((address, path) for address, path in pictures if address)[:_MOST_PICTURES],
            )
        )
    return Confusion(counts=counts, class_names=tuple(saved.class_names), pairs=tuple(pairs))


def draw(record: Confusion) -> Mapping[str, Any]:
    """Heat maps: counts, and shares of the true class."""
    share = record.counts / np.maximum(record.counts.sum(1, keepdims=True), 1)
    return {
        "counts": _heat_map(record, record.counts, "d", "count", "Confusion matrix, counts"),
        "shares": _heat_map(record, share, ".2f", "share of the true class", "Confusion matrix, shares of each class"),
    }


def _heat_map(record: Confusion, values: np.ndarray, form: str, what: str, description: str) -> Any:
    import seaborn

    k = len(record.class_names)
    side = min(14, 3 + 0.5 * k)
    with canvas(side, side * 0.85) as (figure, axes):
        seaborn.heatmap(
            values,
            annot=k <= _READABLE,
            fmt=form,
            cmap="Blues",
            vmin=0,
            xticklabels=record.class_names,
            yticklabels=record.class_names,
            ax=axes,
            # One picture, not a path for each cell: ten thousand of those would be a page by themselves.
            rasterized=k > _READABLE,
            cbar_kws={"label": what},
        )
        size = 10 if k <= _READABLE else 400 / k
        axes.tick_params(axis="x", rotation=90, labelsize=size)
        axes.tick_params(axis="y", rotation=0, labelsize=size)
        axes.set(xlabel="predicted", ylabel="true")
        rows = "; ".join(
            f"{name}: {int(record.counts[c, c])} of {int(record.counts[c].sum())} right"
            for c, name in enumerate(record.class_names)
        )
        return svg(figure, f"{description}; true classes in rows, predictions in columns. {rows}")


SECTION = Section(title="What is taken for what", compute=compute, draw=draw)
