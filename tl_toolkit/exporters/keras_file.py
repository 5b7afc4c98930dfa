"""A ``.keras`` file: uint8 RGB photos of any size in, probabilities and labels out, preprocessing inside."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.core.files import sha256, written_whole
from tl_toolkit.core.records import ExportedModel
from tl_toolkit.core.runtime import keras

TOLERANCE = 1e-3
"""Largest difference of a probability that passes the check."""


def export(
    folder: Path,
    branches: Sequence[tuple[Callable[[Any], Any], int]],
    kernels: np.ndarray,
    biases: np.ndarray,
    class_names: tuple[str, ...],
    photos: Sequence[np.ndarray],
    expected: np.ndarray,
) -> ExportedModel:
    """Write ``folder/model.keras``, load it again, and compare what it says.

    The loaded model maps uint8 RGB photos (m, height, width, 3) to a dictionary of ``probabilities``, float32
    (m, k), and ``label``, the names as strings (m,). It is built of Keras' own layers alone, in one flat graph, so that
    tools that look into a network, as Grad-CAM does, find its layers: the backbones end in ``maps_0``, ``maps_1`` ...

    Args:
        folder: Where the file goes.
        branches: (pixels -> maps, side) of each backbone; features stand side by side in this order.
        kernels: float32, shape (m, d, k), on raw features: of the m heads whose probabilities are averaged.
        biases: float32, shape (m, k).
        class_names: The k labels.
        photos: Photos to check the file on, uint8 RGB.
        expected: float32, shape (photos, k): what the pipeline says of them.

    Raises:
        RuntimeError: the file's probabilities differ by more than :data:`TOLERANCE`.
    """
    k = keras()
    inputs = k.Input((None, None, 3), dtype="uint8", name="photos")
    # Resizing gives back the type that it is given: integers would be rounded.
    values = k.ops.cast(inputs, "float32")
    features = []
    for number, (connect, side) in enumerate(branches):
        maps = connect(k.layers.Resizing(side, side, "bilinear")(values))
        features.append(k.layers.GlobalAveragePooling2D()(k.layers.Identity(name=f"maps_{number}")(maps)))
    joined = features[0] if len(features) == 1 else k.layers.Concatenate()(features)
    m, d, n_classes = kernels.shape
    heads = k.layers.Dense(m * n_classes, name="heads")
    votes = k.layers.Softmax()(k.layers.Reshape((m, n_classes))(heads(joined)))
    probabilities = k.layers.GlobalAveragePooling1D(name="probabilities")(votes)
    heads.set_weights([kernels.transpose(1, 0, 2).reshape(d, m * n_classes), biases.ravel()])
    labels = k.layers.StringLookup(vocabulary=list(class_names), num_oov_indices=0, invert=True, name="label")
    outputs = {"probabilities": probabilities, "label": labels(k.ops.argmax(probabilities, axis=-1))}
    model = k.Model(inputs, outputs, name="tl_toolkit_classifier")

    path = folder / "model.keras"
    with tempfile.TemporaryDirectory() as temporary:
        saved = Path(temporary) / "model.keras"
        model.save(saved)
        with written_whole(path) as file:
            file.write(saved.read_bytes())
    loaded = k.saving.load_model(path)
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
