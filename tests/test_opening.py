"""Opening model files again: moved ones, damaged ones, those of others, and what must be installed for it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from tl_toolkit import predict
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.runtime import keras
from tl_toolkit.exporters import REGISTRY
from tl_toolkit.exporters.base import Material, opened
from tl_toolkit.exporters.classifiers import classifier_of_networks

NAMES = ("Größe", 'a"b', "c & <d>")
FORMATS = ("keras", "saved_model", "onnx", "litert", "openvino")
HOLD_LABELS = ("keras", "onnx", "openvino")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of one layer in all formats, with labels.txt as in a run."""
    k = keras()
    pixels = k.Input((16, 16, 3))
    said = k.layers.Dense(3, "softmax")(k.layers.Flatten()(k.layers.Rescaling(1 / 255)(pixels)))
    classifier = classifier_of_networks([(k.Model(pixels, said), 16)], NAMES)
    material = Material(classifier=classifier, class_names=NAMES, metadata={"run": "none"}, calibration=[])
    made = tmp_path_factory.mktemp("formats")
    for name in FORMATS:
        REGISTRY.get(name).write(made / REGISTRY.get(name).path, material)
    (made / "labels.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    return made


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.mark.parametrize("name", FORMATS)
def test_a_moved_file_brings_its_labels_or_asks_for_them(copy: Path, name: str) -> None:
    path = copy / REGISTRY.get(name).path
    said, names = opened(path)
    photos = np.random.default_rng(0).integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)
    assert names == NAMES
    (copy / "labels.txt").unlink()
    if name in HOLD_LABELS:
        again, names = opened(path)
        assert names == NAMES
        np.testing.assert_array_equal(again(photos), said(photos))
    else:
        with pytest.raises(UserError, match=r"labels\.txt is missing"):
            opened(path)


@pytest.mark.parametrize("kind", ["empty", "text", "half"])
@pytest.mark.parametrize(
    ("name", "labels"), [(name, True) for name in FORMATS] + [(name, False) for name in HOLD_LABELS]
)
def test_damaged_files_are_the_users_to_mend(copy: Path, name: str, kind: str, labels: bool) -> None:
    path = copy / REGISTRY.get(name).path
    file = path / "saved_model.pb" if path.is_dir() else path
    whole = file.read_bytes()
    file.write_bytes({"empty": b"", "text": b"no model", "half": whole[: len(whole) // 2]}[kind])
    if not labels:
        (copy / "labels.txt").unlink()
    with pytest.raises(UserError, match="is damaged, or none of this package") as caught:
        opened(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_the_command_says_so_in_a_line(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / "model.tflite").write_bytes(b"no model")
    assert predict.main([str(copy / "model.tflite"), str(Path(__file__))]) == 2
    assert "model.tflite is damaged, or none of this package" in " ".join(capsys.readouterr().err.split())


def test_weights_that_are_missing_are_said(copy: Path) -> None:
    (copy / "openvino" / "model.bin").unlink()
    shutil.rmtree(copy / "saved_model" / "variables")
    for name in ("openvino/model.xml", "saved_model"):
        with pytest.raises(UserError, match="is damaged"):
            opened(copy / name)


def test_networks_of_others_are_refused_when_they_are_opened(copy: Path) -> None:
    import onnx

    k = keras()
    pixels = k.Input((8, 8, 3))
    k.Model(pixels, k.layers.Dense(3)(k.layers.Flatten()(pixels))).save(copy / "model.keras")
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 3]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", "x", "y")], "other", values[:1], values[1:])
    other = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(other, str(copy / "model.onnx"))
    for name in ("model.keras", "model.onnx"):
        with pytest.raises(UserError, match="none of this package"):
            opened(copy / name)
    (copy / "labels.txt").unlink()
    with pytest.raises(UserError, match=r"none of this package \(KeyError: 'labels'\)"):
        opened(copy / "model.onnx")


def test_labels_of_another_model_are_noticed(copy: Path) -> None:
    (copy / "labels.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match=r"labels\.txt names 2 classes, but .*model\.onnx tells 3 apart"):
        opened(copy / "model.onnx")


def test_to_open_needs_the_runtime_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("tf2onnx", "onnx", "ai_edge_quantizer"):
        monkeypatch.setitem(sys.modules, module, None)
    for name in FORMATS:
        assert opened(folder / REGISTRY.get(name).path)[1] == NAMES
    for name, missing in (("onnx", "tf2onnx onnx"), ("openvino", "tf2onnx onnx"), ("litert_int8", "ai-edge-quantizer")):
        with pytest.raises(UserError, match=f"pip install {missing}$"):
            REGISTRY.get(name).require()
    for module in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, module, None)
        path = folder / {"onnxruntime": "model.onnx", "openvino": "openvino/model.xml"}[module]
        with pytest.raises(UserError, match=f"pip install {module}$"):
            opened(path)
