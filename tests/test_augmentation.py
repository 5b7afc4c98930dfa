"""Every registered policy keeps the contract, and every view is a pure function of its five values."""

from __future__ import annotations

import functools
import hashlib
import importlib
import itertools
import os
import random
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tl_toolkit.augmentation import REGISTRY, augment, policy_version, shrink
from tl_toolkit.augmentation.views import SMALLEST_SIDE, WORKING_SIDE
from tl_toolkit.core.errors import UnknownNameError

# Albumentations only warns of an argument that it does not know, and goes on without it.
pytestmark = pytest.mark.filterwarnings("error")

Image = npt.NDArray[np.uint8]
POLICIES = REGISTRY.names()
AUGMENTING = [name for name in POLICIES if name != "none"]
STRENGTHS = (0.0, 0.25, 0.5, 1.0)


@functools.lru_cache(maxsize=64)
def photo(height: int = 160, width: int = 200, seed: int = 0) -> Image:
    """A smooth, lopsided picture with a little grain: RGB, uint8, read-only as in a memory map."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    waves = [np.sin(3 * x + channel + seed) + np.cos(5 * y * (1 + x) - channel) for channel in range(3)]
    grain = np.random.default_rng(seed).normal(0, 4, (height, width, 3))
    image = np.clip(np.stack(waves, axis=-1) * 60 + 128 + grain, 0, 255).astype(np.uint8)
    image.flags.writeable = False
    return image


def view(image: Image, policy: str, number: int = 1, strength: float = 1.0, seed: int = 7) -> Image:
    return augment(image, policy=policy, strength=strength, seed=seed, view=number, image_id="photo")


def digest(images: list[Image]) -> str:
    return hashlib.sha256(b"".join(repr(i.shape).encode() + i.tobytes() for i in images)).hexdigest()


# The contract of a policy, for every name in the registry.


@pytest.mark.parametrize("policy", POLICIES)
def test_policy_builds_without_warning_and_has_a_version(policy: str) -> None:
    build = REGISTRY.get(policy)
    for strength in np.linspace(0, 1, 11):
        build(float(strength))
    assert isinstance(importlib.import_module(build.__module__).VERSION, int)
    assert policy in policy_version(policy)


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("policy", POLICIES)
def test_views_are_photos(policy: str, strength: float) -> None:
    for number in range(20):
        result = view(photo(), policy, number, strength)
        assert result.dtype == np.uint8
        assert result.ndim == 3
        assert result.shape[2] == 3
        assert 16 < min(result.shape[:2]) <= max(result.shape[:2]) <= WORKING_SIDE


@pytest.mark.parametrize("policy", POLICIES)
def test_view_zero_is_the_clean_photo(policy: str) -> None:
    assert view(photo(400, 700), policy, 0) is photo(400, 700)


@pytest.mark.parametrize("policy", AUGMENTING)
def test_views_differ_from_one_another(policy: str) -> None:
    views = [view(photo(), policy, number, strength) for number in range(9) for strength in STRENGTHS[1:]]
    assert len({digest([v]) for v in views[2:]}) == len(views) - 2  # the first three are the clean photo


@pytest.mark.parametrize("policy", AUGMENTING)
def test_each_of_the_five_values_matters(policy: str) -> None:
    start: dict[str, Any] = {"policy": policy, "strength": 0.8, "seed": 1, "view": 1, "image_id": "a"}
    others: list[dict[str, Any]] = [{"strength": 0.9}, {"seed": 2}, {"view": 2}, {"image_id": "b"}]
    digests = {digest([augment(photo(), **(start | change))]) for change in [{}, *others]}
    assert len(digests) == 5


@pytest.mark.parametrize("policy", AUGMENTING)
def test_distortion_grows_with_strength(policy: str) -> None:
    import cv2

    def distortion(strength: float) -> float:
        each = []
        for number in range(1, 31):
            clean = photo(seed=number)
            result = cv2.resize(view(clean, policy, number, strength), clean.shape[1::-1]).astype(float)
            # A flip is no distortion.
            each.append(min(np.abs(result - clean).mean(), np.abs(result - clean[:, ::-1]).mean()))
        return float(np.mean(each))

    at = [distortion(strength) for strength in STRENGTHS]
    assert at[0] < 1
    assert all(1.2 * low + 0.5 < high for low, high in itertools.pairwise(at)), at


@pytest.mark.parametrize("policy", POLICIES)
def test_no_black_wedges(policy: str) -> None:
    """The outermost pixels of a white photo stay bright, whatever warps do; patches hardly count."""
    white = np.full((200, 260, 3), 250, np.uint8)
    dark = []
    for number in range(1, 101):
        result = view(white, policy, number).max(axis=2)
        ring = np.concatenate([result[0], result[-1], result[:, 0], result[:, -1]])
        dark.append(np.mean(ring < 40))
    assert np.mean(dark) < 0.005


@pytest.mark.parametrize("policy", AUGMENTING)
def test_augmented_views_share_no_memory_with_the_photo(policy: str) -> None:
    """Not even where, at low strength, hardly anything happens. The photo is read-only: writing raises."""
    for number in range(1, 101):
        assert not np.shares_memory(view(photo(40, 50), policy, number, strength=0.05), photo(40, 50))


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=80, deadline=None)
@given(
    height=st.integers(1, 420),
    width=st.integers(1, 420),
    strength=st.sampled_from(STRENGTHS),
    number=st.integers(0, 10**6),
    seed=st.integers(-(2**40), 2**40),
)
@example(height=1, width=1, strength=1.0, number=1, seed=0)
@example(height=8, width=8, strength=1.0, number=2, seed=0)
@example(height=17, width=400, strength=1.0, number=3, seed=0)
@example(height=2000, width=30, strength=1.0, number=4, seed=0)
@example(height=1, width=3000, strength=1.0, number=5, seed=0)
def test_every_shape_is_taken(policy: str, height: int, width: int, strength: float, number: int, seed: int) -> None:
    image = photo(height, width)
    first, again = (view(image, policy, number, strength, seed) for _ in range(2))
    assert np.array_equal(first, again)
    if number and policy != "none":
        assert 16 < min(first.shape[:2]) <= max(first.shape[:2]) <= WORKING_SIDE
    else:
        assert first is image


# What single policies promise.


def test_none_leaves_every_view_clean() -> None:
    large = photo(400, 700)
    assert all(view(large, "none", number) is large for number in range(3))


@pytest.mark.parametrize("policy", AUGMENTING)
def test_strength_zero_is_the_identity(policy: str) -> None:
    assert all(np.array_equal(view(photo(), policy, number, strength=0.0), photo()) for number in range(30))


@pytest.mark.parametrize(("policy", "least"), [("light", 0.75), ("heavy", 0.6)])
def test_geometry_keeps_most_of_the_photo_upright(policy: str, least: float) -> None:
    """A picture whose pixels tell where they came from shows what is still in view, and which way is up."""
    import albumentations as A

    y, x = np.mgrid[:256, :256].astype(np.uint8)
    places = np.stack([x, y, np.zeros_like(x)], axis=-1)
    compose = A.Compose(importlib.import_module(f"tl_toolkit.augmentation.{policy}").geometry(1.0, 1.0))
    for number in range(300):
        compose.set_random_state(np.random.default_rng(number), random.Random(number))
        result = compose(image=places.copy())["image"]
        seen = np.zeros((32, 32), bool)
        seen[result[..., 1] // 8, result[..., 0] // 8] = True
        assert seen.mean() >= least
        middle = result[:, result.shape[1] // 2, 1].astype(int)
        assert middle[len(middle) // 4] < middle[-len(middle) // 4]


def test_operations_are_drawn_independently() -> None:
    """Flips with a change of colour, either, and neither: one draw for all operations would exclude some."""
    halves = np.full((64, 64, 3), 60, np.uint8)
    halves[:, 32:] = 180
    seen = set()
    for number in range(1, 201):
        corners = view(halves, "light", number)[0, [0, -1], 0].tolist()
        seen.add((corners[0] > corners[1], sorted(corners) == [60, 180]))
    assert len(seen) == 4


# Reproducible from the five values alone.


@pytest.mark.parametrize("policy", AUGMENTING)
def test_order_and_number_of_views_do_not_matter(policy: str) -> None:
    in_order = [view(photo(), policy, number) for number in range(12)]
    for number in (11, 3, 3, 7, 1):
        view(photo(50, 60), policy, 99, strength=0.5)
        assert np.array_equal(view(photo(), policy, number), in_order[number])


@pytest.mark.parametrize("policy", AUGMENTING)
def test_threads_agree(policy: str) -> None:
    numbers = list(range(24))
    alone = [digest([view(photo(), policy, number)]) for number in numbers]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda number: digest([view(photo(), policy, number)]), numbers))
    assert together == alone


def test_opencv_threads_do_not_matter() -> None:
    import cv2

    before = cv2.getNumThreads()
    digests = set()
    try:
        for count in (1, 2):
            cv2.setNumThreads(count)
            digests.add(digest([view(photo(600, 500), "heavy", number) for number in range(1, 30)]))
    finally:
        cv2.setNumThreads(before)
    assert len(digests) == 1


def test_another_process_agrees() -> None:
    """It starts out cheap, too: importing the room imports neither Albumentations nor OpenCV."""
    code = """
        import os, sys
        os.environ.pop("NO_ALBUMENTATIONS_UPDATE", None)
        import tl_toolkit.augmentation
        assert not {"albumentations", "cv2"} & set(sys.modules)
        assert os.environ["NO_ALBUMENTATIONS_UPDATE"] == "1"
        from tests.test_augmentation import AUGMENTING, digest, photo, view
        print(digest([view(photo(), policy, number) for policy in AUGMENTING for number in range(12, 0, -1)]))
    """
    environment = os.environ | {"PYTHONHASHSEED": "123"}
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    here = digest([view(photo(), policy, number) for policy in AUGMENTING for number in range(12, 0, -1)])
    assert finished.stdout.strip() == here


@pytest.mark.parametrize("policy", AUGMENTING)
def test_equal_numbers_give_equal_views(policy: str) -> None:
    seed: Any = np.int64(3)
    number: Any = np.uint8(2)
    plain = augment(photo(), policy=policy, strength=1.0, seed=3, view=2, image_id="a")
    other = augment(photo(), policy=policy, strength=1, seed=seed, view=number, image_id="a")
    assert np.array_equal(plain, other)


# Size.


def test_shrinking_first_changes_no_view() -> None:
    large = photo(700, 400)
    small = shrink(large)
    assert small.shape == (WORKING_SIDE, round(400 * WORKING_SIDE / 700), 3)
    assert shrink(small) is small
    assert shrink(photo(9, 700)).shape == (SMALLEST_SIDE, WORKING_SIDE, 3)
    assert all(np.array_equal(view(large, "heavy", n), view(small, "heavy", n)) for n in range(1, 10))


def test_memory_layout_does_not_matter() -> None:
    mirrored = photo()[:, ::-1]
    assert np.array_equal(view(mirrored, "heavy"), view(mirrored.copy(), "heavy"))


# Mistakes.


@pytest.mark.parametrize("strength", [-0.1, 1.01, float("nan"), float("inf")])
def test_strength_outside_its_range(strength: float) -> None:
    with pytest.raises(ValueError, match=rf"0 <= strength <= 1.*got strength={strength}"):
        view(photo(), "light", strength=strength)


def test_negative_view() -> None:
    with pytest.raises(ValueError, match=r"view >= 0.*got view=-1"):
        view(photo(), "light", number=-1)


@pytest.mark.parametrize("number", [0, 1])
def test_image_that_is_no_photo(number: int) -> None:
    with pytest.raises(ValueError, match="uint8, got float64"):
        view(photo().astype(float), "light", number)
    for shape in [(10, 10), (10, 10, 4), (10, 10, 1), (0, 10, 3), (2, 10, 10, 3)]:
        with pytest.raises(ValueError, match=r"shape \(height, width, 3\).*got \("):
            view(np.zeros(shape, np.uint8), "light", number)


def test_unknown_policy() -> None:
    for number in (0, 1):
        with pytest.raises(UnknownNameError, match="Did you mean 'heavy'"):
            view(photo(), "heavvy", number)
    with pytest.raises(UnknownNameError, match="Unknown augmentation policy"):
        policy_version("nothing")
