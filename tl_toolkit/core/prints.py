"""What a run keeps of the photos that it trained on: enough to know them again, and not the photos.

``training.npz`` holds, for each photo, digests, size, a perceptual hash, label, and group of near duplicates: about 200
bytes. Features, 2.5 kB each in half precision, are kept of all photos that were trained on as long as they take up to
:data:`MOST_BYTES`, which is 26,214 photos; of more photos a random :data:`SAMPLE` of them is kept, which is enough to
measure drift, and near duplicates are then told by hashes alone.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import written_whole
from tl_toolkit.core.settings import require

FILE = "training.npz"
"""In the run folder."""

MOST_BYTES = 64 * 2**20
SAMPLE = 4096

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingPrints:
    """The n photos of a run.

    Attributes:
        paths: POSIX paths, relative to the data set.
        class_names: The k classes.
        labels: int64, shape (n,), indices into ``class_names``.
        trained: bool, shape (n,): whether the exported model was trained on it; not so the photos of an official test
            set, and those that one training held out.
        groups: int64, shape (n,): photos with the same number are near duplicates.
        sha256: uint8, shape (n, 32), of each file; of photos that are arrays, of their pixels.
        pixels: uint8, shape (n, 32): digest of all pixels, in full size.
        widths, heights: int64, shape (n,), pixels.
        hashes: bool, shape (n, 64): perceptual hashes.
        backbone: Whose features, and at which size.
        featured: int64, shape (m,): the photos whose features are kept; all of them were trained on.
        features: float16, shape (m, d).
    """

    paths: tuple[str, ...]
    class_names: tuple[str, ...]
    labels: np.ndarray
    trained: np.ndarray
    groups: np.ndarray
    sha256: np.ndarray
    pixels: np.ndarray
    widths: np.ndarray
    heights: np.ndarray
    hashes: np.ndarray
    backbone: str
    featured: np.ndarray
    features: np.ndarray

    def __post_init__(self) -> None:
        n = len(self.paths)
        rows = (self.labels, self.trained, self.groups, self.sha256, self.pixels, self.widths, self.heights)
        require(all(len(one) == n for one in (*rows, self.hashes)), "one row a photo", photos=n)
        require(len(self.features) == len(self.featured), "one row of features a photo", features=self.features.shape)
        require(bool(self.trained[self.featured].all()), "features of photos that were trained on", photos=n)

    @property
    def complete(self) -> bool:
        """Whether the features of all photos that were trained on are kept."""
        return len(self.featured) == int(self.trained.sum())


def featured(trained: np.ndarray, n_features: int, *, seed: int = 0, most: int = MOST_BYTES) -> np.ndarray:
    """The photos whose features are to be kept: int64, shape (m,), rising.

    Args:
        trained: bool, shape (n,): the photos that the model was trained on.
        n_features: Of each photo, two bytes each.
        most: Bytes that the features may take.
    """
    rows = np.flatnonzero(trained)
    if len(rows) * n_features * 2 <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, SAMPLE, replace=False))


def save_prints(folder: Path, prints: TrainingPrints) -> None:
    """Write ``training.npz`` into a run folder."""
    with written_whole(folder / FILE) as file:
        np.savez_compressed(
            file,
            version=np.int64(_VERSION),
            paths=np.array(prints.paths, np.str_),
            class_names=np.array(prints.class_names, np.str_),
            backbone=np.array(prints.backbone),
            hashes=np.packbits(prints.hashes, axis=1),
            **{name: getattr(prints, name) for name in _ARRAYS},
        )


_ARRAYS = ("labels", "trained", "groups", "sha256", "pixels", "widths", "heights", "featured", "features")


def load_prints(folder: Path) -> TrainingPrints | None:
    """What a run folder keeps of its training photos; None where it keeps nothing, as runs of older releases.

    Raises:
        UserError: the file is damaged, or of a later release.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as kept:
            if int(kept["version"]) != _VERSION:
                raise UserError(f"{path} was written by another release: run the search again with this one.")
            return TrainingPrints(
                paths=tuple(kept["paths"].tolist()),
                class_names=tuple(kept["class_names"].tolist()),
                backbone=str(kept["backbone"]),
                hashes=np.unpackbits(kept["hashes"], axis=1).astype(bool),
                **{name: kept[name] for name in _ARRAYS},
            )
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged ({error}): run the search again.") from error
