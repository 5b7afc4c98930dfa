"""The mistakes themselves, the most confident first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tl_toolkit.core.saved import SavedRun
from tl_toolkit.sections.document import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A photo that was classified wrongly.

    Attributes:
        probability: Of the class predicted.
        true_probability: Of the class it is labelled with.
        picture, cam: ``data:`` addresses of the photo and of where the model looked, where the run kept them.
    """

    path: str
    true: str
    predicted: str
    probability: float
    true_probability: float
    picture: str | None
    cam: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistakes:
    """Those that are shown, of ``total``; ``classes`` are the true classes among them."""

    shown: tuple[Mistake, ...]
    total: int
    n_scored: int
    classes: tuple[str, ...]


def compute(saved: SavedRun) -> Mistakes | None:
    """The mistakes of which the run kept pictures."""
    if "mistakes" not in saved.analysis:
        return None
    names = saved.class_names
    predicted = saved.probabilities.argmax(1)
    shown = [
        Mistake(
            path=saved.paths[i],
            true=names[saved.labels[i]],
            predicted=names[predicted[i]],
            probability=float(saved.probabilities[i, predicted[i]]),
            true_probability=float(saved.probabilities[i, saved.labels[i]]),
            picture=saved.picture(i),
            cam=saved.picture(i, "cam"),
        )
        for i in saved.analysis["mistakes"]
    ]
    return Mistakes(
        shown=tuple(shown),
        total=int(np.count_nonzero(predicted != saved.labels)),
        n_scored=len(saved.labels),
        classes=tuple(sorted({mistake.true for mistake in shown})),
    )


SECTION = Section(title="The mistakes", compute=compute)
