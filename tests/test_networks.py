"""The network from scratch is the one that was published."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tl_toolkit.core.runtime import keras, tensorflow
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.networks import REGISTRY
from tl_toolkit.training.programs import new_model

SLASH_CNN = REGISTRY.get("slash_cnn")


def layers(**changes: Any) -> list[Any]:
    return SLASH_CNN.build(8, replace(SLASH_CNN.reference, **changes)).layers


def test_slash_cnn_has_the_layers_of_the_original_in_their_order() -> None:
    def about(layer: Any) -> Any:
        kind = type(layer).__name__
        if kind == "Conv2D":
            assert (layer.kernel_size, layer.padding, layer.activation.__name__) == ((3, 3), "same", "relu")
            return kind, layer.filters
        if kind == "Dense":
            return kind, layer.units, layer.activation.__name__
        return (kind, pytest.approx(layer.rate)) if "Dropout" in kind else kind

    assert [about(layer) for layer in layers()] == [
        "Rescaling",
        ("Conv2D", 32),
        ("Conv2D", 32),
        "MaxPooling2D",
        ("Dropout", 0.2),
        "BatchNormalization",
        "GaussianNoise",
        ("Conv2D", 64),
        ("Conv2D", 64),
        "MaxPooling2D",
        ("SpatialDropout2D", 0.2),
        "BatchNormalization",
        ("Conv2D", 128),
        "Flatten",
        ("Dense", 512, "relu"),
        ("Dropout", 0.3),
        ("Dense", 256, "relu"),
        ("Dense", 128, "relu"),
        ("Dropout", 0.2),
        ("Dense", 8, "linear"),
        "Softmax",
    ]


def test_dropout_scales_all_rates_and_zero_is_none() -> None:
    rates = [layer.rate for layer in layers(dropout=0.6) if "Dropout" in type(layer).__name__]
    assert rates == pytest.approx([0.4, 0.4, 0.6, 0.4])
    assert {layer.rate for layer in layers(dropout=0.0) if "Dropout" in type(layer).__name__} == {0}


def test_activity_is_penalised_on_the_dense_layers_before_the_last() -> None:
    penalties = [layer.activity_regularizer for layer in layers() if hasattr(layer, "units")]
    assert [float(penalty.l2) if penalty else 0 for penalty in penalties] == pytest.approx([1e-3, 1e-3, 1e-3, 0])
    assert not any(layer.activity_regularizer for layer in layers(activity_l2=0.0))


def test_probabilities_are_float32_in_mixed_precision() -> None:
    config = keras().config
    before = config.dtype_policy()
    try:
        config.set_dtype_policy("mixed_bfloat16")
        built = layers()
    finally:
        config.set_dtype_policy(before)
    assert built[-1].compute_dtype == "float32"
    assert built[-2].compute_dtype == "bfloat16"
    assert np.dtype(built[-2].kernel.dtype) == np.float32


def gradients_of_biases(model: Any, photos: np.ndarray, targets: np.ndarray) -> list[np.ndarray]:
    wanted = [layer for layer in model.layers if isinstance(layer, keras().layers.Conv2D) and layer.use_bias]
    with tensorflow().GradientTape() as tape:
        loss = keras().losses.CategoricalCrossentropy()(targets, model(photos, training=False))
    return [gradient.numpy() for gradient in tape.gradient(loss, [layer.bias for layer in wanted])]


@pytest.mark.parametrize(("name", "count", "apart"), [("slash_cnn", 5, 0.25), ("cifar_fast", 1, 0.03)])
def test_biases_learn_nearly_the_same_in_mixed_precision(name: str, count: int, apart: float) -> None:
    """With sums over places in bfloat16, 0.77 and 0.05 of their gradients would be lost here."""
    network = REGISTRY.get(name)
    generator = np.random.default_rng(0)
    photos = generator.uniform(0, 255, (128, network.image_size, network.image_size, 3)).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[generator.integers(0, 3, 128)]

    def build(config: TrainingConfig, n_classes: int) -> tuple[Any, int]:
        return network.build(n_classes, config), network.image_size

    models = [new_model(build, network.reference, 3, seed=0, policy=p)[0] for p in ("float32", "mixed_bfloat16")]
    exact, mixed = (gradients_of_biases(model, photos, targets) for model in models)
    assert len(exact) == count
    for one, other in zip(exact, mixed, strict=True):
        assert np.linalg.norm(other - one) < apart * np.linalg.norm(one)


CIFAR_FAST = REGISTRY.get("cifar_fast")


def test_cifar_fast_has_the_layers_that_its_docstring_tells_of() -> None:
    model = CIFAR_FAST.build(10, CIFAR_FAST.reference)
    kinds = [type(layer).__name__ for layer in model.layers]
    stage = ["Conv2D", "MaxPooling2D", "BatchNormalization", "Activation", "Conv2D", "BatchNormalization", "Activation"]
    last = ["GlobalMaxPooling2D", "Dropout", "Rescaling", "Dense", "Softmax"]
    assert kinds == ["Rescaling", "Conv2D", *stage * 3, *last]
    assert model.count_params() == 1_162_168
    assert sum(int(np.prod(weight.shape)) for weight in model.non_trainable_weights) == 2_080
    assert {layer.momentum for layer in model.layers if hasattr(layer, "momentum")} == {0.6}
    # Each convolution hands on the channels that it is given.
    kernel = model.layers[2].get_weights()[0]
    np.testing.assert_array_equal(kernel[1, 1, :, :24], np.eye(24))
    assert np.abs(kernel[:, :, :, :24]).sum() == 24
    assert np.abs(kernel[:, :, :, 24:]).min() > 0


def test_cifar_fast_whitens_the_patches_that_it_was_shown() -> None:
    assert CIFAR_FAST.begin is not None
    # Neighbours are alike, as in photos.
    coarse = np.random.default_rng(0).normal(128, 40, (40, 16, 16, 3)).repeat(2, 1).repeat(2, 2)
    noise = np.random.default_rng(1).normal(0, 10, (40, 32, 32, 3))
    pixels = np.clip(coarse + noise, 0, 255).astype(np.uint8)
    model = CIFAR_FAST.build(10, CIFAR_FAST.reference)
    CIFAR_FAST.begin(model, pixels)
    kernel, biases = model.get_layer("whitening").get_weights()
    assert [variable.name for variable in model.get_layer("whitening").trainable_variables] == ["bias"]
    assert not biases.any()
    np.testing.assert_array_equal(kernel[..., 12:], -kernel[..., :12])
    seen = keras().ops.convert_to_numpy(keras().ops.conv(pixels / np.float32(64) - 2, kernel[..., :12]))
    np.testing.assert_allclose(np.cov(seen.reshape(-1, 12), rowvar=False), np.eye(12), atol=0.05)


def test_cifar_fast_takes_the_settings_that_belong_to_it() -> None:
    build = CIFAR_FAST.build
    model = build(10, replace(CIFAR_FAST.reference, dropout=0.3, activity_l2=0.01, bn_momentum=0.8))
    [dropout] = [layer for layer in model.layers if type(layer).__name__ == "Dropout"]
    assert dropout.rate == 0.3
    assert len(model.losses) == 0  # until it is called
    model(np.zeros((1, 32, 32, 3), np.float32), training=True)
    assert len(model.losses) == 1
    assert {layer.momentum for layer in model.layers if hasattr(layer, "momentum")} == {0.8}
