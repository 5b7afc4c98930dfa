"""A LiteRT file (``.tflite``) in float32; batch, height and width are set by ``resize_tensor_input``."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tl_toolkit.core.runtime import native_messages_held, tensorflow
from tl_toolkit.exporters.base import Exporter, Material, Predict


def converted(material: Material) -> bytes:
    """The program, with the signature ``serving_default``: ``photos`` -> ``probabilities``."""
    tf = tensorflow()
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # Frozen first: the converter takes five times as long to find the weights of variables, if it finds them.
    frozen = convert_variables_to_constants_v2(material.program().get_concrete_function())
    module = tf.Module()
    module.photos = tf.function(
        lambda photos: {"probabilities": frozen(photos)[0]},
        input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name="photos")],
    )
    with native_messages_held():
        concrete = module.photos.get_concrete_function()
        return tf.lite.TFLiteConverter.from_concrete_functions([concrete], module).convert()


def write(path: Path, material: Material) -> None:
    """Convert and write; labels are beside the file, as it has no place for strings."""
    path.write_bytes(converted(material))


def opened(path: Path) -> Predict:
    """In an interpreter on all cores."""
    from ai_edge_litert.interpreter import Interpreter

    with native_messages_held():
        interpreter = Interpreter(model_path=str(path), num_threads=os.cpu_count() or 1)
        interpreter.allocate_tensors()
    [into], [out] = interpreter.get_input_details(), interpreter.get_output_details()
    shape: list[tuple[int, ...]] = []

    def predict(photos: np.ndarray) -> np.ndarray:
        if shape != [photos.shape]:
            interpreter.resize_tensor_input(into["index"], photos.shape)
            interpreter.allocate_tensors()
            shape[:] = [photos.shape]
        interpreter.set_tensor(into["index"], photos)
        interpreter.invoke()
        return interpreter.get_tensor(out["index"])

    return predict


EXPORTER = Exporter(
    name="litert",
    path="model.tflite",
    runtime=("ai-edge-litert", "numpy", "pillow"),
    write=write,
    open=opened,
    needs={},
)
