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
        loss, accuracy: float64, shape (2, folds, p): on training photos and on held-out ones; (1, folds, p) where none
            were looked at on the way, as those of an official test set.
        verdict: What the curves say, in a sentence or two.
        comparable: Whether the losses of both are of one kind: a network's own is what it minimises, label smoothing
            and penalties included.
    """

    epochs: tuple[int, ...]
    loss: np.ndarray
    accuracy: np.ndarray
    verdict: str
    comparable: bool


def judge(epochs: tuple[int, ...], loss: np.ndarray, accuracy: np.ndarray, scored: float) -> str:
    """Say whether the curves over-fit: whether the held-out loss rises again, and how far the accuracies part.

    Args:
        scored: Accuracy of the run, with which training is compared where no photos were held out on the way.
    """
    if len(loss) == 1:
        last = accuracy[0].mean(0)[-1]
        figures = f"{last:.3f} of the training photos are right in the last epoch, and {scored:.3f} of those scored"
        if last - scored > _GAP:
            return f"It knows its training photos better than others ({figures}): more of them would help."
        return f"No sign of over-fitting: {figures}."
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
    parts = [part for part in ("train", "validation") if found[f"{part}_loss"]]
    loss, accuracy = (np.array([found[f"{part}_{what}"] for part in parts]) for what in ("loss", "accuracy"))
    scored = saved.run["evaluation"]["metrics"]["accuracy"]["value"]
    return Training(
        epochs=epochs,
        loss=loss,
        accuracy=accuracy,
        verdict=judge(epochs, loss, accuracy, scored),
        comparable="training" not in saved.run,
    )


def draw(record: Training) -> Mapping[str, Any]:
    """Both curves, each fold thin, means thick, the gap between them shaded."""
    figures = {}
    for name, values in (("loss", record.loss), ("accuracy", record.accuracy)):
        with canvas(5, 3.6) as (figure, axes):
            means = values.mean(1)
            if len(means) == 2 and (record.comparable or name == "accuracy"):
                axes.fill_between(record.epochs, means[0], means[1], color="0.5", alpha=0.2, label="gap", linewidth=0)
            titles = ("training photos", "held-out photos")[: len(means)]
            for part, (colour, title) in enumerate(zip(SERIES, titles, strict=False)):
                axes.plot(record.epochs, values[part].T, color=colour, linewidth=0.7, alpha=0.5)
                axes.plot(record.epochs, means[part], color=colour, label=title, marker="os"[part], markersize=4)
            axes.set(xlabel="epoch", ylabel=name, xscale="log")
            axes.set_xticks(record.epochs, [str(epoch) for epoch in record.epochs])
            axes.minorticks_off()
            axes.legend()
            spans = (f"from {one[0]:.3f} to {one[-1]:.3f} on {title}" for one, title in zip(means, titles, strict=True))
            figures[name] = svg(figure, f"{name} by epoch, mean over folds: {', '.join(spans)}")
    return figures


SECTION = Section(title="Training and over-fitting", compute=compute, draw=draw)
