"""The steps of many heads at once, compiled.

The columns of all heads stand side by side in one kernel ``W`` of shape (d, heads * k), kept on the scale of the raw
features: ``W = V / deviation`` where ``V`` acts on standardised ones. Then for head j with training mean ``m_j``

    logits = (x - m_j) W          and          dL/dV = (x - m_j)^T g / deviation,

so the products of all heads share ``x``. Steps are taken in the coordinates of ``V``, as Keras would behind a
``Normalization`` layer.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from tl_toolkit.core.runtime import tensorflow

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-7  # Keras' Adam


@cache
def steps() -> Any:
    """The compiled training loop; built on first use, because building it needs TensorFlow.

    Returns:
        Takes batches, the numbers of the first step and of the one after the last, and the state before the first;
        gives the state after the last: kernels and their two moments (d, heads, k), biases and theirs (heads, k), and
        the steps that each head took.
    """
    tf = tensorflow()

    @tf.function(jit_compile=True)
    def program(  # type: ignore[no-untyped-def]
        images,
        chosen,
        first,
        last,
        state,
        features,
        labels,
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
            # Gathered: the bounds of a slice would be constants of the program, which would be compiled for each call.
            own = tf.gather(images, i - first)
            image = tf.maximum(own, 0)
            x = tf.gather(features, image * views + tf.gather(chosen, i - first))
            x = tf.cond(dropout > 0, lambda: dropped(x, i), lambda: x)
            label = tf.gather(labels, image)
            used = tf.gather(rows, image) * tf.cast(own >= 0, tf.float32)[:, None]
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

        return tf.while_loop(lambda i, *_: i < last, step, (first, *state))[1:]

    return program
