"""A TensorFlow SavedModel with two signatures, as TensorFlow Serving wants them.

``serving_default`` takes ``photos``, uint8 RGB (n, height, width, 3) of any size; ``serve_jpeg`` takes ``jpeg``,
strings (n,), each the content of a file: JPEG, PNG, GIF, of which the first frame is taken, or an uncompressed BMP of
24 or 32 bits. Both give ``probabilities``, float32 (n, k); ``labels``, strings (n,): the most probable class; and
``classes``, strings (n, k): what each probability is of.

``serve_jpeg`` sets JPEGs upright by their EXIF orientation and puts what is transparent in a PNG on white, as training
did; of the other formats, and of XMP, it reads no orientation, and of a GIF no transparency. Other files are an error:
TensorFlow would give the pixels of a BMP with a palette as numbers of colours.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.core.runtime import native_messages_held, tensorflow
from tl_toolkit.exporters.base import Exporter, Material, Predict
from tl_toolkit.exporters.orientation import orientation, upright

_HEAD = 34
_PNG_BITS, _BMP_BITS, _BMP_COMPRESSION = 24, 28, 30
"""Places in the first bytes of a file; of what is longer than a byte, the lowest."""


def write(path: Path, material: Material) -> None:
    """Save the module; not by Keras' own export, see CONTRIBUTING.md."""
    tf = tensorflow()
    names = tf.constant(list(material.class_names))

    def answered(probabilities: Any) -> dict[str, Any]:
        return {
            "probabilities": probabilities,
            "labels": tf.gather(names, tf.argmax(probabilities, axis=-1)),
            "classes": tf.repeat(names[None], tf.shape(probabilities)[0], axis=0),
        }

    program = material.program()

    def said(photos: Any) -> Any:
        return program(photos)["probabilities"]

    def of_file(content: Any) -> Any:
        photo = tf.cond(
            tf.io.is_jpeg(content),
            # The transform that Pillow uses, too: the default one is less exact.
            lambda: upright(
                tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"), orientation(content)
            ),
            lambda: _of_other_file(tf, content),
        )
        return said(photo[None])[0]

    module = tf.Module()
    module.classifier = material.classifier
    module.names = names
    module.photos = tf.function(
        lambda photos: answered(said(photos)),
        input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name="photos")],
    )
    # One by one: files are of different sizes.
    kind = tf.TensorSpec((len(material.class_names),), tf.float32)
    module.jpeg = tf.function(
        lambda jpeg: answered(tf.map_fn(of_file, jpeg, fn_output_signature=kind)),
        input_signature=[tf.TensorSpec((None,), tf.string, name="jpeg")],
    )
    with native_messages_held():
        tf.saved_model.save(module, str(path), {"serving_default": module.photos, "serve_jpeg": module.jpeg})


def _of_other_file(tf: Any, content: Any) -> Any:
    """The pixels of a PNG, GIF or BMP, uint8 (height, width, 3)."""
    # Zeros behind the end of what is shorter.
    head = tf.cast(tf.io.decode_raw(tf.strings.substr(content, 0, _HEAD), tf.uint8), tf.int32)
    head = tf.concat([head, tf.zeros(_HEAD, tf.int32)], 0)[:_HEAD]

    def begins(with_: bytes) -> Any:
        return tf.reduce_all(head[: len(with_)] == list(with_))

    def checked() -> Any:
        bits, compression = head[_BMP_BITS], head[_BMP_COMPRESSION]
        right = ~begins(b"BM") | ((compression == 0) & ((bits == 24) | (bits == 32)))
        told = tf.debugging.Assert(right, ["A BMP file must be uncompressed and of 24 or 32 bits; bits:", bits])
        with tf.control_dependencies([told]):
            return tf.io.decode_image(content, channels=3, expand_animations=False)

    pixels = tf.cond(begins(b"\x89PNG"), lambda: _on_white(tf, content, head[_PNG_BITS]), checked)
    return tf.ensure_shape(pixels, (None, None, 3))


def _on_white(tf: Any, png: Any, bits: Any) -> Any:
    rgba = tf.cast(tf.io.decode_png(png, channels=4), tf.float32)
    # Where nothing is transparent, TensorFlow fills in the greatest number of the file's bits, not of 8.
    filled = tf.cast(2 ** tf.minimum(bits, 8) - 1, tf.float32)
    alpha = rgba[..., 3:]
    alpha = tf.cond(tf.reduce_all(alpha == filled), lambda: tf.ones_like(alpha), lambda: alpha / 255.0)
    return tf.cast(tf.round(rgba[..., :3] * alpha + 255.0 * (1.0 - alpha)), tf.uint8)


def opened(path: Path) -> Predict:
    """The signature ``serving_default``."""
    tf = tensorflow()
    with native_messages_held():
        loaded = tf.saved_model.load(str(path))
    serve = loaded.signatures["serving_default"]

    def predict(photos: np.ndarray) -> np.ndarray:
        # The module is named here so that its variables live as long as this function.
        assert loaded is not None
        return np.asarray(serve(photos=tf.constant(photos))["probabilities"])

    return predict


EXPORTER = Exporter(
    name="saved_model", path="saved_model", runtime=("tensorflow", "pillow"), write=write, open=opened, needs={}
)
