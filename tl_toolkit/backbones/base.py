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
        connect: Applies the network to a symbolic tensor: pixels float32 (n, side, side, 3) in 0..255, normalised
            inside, -> maps float32 (n, h, w, n_features), whose mean over places are the features. The layers join
            the caller's graph, named after backbone and side, in inference mode and with pretrained weights, never
            random ones.
        weights: Where the weights are on this machine.

            Raises:
                UserError: they are not here; it says how to get them.
        licence: Licence of the weights (SPDX).
        version: Raised when features change, so that no cached feature outlives the code that made it.
    """

    name: str
    image_size: int
    n_features: int
    connect: Callable[[Any], Any]
    weights: Callable[[], Path]
    licence: str
    version: int

    def build(self, side: int, *, pooled: bool = True) -> Any:
        """The network on its own.

        Returns:
            keras.Model: pixels float32 (n, side, side, 3) -> features float32 (n, n_features), or their maps float32
            (n, h, w, n_features) where not ``pooled``.
        """
        import keras

        pixels = keras.Input((side, side, 3), name="pixels")
        maps = self.connect(pixels)
        outputs = keras.layers.GlobalAveragePooling2D(name="features")(maps) if pooled else maps
        return keras.Model(pixels, outputs, name=self.name)
