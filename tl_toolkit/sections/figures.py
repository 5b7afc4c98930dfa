"""Figures of the report as SVG text."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np

_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
"""Else each figure carries a page of RDF."""


def _svg(figure: Any) -> str:
    """The figure as an ``<svg>`` element that stands on its own in a page."""
    import matplotlib.pyplot as plt

    text = io.StringIO()
    # A fixed salt: the same record gives the same page, byte for byte.
    with plt.rc_context({"svg.hashsalt": "tl_toolkit", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", bbox_inches="tight", transparent=True, metadata=_NO_METADATA)
    plt.close(figure)
    return re.sub(r"^.*?(?=<svg)", "", text.getvalue(), flags=re.DOTALL)


def confusion(counts: list[list[int]], class_names: list[str]) -> str:
    """Heat map of a confusion matrix; rows are true classes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import seaborn

    matrix = np.array(counts)
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    side = 2.5 + 0.5 * len(class_names)
    figure, axes = plt.subplots(figsize=(side, side * 0.85))
    escaped = [name.replace("$", r"\$") for name in class_names]
    seaborn.heatmap(
        share,
        annot=matrix if len(class_names) <= 30 else None,
        fmt="d",
        cmap="Blues",
        vmin=0,
        vmax=1,
        xticklabels=escaped,
        yticklabels=escaped,
        ax=axes,
        cbar_kws={"label": "share of the true class"},
    )
    axes.set(xlabel="predicted", ylabel="true")
    return _svg(figure)


def history(trials: list[dict[str, str]], metric: str) -> str:
    """Score of every trial of the final search, and the best so far."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import seaborn

    rows = sorted((r for r in trials if r["study"] == "final" and r["score"]), key=lambda r: int(r["number"]))
    numbers = [int(r["number"]) for r in rows]
    scores = np.array([float(r["score"]) for r in rows])
    best = np.minimum.accumulate(scores) if metric == "log_loss" else np.maximum.accumulate(scores)
    figure, axes = plt.subplots(figsize=(7, 3.2))
    seaborn.scatterplot(x=numbers, y=scores, ax=axes, s=22, label="trial")
    axes.step(numbers, best, where="post", label="best so far", color="C1")
    axes.set(xlabel="trial", ylabel=f"{metric}, inner folds")
    axes.legend()
    return _svg(figure)
