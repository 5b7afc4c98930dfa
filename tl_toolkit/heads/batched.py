"""Many softmax heads trained as one program.

A head is: dropout on the pooled features, standardisation with the mean and deviation of its own training rows, one
dense layer, softmax. Heads differ in every hyperparameter and in the rows they train on; all of them see the same
batches (common random numbers) and each leaves out of a batch the rows that are not its own. So one matrix product
serves all heads, and every head takes the same number of steps an epoch, whether its fold is large or small.

The columns of all heads stand side by side in one kernel ``W`` of shape (d, heads * k), kept on the scale of the raw
features: ``W = V / deviation`` where ``V`` acts on standardised ones. Then for head j with training mean ``m_j``

    logits = (x - m_j) W          and          dL/dV = (x - m_j)^T g / deviation,

so the products of all heads share ``x``. Steps are taken in the coordinates of ``V``, as Keras would behind a
``Normalization`` layer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tl_toolkit.core.records import FeatureTable
from tl_toolkit.core.runtime import tensorflow
from tl_toolkit.core.settings import TrainingConfig, class_weights

_COLUMNS = 128
"""Kernel columns of one program: enough for an efficient product, and few enough that little is lost where heads do not
fill the last one. All programs are of this size, for each size would be compiled anew."""

_STEPS = 256
"""Batches are handed over in multiples of this, so that the compiled program fits other numbers of epochs."""

_ROWS = 4096
"""Photos whose features are looked at together, to standardise them."""

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-7  # Keras' Adam


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
    advance: Callable[[int], None] = lambda _: None,
) -> Heads:
    """Train every task's head from zero weights.

    Args:
        table: Features in their views; a task uses the first ``config.views`` of them.
        n_classes: k.
        tasks: Heads to train, in any order.
        seed: Of the batches and of dropout; the same for all heads.
        advance: Called with the number of heads done, for progress.

    Returns:
        The heads in the order of ``tasks``.

    Raises:
        ValueError: a task asks for more views than the table has, or has no rows to train on.
    """
    _n, views, d = table.features.shape
    programs = defaultdict(list)
    for index, task in enumerate(tasks):
        if task.config.views > views:
            raise ValueError(f"views <= {views} must hold, got views={task.config.views}")
        if not task.rows.any():
            raise ValueError("a head needs at least one training row")
        # What changes the batch matrix itself cannot differ within one product.
        programs[task.config.views, task.config.batch_size, task.config.dropout].append(index)

    kernels = np.empty((len(tasks), d, n_classes), np.float32)
    biases = np.empty((len(tasks), n_classes), np.float32)
    full = max(1, _COLUMNS // n_classes)
    standardised: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
    for (n_views, batch_size, dropout), members in programs.items():
        # Heads of like length share a program, so that short ones do not wait for long ones.
        members.sort(key=lambda i: tasks[i].epochs)
        for start in range(0, len(members), full):
            chunk = members[start : start + full]
            padded = chunk + [chunk[-1]] * (full - len(chunk))
            for i in chunk:
                key = tasks[i].rows.tobytes()
                if key not in standardised:
                    standardised[key] = standardisation(table.features, tasks[i].rows)
            kernel, bias = _run(
                table, n_classes, [tasks[i] for i in padded], standardised, n_views, batch_size, dropout, seed
            )
            kernels[chunk], biases[chunk] = kernel[: len(chunk)], bias[: len(chunk)]
            advance(len(chunk))
    return Heads(kernels=kernels, biases=biases)


def _run(
    table: FeatureTable,
    n_classes: int,
    tasks: list[HeadTask],
    standardised: dict[bytes, tuple[np.ndarray, np.ndarray]],
    views: int,
    batch_size: int,
    dropout: float,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Kernels (heads, d, k) and biases (heads, k) of heads that share a batch matrix."""
    n, all_views, _ = table.features.shape
    configs = [task.config for task in tasks]
    means, inverse = (np.stack([standardised[t.rows.tobytes()][part] for t in tasks], 1) for part in (0, 1))

    images, chosen = batches(n, views, batch_size, max(t.epochs for t in tasks), seed)
    steps = len(images)
    fill = ((0, -steps % _STEPS), (0, 0))
    per_epoch = -(-n // batch_size)

    def column(values: list[float]) -> np.ndarray:
        return np.array(values, np.float32)

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
    kernel, bias = _program()(
        table.features if table.tensor is None else table.tensor,
        table.labels.astype(np.int32),
        np.pad(images, fill),
        np.pad(chosen, fill),
        np.int32(steps),
        np.int32(all_views),
        np.stack([task.rows for task in tasks], 1).astype(np.float32),
        weights,
        means,
        inverse,
        hyper,
        np.float32(dropout),
        np.uint32(seed % 2**32),
    )
    return kernel.numpy().transpose(1, 0, 2), bias.numpy()


@cache
def _program() -> Any:
    """The compiled training loop; built on first use, because building it needs TensorFlow."""
    tf = tensorflow()

    @tf.function(jit_compile=True)
    def program(  # type: ignore[no-untyped-def]
        features,
        labels,
        images,
        chosen,
        steps,
        views,
        rows,
        weights,
        means,
        inverse,
        hyper,
        dropout,
        seed,
    ):
        heads, classes = weights.shape
        d = features.shape[2]
        features = tf.reshape(features, (-1, d))
        shape = (d, heads, classes)
        means, inverse = means[:, :, None], inverse[:, :, None]

        def per_head(name: str) -> Any:
            return hyper[name][:, None]

        def stirred(bits):  # type: ignore[no-untyped-def]
            for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
                shifted = tf.bitwise.right_shift(bits, tf.constant(shift, tf.uint32))
                bits = tf.bitwise.bitwise_xor(bits, shifted) * tf.constant(factor, tf.uint32)
            return bits

        cells = tf.reshape(tf.range(images.shape[1] * d), (images.shape[1], d))

        def dropped(x, i):  # type: ignore[no-untyped-def]
            # Numbered cells through MurmurHash3's finaliser: TensorFlow's generators would take most of the time.
            key = stirred(tf.cast(i, tf.uint32) + stirred(seed))
            noise = tf.cast(stirred(stirred(tf.cast(cells, tf.uint32)) + key), tf.float32) * 2.0**-32
            return tf.where(noise >= dropout, x / (1.0 - dropout), 0.0)

        def step(i, kernel, kernel_1, kernel_2, bias, bias_1, bias_2, taken):  # type: ignore[no-untyped-def]
            image = tf.maximum(images[i], 0)
            x = tf.gather(features, image * views + chosen[i])
            x = tf.cond(dropout > 0, lambda: dropped(x, i), lambda: x)
            label = tf.gather(labels, image)
            used = tf.gather(rows, image) * tf.cast(images[i] >= 0, tf.float32)[:, None]
            count = tf.reduce_sum(used, 0)

            product = tf.reshape(x @ tf.reshape(kernel, (d, heads * classes)), (-1, heads, classes))
            logits = product - tf.reduce_sum(means * kernel, 0) + bias
            smoothing = per_head("smoothing")
            target = tf.one_hot(label, classes)[:, None] * (1.0 - smoothing) + smoothing / classes
            weight = used * tf.gather(tf.transpose(weights), label) / tf.maximum(count, 1.0)
            gradient = (tf.nn.softmax(logits) - target) * weight[:, :, None]

            total = tf.reduce_sum(gradient, 0)
            flat = tf.reshape(gradient, (-1, heads * classes))
            slope = (tf.reshape(tf.matmul(x, flat, transpose_a=True), shape) - means * total) * inverse

            # A head at its end, or without a row in this batch, stands still.
            active = (tf.cast(i, tf.float32) < hyper["stop"]) & (count > 0)
            done = taken / hyper["steps"]
            cosine = 0.5 * (1.0 + tf.cos(np.pi * done))
            rate = (hyper["rate"] * tf.where(hyper["cosine"] > 0, cosine, 1.0))[:, None]
            # Adam's bias corrections, as Keras folds them into the rate.
            corrected = rate * (tf.sqrt(1.0 - _BETA_2 ** (taken + 1.0)) / (1.0 - _BETA_1 ** (taken + 1.0)))[:, None]
            adam = per_head("adam") > 0
            moving = active[:, None]

            def update(value, first, second, slope, scale):  # type: ignore[no-untyped-def]
                first_new = tf.where(
                    adam,
                    first + (slope - first) * (1.0 - _BETA_1),
                    per_head("momentum") * first - rate * slope,
                )
                second_new = tf.where(adam, second + (slope * slope - second) * (1.0 - _BETA_2), second)
                ahead = tf.where(per_head("nesterov") > 0, per_head("momentum") * first_new - rate * slope, first_new)
                change = tf.where(adam, -corrected * first_new / (tf.sqrt(second_new) + _EPSILON), ahead)
                moved = value * (1.0 - rate * per_head("decay")) + change * scale
                return (
                    tf.where(moving, moved, value),
                    tf.where(moving, first_new, first),
                    tf.where(moving, second_new, second),
                )

            return (
                i + 1,
                *update(kernel, kernel_1, kernel_2, slope, inverse),
                *update(bias, bias_1, bias_2, total, 1.0),
                taken + tf.cast(active, tf.float32),
            )

        zeros, flat_zeros = tf.zeros(shape), tf.zeros((heads, classes))
        start = (0, zeros, zeros, zeros, flat_zeros, flat_zeros, flat_zeros, tf.zeros(heads))
        _, kernel, _, _, bias, _, _, _ = tf.while_loop(lambda i, *_: i < steps, step, start)
        return kernel, bias - tf.reduce_sum(means * kernel, 0)

    return program
