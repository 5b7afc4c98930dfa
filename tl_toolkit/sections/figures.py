"""Figures as SVG text that follows the page's colours, in light and in dark."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SERIES = ("#2f7de1", "#c8701a", "#2f8f5b", "#c0504d", "#8a63d2", "#8c6d46")
"""Colours of data series; each has a contrast of at least 3 : 1 to both the light and the dark page (WCAG 1.4.11)."""

_INK = "#010203"
"""Drawn in this colour, a line or letter takes the page's text colour; nothing else uses it."""

_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
"""Else each figure carries a page of RDF."""


@contextmanager
def canvas(width: float = 7, height: float = 3.6, **subplots: Any) -> Iterator[tuple[Any, Any]]:
    """A Matplotlib figure in the page's style and its axes, closed at the end; sizes in inches."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    style: Any = {
        **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK),
        "axes.prop_cycle": plt.cycler(color=SERIES),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 11,
        "font.size": 11,
        "font.family": "sans-serif",
        "legend.frameon": False,
        "lines.linewidth": 1.8,
        # Names are data: a dollar sign begins no formula.
        "text.parse_math": False,
        "svg.fonttype": "none",
        # A fixed salt: the same record gives the same page, byte for byte.
        "svg.hashsalt": "tl_toolkit",
    }
    with plt.rc_context(style):
        figure, axes = plt.subplots(figsize=(width, height), **subplots)
        try:
            yield figure, axes
        finally:
            plt.close(figure)


def svg(figure: Any, description: str) -> Any:
    """The figure as an ``<svg>`` element for a page: no fixed size, described for those who do not see it.

    Args:
        figure: A Matplotlib figure, drawn on a :func:`canvas` that is still open.
        description: What it shows, as plain text.

    Returns:
        markupsafe.Markup
    """
    from markupsafe import Markup, escape

    text = io.StringIO()
    figure.savefig(text, format="svg", bbox_inches="tight", transparent=True, metadata=_NO_METADATA)
    drawn = re.sub(r"^.*?(?=<svg)", "", text.getvalue(), flags=re.DOTALL).replace(_INK, "currentColor")
    width = float(re.search(r'width="([\d.]+)pt"', drawn)[1])  # type: ignore[index]
    head = Markup('<svg role="img" aria-label="{}" style="max-width:{:.0f}px" ').format(
        escape(description), width * 4 / 3
    )
    drawn = re.sub(r'<svg (.*?)width="[^"]*" height="[^"]*"', lambda found: head + Markup(found[1]), drawn, count=1)
    return Markup(drawn)
