"""Many softmax heads trained as one program.

A head is: dropout on the pooled features, standardisation with the mean and deviation of its own training rows, one
dense layer, softmax. Heads differ in every hyperparameter and in the rows they train on; all of them see the same
batches (common random numbers) and each leaves out of a batch the rows that are not its own. So one matrix product
serves all heads, and every head takes the same number of steps an epoch, whether its fold is large or small. The steps
themselves are in :mod:`~tl_toolkit.heads.program`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tl_toolkit.core.records import FeatureTable
from tl_toolkit.core.runtime import tensorflow
from tl_toolkit.core.settings import TrainingConfig, class_weights
from tl_toolkit.heads.program import steps

_COLUMNS = 128
"""Kernel columns of one program: enough for an efficient product, and few enough that little is lost where heads do not
fill the last one. All programs are of this size, for each size would be compiled anew."""

_STEPS = 256
"""Batches of one call: the compiled program fits any number of epochs, and time may be up after each call."""

_ROWS = 4096
"""Photos whose features are looked at together, to standardise them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeadTask:
    """One head to train.

    Attributes:
        config: Its hyperparameters; those of the features are taken as given.
        rows: bool, shape (n,): the photos that it trains on.
        stop: Epochs after which it is looked at, on its way to ``config.epochs``: the schedule stays that of the whole
            training. All of them, if None.
    """

    config: TrainingConfig
    rows: np.ndarray
    stop: int | None = None

    @property
    def epochs(self) -> int:
        return self.config.epochs if self.stop is None else self.stop


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heads:
    """Trained heads, with their standardisation folded in: they act on raw pooled features.

    Attributes:
        kernels: float32, shape (heads, d, k).
        biases: float32, shape (heads, k).
    """

    kernels: np.ndarray
    biases: np.ndarray

    def only(self, number: int) -> Heads:
        """Head ``number`` by itself."""
        return Heads(kernels=self.kernels[number : number + 1], biases=self.biases[number : number + 1])

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Softmax of each head.

        Args:
            features: float32, shape (m, d).

        Returns:
            float32, shape (heads, m, k).
        """
        heads, d, k = self.kernels.shape
        columns = np.ascontiguousarray(self.kernels.transpose(1, 0, 2)).reshape(d, heads * k)
        logits = (features @ columns).reshape(len(features), heads, k) + self.biases
        logits -= logits.max(-1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(-1, keepdims=True)
        return np.ascontiguousarray(logits.transpose(1, 0, 2))


def batches(n: int, views: int, batch_size: int, epochs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The batches that all heads share: every epoch passes each photo once, in one of its views.

    Returns:
        Photo numbers and view numbers, int32, both of shape (steps, batch_size); -1 fills up an epoch's last batch.
        A larger number of epochs begins with the same batches.
    """
    steps = -(-n // batch_size)
    images = np.full((epochs, steps * batch_size), -1, np.int32)
    chosen = np.zeros_like(images)
    rng = np.random.default_rng(seed)
    for epoch in range(epochs):
        images[epoch, :n] = rng.permutation(n)
        chosen[epoch, :n] = rng.integers(0, views, n)
    return images.reshape(-1, batch_size), chosen.reshape(-1, batch_size)


def standardisation(features: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and inverse deviation of the clean view of the training rows.

    Args:
        features: float32, shape (n, views, d).
        rows: bool, shape (n,).

    Returns:
        Two float32 arrays of shape (d,). A feature that never varies has inverse deviation 0: it carries nothing.
    """
    images = np.flatnonzero(rows)
    # In parts, as float64: a copy of all of them could be larger than all else that a search holds.
    parts = [images[start : start + _ROWS] for start in range(0, len(images), _ROWS)]
    mean = sum(features[part, 0].sum(0, dtype=np.float64) for part in parts) / len(images)
    deviation = np.sqrt(sum(((features[part, 0] - mean) ** 2).sum(0) for part in parts) / len(images))
    inverse = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 1e-6)
    return mean.astype(np.float32), inverse.astype(np.float32)


def train_heads(
    table: FeatureTable,
    n_classes: int,
    tasks: Sequence[HeadTask],
    *,
    seed: int,
    advance: Callable[[float], None] = lambda _: None,
) -> Heads:
    """Train every task's head from zero weights.

    Args:
        table: Features in their views; a task uses the first ``config.views`` of them.
        n_classes: k.
        tasks: Heads to train, in any order.
        seed: Of the batches and of dropout; the same for all heads.
        advance: Called with what is done, for progress: numbers of heads, and shares of such.

    Returns:
        The heads in the order of ``tasks``.

    Raises:
        ValueError: a task asks for more views than the table has, or has no rows to train on.
    """
    kernels = np.empty((len(tasks), table.features.shape[2], n_classes), np.float32)
    biases = np.empty((len(tasks), n_classes), np.float32)
    for members, heads in train_in_turn(table, n_classes, tasks, seed=seed, advance=advance):
        kernels[members], biases[members] = heads.kernels, heads.biases
    return Heads(kernels=kernels, biases=biases)


def train_in_turn(
    table: FeatureTable,
    n_classes: int,
    tasks: Sequence[HeadTask],
    *,
    seed: int,
    advance: Callable[[float], None] = lambda _: None,
    expired: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[list[int], Heads]]:
    """As :func:`train_heads`, program by program.

    Args:
        advance: Called after each call of a program; see :func:`train_heads`.
        expired: Whether time is up: the program under way is then left, and nothing more is yielded.

    Yields:
        (positions in ``tasks``, their heads) of each program.
    """
    programs = defaultdict(list)
    for index, task in enumerate(tasks):
        if task.config.views > table.features.shape[1]:
            raise ValueError(f"views <= {table.features.shape[1]} must hold, got views={task.config.views}")
        if not task.rows.any():
            raise ValueError("a head needs at least one training row")
        # What changes the batch matrix itself cannot differ within one product.
        programs[task.config.views, task.config.batch_size, task.config.dropout].append(index)

    full = max(1, _COLUMNS // n_classes)
    standardised: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
    for members in programs.values():
        # Heads of like length share a program, so that short ones do not wait for long ones.
        members.sort(key=lambda i: tasks[i].epochs)
        for start in range(0, len(members), full):
            chunk = members[start : start + full]
            for i in chunk:
                if expired():
                    return
                key = tasks[i].rows.tobytes()
                if key not in standardised:
                    standardised[key] = standardisation(table.features, tasks[i].rows)
            heads = _run(table, n_classes, [tasks[i] for i in chunk], full, standardised, seed, advance, expired)
            if heads is None:
                return
            yield chunk, heads


def _run(
    table: FeatureTable,
    n_classes: int,
    own: list[HeadTask],
    full: int,
    standardised: dict[bytes, tuple[np.ndarray, np.ndarray]],
    seed: int,
    advance: Callable[[float], None],
    expired: Callable[[], bool],
) -> Heads | None:
    """Heads that share a batch matrix, in a program of ``full`` heads; None where time was up."""
    tf = tensorflow()
    tasks = own + [own[-1]] * (full - len(own))
    n, all_views, d = table.features.shape
    configs = [task.config for task in tasks]
    views, batch_size, dropout = configs[0].views, configs[0].batch_size, configs[0].dropout
    means, inverse = (np.stack([standardised[t.rows.tobytes()][part] for t in tasks], 1) for part in (0, 1))
    per_epoch = -(-n // batch_size)

    def column(values: list[float]) -> Any:
        return tf.constant(values, tf.float32)

    hyper = {
        "adam": column([c.optimizer != "sgd" for c in configs]),
        "rate": column([c.learning_rate for c in configs]),
        "momentum": column([c.momentum for c in configs]),
        "nesterov": column([c.nesterov for c in configs]),
        "decay": column([c.weight_decay for c in configs]),
        "cosine": column([c.schedule == "cosine" for c in configs]),
        "smoothing": column([c.label_smoothing for c in configs]),
        "steps": column([c.epochs * per_epoch for c in configs]),
        "stop": column([t.epochs * per_epoch for t in tasks]),
    }
    weights = np.stack([class_weights(table.labels[t.rows], n_classes, t.config.class_weight) for t in tasks])
    given = (
        tf.constant(table.features) if table.tensor is None else table.tensor,
        tf.constant(table.labels.astype(np.int32)),
        np.int32(all_views),
        tf.constant(np.stack([task.rows for task in tasks], 1).astype(np.float32)),
        tf.constant(weights, tf.float32),
        tf.constant(means),
        tf.constant(inverse),
        hyper,
        np.float32(dropout),
        np.uint32(seed % 2**32),
    )
    kernel, bias = tf.zeros((d, len(tasks), n_classes)), tf.zeros((len(tasks), n_classes))
    state = (kernel, kernel, kernel, bias, bias, bias, tf.zeros(len(tasks)))
    images, chosen = batches(n, views, batch_size, max(t.epochs for t in tasks), seed)
    for first in range(0, len(images), _STEPS):
        if expired():
            return None
        part = slice(first, first + _STEPS)
        last = min(first + _STEPS, len(images))
        fill = ((0, first + _STEPS - last), (0, 0))
        state = steps()(
            np.pad(images[part], fill), np.pad(chosen[part], fill), np.int32(first), np.int32(last), state, *given
        )
        advance(len(own) * (last - first) / len(images))
    kernel, bias = state[0].numpy(), state[3].numpy()
    kernels, biases = kernel.transpose(1, 0, 2), bias - (means[:, :, None] * kernel).sum(0)
    return Heads(kernels=np.ascontiguousarray(kernels[: len(own)]), biases=biases[: len(own)])
