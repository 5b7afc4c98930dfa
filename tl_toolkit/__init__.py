"""Image classifiers from small folders of labelled photos, with an honest statement of how good they are.

>>> from tl_toolkit import load_model
>>> load_model("reports/slash/latest").predict(["photo.jpg"])[0].label
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tl_toolkit.core.errors import BrokenImageError as BrokenImageError
    from tl_toolkit.core.errors import UserError as UserError
    from tl_toolkit.inference.classifier import Classifier as Classifier
    from tl_toolkit.inference.classifier import Prediction as Prediction
    from tl_toolkit.inference.classifier import Predictions as Predictions
    from tl_toolkit.pipeline.predicting import load_model as load_model

__version__ = "0.1.0"

_PUBLIC = {
    "load_model": "tl_toolkit.pipeline.predicting",
    "Classifier": "tl_toolkit.inference.classifier",
    "Prediction": "tl_toolkit.inference.classifier",
    "Predictions": "tl_toolkit.inference.classifier",
    "BrokenImageError": "tl_toolkit.core.errors",
    "UserError": "tl_toolkit.core.errors",
}
"""Name -> module that it is imported from when it is asked for, so that ``import tl_toolkit`` costs nothing."""

__all__ = ["BrokenImageError", "Classifier", "Prediction", "Predictions", "UserError", "__version__", "load_model"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
