"""How fast, and how long: learning rate and early stopping as pure functions of what has happened so far.

Keras has callbacks for both. They carry counters that a checkpoint would have to carry, too; here the losses of the
epochs so far are all there is to carry. Tests compare the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tl_toolkit.core.settings import TrainingConfig

# Factor and patience of the example in Keras' documentation; what counts as a fall is Keras' default.
_FACTOR, _PATIENCE, _LEAST = 0.2, 5, 1e-4

_RISE = 0.2
"""Share of the steps of ``one_cycle`` during which the rate rises."""


def rate(config: TrainingConfig, losses: Sequence[float], step: int, steps: int) -> float:
    """Learning rate of a step.

    Args:
        losses: Training loss of each finished epoch.
        step: Steps already taken in this epoch.
        steps: Steps of an epoch.
    """
    done = (len(losses) * steps + step) / (config.epochs * steps)
    if config.schedule == "cosine":
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    if config.schedule == "one_cycle":
        # Half a step later than the share that is done: neither the first step nor the last is of size zero.
        middle = done + 0.5 / (config.epochs * steps)
        return config.learning_rate * min(middle / _RISE, (1 - middle) / (1 - _RISE))
    return config.learning_rate * (_FACTOR ** _plateaus(losses) if config.schedule == "plateau" else 1)


def _plateaus(losses: Sequence[float]) -> int:
    """How often the loss stood still for five epochs, counted as ``ReduceLROnPlateau`` does."""
    best, waited, plateaus = math.inf, 0, 0
    for loss in losses:
        waited += 1
        if loss + _LEAST < best:
            best, waited = loss, 0
        elif waited == _PATIENCE:
            plateaus, waited = plateaus + 1, 0
    return plateaus


def lowest(losses: Sequence[float]) -> int:
    """The epoch, from 0, at which the loss was lowest; the first of equals."""
    return min(range(len(losses)), key=losses.__getitem__)


def out_of_patience(config: TrainingConfig, losses: Sequence[float]) -> bool:
    """Whether early stopping ends the training here."""
    return 0 < config.patience < len(losses) - lowest(losses) if losses else False
