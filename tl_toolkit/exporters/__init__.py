"""Model files that work without this package, and the check that they say what the pipeline said."""

from tl_toolkit.core.registry import Registry

REGISTRY = Registry("exporter", {"keras": "tl_toolkit.exporters.keras_file:export"})
