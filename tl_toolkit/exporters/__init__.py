"""Model files that work without this package, and the check that they say what the pipeline said."""

from tl_toolkit.core.registry import Registry

REGISTRY = Registry(
    "exporter",
    {
        "keras": "tl_toolkit.exporters.keras_file:EXPORTER",
        "saved_model": "tl_toolkit.exporters.saved_model:EXPORTER",
        "onnx": "tl_toolkit.exporters.onnx_file:EXPORTER",
        "litert": "tl_toolkit.exporters.litert:EXPORTER",
        "litert_int8": "tl_toolkit.exporters.litert_int8:EXPORTER",
        "openvino": "tl_toolkit.exporters.openvino_files:EXPORTER",
    },
)
