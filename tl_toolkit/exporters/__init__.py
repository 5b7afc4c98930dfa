"""Model files that work without this package, and the check that they say what the pipeline said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from tl_toolkit.core.errors import UserError
from tl_toolkit.core.registry import Registry

REGISTRY = Registry("exporter", {"keras": "tl_toolkit.exporters.keras_file:export"})


def opened(path: Path) -> tuple[Callable[[np.ndarray], np.ndarray], tuple[str, ...]]:
    """A model file as a function of photos, and the names of its classes.

    Returns:
        photos uint8 RGB, shape (n, height, width, 3), of any size -> probabilities float32, shape (n, k); to be called
        by one thread at a time. And the k names.

    Raises:
        UserError: the file is not a model that an exporter of this package wrote.
    """
    from tl_toolkit.exporters import keras_file

    if path.suffix != ".keras":
        raise UserError(f"{path} is not a model file that can be opened here: name a .keras file, or a run.")
    return keras_file.opened(path)
