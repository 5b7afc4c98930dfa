"""The feature bank: computed once, remembered whole, whoever asks and however they stop."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.progress import Progress

from tl_toolkit.backbones import REGISTRY
from tl_toolkit.backbones.features import FeatureBank, ViewSource, resolve
from tl_toolkit.backbones.tables import FeatureTables
from tl_toolkit.core.errors import TimeUpError, UserError
from tl_toolkit.core.settings import TrainingConfig

SMALL = "efficientnet_lite0@32"


def picture(number: int, view: int) -> np.ndarray:
    return np.random.default_rng([number, view]).integers(0, 256, (40 + number, 50, 3), dtype=np.uint8)


def source(
    numbers: list[int], views: int = 2, key: str = "policy", pixels: Callable[[int, int], np.ndarray] = picture
) -> ViewSource:
    ids = tuple(hashlib.sha256(str(number).encode()).hexdigest() for number in numbers)
    return ViewSource(ids=ids, key=key, views=views, pixels=lambda index, view: pixels(numbers[index], view))


def refuse(number: int, view: int) -> np.ndarray:
    raise AssertionError(f"photo {number} in view {view} is computed again")


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Features of pictures 0 .. 7 in three views, each computed by the Keras model."""
    from tl_toolkit.core.runtime import tensorflow

    tf = tensorflow()
    model = REGISTRY.get("efficientnet_lite0").build(32)
    pixels = [tf.image.resize(picture(number, view), (32, 32)) for number in range(8) for view in range(3)]
    return model(tf.stack(pixels), training=False).numpy().reshape(8, 3, -1)


def test_features_are_those_of_the_keras_model(truth: np.ndarray, tmp_path: Path) -> None:
    features = FeatureBank(tmp_path).features(SMALL, source(list(range(8)), views=3))
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, truth, rtol=0, atol=1e-4)


def test_when_time_is_up_the_features_that_are_there_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each core is at a photo of its own when time is up.
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    computed: list[int] = []

    def counted(number: int, view: int) -> np.ndarray:
        computed.append(number)
        return picture(number, view)

    config = TrainingConfig(backbone=SMALL, epochs=1)
    bank, labels = FeatureBank(tmp_path), np.arange(40) % 2
    with Progress(disable=True) as display:
        tables = FeatureTables(bank, labels, lambda _: source(list(range(40)), views=1, pixels=counted), display)
        with pytest.raises(TimeUpError):
            tables(config, expired=lambda: len(computed) > 5)
        before = len(computed)
        assert 5 < before < 40
        assert tables.seconds > 0
        assert (bank.computed, bank.reused) == (before, 0)
        assert tables(config).features.shape[:2] == (40, 1)
        assert (bank.computed, bank.reused) == (40, before)
        known = tables(config)
        assert tables(config) is known
        tables.forget()
        again = tables(config)
        assert again is not known
        np.testing.assert_array_equal(again.features, known.features)
    assert sorted(computed) == list(range(40))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.lists(
        st.tuples(st.lists(st.integers(0, 7), min_size=1, max_size=8), st.integers(1, 3)), min_size=1, max_size=4
    )
)
def test_whatever_is_asked_in_whatever_order_the_answer_is_the_same(
    asked: list[tuple[list[int], int]], truth: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bank, known = FeatureBank(tmp_path_factory.mktemp("bank")), set()
    for numbers, views in asked:
        wanted = {(number, view) for number in numbers for view in range(views)}
        assert bank.missing(SMALL, source(numbers, views)) == len(wanted - known)
        before = bank.computed
        features = bank.features(SMALL, source(numbers, views))
        assert bank.computed - before == len(wanted - known)
        known |= wanted
        np.testing.assert_allclose(features, truth[numbers, :views], rtol=0, atol=1e-4)


def test_another_process_finds_what_one_has_computed(tmp_path: Path) -> None:
    first = FeatureBank(tmp_path).features(SMALL, source([1, 2]))
    again = FeatureBank(tmp_path)
    np.testing.assert_array_equal(again.features(SMALL, source([2, 1], pixels=refuse)), first[::-1])
    assert (again.computed, again.reused) == (0, 4)


def test_the_clean_view_is_shared_by_all_policies_and_the_others_are_not(tmp_path: Path) -> None:
    bank = FeatureBank(tmp_path)
    bank.features(SMALL, source([1], key="one"))
    assert bank.missing(SMALL, source([1], key="two")) == 1
    assert bank.missing("efficientnet_lite0@64", source([1], key="one")) == 2


def test_several_backbones_stand_side_by_side(tmp_path: Path) -> None:
    bank = FeatureBank(tmp_path)
    both = bank.features(f"{SMALL}+efficientnet_lite1@32", source([3, 4]))
    np.testing.assert_array_equal(both[..., :1280], bank.features(SMALL, source([3, 4], pixels=refuse)))
    assert both.shape == (2, 2, 2560)


def test_a_damaged_block_is_computed_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = FeatureBank(tmp_path).features(SMALL, source([5], views=1))
    [block] = tmp_path.rglob("block-*.npy")
    block.write_bytes(block.read_bytes()[:-100])
    np.testing.assert_array_equal(FeatureBank(tmp_path).features(SMALL, source([5], views=1)), first)
    assert "is damaged" in capsys.readouterr().err


def test_what_was_done_before_a_stop_is_kept(tmp_path: Path) -> None:
    def stops(number: int, view: int) -> np.ndarray:
        if number == 6:
            raise KeyboardInterrupt
        return picture(number, view)

    bank = FeatureBank(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        bank.features(SMALL, source(list(range(8)), views=1, pixels=stops))
    assert 1 <= bank.missing(SMALL, source(list(range(8)), views=1)) <= 3


def test_two_processes_at_once_compute_each_view_once(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; from test_features import *\n"
        "bank = FeatureBank(Path(sys.argv[2])); bank.features(SMALL, source(list(range(8))))\n"
        "print(bank.computed)"
    )
    words = [sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path)]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sum(int(process.communicate(timeout=200)[0]) for process in both) == 16
    assert [process.returncode for process in both] == [0, 0]


@pytest.mark.parametrize("wrong", ["efficientnet_lite0@0", "efficientnet_lite0@big", "efficientnet_lite9", "a+b", ""])
def test_what_is_no_backbone_is_refused(wrong: str) -> None:
    with pytest.raises(UserError):
        resolve(wrong)
