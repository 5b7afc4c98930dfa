"""The convolutional network of the first Slash classifier: the baseline that pretrained backbones have to beat.

Pixels 64 x 64, rescaled to 0..1; two convolutions of 32, max-pooling, dropout, batch normalisation, Gaussian noise; two
of 64, max-pooling, spatial dropout, batch normalisation; one of 128; dense layers of 512, 256 and 128, softmax. All
convolutions are 3 x 3 with "same" padding, all activations ReLU.

17,082,792 parameters for 8 classes, of which 192 are not trained; 98 % of them are in the first dense layer.
"""

from __future__ import annotations

from typing import Any

from tl_toolkit.core.runtime import keras
from tl_toolkit.core.settings import NO_BACKBONE, TrainingConfig
from tl_toolkit.networks.base import BIASES_IN, Network


def build(n_classes: int, config: TrainingConfig) -> Any:
    """The network with new weights, not compiled.

    Args:
        n_classes: k.
        config: ``dropout`` is the rate behind the first dense layer (0.3 in the original); the other rates are two
            thirds of it. ``activity_l2`` (0.001 in the original) is the penalty on the outputs of the dense layers.
            ``bn_momentum`` (0.99 in the original) is that of both batch normalisations.

    Returns:
        keras.Model: pixels float32 (n, 64, 64, 3) in 0..255 -> probabilities float32 (n, k).
    """
    k = keras()
    layers = k.layers
    less = config.dropout * 2 / 3

    def convolution(filters: int) -> Any:
        # In float32 under any policy: see BIASES_IN.
        return layers.Conv2D(filters, 3, padding="same", activation="relu", dtype=BIASES_IN)

    def dense(units: int) -> Any:
        penalty = k.regularizers.L2(config.activity_l2) if config.activity_l2 else None
        return layers.Dense(units, activation="relu", activity_regularizer=penalty)

    return k.Sequential(
        [
            layers.Input((NETWORK.image_size, NETWORK.image_size, 3), name="pixels"),
            layers.Rescaling(1 / 255),
            convolution(32),
            convolution(32),
            layers.MaxPooling2D(),
            layers.Dropout(less),
            layers.BatchNormalization(momentum=config.bn_momentum),
            layers.GaussianNoise(0.1),
            convolution(64),
            convolution(64),
            layers.MaxPooling2D(),
            layers.SpatialDropout2D(less),
            layers.BatchNormalization(momentum=config.bn_momentum),
            convolution(128),
            layers.Flatten(),
            dense(512),
            layers.Dropout(config.dropout),
            dense(256),
            dense(128),
            layers.Dropout(less),
            layers.Dense(n_classes),
            # By itself, and in float32 whatever the layers before it compute in: probabilities are compared and logged.
            layers.Softmax(dtype="float32", name="probabilities"),
        ],
        name=NETWORK.name,
    )


NETWORK = Network(
    name="slash_cnn",
    image_size=64,
    build=build,
    reference=TrainingConfig(
        network="slash_cnn",
        backbone=NO_BACKBONE,
        augmentation="original",
        strength=1.0,
        views=100,
        optimizer="sgd",
        learning_rate=0.01,
        momentum=0.7,
        schedule="plateau",
        dropout=0.3,
        activity_l2=0.001,
        epochs=200,
        patience=6,
        batch_size=64,
    ),
    version=2,
    source="The Keras network of the first classifier of the Slash photos.",
)
