"""Photos upright within TensorFlow's graph, as ``decode_image`` sets them before training.

Cameras store a photo as the sensor saw it, and beside it how it is to be turned: the tag Orientation of EXIF, a TIFF
directory in the first APP1 segment of a JPEG that begins with ``Exif``. TensorFlow's decoders ignore it. Where it is
absent, malformed or cut off, a photo is taken to be upright; nothing that the segment holds is an error.
"""

from __future__ import annotations

from typing import Any

from tl_toolkit.core.runtime import tensorflow

_MARKER, _APP1 = 0xFF, 0xE1
_SCAN, _END = 0xDA, 0xD9
_EXIF = b"Exif\0\0"
_TIFF = 42
_ORIENTATION, _SHORT, _LONG = 0x0112, 3, 4

_MOST_SEGMENTS = 256
"""Segments and bytes of padding that are passed over; a file may hold millions of the latter."""


def orientation(content: Any) -> Any:
    """How a JPEG is to be turned.

    Args:
        content: Scalar string tensor: the file.

    Returns:
        Scalar int64, 1 (upright) .. 8.
    """
    tf = tensorflow()
    stored = tf.io.decode_raw(content, tf.uint8)
    size = tf.size(stored, tf.int64)
    # One zero behind the end, which is what all reading beyond it reads.
    stored = tf.concat([stored, tf.zeros(1, tf.uint8)], 0)

    def number(at: Any, width: int, little: Any = False) -> Any:
        """The unsigned numbers of ``width`` bytes at these places, int64, any shape."""
        order = tf.where(little, tf.range(width - 1, -1, -1, tf.int64), tf.range(width, dtype=tf.int64))
        bytes_ = tf.gather(stored, tf.minimum(at[..., None] + order, size))
        weights = [256**place for place in reversed(range(width))]
        return tf.reduce_sum(tf.cast(bytes_, tf.int64) * tf.constant(weights, tf.int64), -1)

    def is_exif(at: Any) -> Any:
        there = number(at, 2) == _MARKER << 8 | _APP1
        return there & (number(at + 4, len(_EXIF)) == int.from_bytes(_EXIF))

    def goes_on(at: Any) -> Any:
        kind = number(at + 1, 1)
        return (number(at, 1) == _MARKER) & (kind != _SCAN) & (kind != _END) & ~is_exif(at)

    def following(at: Any) -> Any:
        # A marker may stand behind any number of bytes like its first one.
        return (tf.where(number(at + 1, 1) == _MARKER, at + 1, at + 2 + number(at + 2, 2)),)

    (at,) = tf.while_loop(goes_on, following, (tf.constant(2, tf.int64),), maximum_iterations=_MOST_SEGMENTS)
    end = tf.minimum(at + 2 + number(at + 2, 2), size)
    start = at + 4 + len(_EXIF)
    kind = number(start, 2)
    little = kind == int.from_bytes(b"II")
    readable = is_exif(at) & (little | (kind == int.from_bytes(b"MM"))) & (number(start + 2, 2, little) == _TIFF)
    directory = start + number(start + 4, 4, little)
    entries = directory + 2 + 12 * tf.range(number(directory, 2, little))
    types = number(entries + 2, 2, little)
    right = (
        readable
        & (entries + 12 <= end)
        & (number(entries, 2, little) == _ORIENTATION)
        & ((types == _SHORT) | (types == _LONG))
        & (number(entries + 4, 4, little) == 1)
    )
    values = tf.where(types == _SHORT, number(entries + 8, 2, little), number(entries + 8, 4, little))
    value = tf.concat([tf.boolean_mask(values, right), [1]], 0)[0]
    return tf.where((value >= 1) & (value <= 8), value, 1)


def upright(photo: Any, turn: Any) -> Any:
    """A photo as it is to be seen.

    Args:
        photo: Tensor, shape (height, width, channels), as it is stored.
        turn: Its :func:`orientation`.

    Returns:
        Of the type of ``photo``; height and width are swapped where ``turn`` is 5 or more.
    """
    tf = tensorflow()
    photo = tf.cond(turn >= 5, lambda: tf.transpose(photo, (1, 0, 2)), lambda: photo)
    for axis, turns in ((1, (2, 3, 6, 7)), (0, (3, 4, 7, 8))):
        mirrored = tf.reduce_any(turn == tf.constant(turns, tf.int64))
        photo = tf.cond(mirrored, lambda p=photo, a=axis: tf.reverse(p, [a]), lambda p=photo: p)
    return photo
