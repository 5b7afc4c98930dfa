"""What to do next: what more photos would bring, and of which classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tl_toolkit.core.saved import SavedRun
from tl_toolkit.sections.document import Section
from tl_toolkit.sections.figures import SERIES, canvas, svg


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassGain:
    """What more photos brought a class so far.

    Attributes:
        f1: With all photos.
        gain: F1 with all training photos less F1 with half of them, mean over repeats.
        spread: Standard deviation of the gain over repeats.
    """

    name: str
    support: int
    f1: float
    gain: float
    spread: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NextSteps:
    """The learning curve and what it suggests.

    Attributes:
        n_train: Training photos at each point, length f.
        accuracy: float64, shape (f, repeats).
        outlook: (times as many photos, figure with ``value``, ``low``, ``high``).
        classes: By falling gain, and then by rising F1.
        advice: Sentences.
    """

    n_train: tuple[float, ...]
    accuracy: np.ndarray
    outlook: tuple[tuple[float, Mapping[str, float]], ...]
    classes: tuple[ClassGain, ...]
    advice: tuple[str, ...]


def compute(saved: SavedRun) -> NextSteps | None:
    """From the saved analysis."""
    found = saved.analysis.get("learning_curve")
    if not found:
        return None
    accuracy = np.array(found["accuracy"])
    gains = np.array(found["class_gain"])
    classes = [
        ClassGain(
            name=name,
            support=saved.run["evaluation"]["per_class"][name]["support"],
            f1=found["class_f1"][-1][c],
            gain=float(gains[:, c].mean()),
            spread=float(gains[:, c].std(ddof=1)),
        )
        for c, name in enumerate(saved.class_names)
    ]
    classes.sort(key=lambda one: (-one.gain, one.f1))
    return NextSteps(
        n_train=tuple(found["n_train"]),
        accuracy=accuracy,
        outlook=tuple((factor, figure) for factor, figure in found["outlook"]),
        classes=tuple(classes),
        advice=tuple(_advice(saved, classes, found["outlook"], float(accuracy[-1].mean()))),
    )


def _advice(saved: SavedRun, classes: list[ClassGain], outlook: Any, now: float) -> list[str]:
    said = []
    doubled = dict(outlook)[2.0]
    said.append(
        f"Twice as many photos of the same kind would bring about {doubled['value'] - now:+.3f} accuracy "
        f"(95 % interval of the whole figure {doubled['low']:.3f} to {doubled['high']:.3f})."
    )
    gaining = [one.name for one in classes if one.gain > max(one.spread, 0.02)][:3]
    if gaining:
        said.append(f"Photos of {', '.join(gaining)} would help most: these classes still gained from the last half.")
    small = [f"{one.name} ({one.support})" for one in sorted(classes, key=lambda one: one.support) if one.support < 20]
    if small:
        said.append(f"Fewer than 20 photos, so that their figures say little: {', '.join(small[:5])}.")
    suspects = len(saved.analysis.get("label_issues", []))
    if suspects:
        said.append(f"Look through the {suspects} photos with doubtful labels before taking more.")
    return said


def draw(record: NextSteps) -> Mapping[str, Any]:
    """The learning curve, each repeat a point, and the outlook beyond all photos."""
    with canvas(7, 3.8) as (figure, axes):
        sizes = np.array(record.n_train)
        for repeat in range(record.accuracy.shape[1]):
            axes.plot(sizes, record.accuracy[:, repeat], "o", color=SERIES[0], alpha=0.45, markersize=4)
        mean = record.accuracy.mean(1)
        axes.plot(sizes, mean, color=SERIES[0], label="measured on the outer folds")
        ahead = sizes[-1] * np.array([1.0, *(factor for factor, _ in record.outlook)])
        values = np.array([mean[-1], *(figure["value"] for _, figure in record.outlook)])
        low = np.array([mean[-1], *(figure["low"] for _, figure in record.outlook)])
        high = np.array([mean[-1], *(figure["high"] for _, figure in record.outlook)])
        axes.plot(ahead, values, color=SERIES[1], linestyle="--", label="power law, extrapolated")
        axes.fill_between(ahead, low, high, color=SERIES[1], alpha=0.2, linewidth=0, label="95 % of the fits")
        axes.set(xlabel="training photos", ylabel="accuracy")
        axes.legend(loc="lower right")
        said = "; ".join(f"{n:.0f} photos: {value:.3f}" for n, value in zip(sizes, mean, strict=True))
        return {"curve": svg(figure, f"Learning curve, accuracy: {said}")}


SECTION = Section(title="What to do next", compute=compute, draw=draw)
