"""From photos of any size to the square that a network sees, within the graph, by operations that all formats have.

Two linear steps, as in training. Photos beyond :data:`MAX_SIDE` are shrunk to it with an antialiased triangle, as
``decode_image`` does; then all are resized bilinearly without antialiasing, as ``tf.image.resize`` does. Both are
separable, so each is a matrix for the rows and one for the columns, made in the graph from the photo's own height and
width; the product of the two steps is one matrix a direction. Layers such as ``Resizing`` know the second step alone,
and would alias a photo of 4,000 px.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tl_toolkit.core.runtime import keras

MAX_SIDE = 512
"""Longest side beyond which photos are shrunk with antialiasing, px: that of ``datasets.images``; a test compares."""


def resized(photos: Any, side: int) -> Any:
    """Photos at the size that a network takes.

    Args:
        photos: Symbolic uint8 (n, height, width, 3); n, height and width are known when the graph runs, n at least 1.
        side: Of the result, px.

    Returns:
        Symbolic float32 (n, side, side, 3), in 0..255, not rounded.
    """
    ops = keras().ops
    # Their symbolic shapes are None, so the sizes are counted from ones.
    line = ops.cast(photos[:1, :, :, 0], "float32")
    column, row = ops.ones_like(line[0, :, :1]), ops.ones_like(line[0, :1, :])
    height, width = ops.sum(column), ops.sum(row)
    longest = ops.maximum(height, width)
    # The channels stand first meanwhile: matrices multiply the last two dimensions.
    values = ops.transpose(ops.cast(photos, "float32"), (0, 3, 1, 2))
    across = _matrix(ops.cumsum(row, axis=1) - 1.0, width, longest, side)
    down = _matrix(ops.transpose(ops.cumsum(column, axis=0)) - 1.0, height, longest, side)
    small = ops.matmul(down, ops.matmul(values, ops.transpose(across)))
    return ops.transpose(small, (0, 2, 3, 1))


def _matrix(places: Any, size: Any, longest: Any, side: int) -> Any:
    """What takes one direction of a photo to ``side`` pixels: float32 (side, size).

    Args:
        places: 0, 1, .. size - 1, float32 (1, size).
        size: Scalar: pixels in this direction.
        longest: Scalar: pixels in the longer direction.
    """
    ops = keras().ops
    shrunk = ops.maximum(ops.floor((2.0 * MAX_SIDE * size + longest) / (2.0 * longest)), 1.0)
    shrunk = ops.where(longest > float(MAX_SIDE), shrunk, size)
    canvas = np.arange(MAX_SIDE, dtype=np.float32)
    result = np.arange(side, dtype=np.float32)[:, None]
    step = size / shrunk
    first = _triangle(places, ops.multiply(canvas[:, None] + 0.5, step) - 0.5, ops.maximum(step, 1.0))
    # Always ``side``. Were it a constant, graph optimisers would multiply by its reciprocal, which moves centres up to
    # 3e-5 px away from those of ``tf.image.resize``: hundreds of pixels would round to another grey level.
    exact = ops.maximum(ops.minimum(longest, float(side)), float(side))
    second = _triangle(canvas[None], ops.multiply(result + 0.5, shrunk / exact) - 0.5, 1.0)
    # Beyond the edge there is nothing: rows that sum to one again repeat the edge.
    second = second * ops.cast(ops.less(canvas[None], shrunk), "float32")
    return ops.matmul(_normalised(second), _normalised(first))


def _triangle(places: Any, centres: Any, support: Any) -> Any:
    """Weights of pixels at ``places`` (1, p) for results at ``centres`` (r, 1), which reach ``support`` far: (r, p)."""
    ops = keras().ops
    return ops.maximum(1.0 - ops.abs(ops.subtract(places, centres)) / support, 0.0)


def _normalised(weights: Any) -> Any:
    """Rows that sum to one; rows of nothing, of the part of the canvas that a photo does not fill, stay so."""
    ops = keras().ops
    # No pixel of the canvas that is used has less than half a weight in all.
    return weights / ops.maximum(ops.sum(weights, axis=1, keepdims=True), 1e-3)
