"""A ``.keras`` file: uint8 RGB photos of any size in, probabilities and labels out, preprocessing inside."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np

from tl_toolkit.core.errors import UserError
from tl_toolkit.core.runtime import keras, tensorflow
from tl_toolkit.exporters.base import Exporter, Material, Predict


def write(path: Path, material: Material) -> None:
    """Save the classifier as it is."""
    material.classifier.save(path)


def opened(path: Path) -> Predict:
    """One program for all sizes: traced once, where calling the model would take six times as long."""
    tf, model = tensorflow(), keras().saving.load_model(path)
    program = tf.function(
        lambda photos: model(photos, training=False)["probabilities"],
        input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)],
    )
    return lambda photos: np.asarray(program(photos))


def class_names(path: Path) -> tuple[str, ...]:
    """The vocabulary of the layer that says the label."""
    try:
        with zipfile.ZipFile(path) as file:
            layers = json.loads(file.read("config.json"))["config"]["layers"]
        [vocabulary] = [layer["config"]["vocabulary"] for layer in layers if layer["name"] == "label"]
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged, or none of this package: name a run folder or another file.") from error
    return tuple(vocabulary)


EXPORTER = Exporter(
    name="keras",
    path="model.keras",
    runtime=("keras", "tensorflow", "pillow"),
    write=write,
    open=opened,
    needs={},
    names=class_names,
)
