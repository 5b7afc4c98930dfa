"""A ``.keras`` file: uint8 RGB photos of any size in, probabilities and labels out, preprocessing inside."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import sha256, written_whole
from tl_toolkit.core.records import ExportedModel
from tl_toolkit.core.runtime import keras, tensorflow

TOLERANCE = 1e-3
"""Largest difference of a probability that passes the check."""


def export(folder: Path, classifier: Any, photos: Sequence[np.ndarray], expected: np.ndarray) -> ExportedModel:
    """Write ``folder/model.keras``, load it again, and compare what it says.

    Args:
        folder: Where the file goes.
        classifier: keras.Model; see :mod:`~tl_toolkit.exporters.classifiers`.
        photos: Photos to check the file on, uint8 RGB.
        expected: float32, shape (photos, k): what the pipeline says of them.

    Raises:
        RuntimeError: the file's probabilities differ by more than :data:`TOLERANCE`.
    """
    path = folder / "model.keras"
    with tempfile.TemporaryDirectory() as temporary:
        saved = Path(temporary) / "model.keras"
        classifier.save(saved)
        with written_whole(path) as file:
            file.write(saved.read_bytes())
    loaded = keras().saving.load_model(path)
    said = np.concatenate([np.asarray(loaded(photo[None])["probabilities"]) for photo in photos])
    difference = float(np.abs(said - expected).max())
    if not difference <= TOLERANCE:
        raise RuntimeError(f"{path} says other probabilities than the pipeline: up to {difference:.2g} apart.")
    return ExportedModel(
        path=path.name,
        format="keras",
        sha256=sha256(path),
        size=path.stat().st_size,
        max_difference=difference,
        checked=len(photos),
    )


def opened(path: Path) -> tuple[Callable[[np.ndarray], np.ndarray], tuple[str, ...]]:
    """The file as a function; see :func:`tl_toolkit.exporters.opened`."""
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is damaged, or not a Keras model: export it again.")
    tf, model = tensorflow(), keras().saving.load_model(path)
    try:
        names = tuple(str(name) for name in model.get_layer("label").get_vocabulary())
    except ValueError as error:
        raise UserError(f"{path} was not exported by this package: it does not name its classes.") from error

    # One program for photos of all sizes: called as it is, a Keras model runs layer by layer.
    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)])
    def program(photos: Any) -> Any:
        return model(photos, training=False)["probabilities"]

    return lambda photos: program(photos).numpy(), names
