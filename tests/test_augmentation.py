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
import tracemalloc
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tl_toolkit.augmentation import REGISTRY, augment, augment_all, flip_shift, policy_version, shrink
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


def views_of_all(images: Image, policy: str = "flip_shift", number: int = 1, strength: float = 1.0) -> Image | None:
    ids = [f"photo {i}" for i in range(len(images))]
    return augment_all(images, policy=policy, strength=strength, seed=7, view=number, image_ids=ids)


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


def moved(image: Image, flip: bool, up: int, left: int) -> Image:
    """The photo flipped, then cut out of its mirrored surroundings that far from the top and the left."""
    height, width = image.shape[:2]
    image = image[:, ::-1] if flip else image
    wide = np.pad(image, ((8, 8), (8, 8), (0, 0)), mode="reflect")
    return wide[8 + up : 8 + up + height, 8 + left : 8 + left + width]


@pytest.mark.parametrize(("strength", "down", "across"), [(0.01, 0, 0), (0.5, 2, 3), (1.0, 4, 6)])
def test_flip_shift_does_all_it_may_equally_often_and_nothing_else(strength: float, down: int, across: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 44, 3), dtype=np.uint8)
    shifts = itertools.product(range(-down, down + 1), range(-across, across + 1))
    expected = [moved(image, flip, *shift).tobytes() for shift in shifts for flip in (False, True)]
    views = views_of_all(np.broadcast_to(image, (60 * len(expected), *image.shape)), strength=strength)
    assert views is not None
    counts = Counter(each.tobytes() for each in views)
    assert set(counts) == set(expected)
    # Chi-squared, whose mean is len(expected) - 1: 5 standard deviations above it.
    squares = sum((counts[each] - 60) ** 2 / 60 for each in expected)
    assert squares < len(expected) + 5 * (2 * len(expected)) ** 0.5


def test_flip_shift_needs_a_new_version_if_it_gives_other_pixels() -> None:
    y, x = np.mgrid[:32, :40].astype(np.uint8)
    views = [view(np.stack([y, x, x ^ y], axis=-1), "flip_shift", number, strength=0.5) for number in range(1, 9)]
    assert (policy_version("flip_shift"), digest(views)[:16]) == ("flip_shift 1, views 1", "7fce4403125b0ab7")


# All photos of an array at once.


@pytest.mark.parametrize("shape", [(32, 32), (33, 47), (320, 32)])
def test_all_at_once_are_the_same_as_one_by_one(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    # Chunks of two photos; every second column of larger ones, read-only, as a memory map may be cut.
    monkeypatch.setattr(flip_shift, "_CHUNK", 2 * shape[0] * shape[1] * 3)
    images = np.stack([photo(shape[0], 2 * shape[1], seed) for seed in range(24)])[:, :, ::2]
    images.flags.writeable = False
    for strength, number in itertools.product(STRENGTHS, (1, 2)):
        views = views_of_all(images, number=number, strength=strength)
        assert views is not None
        assert not np.shares_memory(views, images)
        for i, (image, seen) in enumerate(zip(images, views, strict=True)):
            alone = augment(image, policy="flip_shift", strength=strength, seed=7, view=number, image_id=f"photo {i}")
            assert np.array_equal(seen, alone)


def test_all_at_once_are_the_array_itself_where_all_are_clean() -> None:
    for shape in [(3, 32, 32, 3), (3, 8, 400, 3)]:
        images = np.zeros(shape, np.uint8)
        assert all(views_of_all(images, policy, 0) is images for policy in POLICIES)
        assert views_of_all(images, "none", 1) is images


def test_all_at_once_are_none_where_they_must_be_asked_for_one_by_one() -> None:
    fitting = np.zeros((2, 32, WORKING_SIDE, 3), np.uint8)
    assert [policy for policy in AUGMENTING if views_of_all(fitting, policy) is not None] == ["flip_shift"]
    assert views_of_all(np.zeros((2, SMALLEST_SIDE - 1, 40, 3), np.uint8)) is None
    assert views_of_all(np.zeros((2, 40, WORKING_SIDE + 1, 3), np.uint8)) is None


def test_all_at_once_need_little_more_memory_than_themselves() -> None:
    images = np.zeros((8000, 32, 32, 3), np.uint8)
    tracemalloc.start()
    try:
        views_of_all(images)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < images.nbytes + 2.5 * flip_shift._CHUNK + 500 * len(images)


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
    """It starts out cheap, too: neither the room nor a policy of NumPy code imports Albumentations or OpenCV."""
    code = """
        import os, sys
        os.environ.pop("NO_ALBUMENTATIONS_UPDATE", None)
        import numpy as np
        import tl_toolkit.augmentation as room
        room.policy_version("flip_shift")
        room.augment(np.zeros((32, 32, 3), np.uint8), policy="flip_shift", strength=1, seed=0, view=1, image_id="a")
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


@pytest.mark.parametrize("number", [0, 1])
def test_array_that_is_none_of_photos(number: int) -> None:
    with pytest.raises(ValueError, match="uint8, got float32"):
        views_of_all(np.zeros((2, 32, 32, 3), np.float32), number=number)
    for shape in [(32, 32, 3), (2, 32, 32, 4), (0, 32, 32, 3)]:
        with pytest.raises(ValueError, match=r"shape \(n, height, width, 3\).*got \("):
            views_of_all(np.zeros(shape, np.uint8), number=number)
    with pytest.raises(ValueError, match="got 1 for 2"):
        augment_all(np.zeros((2, 32, 32, 3), np.uint8), policy="none", strength=1, seed=0, view=number, image_ids=["a"])
    with pytest.raises(ValueError, match="got view=-1"):
        views_of_all(np.zeros((2, 32, 32, 3), np.uint8), number=-1)


def test_unknown_policy() -> None:
    for number in (0, 1):
        with pytest.raises(UnknownNameError, match="Did you mean 'heavy'"):
            view(photo(), "heavvy", number)
    with pytest.raises(UnknownNameError, match="Unknown augmentation policy"):
        policy_version("nothing")
