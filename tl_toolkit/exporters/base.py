"""What an exporter is, and how a file that one wrote is opened again."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.core.errors import UserError
from tl_toolkit.core.runtime import keras, tensorflow
from tl_toolkit.exporters import REGISTRY

LABELS = "labels.txt"
"""Beside the model files: the class names, one a line, in the order of probabilities."""

Predict = Callable[[np.ndarray], np.ndarray]
"""Photos of one size, uint8 RGB (n, height, width, 3), n at least 1, any size -> probabilities float32 (n, k). May be
called from any thread, from one at a time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """What model files are made of.

    Attributes:
        classifier: keras.Model; see :mod:`~tl_toolkit.exporters.classifiers`.
        class_names: The k labels.
        metadata: What files that have a place for it say of themselves.
        calibration: Photos of the training set, uint8 RGB, for formats that round by what they see.
    """

    classifier: Any
    class_names: Sequence[str]
    metadata: Mapping[str, str]
    calibration: Sequence[np.ndarray]

    def program(self) -> Any:
        """tf.function: ``photos``, uint8 (n, height, width, 3) -> a dictionary of ``probabilities``, float32 (n, k)."""
        tf, k = tensorflow(), keras()
        # Without the label, for which most formats have no operation.
        model = k.Model(self.classifier.inputs[0], self.classifier.output["probabilities"])
        return tf.function(
            # training=False: else batch normalisation may be traced in training mode.
            lambda photos: {"probabilities": model(photos, training=False)},
            input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name="photos")],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """A format.

    Attributes:
        name: In the registry.
        path: Of the file or folder, below the folder of the model.
        runtime: Distributions that ``examples/example_predict_<name>.py`` needs.
        needs: Modules that writing needs and this package does not depend on -> what to install.
        runs_on: As ``needs``, of opening.
        write: Writes the file or folder at a path that does not exist.
        open: Path of the file or folder -> :data:`Predict`.
        exact: Whether probabilities must be those of the pipeline; else only the classes must, nearly always.
        names: Path of the file -> the class names that it holds, for want of a ``labels.txt``; None: it holds none.
    """

    name: str
    path: str
    runtime: tuple[str, ...]
    write: Callable[[Path, Material], None]
    open: Callable[[Path], Predict]
    needs: Mapping[str, str]
    runs_on: Mapping[str, str] = field(default_factory=dict)
    exact: bool = True
    names: Callable[[Path], tuple[str, ...]] | None = None

    def require(self, *, to_open: bool = False) -> None:
        """Raise UserError where a package is missing; by default one that writing and checking need."""
        needed = self.runs_on if to_open else {**self.needs, **self.runs_on}
        missing = [name for module, name in needed.items() if importlib.util.find_spec(module) is None]
        if missing:
            raise UserError(
                f"The format {self.name} needs packages that are not installed: pip install {' '.join(missing)}"
            )

    @property
    def example(self) -> str:
        """Name of the script that shows how to use the file."""
        return f"example_predict_{self.name}.py"


def opened(path: Path) -> tuple[Predict, tuple[str, ...]]:
    """A model file or folder that an exporter wrote, ready to predict, and its class names.

    Args:
        path: Of the kind that exporters write, whatever its name: ``.keras``, ``.onnx``, ``.tflite``, ``.xml``, or a
            folder of a SavedModel.

    Raises:
        UserError: there is no such file, no exporter writes files of that kind, a package is missing, the class names
            are neither in the file nor in a ``labels.txt`` beside it or are not as many as the file tells apart, or the
            file is damaged or none of this package.
    """
    if not path.exists():
        raise UserError(f"There is no model file {path}: name one, or write it with python -m tl_toolkit.export.")
    exporters = [REGISTRY.get(name) for name in REGISTRY]
    # The first of two of one kind: both are opened alike.
    found = [e for e in exporters if Path(e.path).suffix == path.suffix and path.is_dir() == (path.suffix == "")]
    if not found or (path.is_dir() and not (path / "saved_model.pb").exists()):
        names = ", ".join(exporter.path for exporter in exporters)
        raise UserError(f"{path} is not a model file that can be opened here: name a run, or a file like {names}.")
    exporter = found[0]
    exporter.require(to_open=True)
    places = (path.parent / LABELS, path.parents[len(Path(exporter.path).parts) - 1] / LABELS)
    labels = next((place for place in places if place.is_file()), None)
    if not labels and not exporter.names:
        raise UserError(f"{places[0]} is missing, which names the classes: put it back beside the model.")
    with _refused(path):
        if labels:
            # No other line breaks: a class may be called anything that a folder can be called.
            class_names = tuple(labels.read_text(encoding="utf-8").removesuffix("\n").split("\n"))
        elif exporter.names:
            class_names = exporter.names(path)
        predict = exporter.open(path)
        # Foreign networks may open, too; what they are is seen when they run.
        [said] = predict(np.zeros((1, 32, 32, 3), np.uint8))
        count = len(said)
    if count != len(class_names):
        where = labels or path
        raise UserError(
            f"{where} names {len(class_names)} classes, but {path} tells {count} apart: put the labels.txt of this "
            "model beside it."
        )
    return predict, class_names


@contextmanager
def _refused(path: Path) -> Iterator[None]:
    """What a runtime says of a file that it cannot open as a UserError: each has errors of its own."""
    try:
        yield
    except (UserError, ImportError, MemoryError):
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[-1]
        raise UserError(
            f"{path} is damaged, or none of this package ({type(error).__name__}: {reason}): name a run folder or "
            "another file, or write it again with python -m tl_toolkit.export."
        ) from error
