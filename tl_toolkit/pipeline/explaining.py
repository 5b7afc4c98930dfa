"""What shows where the model of a file looks: for the server, and for evaluations."""

from __future__ import annotations

from pathlib import Path

from tl_toolkit.core.runtime import keras
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
