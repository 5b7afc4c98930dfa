"""The grid of learning rate and momentum on which SGD is scored around the reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tl_toolkit.core.searches import SearchSpace
from tl_toolkit.core.settings import TrainingConfig

MOMENTA = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
LEARNING_RATES = 9


def landscape_grid(space: SearchSpace, *, smoke: bool = False) -> list[TrainingConfig]:
    """The reference with each pair of learning rate and momentum; empty where it is not trained with SGD.

    :data:`LEARNING_RATES` are spread evenly on a logarithmic scale over the range that the space searches, else over
    two decades to each side of the reference's; momenta are :data:`MOMENTA`. The reference's own are always among them.

    Args:
        smoke: Three of each are enough.

    Returns:
        Settings, momenta rising, and for each of them learning rates rising.
    """
    reference = space.reference
    if reference.optimizer != "sgd":
        return []
    rate = reference.learning_rate
    searched = next((p for p in space.parameters if p.name == "learning_rate" and p.low and p.high), None)
    low, high = (searched.low, searched.high) if searched else (rate / 100, rate * 100)
    spread = np.geomspace(low, high, 3 if smoke else LEARNING_RATES)  # type: ignore[arg-type]
    # The reference's own takes the place of one that is the same but for rounding.
    rates = sorted([rate, *(float(one) for one in spread if not np.isclose(one, rate))])
    momenta = sorted({*(MOMENTA[::3] if smoke else MOMENTA), reference.momentum})
    return [replace(reference, learning_rate=one, momentum=momentum) for momentum in momenta for one in rates]
