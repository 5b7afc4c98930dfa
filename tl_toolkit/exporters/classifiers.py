"""What is exported: Keras models from uint8 RGB photos of any size to probabilities and labels.

They are built of Keras' own layers alone, so that a model file needs nothing of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tl_toolkit.core.runtime import keras
from tl_toolkit.exporters.preprocessing import resized


def classifier_of_heads(
    branches: Sequence[tuple[Callable[[Any], Any], int]],
    kernels: np.ndarray,
    biases: np.ndarray,
    class_names: Sequence[str],
) -> Any:
    """Softmax heads on backbones, in one flat graph: tools that look into a network, as Grad-CAM does, find ``maps_0``,
    ``maps_1`` ...

    Args:
        branches: (pixels -> maps, side) of each backbone; features stand side by side in this order.
        kernels: float32, shape (m, d, k), on raw features: of the m heads whose probabilities are averaged.
        biases: float32, shape (m, k).
        class_names: The k labels.

    Returns:
        keras.Model: photos uint8 (n, height, width, 3) -> a dictionary of ``probabilities``, float32 (n, k), and
        ``label``, the names as strings (n,).
    """
    k = keras()
    photos = k.Input((None, None, 3), dtype="uint8", name="photos")
    pixels = {side: resized(photos, side) for side in {side for _, side in branches}}
    features = []
    for number, (connect, side) in enumerate(branches):
        maps = connect(pixels[side])
        features.append(k.layers.GlobalAveragePooling2D()(k.layers.Identity(name=f"maps_{number}")(maps)))
    joined = features[0] if len(features) == 1 else k.layers.Concatenate()(features)
    m, d, n_classes = kernels.shape
    heads = k.layers.Dense(m * n_classes, name="heads")
    votes = k.layers.Softmax()(k.layers.Reshape((m, n_classes))(heads(joined)))
    probabilities = k.layers.GlobalAveragePooling1D(name="probabilities")(votes)
    heads.set_weights([kernels.transpose(1, 0, 2).reshape(d, m * n_classes), biases.ravel()])
    return _classifier(photos, probabilities, class_names)


def classifier_of_networks(networks: Sequence[tuple[Any, int]], class_names: Sequence[str]) -> Any:
    """Whole networks, whose probabilities are averaged.

    Args:
        networks: (keras.Model from pixels float32 (n, side, side, 3) in 0..255 to probabilities (n, k), side) of each.
        class_names: The k labels.

    Returns:
        As :func:`classifier_of_heads`.
    """
    k = keras()
    photos = k.Input((None, None, 3), dtype="uint8", name="photos")
    # Rounded to whole grey levels, as the pixels were that these networks learnt from.
    pixels = {side: k.ops.round(resized(photos, side)) for side in {side for _, side in networks}}
    # training=False: exporters would else trace batch normalisation in training mode.
    votes = []
    for number, (model, side) in enumerate(networks):
        # Under a name of its own: several may be of one kind.
        named = k.Model(model.inputs[0], model.outputs[0], name=f"network_{number}")
        votes.append(named(pixels[side], training=False))
    average = k.layers.Average(name="probabilities")(votes) if len(votes) > 1 else votes[0]
    return _classifier(photos, average, class_names)


def _classifier(photos: Any, probabilities: Any, class_names: Sequence[str]) -> Any:
    k = keras()
    labels = k.layers.StringLookup(vocabulary=list(class_names), num_oov_indices=0, invert=True, name="label")
    outputs = {"probabilities": probabilities, "label": labels(k.ops.argmax(probabilities, axis=-1))}
    return k.Model(photos, outputs, name="tl_toolkit_classifier")
