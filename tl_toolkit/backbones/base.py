"""What every backbone states about itself; preprocessing travels with the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """A pretrained feature extractor.

    Attributes:
        name: Its name in the registry.
        image_size: Side of the square input that it was trained for, pixels. Photos are
            resized to the side asked for bilinearly, without antialiasing.
        n_features: Length of the pooled feature vector.
        build: side -> keras.Model from pixels float32 (n, side, side, 3) in 0..255, normalised inside, to
            features float32 (n, n_features). Pretrained weights, never random ones.
        weights: Where the weights are on this machine.

            Raises:
                UserError: they are not here; it says how to get them.
        licence: Licence of the weights (SPDX).
        version: Raised when features change, so that no cached feature outlives the code that made it.
    """

    name: str
    image_size: int
    n_features: int
    build: Callable[[int], Any]
    weights: Callable[[], Path]
    licence: str
    version: int
