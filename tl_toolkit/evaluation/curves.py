"""How a training went: loss and accuracy on the photos it trains on and on those it does not, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tl_toolkit.evaluation.metrics import score


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingCurves:
    """Curves of one configuration over several folds.

    Attributes:
        epochs: Passes over the photos after which was measured, length p.
        train_loss, validation_loss: float64, shape (folds, p), cross-entropy in nats, without label smoothing.
        train_accuracy, validation_accuracy: float64, shape (folds, p).
    """

    epochs: tuple[int, ...]
    train_loss: np.ndarray
    validation_loss: np.ndarray
    train_accuracy: np.ndarray
    validation_accuracy: np.ndarray


def epochs_to_look(epochs: int, points: int = 12) -> tuple[int, ...]:
    """At most ``points`` epochs from 1 to ``epochs``, closer together at the beginning, where most happens."""
    return tuple(np.unique(np.round(np.geomspace(1, epochs, points)).astype(int)).tolist())


def training_curves(
    labels: np.ndarray,
    train: Sequence[np.ndarray],
    validation: Sequence[np.ndarray],
    epochs: Sequence[int],
    course: Iterable[tuple[int, int, np.ndarray]],
) -> TrainingCurves:
    """Measure the curves.

    Args:
        labels: int64, shape (n,).
        train, validation: bool, shape (n,) each, for every fold; clean views are measured in both.
        epochs: When was looked.
        course: (fold, position in ``epochs``, probabilities float32 (n, k)), each pair once.
    """
    measured = np.full((2, 2, len(train), len(epochs)), np.nan)
    for fold, at, probabilities in course:
        for part, rows in enumerate((train[fold], validation[fold])):
            for kind, metric in enumerate(("log_loss", "accuracy")):
                measured[part, kind, fold, at] = score(metric, labels[rows], probabilities[rows])
    return TrainingCurves(
        epochs=tuple(epochs),
        train_loss=measured[0, 0],
        validation_loss=measured[1, 0],
        train_accuracy=measured[0, 1],
        validation_accuracy=measured[1, 1],
    )
