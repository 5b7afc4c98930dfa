"""A folder of class folders, as it is on disk: which photos there are and which class each belongs to.

Only names are read here; whether a photo can be decoded is the audit's question.
"""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tl_toolkit.core.errors import UserError
from tl_toolkit.datasets.images import SUFFIXES

_LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
"""What operating systems leave in folders, in lower case. Names with a leading dot are left out as well."""

_ARCHIVES = frozenset({".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"})

_PARTS = frozenset({"train", "test", "val", "valid", "validation"})
"""Names of folders, in lower case, that are parts of a data set rather than classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFolder:
    """What :func:`scan` found. Paths are relative to ``root``, with forward slashes.

    The order depends on the names alone, not on file system, locale or Unicode normalisation: names are
    compared by the code points of their NFC form. The names themselves stay as they are on disk.

    Attributes:
        root: The folder, as it was given.
        class_names: Classes with at least one photo, sorted.
        paths: Photos, sorted by class, then by path.
        labels: For each photo the index of its class in ``class_names``; as many as ``paths``.
        ignored: What is no photo of a class, sorted: files without an image suffix, files in ``root`` itself,
            links to nowhere, pipes. Hidden and system files are not even listed.
        empty_classes: Class folders without a photo, sorted. Not classes; the user should hear of them.
    """

    root: Path
    class_names: tuple[str, ...]
    paths: tuple[str, ...]
    labels: tuple[int, ...]
    ignored: tuple[str, ...]
    empty_classes: tuple[str, ...]


def scan(root: Path, *, least: int = 2) -> ImageFolder:
    """List the photos below ``root``: each folder in it is a class, with all the photos at any depth in it.

    Symbolic links are followed. Loops end: within a class each folder is read once, and a link back to
    ``root`` or to a folder around it is not followed.

    Args:
        root: The folder.
        least: Fewest classes with photos, 1 or 2: nothing can be learnt from one, but something scored on it.

    Raises:
        UserError: there is no such folder, it is a file, it or a folder in it must not be read, it has no
            class folders, fewer classes with photos than ``least``, parts of a data set (train, test) for classes,
            or a name that is not valid Unicode.
    """
    try:
        return _scan(root, least)
    except FileNotFoundError as error:
        raise UserError(f"There is no folder {_shown(error)}: check the path.") from error
    except NotADirectoryError as error:
        archive = "an archive: unpack it and name the folder that comes out"
        file = "a file: name a folder that holds one folder of photos per class"
        what = archive if root.suffix.lower() in _ARCHIVES else file
        raise UserError(f"{_shown(error)} is {what}.") from error
    except PermissionError as error:
        raise UserError(
            f"No permission to read {_shown(error)}: grant it (chmod -R u+rX) or name another folder."
        ) from error
    except OSError as error:
        raise UserError(f"{_shown(error)} cannot be read ({error.strerror}): name another folder.") from error


def _scan(root: Path, least: int) -> ImageFolder:
    entries = _entries(root)
    around = {_identity(folder) for folder in (root.resolve(), *root.resolve().parents)}
    folders = [entry for entry in entries if entry.is_dir() and _identity(entry) not in around]
    _check_layout(root, entries, folders)

    photos: dict[str, list[str]] = {}
    ignored = [entry.name for entry in set(entries) - set(folders)]
    for folder in folders:
        photos[folder.name] = []
        for file in _files(folder, around | {_identity(folder)}):
            is_photo = file.suffix.lower() in SUFFIXES and file.is_file()
            (photos[folder.name] if is_photo else ignored).append(file.relative_to(root).as_posix())

    class_names = _in_order(name for name in photos if photos[name])
    found = ImageFolder(
        root=root,
        class_names=class_names,
        paths=tuple(path for name in class_names for path in _in_order(photos[name])),
        labels=tuple(label for label, name in enumerate(class_names) for _ in photos[name]),
        ignored=_in_order(ignored),
        empty_classes=_in_order(name for name in photos if not photos[name]),
    )
    _check_content(found, least)
    return found


def _entries(folder: Path) -> list[Path]:
    """What is in a folder, hidden and system files aside, in order."""
    entries = [folder / name for name in _in_order(entry.name for entry in folder.iterdir())]
    if not os.access(folder, os.X_OK):  # names can be listed, but nothing behind them can be looked at
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
    return [entry for entry in entries if entry.name[0] != "." and entry.name.lower() not in _LITTER]


def _files(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Everything at any depth in ``folder`` that is not a folder; folders in ``seen`` are not entered."""
    for entry in _entries(folder):
        if not entry.is_dir():
            yield entry
        elif (identity := _identity(entry)) not in seen:
            seen.add(identity)
            yield from _files(entry, seen)


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: (unicodedata.normalize("NFC", name), name)))


def _check_layout(root: Path, entries: list[Path], folders: list[Path]) -> None:
    shown = repr(str(root))
    if not entries:
        raise UserError(f"The folder {shown} is empty: put one folder of photos per class into it.")
    if not folders and any(entry.suffix.lower() in SUFFIXES for entry in entries):
        raise UserError(
            f"{shown} holds photos but no class folders: move the photos of each class into a folder of "
            f"its own, named after the class, such as {str(root / 'cats')!r}."
        )
    if not folders:
        raise UserError(f"{shown} holds no class folders: name a folder with one folder of photos per class.")
    parts = [folder for folder in folders if _holds_folders(folder)]
    if parts and all(folder.name.lower() in _PARTS for folder in folders):
        part = min(parts, key=lambda folder: folder.name.lower() != "train")
        names = ", ".join(folder.name for folder in folders)
        raise UserError(f"{shown} holds parts of a data set ({names}) and no classes: name one, such as {str(part)!r}.")


def _check_content(found: ImageFolder, least: int) -> None:
    shown = repr(str(found.root))
    for name in (*found.paths, *found.ignored, *found.empty_classes):
        if not name.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in name):
            raise UserError(f"{name!r} in {shown} is not a valid Unicode name: rename it.")
    if not found.class_names:
        endings = ", ".join(sorted(SUFFIXES))
        raise UserError(f"No photos in the folders of {shown}: their names must end in one of {endings}.")
    if len(found.class_names) < least:
        only = found.root / found.class_names[0]
        hint = f"name {str(only)!r} if that holds the class folders, or " if _holds_folders(only) else ""
        raise UserError(f"Only one class with photos in {shown}, {only.name!r}: {hint}add a second class folder.")


def _holds_folders(folder: Path) -> bool:
    return any(entry.is_dir() for entry in _entries(folder))


def _shown(error: OSError) -> str:
    return repr(str(error.filename))
