"""The mistakes themselves, the most confident first; where an evaluation has few, what was least certain as well."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tl_toolkit.core.saved import SavedRun
from tl_toolkit.sections.document import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A photo, and what was said of it.

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
    """Those that are shown, of ``total``; ``classes`` are the true classes among them.

    Attributes:
        uncertain: Photos classified rightly, the least certain first.
        one_view: Whether the model averages several views, and where it looked is shown of the plain one.
    """

    shown: tuple[Shown, ...]
    total: int
    n_scored: int
    classes: tuple[str, ...]
    uncertain: tuple[Shown, ...]
    one_view: bool


def compute(saved: SavedRun) -> Mistakes | None:
    """The mistakes of which the run kept pictures."""
    if "mistakes" not in saved.analysis:
        return None
    names = saved.class_names
    predicted = saved.probabilities.argmax(1)
    shown, uncertain = (
        tuple(
            Shown(
                path=saved.paths[i],
                true=names[saved.labels[i]],
                predicted=names[predicted[i]],
                probability=float(saved.probabilities[i, predicted[i]]),
                true_probability=float(saved.probabilities[i, saved.labels[i]]),
                picture=saved.picture(i),
                cam=saved.picture(i, "cam"),
            )
            for i in indices
        )
        for indices in (saved.analysis["mistakes"], saved.analysis.get("uncertain", ()))
    )
    return Mistakes(
        shown=shown,
        total=int(np.count_nonzero(predicted != saved.labels)),
        n_scored=len(saved.labels),
        classes=tuple(sorted({mistake.true for mistake in shown})),
        uncertain=uncertain,
        one_view=bool(saved.analysis.get("one_view")),
    )


SECTION = Section(title="The mistakes", compute=compute)
