"""What Keras calls compiling, from settings: the optimiser, and the targets and weights that enter the loss.

The loss is always Keras' categorical cross-entropy. Label smoothing is in its targets and class weights are in its
sample weights, which gives the same numbers as its own arguments and leaves one compiled step for all of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tl_toolkit.core.runtime import keras
from tl_toolkit.core.settings import TrainingConfig, class_weights


def optimizer_of(config: TrainingConfig) -> Any:
    """A Keras optimiser; its learning rate is that of the first step."""
    optimizers = keras().optimizers
    if config.optimizer == "sgd":
        return optimizers.SGD(
            config.learning_rate,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay or None,
        )
    if config.optimizer == "adam":
        return optimizers.Adam(config.learning_rate)
    return optimizers.AdamW(config.learning_rate, weight_decay=config.weight_decay)


def targets(labels: np.ndarray, n_classes: int, config: TrainingConfig) -> np.ndarray:
    """What the network should say of each photo, float32, shape (n, k): the label, smoothed; rows sum to 1."""
    smoothing = config.label_smoothing
    return (np.eye(n_classes, dtype=np.float32)[labels] * (1 - smoothing) + smoothing / n_classes).astype(np.float32)


def sample_weights(labels: np.ndarray, rows: np.ndarray, n_classes: int, config: TrainingConfig) -> np.ndarray:
    """Weight of each photo in the loss, float32, shape (n,); of meaning for the training rows only.

    Args:
        labels: int64, shape (n,).
        rows: bool, shape (n,): the photos that are trained on; balanced weights are n / (k * n_c) of these.
    """
    return class_weights(labels[rows], n_classes, config.class_weight)[labels]
