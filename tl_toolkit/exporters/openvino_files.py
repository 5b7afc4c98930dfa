"""OpenVINO's two files: ``model.xml``, the network, and ``model.bin``, its weights in float32."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np

from tl_toolkit.exporters import onnx_file
from tl_toolkit.exporters.base import Exporter, Material, Predict


def write(path: Path, material: Material) -> None:
    """Convert by way of ONNX; labels and contract go into the runtime information of ``model.xml``."""
    import openvino

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        between = Path(temporary) / "model.onnx"
        onnx_file.write(between, material)
        model = openvino.convert_model(str(between))
    names = json.dumps(list(material.class_names), ensure_ascii=False)
    for name, value in {"labels": names, **material.metadata}.items():
        model.set_rt_info(value, ["tl_toolkit", name])
    openvino.save_model(model, str(path), compress_to_fp16=False)


def opened(path: Path) -> Predict:
    """On the CPU, in float32: of itself it would reckon in bfloat16 where the CPU can."""
    import openvino

    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()

    def predict(photos: np.ndarray) -> np.ndarray:
        return request.infer({"photos": photos})["probabilities"].copy()

    return predict


def class_names(path: Path) -> tuple[str, ...]:
    """Those of its runtime information."""
    import openvino

    return tuple(json.loads(openvino.Core().read_model(str(path)).get_rt_info(["tl_toolkit", "labels"]).astype(str)))


EXPORTER = Exporter(
    name="openvino",
    path="openvino/model.xml",
    runtime=("openvino", "numpy", "pillow"),
    write=write,
    open=opened,
    needs=onnx_file.EXPORTER.needs,
    runs_on={"openvino": "openvino"},
    names=class_names,
)
