"""Files that are either whole or not there, and the folders where they live."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import platformdirs

from tl_toolkit.core.errors import UserError

CACHE_VARIABLE = "TL_TOOLKIT_CACHE"


def cache_folder() -> Path:
    """Where things that can be computed again are kept: ``$TL_TOOLKIT_CACHE``, else the user cache folder."""
    named = os.environ.get(CACHE_VARIABLE)
    return expanded(named) if named else platformdirs.user_cache_path("tl_toolkit")


def expanded(path: str | Path) -> Path:
    """A path that a user named, with ``~`` and ``~name`` as shells understand them.

    Raises:
        UserError: there is no user of that name.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{path} names the home folder of nobody here: name another folder.") from error


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that appears under ``path`` when the block ends well, and not at all otherwise.

    Raises:
        OSError: the folder cannot be written or the disk is full; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all."""
    with written_whole(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write a JSON document, whole or not at all; numbers that JSON has not (NaN) are an error."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(*paths: Path) -> str:
    """Hexadecimal SHA-256 of a file; of several or a folder, over those of the files in the order of their paths."""
    files = sorted(one for path in paths for one in [path, *path.rglob("*")] if one.is_file())
    return sha256(files[0]) if len(files) == 1 else hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()


def csv_text(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> str:
    """A table as CSV: a header of ``names``, one line a row, nothing where a value is None."""
    text = io.StringIO()
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
