"""How the training of the winner went, and whether it over-fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tl_toolkit.core.saved import SavedRun
from tl_toolkit.sections.document import Section
from tl_toolkit.sections.figures import SERIES, canvas, svg

_RISE = 1.05
_GAP = 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Training:
    """Curves of the winner over the inner folds of the last search.

    Attributes:
        epochs: Length p.
        loss, accuracy: float64, shape (2, folds, p): on training photos and on held-out ones.
        verdict: What the curves say, in a sentence or two.
    """

    epochs: tuple[int, ...]
    loss: np.ndarray
    accuracy: np.ndarray
    verdict: str


def judge(epochs: tuple[int, ...], loss: np.ndarray, accuracy: np.ndarray) -> str:
    """Say whether the curves over-fit: whether the held-out loss rises again, and how far the accuracies part."""
    held_out = loss[1].mean(0)
    lowest = int(held_out.argmin())
    seen, unseen = accuracy[0].mean(0)[-1], accuracy[1].mean(0)[-1]
    figures = f"{seen:.3f} of the training photos are right in the end, and {unseen:.3f} of those held out"
    if held_out[-1] > _RISE * held_out[lowest]:
        return (
            f"It over-fits: the held-out loss is lowest after {epochs[lowest]} epochs and "
            f"{held_out[-1] / held_out[lowest] - 1:.0%} higher at the end; {figures}. "
            "Fewer epochs, more augmentation or stronger regularisation would give better probabilities."
        )
    if seen - unseen > _GAP:
        return (
            f"It knows its training photos better than others ({figures}), but the held-out loss does not rise again: "
            "stopping earlier would gain nothing, more photos would."
        )
    return f"No sign of over-fitting: {figures}, and the held-out loss does not rise again."


def compute(saved: SavedRun) -> Training | None:
    """From the saved analysis."""
    found = saved.analysis.get("curves")
    if not found:
        return None
    epochs = tuple(found["epochs"])
    loss = np.array([found["train_loss"], found["validation_loss"]])
    accuracy = np.array([found["train_accuracy"], found["validation_accuracy"]])
    return Training(epochs=epochs, loss=loss, accuracy=accuracy, verdict=judge(epochs, loss, accuracy))


def draw(record: Training) -> Mapping[str, Any]:
    """Both curves, each fold thin, means thick, the gap between them shaded."""
    figures = {}
    for name, values, what in (("loss", record.loss, "cross-entropy"), ("accuracy", record.accuracy, "accuracy")):
        with canvas(5, 3.6) as (figure, axes):
            means = values.mean(1)
            axes.fill_between(record.epochs, means[0], means[1], color="0.5", alpha=0.2, label="gap", linewidth=0)
            for part, (colour, title) in enumerate(zip(SERIES, ("training photos", "held-out photos"), strict=False)):
                axes.plot(record.epochs, values[part].T, color=colour, linewidth=0.7, alpha=0.5)
                axes.plot(record.epochs, means[part], color=colour, label=title, marker="os"[part], markersize=4)
            axes.set(xlabel="epoch", ylabel=what, xscale="log")
            axes.set_xticks(record.epochs, [str(epoch) for epoch in record.epochs])
            axes.minorticks_off()
            axes.legend()
            figures[name] = svg(
                figure,
                f"{what} by epoch, mean over folds: from {means[0][0]:.3f} to {means[0][-1]:.3f} on training photos, "
                f"from {means[1][0]:.3f} to {means[1][-1]:.3f} on held-out photos",
            )
    return figures


SECTION = Section(title="Training and over-fitting", compute=compute, draw=draw)
