"""Which photos the words of a command line mean: files, folders, globs, and a list on standard input."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from tl_toolkit.core.errors import UserError

LISTED = "-"
"""The word that stands for a list on standard input."""


def find_photos(words: Sequence[str], suffixes: Collection[str], listed: Callable[[], bytes]) -> list[str]:
    """Paths of photos, in the order of the words; within folders and globs by name.

    A file that is named is taken whatever it is called; of folders, with all folders in them, and of globs, such as
    ``photos/**/*.jpg``, the files with one of the suffixes, hidden ones aside. Links to folders are not followed.

    Args:
        suffixes: In lower case, with the dot.
        listed: Called for the word ``-``: what stands on standard input. One path a line; or, as of ``find -print0``,
            each with a zero byte behind it, for names may hold line ends. Whether these exist is found out when they
            are read.

    Raises:
        UserError: a word means nothing that is there, or a folder or glob holds no photo.
    """
    found: list[str] = []
    for word in words:
        if word == LISTED:
            own = _listed(listed())
        elif (path := Path(word)).is_dir():
            own = _in_folder(word, suffixes)
        elif path.is_file():
            own = [word]
        elif path.exists():
            raise UserError(f"{word} is neither a file nor a folder: name photos, or folders of photos.")
        elif glob.has_magic(word):
            own = _in_glob(word, suffixes)
        else:
            raise UserError(f"{word} does not exist: name photos, folders, globs in quotes, or - for a list.")
        if not own:
            what = "The list on standard input is empty" if word == LISTED else f"There is no photo in {word}"
            raise UserError(f"{what}: names of photos end in one of {', '.join(sorted(suffixes))}.")
        found += own
    return found


def _listed(content: bytes) -> list[str]:
    end = b"\0" if b"\0" in content else b"\n"
    # Of a list that was written on Windows, lines end in two characters.
    lines = (line if end == b"\0" else line.removesuffix(b"\r") for line in content.split(end))
    return [os.fsdecode(line) for line in lines if line]


def _in_folder(folder: str, suffixes: Collection[str]) -> list[str]:
    def refuse(error: OSError) -> None:
        raise error

    found = []
    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [str(Path(parent, name)) for name in sorted(files) if _is_photo(name, suffixes)]
    return found


def _in_glob(pattern: str, suffixes: Collection[str]) -> list[str]:
    found: list[str] = []
    # Not Path.glob, which takes no pattern that begins at the root.
    for path in sorted(glob.iglob(pattern, recursive=True)):  # noqa: PTH207
        if Path(path).is_dir():
            # `photos/*` means the photos of folders, too; `**` comes to them by itself.
            found += [] if "**" in pattern else _in_folder(path, suffixes)
        elif _is_photo(Path(path).name, suffixes):
            found.append(path)
    return found


def _is_photo(name: str, suffixes: Collection[str]) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in suffixes
