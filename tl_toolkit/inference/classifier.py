"""An exported model as Python and scikit-learn users expect a classifier."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import overload

import numpy as np

from tl_toolkit.core.errors import BrokenImageError
from tl_toolkit.core.settings import require
from tl_toolkit.inference.photos import Decode, Photo, Photos, each, path_of, pixels
from tl_toolkit.inference.streaming import Model, streamed

UNSURE = "unsure"
"""The answer where no class is probable enough."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """What a model says of one photo.

    Attributes:
        path: As it was given; None for a photo that was not given as a path.
        label: The most probable class, whatever its probability.
        probability: Of that class.
        probabilities: float32, shape (k,), in the order of ``classes``.
        classes: The k names.
        unsure: Whether ``probability`` is below the threshold that was asked for.
    """

    path: str | None
    label: str
    probability: float
    probabilities: np.ndarray
    classes: tuple[str, ...]
    unsure: bool

    @property
    def answer(self) -> str:
        """The label, or ``unsure``."""
        return UNSURE if self.unsure else self.label

    def top(self, count: int) -> list[tuple[str, float]]:
        """The ``count`` most probable classes (all, where they are fewer) with their probabilities, the first first."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.classes[c], float(self.probabilities[c])) for c in order]


class Predictions(Sequence[Prediction]):
    """A list of predictions that is an array of labels wherever NumPy or scikit-learn want one.

    So ``predictions[0].probability`` works, and ``accuracy_score(y, predictions)``, too. ``y == predictions`` and
    ``y != predictions`` compare label by label, bool (n,), with any sequence ``y`` of n labels; of another length,
    they raise a ``ValueError``.
    """

    def __init__(self, items: Iterable[Prediction]) -> None:
        self._items = list(items)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> Predictions: ...
    def __getitem__(self, index: int | slice) -> Prediction | Predictions:
        return Predictions(self._items[index]) if isinstance(index, slice) else self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> np.ndarray:  # type: ignore[override]
        return np.asarray(np.asarray(self) == np.asarray(other))

    def __ne__(self, other: object) -> np.ndarray:  # type: ignore[override]
        return np.asarray(np.asarray(self) != np.asarray(other))

    __hash__ = None  # type: ignore[assignment]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("copy=False cannot hold: an array of labels is made from the predictions")
        return np.array([one.label for one in self._items], dtype=dtype or np.str_)

    def __repr__(self) -> str:
        return f"Predictions({self._items!r})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A photo that could not be read.

    Attributes:
        path: As it was given; None for a photo that was not given as a path.
        error: Why; a ``BrokenImageError`` or an ``OSError``.
    """

    path: str | None
    error: Exception

    @property
    def reason(self) -> str:
        """Why, in one line without the path."""
        return (self.error.strerror if isinstance(self.error, OSError) else None) or str(self.error)


class Classifier:
    """A model file, ready to predict. :func:`tl_toolkit.load_model` makes it; it may be shared by threads.

    Photos are given as paths, as the content of files, as Pillow images, or as arrays uint8 (height, width, 3) or
    (n, height, width, 3); all are decoded and shrunk by the rules by which training photos were.

    Attributes:
        classes_: The k names, array of str, in the order of the columns of probabilities.
        path: The model file.
        model: The file as a function; by itself not to be shared by threads.
    """

    def __init__(self, model: Model, class_names: tuple[str, ...], decode: Decode, path: Path) -> None:
        self.classes_ = np.array(class_names)
        self.path = path
        self.model, self._names, self._decode, self._lock = model, class_names, decode, threading.Lock()

    def __repr__(self) -> str:
        return f"Classifier({str(self.path)!r}, {len(self._names)} classes)"

    def predict(self, photos: Photos, *, threshold: float = 0.0) -> Predictions:
        """What the model says of each photo.

        Args:
            photos: One or many; see the class.
            threshold: A prediction is ``unsure`` where its probability is below this.

        Returns:
            One :class:`Prediction` a photo, in their order. Where an array is asked for, as by scikit-learn's metrics,
            it is that of the labels.

        Raises:
            BrokenImageError: a photo cannot be decoded in full; the message begins with its path.
            FileNotFoundError: there is no such file.
            ValueError: an array is not of uint8 (height, width, 3), or ``threshold`` is not in 0..1.
        """
        return Predictions(_whole(one) for one in self.stream(photos, threshold=threshold))

    def predict_proba(self, photos: Photos) -> np.ndarray:
        """Probabilities, float32, shape (n, k), columns in the order of ``classes_``; raises like :meth:`predict`."""
        said = [_whole(one).probabilities for one in self.stream(photos)]
        return np.stack(said) if said else np.empty((0, len(self._names)), np.float32)

    def stream(self, photos: Photos, *, threshold: float = 0.0) -> Generator[Prediction | Failure]:
        """As :meth:`predict`, one by one and in bounded memory; a photo that cannot be read is a :class:`Failure`."""
        require(0 <= threshold <= 1, "0 <= threshold <= 1", threshold=threshold)
        for photo, said in streamed(each(photos), partial(pixels, decode=self._decode), self._said):
            if isinstance(said, Exception):
                yield Failure(path=path_of(photo), error=said)
            else:
                yield self._prediction(photo, said, threshold)

    def _said(self, photos: np.ndarray) -> np.ndarray:
        with self._lock:
            return self.model(photos)

    def _prediction(self, photo: Photo, said: np.ndarray, threshold: float) -> Prediction:
        best = int(said.argmax())
        return Prediction(
            path=path_of(photo),
            label=self._names[best],
            probability=float(said[best]),
            probabilities=said,
            classes=self._names,
            unsure=bool(said[best] < threshold),
        )


def _whole(one: Prediction | Failure) -> Prediction:
    if isinstance(one, Prediction):
        return one
    if isinstance(one.error, BrokenImageError) and one.path is not None:
        raise BrokenImageError(f"{one.path}: {one.error}") from one.error
    raise one.error
