"""Backbones that are trained further, from their pretrained weights, with a new softmax head."""

from __future__ import annotations

from typing import Any

from tl_toolkit.backbones.features import resolve
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.runtime import keras
from tl_toolkit.core.settings import FINE_TUNED, TrainingConfig

REFERENCE = TrainingConfig(
    network=FINE_TUNED,
    augmentation="light",
    strength=0.5,
    views=8,
    optimizer="adamw",
    learning_rate=1e-4,
    weight_decay=0.01,
    schedule="cosine",
    label_smoothing=0.1,
    dropout=0.3,
    epochs=8,
    batch_size=16,
)
"""How few photos are fine-tuned on: small steps, so that what pretraining knew is kept."""

MANY = TrainingConfig(
    network=FINE_TUNED,
    backbone="efficientnet_lite0_levels@128",
    augmentation="flip_shift",
    strength=0.5,
    views=100,
    optimizer="adamw",
    learning_rate=1e-3,
    weight_decay=0.01,
    schedule="one_cycle",
    label_smoothing=0.1,
    dropout=0.2,
    frozen_layers=0.33,
    test_time_views=2,
    epochs=4,
    batch_size=64,
)
"""How tens of thousands of photos are: larger steps, and the layers that cost half the time and learn least frozen.

After three epochs of 8,000 training photos of CIFAR-10 at 96 px, 2,000 others were told right in 0.837 with this rate,
in 0.806 with 3e-4."""

HEAD = TrainingConfig(
    learning_rate=0.01, momentum=0.7, schedule="cosine", label_smoothing=0.1, epochs=20, batch_size=64
)
"""How the head that fine-tuning begins with is trained on features of the pretrained backbone: from random weights, its
first gradients would undo what pretraining knew (Kumar et al. 2022, arXiv:2202.10054)."""


def build(config: TrainingConfig, n_classes: int) -> tuple[Any, int]:
    """A backbone with its pretrained weights and a new head, not compiled.

    Batch normalisation of layers that train normalises by the batch, and its statistics move to those of these photos;
    that of frozen layers keeps the statistics of pretraining.

    Args:
        config: ``backbone``, ``frozen_layers``, ``dropout`` and ``activity_l2`` matter.
        n_classes: k.

    Returns:
        keras.Model, pixels float32 (n, side, side, 3) in 0..255 -> probabilities float32 (n, k), and its side, pixels.

    Raises:
        UserError: several backbones, or one that is unknown or lacks its weights.
    """
    parts = resolve(config.backbone)
    if len(parts) > 1:
        raise UserError(f"Only one backbone can be fine-tuned at a time, got {config.backbone}.")
    [(backbone, side)] = parts
    layers = keras().layers
    pixels = layers.Input((side, side, 3), name="pixels")
    features = layers.GlobalAveragePooling2D(name="features")(backbone.connect(pixels))
    if config.activity_l2:
        features = layers.ActivityRegularization(l2=config.activity_l2)(features)
    # In float32, whatever the layers before compute in: probabilities are compared and logged.
    head = layers.Dense(n_classes, name="head", dtype="float32")(layers.Dropout(config.dropout)(features))
    probabilities = layers.Softmax(name="probabilities", dtype="float32")(head)
    model = keras().Model(pixels, probabilities, name="fine_tuned")
    weighted = [layer for layer in model.layers if layer.weights and layer.name != "head"]
    for layer in weighted[: round(config.frozen_layers * len(weighted))]:
        layer.trainable = False
    return model, side
