"""What can be watched while a network trains: curves, a warning of over-fitting, TensorBoard logs.

Watched photos select nothing: no learning rate, no epoch, no settings depend on them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.core.runtime import tensorflow

_EPOCHS, _RISE = 5, 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """A training epoch by epoch.

    Attributes:
        loss, accuracy: Of the training photos, as Keras reports them: means over the batches of an epoch while the
            network learns, augmented, with dropout; the loss is what is minimised, penalties and weights included.
        val_loss, val_accuracy: Of the watched photos, clean, after each epoch: mean cross-entropy in nats, and
            accuracy; empty where none are watched. Of more than 2,000 photos, about 2,000 are watched.
        learning_rate: At the last step of each epoch.
        seconds: Of each epoch, watching included.
    """

    loss: tuple[float, ...] = ()
    accuracy: tuple[float, ...] = ()
    val_loss: tuple[float, ...] = ()
    val_accuracy: tuple[float, ...] = ()
    learning_rate: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()

    def __len__(self) -> int:
        """Number of epochs."""
        return len(self.loss)

    def then(self, **values: float) -> Curves:
        """The curves with one epoch more."""
        return Curves(
            **{f.name: (*getattr(self, f.name), *([values[f.name]] if f.name in values else [])) for f in fields(self)}
        )

    def plain(self) -> dict[str, list[float]]:
        """For JSON."""
        return {name: list(values) for name, values in asdict(self).items()}


def cross_entropy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy in nats; probabilities float32 (n, k), of at least 1e-7 as in Keras, labels int64 (n,)."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-7)).mean())


def overfits(curves: Curves) -> bool:
    """Whether the last five epochs made the training loss fall and the watched one rise.

    The rule: in each of them, the watched loss was more than a tenth above the lowest before them, and the training
    loss is now lower than before them.
    """
    if len(curves.val_loss) <= _EPOCHS:
        return False
    before, since = curves.val_loss[:-_EPOCHS], curves.val_loss[-_EPOCHS:]
    return min(since) > _RISE * min(before) and curves.loss[-1] < curves.loss[-_EPOCHS - 1]


class Board:
    """TensorBoard logs: one scalar a curve, one step an epoch.

    Args:
        folder: Where the event files go; ``tensorboard --logdir`` shows it.
    """

    def __init__(self, folder: Path) -> None:
        self._writer: Any = tensorflow().summary.create_file_writer(str(folder))

    def log(self, curves: Curves) -> None:
        """Write the last epoch of the curves, at once."""
        with self._writer.as_default():
            for name, values in curves.plain().items():
                if values:
                    tensorflow().summary.scalar(name, values[-1], step=len(curves))
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
