"""A TensorFlow SavedModel with two signatures, as TensorFlow Serving wants them.

``serving_default`` takes ``photos``, uint8 RGB (n, height, width, 3) of any size; ``serve_jpeg`` takes ``jpeg``,
strings (n,), each the content of a JPEG, PNG, GIF or BMP file. Both give ``probabilities``, float32 (n, k);
``labels``, strings (n,): the most probable class; and ``classes``, strings (n, k): what each probability is of.
``serve_jpeg`` sets JPEGs upright by their EXIF orientation and puts what is transparent in a PNG on white, as training
did; of the other formats, and of XMP, it reads no orientation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.core.runtime import native_messages_held, tensorflow
from tl_toolkit.exporters.base import Exporter, Material, Predict
from tl_toolkit.exporters.orientation import orientation, upright


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
            lambda: _on_white(tf, content),
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


def _on_white(tf: Any, content: Any) -> Any:
    rgba = tf.cast(tf.io.decode_image(content, channels=4, expand_animations=False), tf.float32)
    rgba = tf.ensure_shape(rgba, (None, None, 4))
    alpha = rgba[..., 3:] / 255.0
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
