"""What every network states about itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tl_toolkit.core.settings import TrainingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network without pretrained weights.

    Attributes:
        name: Its name in the registry.
        image_size: Side of its square input, pixels. Photos are resized to it bilinearly, without antialiasing.
        build: (k, settings) -> keras.Model, not compiled: pixels float32 (n, image_size, image_size, 3) in 0..255,
            rescaled inside, -> probabilities float32 (n, k). Of the settings it takes ``dropout``, ``activity_l2`` and
            ``bn_momentum``.
        reference: The settings that it was published with.
        version: Raised when the network changes, so that no cached result outlives the code that made it.
        source: Where its design comes from, one sentence.
        begin: (new keras.Model, training photos uint8 (m, image_size, image_size, 3)): sets weights that come from the
            photos; None where none do.
    """

    name: str
    image_size: int
    build: Callable[[int, TrainingConfig], Any]
    reference: TrainingConfig
    version: int
    source: str
    begin: Callable[[Any, np.ndarray], None] | None = None


BIASES_IN = "float32"
"""What convolutions with biases compute in, under any policy. TensorFlow 2.21 sums the gradient of a bias in the type
of its layer: over the 480,000 places of 500 maps of 31 x 31, a sum of 4,900 came out as 250 in bfloat16."""
