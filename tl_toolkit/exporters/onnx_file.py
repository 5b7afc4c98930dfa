"""An ONNX file: dynamic batch, height and width; labels and input contract in its ``metadata_props``."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import numpy as np

from tl_toolkit.core.runtime import tensorflow
from tl_toolkit.exporters.base import Exporter, Material, Predict

OPSET = 18
"""Of 2022: what runtimes of today all read."""


def write(path: Path, material: Material) -> None:
    """Convert by tf2onnx, check, and write."""
    tensorflow()
    # It says at import which converters it lacks, and at work which operations it folds.
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    import onnx
    import tf2onnx

    function = material.program()
    model, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=OPSET)
    for value, names in ((model.graph.input[0], ("n", "height", "width")), (model.graph.output[0], ("n",))):
        for dimension, name in zip(value.type.tensor_type.shape.dim, names, strict=False):
            dimension.dim_param = name
    model.producer_name = "tl_toolkit"
    onnx.helper.set_model_props(
        model, {"labels": json.dumps(list(material.class_names), ensure_ascii=False), **material.metadata}
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def opened(path: Path) -> Predict:
    """In ONNX Runtime, on all cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def predict(photos: np.ndarray) -> np.ndarray:
        [probabilities] = session.run(["probabilities"], {"photos": photos})
        return probabilities

    return predict


def class_names(path: Path) -> tuple[str, ...]:
    """Those of its metadata."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Nothing is run: so nothing need be made fast.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return tuple(json.loads(session.get_modelmeta().custom_metadata_map["labels"]))


EXPORTER = Exporter(
    name="onnx",
    path="model.onnx",
    runtime=("onnxruntime", "numpy", "pillow"),
    write=write,
    open=opened,
    needs={"tf2onnx": "tf2onnx", "onnx": "onnx"},
    runs_on={"onnxruntime": "onnxruntime"},
    names=class_names,
)
