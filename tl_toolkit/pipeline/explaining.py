"""What shows where the model of a file looks, and pictures of it for pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from tl_toolkit.core.runtime import keras
from tl_toolkit.core.thumbnails import keep_picture
from tl_toolkit.evaluation.explanations import Explainer, explainer_of


def explainer(path: Path) -> Explainer | None:
    """Of a ``.keras`` file, or of the ``model.keras`` that a file of another format, which cannot be looked into, was
    made of: beside it, or beside its folder.

    Returns:
        None where there is no such file, or it has no maps to be seen in.
    """
    files = [path] if path.suffix == ".keras" else [folder / "model.keras" for folder in path.parents[:2]]
    file = next((file for file in files if file.is_file()), None)
    return explainer_of(keras().saving.load_model(file)) if file else None


def keep_overlays(
    folder: Path, photo: Callable[[int], np.ndarray], looked: Explainer, shown: Iterable[int], predicted: np.ndarray
) -> None:
    """Write where a model looked for the classes that it predicted.

    Args:
        photo: Place of a photo among those that were scored -> uint8 RGB, shape (height, width, 3).
        shown: Places of photos.
        predicted: int64, shape (m,): the class of each that was scored.
    """
    for index in map(int, shown):
        keep_picture(folder, index, looked.explain(photo(index), int(predicted[index])), "cam")
