"""Photos of a folder, with labels or without: what can be compared with others, and need not be fit for training."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import expanded
from tl_toolkit.datasets import REGISTRY
from tl_toolkit.datasets.images import SUFFIXES
from tl_toolkit.datasets.load import load_dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Photos on disk.

    Attributes:
        name: What reports call them.
        root: Folder that ``paths`` are relative to.
        paths: POSIX paths of the photos, length n, sorted.
        labels: Name of each photo's class, length n; None where the folder holds photos that are in no folder of it.
        is_sample: True where the pictures were drawn by this package and stand in for real photos.
        notes: What a reader must know about how they came about.
    """

    name: str
    root: Path
    paths: tuple[str, ...]
    labels: tuple[str, ...] | None
    is_sample: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.paths)


def collect(name: str, *, data_dir: Path | None = None, allow_sample: bool = True) -> Collection:
    """The photos behind the name of a data set, or all those at any depth of a folder.

    A registered name wins, as in :func:`~tl_toolkit.datasets.load.load_dataset`. A photo's class is the folder in the
    named one that it lies in.

    Raises:
        UserError: there is no such data set or folder, it cannot be read, or it holds no photo.
    """
    path = expanded(name)
    if name in REGISTRY or not path.exists():
        dataset = load_dataset(name, data_dir=data_dir, allow_sample=allow_sample)
        if dataset.pixels is not None:
            raise UserError(f"{dataset.name} is not in photo files, and cannot be compared: name a folder of photos.")
        return Collection(
            name=dataset.name,
            root=dataset.root,
            paths=dataset.paths,
            labels=tuple(dataset.class_names[label] for label in dataset.labels),
            is_sample=dataset.is_sample,
            notes=dataset.notes,
        )
    root = path.resolve()
    try:
        paths = sorted(file.relative_to(root).as_posix() for file in _photos(root))
    except OSError as error:
        raise UserError(
            f"{str(error.filename)!r} cannot be read ({error.strerror}): name a folder of photos."
        ) from error
    if not paths:
        raise UserError(f"No photos in {str(path)!r}: their names must end in one of {', '.join(sorted(SUFFIXES))}.")
    labels = tuple(file.split("/")[0] for file in paths) if all("/" in file for file in paths) else None
    return Collection(name=root.name, root=root, paths=tuple(paths), labels=labels)


def _photos(root: Path) -> Iterator[Path]:
    """Files with a photo's suffix at any depth, hidden ones aside. Links are followed, each folder is read once."""

    def stop(error: OSError) -> None:
        raise error

    seen = set()
    for name, below, files in os.walk(root, onerror=stop, followlinks=True):
        folder = Path(name)
        if folder.resolve() in seen:
            below.clear()
            continue
        seen.add(folder.resolve())
        below[:] = [one for one in below if one[0] != "."]
        found = (folder / file for file in files if file[0] != ".")
        yield from (file for file in found if file.suffix.lower() in SUFFIXES and file.is_file())
