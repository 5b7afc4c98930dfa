"""Whether probabilities mean what they say, and what refusing unsure photos buys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tl_toolkit.core.saved import SavedRun
from tl_toolkit.sections.document import Section
from tl_toolkit.sections.figures import SERIES, canvas, svg

_SHOWN = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRecord:
    """What ``analysis.json`` holds of it.

    Attributes:
        bins: Each with ``n``, ``confidence`` and ``accuracy`` (``value``, ``low``, ``high``).
        expected_error: ``value``, ``low``, ``high``.
        bias: Mean confidence less accuracy; above 0 is over-confident.
        coverage: Points with ``coverage``, ``threshold`` and ``accuracy``, falling coverage.
        table: Those of them that the table shows.
    """

    bins: tuple[Mapping[str, Any], ...]
    expected_error: Mapping[str, float]
    bias: float
    coverage: tuple[Mapping[str, float], ...]
    table: tuple[Mapping[str, float], ...]


def compute(saved: SavedRun) -> CalibrationRecord | None:
    """From the saved analysis."""
    found = saved.analysis.get("calibration")
    if not found:
        return None
    points = found["coverage"]
    return CalibrationRecord(
        bins=tuple(found["bins"]),
        expected_error=found["expected_error"],
        bias=found["mean_confidence"] - saved.run["evaluation"]["metrics"]["accuracy"]["value"],
        coverage=tuple(points),
        table=tuple(min(points, key=lambda point: abs(point["coverage"] - share)) for share in _SHOWN),
    )


def draw(record: CalibrationRecord) -> Mapping[str, Any]:
    """Reliability diagram, and accuracy against coverage."""
    with canvas(5, 4.2) as (figure, axes):
        axes.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1, label="perfect")
        x = [one["confidence"] for one in record.bins]
        y = [one["accuracy"]["value"] for one in record.bins]
        below = [one["accuracy"]["value"] - one["accuracy"]["low"] for one in record.bins]
        above = [one["accuracy"]["high"] - one["accuracy"]["value"] for one in record.bins]
        axes.errorbar(x, y, yerr=[below, above], fmt="o-", capsize=3, label="photos, by confidence")
        axes.set(xlim=(0, 1.02), ylim=(0, 1.04), xlabel="probability of the class predicted", ylabel="share right")
        axes.legend(loc="upper left")
        said = "; ".join(f"at {a:.2f} {b:.2f} are right" for a, b in zip(x, y, strict=True))
        reliability = svg(figure, f"Reliability diagram: {said}")
    with canvas(5, 4.2) as (figure, axes):
        axes.plot(
            [100 * point["coverage"] for point in record.coverage],
            [point["accuracy"] for point in record.coverage],
            color=SERIES[2],
        )
        axes.set(xlabel="photos answered, the surest first (%)", ylabel="share of them right")
        axes.invert_xaxis()
        first, last = record.coverage[0], record.coverage[-1]
        coverage = svg(
            figure,
            f"Accuracy against coverage: {first['accuracy']:.3f} when all photos are answered, "
            f"{last['accuracy']:.3f} for the surest half",
        )
    return {"reliability": reliability, "coverage": coverage}


SECTION = Section(title="Can its probabilities be trusted?", compute=compute, draw=draw)
