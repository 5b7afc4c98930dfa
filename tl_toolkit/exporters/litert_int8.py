"""A LiteRT file whose convolutions reckon in 8-bit integers: a quarter of the size, calibrated on training photos.

Convolutions and the additions between them have integer weights and activations; dense layers have integer weights. The
resizing stays in float32: it multiplies places of up to some thousands, for which 8 bits are too few.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import warnings
from pathlib import Path

from tl_toolkit.core.runtime import native_messages_held
from tl_toolkit.exporters.base import Exporter, Material
from tl_toolkit.exporters.litert import converted, opened


def write(path: Path, material: Material) -> None:
    """Convert, calibrate, round and write.

    Raises:
        ValueError: there are no photos to calibrate on.
    """
    if not len(material.calibration):
        raise ValueError("at least one photo to calibrate on must hold, got none")
    os.environ.setdefault("TQDM_DISABLE", "1")
    from ai_edge_quantizer import quantizer
    from ai_edge_quantizer.qtyping import TFLOperationName

    with tempfile.TemporaryDirectory() as temporary:
        whole = Path(temporary) / "float.tflite"
        whole.write_bytes(converted(material))
        # It talks much, on both streams.
        with native_messages_held(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = quantizer.Quantizer(str(whole))
            for operation, where in (
                (TFLOperationName.CONV_2D, ".*"),
                (TFLOperationName.DEPTHWISE_CONV_2D, ".*"),
                # Those of layers, whose names have three parts; those of the resizing have two.
                (TFLOperationName.ADD, r".+/.+/Add"),
            ):
                made.add_static_config(regex=where, operation_name=operation, activation_num_bits=8, weight_num_bits=8)
            made.add_dynamic_config(regex=".*", operation_name=TFLOperationName.FULLY_CONNECTED, num_bits=8)
            seen = [{"photos": photo[None]} for photo in material.calibration]
            made.quantize(made.calibrate({"serving_default": seen})).export_model(str(path))


EXPORTER = Exporter(
    name="litert_int8",
    path="model_int8.tflite",
    runtime=("ai-edge-litert", "numpy", "pillow"),
    write=write,
    open=opened,
    needs={"ai_edge_quantizer": "ai-edge-quantizer"},
    exact=False,
)
