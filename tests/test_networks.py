"""The network from scratch is the one that was published."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tl_toolkit.core.runtime import keras
from tl_toolkit.networks import REGISTRY

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
