"""What networks are fed: the right pixels, computed as rarely and kept as sparingly as promised."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from tl_toolkit.core.runtime import keras
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.datasets.photos import Photos
from tl_toolkit.pipeline.data import views_of
from tl_toolkit.training import inputs
from tl_toolkit.training.inputs import ViewPixels

N, SIDE = 30, 8
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (N, 3, SIDE, SIDE, 3), dtype=np.uint8)
"""Three views of each photo."""
CONFIG = TrainingConfig(network="tiny", backbone="none", augmentation="light", strength=1.0, views=3)


def test_pixels_are_those_of_an_exported_model_to_half_a_grey_level() -> None:
    large = RNG.integers(0, 256, (3, 37, 23, 3), dtype=np.uint8)
    pixels = ViewPixels(lambda _: lambda i, _v: large[i], 3)(CONFIG, 8, np.array([2, 0]), np.array([0, 0]))
    layer = keras().layers.Resizing(8, 8, "bilinear")
    exact = np.stack([np.asarray(layer(large[i].astype(np.float32))) for i in (2, 0)])
    assert np.abs(pixels - exact).max() <= 0.5 + 1e-4


# Photos that come one by one.


def counted(asked: Counter[tuple[str, int]]) -> Any:
    """Photos that count how often each view of photo 5 is computed under each policy."""

    def photos(config: TrainingConfig) -> Any:
        def pixels(image: int, view: int) -> np.ndarray:
            asked[config.augmentation, view] += image == 5
            return PIXELS[image, view]

        return pixels

    return photos


def test_views_are_computed_once_and_the_clean_one_is_shared_by_all_policies() -> None:
    asked: Counter[tuple[str, int]] = Counter()
    pixels = ViewPixels(counted(asked), N, most_bytes=2 * N * SIDE * SIDE * 3)
    images, views = np.array([0, 1, 2]), np.array([0, 1, 0])
    for name in ("light", "light", "heavy", "light"):
        seen = pixels(replace(CONFIG, augmentation=name), SIDE, images, views)
        np.testing.assert_array_equal(seen, PIXELS[images, views])
    # Memory for two: the clean view, which all use, and that of one policy.
    assert asked == {("light", 0): 1, ("light", 1): 2, ("heavy", 1): 1}


def test_memory_bounds_the_views_and_forgotten_ones_are_computed_again() -> None:
    asked: Counter[tuple[str, int]] = Counter()
    pixels = ViewPixels(counted(asked), N, most_bytes=1)
    for _ in range(3):
        for view in (1, 0, 2):
            pixels(CONFIG, SIDE, np.array([3]), np.array([view]))
    assert asked == {("light", 0): 1, ("light", 1): 3, ("light", 2): 3}
    assert pixels._bytes() == 2 * N * SIDE * SIDE * 3


# Photos that come all together.

WHOLE = np.ascontiguousarray(PIXELS.swapaxes(0, 1))
"""The same views, each an array of all photos."""


def never(_: TrainingConfig) -> Any:
    raise AssertionError("asked for photos one by one")


def test_whole_arrays_are_not_copied_and_one_augmented_view_is_kept() -> None:
    asked: Counter[tuple[str, int]] = Counter()

    def together(config: TrainingConfig) -> Any:
        def all_of(view: int) -> np.ndarray:
            asked[config.augmentation, view] += 1
            return WHOLE[view]

        return all_of

    pixels = ViewPixels(never, N, together=together)
    images, augmented = np.array([4, 1, 2, 1]), np.array([False, True, False, False])
    for name, view in [("light", 1), ("light", 1), ("light", 2), ("heavy", 1), ("light", 1)]:
        config, views = replace(CONFIG, augmentation=name), np.where(augmented, view, 0)
        np.testing.assert_array_equal(pixels(config, SIDE, images, views), PIXELS[images, views])
        # What is kept is what came, whatever the size of the input.
        assert pixels(config, 3 * SIDE, images, views).shape == (4, 3 * SIDE, 3 * SIDE, 3)
    assert asked == {("light", 0): 1, ("light", 1): 2, ("light", 2): 1, ("heavy", 1): 1}
    assert all(np.shares_memory(kept, WHOLE) for kept in pixels._wholes.values())
    assert len(pixels._wholes) == 2


@pytest.mark.parametrize("side", [SIDE, SIDE + 1, 2 * SIDE, 29, SIDE - 3])
@pytest.mark.parametrize("width", [SIDE, SIDE - 3])
def test_whole_arrays_give_the_pixels_of_single_photos(side: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Larger, of the same size, and smaller than the input; in several batches of resizing."""
    monkeypatch.setattr(inputs, "_RESIZED", 7)
    images = np.random.default_rng(1).permutation(np.repeat(np.arange(N), 2))
    views = np.arange(2 * N) % 3

    def photos(_: TrainingConfig) -> Any:
        return lambda image, view: PIXELS[image, view, :, :width]

    single = ViewPixels(photos, N)(CONFIG, side, images, views)
    whole = ViewPixels(photos, N, together=lambda _: lambda view: WHOLE[view, :, :, :width])
    np.testing.assert_array_equal(whole(CONFIG, side, images, views), single)


def test_views_that_do_not_come_together_are_asked_for_one_by_one() -> None:
    asked: Counter[tuple[str, int]] = Counter()
    together = lambda _: lambda view: None if view else WHOLE[0]  # noqa: E731
    pixels = ViewPixels(counted(asked), N, together=together)
    images, views = np.arange(N), np.arange(N) % 3
    for _ in range(2):
        np.testing.assert_array_equal(pixels(CONFIG, SIDE, images, views), PIXELS[images, views])
    assert asked == {("light", 1): 1, ("light", 2): 1}


# Where a data set's photos come from.


def prepared(photos: Photos, ids: tuple[str, ...]) -> Any:
    return cast(Any, SimpleNamespace(photos=photos, audit=SimpleNamespace(sha256=ids)))


def test_photos_in_an_array_come_together_in_the_views_that_they_have_alone() -> None:
    array = RNG.integers(0, 256, (5, 32, 40, 3), dtype=np.uint8)
    names = ("a", "b", "c", "d", "e")
    data = prepared(Photos(Path(), names, pixels=array), names)
    config = replace(CONFIG, augmentation="flip_shift", strength=0.5)
    source = views_of(data, config, 3)
    assert source.together(0) is array
    for view in (1, 2):
        together = source.together(view)
        assert together is not None
        np.testing.assert_array_equal(together, np.stack([source.pixels(i, view) for i in range(5)]))
    assert views_of(data, CONFIG, 3).together(1) is None
    # Photos that are files are not all read at once.
    assert views_of(prepared(Photos(Path(), names), names), config, 3).together(0) is None
