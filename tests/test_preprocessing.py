"""The resizing inside exported models: that of training, for photos of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tl_toolkit.core.runtime import keras, tensorflow
from tl_toolkit.datasets.images import MAX_SIDE, decode_image
from tl_toolkit.exporters import preprocessing

SIDE = 64


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The resizing as a model that was saved and loaded again."""
    k = keras()
    photos = k.Input((None, None, 3), dtype="uint8")
    path = tmp_path_factory.mktemp("graph") / "resizing.keras"
    k.Model(photos, preprocessing.resized(photos, SIDE)).save(path)
    return k.saving.load_model(path)


def noise(height: int, width: int, count: int = 1) -> np.ndarray:
    return np.random.default_rng(height * 5000 + width).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def test_both_shrink_to_the_same_side() -> None:
    assert preprocessing.MAX_SIDE == MAX_SIDE


@settings(deadline=None, max_examples=40)
@given(st.integers(1, MAX_SIDE), st.integers(1, MAX_SIDE), st.integers(1, 2))
def test_photos_that_training_leaves_whole_are_resized_as_tensorflow_does(graph: Any, h: int, w: int, n: int) -> None:
    photos = noise(h, w, n)
    np.testing.assert_allclose(graph(photos), tensorflow().image.resize(photos, (SIDE, SIDE)), atol=2e-4)


@pytest.mark.parametrize("side", [96, 224])
def test_compiled_it_is_as_exact_as_rounding_to_grey_levels_needs(side: int) -> None:
    """Networks learn from whole grey levels, and an error of 1e-3 takes hundreds of pixels of a photo to another."""
    tf, k = tensorflow(), keras()
    photos = k.Input((None, None, 3), dtype="uint8")
    model = k.Model(photos, preprocessing.resized(photos, side))
    compiled = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)])
    for size in ((272, 408), (325, 488), (496, 331)):
        np.testing.assert_allclose(compiled(noise(*size)), tf.image.resize(noise(*size), (side, side)), atol=1e-4)


@pytest.mark.parametrize(
    ("height", "width"), [(513, 512), (400, 600), (3000, 4000), (4001, 2999), (1500, 2), (1, 1025), (512, 700)]
)
def test_larger_photos_are_shrunk_as_training_does_but_not_rounded_in_between(
    graph: Any, height: int, width: int, tmp_path: Path
) -> None:
    photo = noise(height, width)[0]
    Image.fromarray(photo).save(tmp_path / "photo.bmp")
    decoded = decode_image(tmp_path / "photo.bmp")
    assert max(decoded.shape) == MAX_SIDE
    difference = np.abs(graph(photo[None])[0] - tensorflow().image.resize(decoded, (SIDE, SIDE)))
    # Pillow rounds to whole grey levels after each direction: twice half a level, at most.
    assert difference.max() <= 1.01
    assert difference.mean() < 0.3
