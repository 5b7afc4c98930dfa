"""One training under way, epoch by epoch, and what comes of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.training.checkpoints import State
from tl_toolkit.training.compiling import sample_weights, targets
from tl_toolkit.training.inputs import ViewPixels, batches
from tl_toolkit.training.monitoring import Curves, cross_entropy
from tl_toolkit.training.programs import LOOKAHEAD, Program
from tl_toolkit.training.schedules import lowest, out_of_patience, rate

_WATCHED = 2000

Stopped = Literal["finished", "until", "patience", "deadline", "diverged"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """A trained network.

    Attributes:
        config: What it was trained with.
        weights: In Keras' order; with ``config.patience``, those of the epoch at which the training loss was lowest.
        curves: One entry an epoch.
        stopped: Why training ended: all epochs ``finished``; the epoch to look at (``until``); early stopping
            (``patience``); ``deadline``; or ``diverged``, a loss that is not finite. The weights of a diverged training
            mean nothing, and its curves end with the last finite epoch.
    """

    config: TrainingConfig
    weights: Sequence[np.ndarray]
    curves: Curves
    stopped: Stopped

    @property
    def kept_epoch(self) -> int:
        """The number of epochs after which the network had these weights."""
        losses = self.curves.loss
        return lowest(losses) + 1 if self.config.patience and losses else len(losses)


class Course:
    """A training at some epoch. The program is its own until another course begins with it.

    Args:
        program: The compiled network.
        pixels: The photos.
        config: Settings.
        labels: int64, shape (n,).
        n_classes: k.
        rows: bool, shape (n,): the photos to train on.
        watched: bool, shape (n,): photos whose loss and accuracy are recorded: 2,000 of them, spread evenly, where
            there are more.
        seed: Of batches and views.
        begin: What the network is given before its first step.
        state: Where to go on from; None to begin.
    """

    def __init__(
        self,
        program: Program,
        pixels: ViewPixels,
        config: TrainingConfig,
        labels: np.ndarray,
        n_classes: int,
        *,
        rows: np.ndarray,
        watched: np.ndarray | None,
        seed: int,
        begin: Callable[[Any], None],
        state: State | None,
    ) -> None:
        self._program, self._pixels, self._config, self._labels = program, pixels, config, labels
        self._rows, self._seed = rows, seed
        self._watched = None
        if watched is not None:
            every = np.flatnonzero(watched)
            self._watched = every[:: -(-len(every) // _WATCHED)] if len(every) else every
        self._targets = targets(labels, n_classes, config)
        self._weights = sample_weights(labels, rows, n_classes, config)
        self._steps = -(-int(rows.sum()) // config.batch_size)
        self.curves = state.curves if state else Curves()
        self._best = state.best if state else None
        self._diverged = False
        self.cut = False
        """Whether time was up within an epoch: the weights are of no epoch, and not to be gone on from."""
        if state:
            program.restore(state)
        else:
            program.start(begin)

    def stopped(self, until: int) -> Stopped | None:
        """Why the training has ended, where it is looked at after ``until`` epochs; None while it has not."""
        if self._diverged:
            return "diverged"
        if self.cut:
            return "deadline"
        if out_of_patience(self._config, self.curves.loss):
            return "patience"
        if len(self.curves) >= self._config.epochs:
            return "finished"
        return "until" if len(self.curves) >= until else None

    def epoch(self, expired: Callable[[], bool] = lambda: False) -> bool:
        """Train for one epoch.

        Args:
            expired: Asked between steps whether time is up.

        Returns:
            Whether all stayed finite, and there was time. Otherwise the epoch ended at once, and is not in the curves.
        """
        began, number, losses = time.monotonic(), len(self.curves), self.curves.loss
        self._program.begin_epoch(number)
        total, right, learning_rate = 0.0, 0, math.nan
        for step, (images, views) in enumerate(batches(self._rows, self._config, seed=self._seed, epoch=number)):
            if step and expired():
                self.cut = True
                return False
            learning_rate = rate(self._config, losses, step, self._steps)
            pixels = self._pixels(self._config, self._program.side, images, views)
            loss, hits = self._program.step(pixels, self._targets[images], self._weights[images], learning_rate)
            if not math.isfinite(loss):
                self._diverged = True
                return False
            total += loss * len(images)
            right += hits
            taken = number * self._steps + step + 1
            if self._config.lookahead and taken % LOOKAHEAD == 0:
                self._program.look_ahead(taken / (self._config.epochs * self._steps))
        n = int(self._rows.sum())
        values = {"loss": total / n, "accuracy": right / n, "learning_rate": learning_rate}
        if self._watched is not None:
            clean = self._pixels(self._config, self._program.side, self._watched, np.zeros_like(self._watched))
            said, truth = self._program.probabilities(clean), self._labels[self._watched]
            if not np.isfinite(said).all():
                self._diverged = True
                return False
            values["val_loss"] = cross_entropy(said, truth)
            values["val_accuracy"] = float((said.argmax(1) == truth).mean())
        self.curves = self.curves.then(**values, seconds=time.monotonic() - began)
        if self._config.patience and lowest(self.curves.loss) == number:
            self._best = self._program.weights()
        return True

    def state(self) -> State:
        """Where the training is, to be taken up later."""
        return self._program.state(best=self._best, curves=self.curves)

    def trained(self, stopped: Stopped) -> Trained:
        """What came of it."""
        weights = self._program.weights() if self._best is None else self._best
        return Trained(config=self._config, weights=weights, curves=self.curves, stopped=stopped)
