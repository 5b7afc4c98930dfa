"""The files of CIFAR-10's Python version, in a folder or in its archive: read without unpacking, and checked.

Six batches, each a pickled dict of ``batch_label``, ``labels`` (a list of integers), ``data`` (uint8, shape (photos,
3072), each row the red, then the green, then the blue values of a photo, row by row) and ``filenames``; and
``batches.meta``, a pickled dict of ``label_names``, ``num_cases_per_batch`` and ``num_vis``.
Described at https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import gzip
import hashlib
import reprlib
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from tl_toolkit.core.errors import UserError
from tl_toolkit.datasets import plain_pickle
from tl_toolkit.datasets.plain_pickle import MalformedError

FOLDER = "cifar-10-batches-py"
ARCHIVE = "cifar-10-python.tar.gz"
URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32  # pixels
PER_BATCH = 10_000  # photos

MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
"""The batches, in order, and the checksums of the published ones."""
TITLES = (*(f"training batch {number} of 5" for number in range(1, 6)), "testing batch 1 of 1")
"""What each batch calls itself."""
META = "batches.meta"
FILES = (*MD5, META)
_README = "readme.html"

MOST_BYTES = 40_000_000  # of a file; the published ones have 31,035,999 at most
LONGEST_NAME = 255  # characters of a photo's file name, as most file systems allow
MOST_UNPACKED = 250_000_000  # bytes of an unpacked archive; the published one has 186,224,640


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batches:
    """All photos, those of the five training batches first, then those of the test batch.

    Attributes:
        pixels: uint8 RGB, shape (6 * per_batch, 32, 32, 3).
        labels: int64, shape (6 * per_batch,), indices into :data:`CLASSES`.
        names: Name of the batch, a slash, and the file name that the batch tells; no two are the same.
        per_batch: Photos of each batch: 10,000, or fewer in a part of the data set.
        published: Whether the batches have the checksums of the published ones.
    """

    pixels: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    per_batch: int
    published: bool


def read(place: Path) -> Batches:
    """Read and check the files in a folder, or in an archive of it.

    All batches must have the same number of photos. Where that is 10,000, each class must have 5,000 photos in the
    training batches and 1,000 in the test batch.

    Raises:
        UserError: a file is missing, or is not as it should be; it is named.
    """
    labels: dict[str, np.ndarray] = {}
    names: dict[str, list[str]] = {}
    per_batch, promised, published, current = 0, 0, True, place
    try:
        for file, content in _folder(place) if place.is_dir() else _archive(place):
            current = place / file
            if file == META:
                promised = _photos_a_batch(content)
            else:
                data, labels[file], names[file] = _batch(content, file)
                if not per_batch:
                    per_batch = len(data)
                    pixels = np.empty((len(MD5), per_batch, SIDE, SIDE, 3), np.uint8)
                if len(data) != per_batch:
                    raise MalformedError(f"has {len(data)} photos, another batch {per_batch}")
                pixels[list(MD5).index(file)] = data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
                published &= hashlib.md5(content, usedforsecurity=False).hexdigest() == MD5[file]
            current = place
        if missing := [file for file in FILES if file not in labels and not (file == META and promised)]:
            raise MalformedError(f"lacks {', '.join(missing)}")
        if promised != per_batch:
            raise MalformedError(f"has {per_batch} photos a batch, but its {META} promises {promised}")
        in_order = np.concatenate([labels[file] for file in MD5])
        if per_batch == PER_BATCH:
            _check_classes(in_order)
    except MalformedError as error:
        raise UserError(f"{current} {error}: remove it, and get CIFAR-10 again, from {URL}") from error
    except OSError as error:
        raise UserError(f"{current} cannot be read ({error.strerror or error}): mend that, or move it away") from error
    return Batches(
        pixels=pixels.reshape(-1, SIDE, SIDE, 3),
        labels=in_order,
        names=tuple(f"{file}/{name}" for file in MD5 for name in names[file]),
        per_batch=per_batch,
        published=published,
    )


def _folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file in a folder."""
    for file in FILES:
        if not (folder / file).is_file():
            raise MalformedError(f"lacks {file}")
        with (folder / file).open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise MalformedError(f"has a {file} of more than {MOST_BYTES:,} bytes")
        yield file, content


def _archive(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file in an archive, in the order in which they are there."""
    seen: set[str] = set()
    try:
        with gzip.open(archive) as stream:
            unpacked = _Limited(stream)
            with tarfile.open(fileobj=unpacked, mode="r|") as members:  # type: ignore[call-overload]
                for member in members:
                    path = PurePosixPath(member.name)
                    if path == PurePosixPath(FOLDER) and member.isdir():
                        continue
                    if path.parent != PurePosixPath(FOLDER) or path.name not in (*FILES, _README):
                        raise MalformedError(f"has {member.name[:80]!r} in it, which is no file of CIFAR-10")
                    if not member.isfile() or member.issparse():
                        raise MalformedError(f"has {path.name} in it as a link or the like, not as a regular file")
                    if not 0 <= member.size <= MOST_BYTES:
                        raise MalformedError(f"has a {path.name} of more than {MOST_BYTES:,} bytes")
                    if path.name in seen:
                        raise MalformedError(f"has {path.name} in it twice")
                    seen.add(path.name)
                    content = members.extractfile(member)
                    if path.name != _README and content is not None:
                        yield path.name, content.read()
            while unpacked.read(1 << 16):  # gzip compares its checksum when it comes to the end
                pass
    except (gzip.BadGzipFile, EOFError, zlib.error, tarfile.TarError, ValueError, RecursionError) as error:
        raise MalformedError(f"is no tar.gz archive, or is cut short or damaged ({error})") from error


class _Limited:
    """A stream that must not give more than :data:`MOST_UNPACKED` bytes."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self.stream, self.left = stream, MOST_UNPACKED

    def read(self, size: int) -> bytes:
        content = self.stream.read(size)
        self.left -= len(content)
        if self.left < 0:
            raise MalformedError(f"unpacks to more than {MOST_UNPACKED:,} bytes")
        return content


def _photos_a_batch(content: bytes) -> int:
    """What the meta file says of each batch, once it is seen to be of CIFAR-10."""
    meta = _entries(content, {b"label_names", b"num_cases_per_batch", b"num_vis"})
    names, photos, values = meta[b"label_names"], meta[b"num_cases_per_batch"], meta[b"num_vis"]
    if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
        raise MalformedError("has no list of class names")
    if names != [name.encode() for name in CLASSES]:
        raise MalformedError(f"has the class names {reprlib.repr(names)}, not those of CIFAR-10")
    if type(values) is not int or values != 3 * SIDE * SIDE:
        raise MalformedError(f"has photos of other than {3 * SIDE * SIDE} values")
    if type(photos) is not int or not 1 <= photos <= PER_BATCH:
        raise MalformedError(f"must promise 1 to {PER_BATCH:,} photos a batch")
    return photos


def _batch(content: bytes, file: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Data (uint8, shape (photos, 3072)), labels (int64, shape (photos,)) and different file names of a batch."""
    title = TITLES[list(MD5).index(file)].encode()
    batch = _entries(content, {b"batch_label", b"labels", b"data", b"filenames"})
    said, labels, data, names = batch[b"batch_label"], batch[b"labels"], batch[b"data"], batch[b"filenames"]
    if not isinstance(said, bytes) or said != title:
        shown = reprlib.repr(said) if isinstance(said, bytes) else "not text"
        raise MalformedError(f"has another batch in it: its label is {shown}, must be {title!r}")
    if not isinstance(data, np.ndarray) or not 1 <= len(data) <= PER_BATCH or data.shape[1] != 3 * SIDE * SIDE:
        shape = data.shape if isinstance(data, np.ndarray) else "no array"
        raise MalformedError(f"has data of shape {shape}, must be (1 to {PER_BATCH:,}, {3 * SIDE * SIDE})")
    for what, values in (("labels", labels), ("file names", names)):
        if not isinstance(values, list) or len(values) != len(data):
            count = len(values) if isinstance(values, list) else "no list of"
            raise MalformedError(f"has {count} {what} for {len(data)} photos")
    if not all(type(label) is int and 0 <= label < len(CLASSES) for label in labels):
        raise MalformedError(f"has labels that are not whole numbers from 0 to {len(CLASSES) - 1}")
    if not all(isinstance(name, bytes) and _is_plain(name) for name in names):
        raise MalformedError("has file names that are empty, very long, or not of printable ASCII without a slash")
    plain = [name.decode("ascii") for name in names]
    if len(set(plain)) < len(plain):
        plain = [f"{position:05d}_{name}" for position, name in enumerate(plain)]
    return data, np.array(labels, np.int64), plain


def _entries(content: bytes, keys: set[bytes]) -> dict[bytes, Any]:
    """The pickled dict, which must have these keys."""
    value = plain_pickle.load(content)
    if not isinstance(value, dict):
        raise MalformedError("has no dict in its pickle")
    if value.keys() != keys:
        raise MalformedError(f"has the keys {reprlib.repr(list(value))}, must have {sorted(keys)}")
    return value


def _is_plain(name: bytes) -> bool:
    """Whether a name is safe to be shown, and to be part of a path."""
    # One long name, said of every photo, would be copied for each.
    short = len(name) <= LONGEST_NAME and name not in (b"", b".", b"..")
    return short and name.isascii() and name.decode("ascii").isprintable() and b"/" not in name


def _check_classes(labels: np.ndarray) -> None:
    """The classes of the whole data set are balanced, in either part."""
    for part, chosen in (("training batches", labels[: 5 * PER_BATCH]), ("test batch", labels[5 * PER_BATCH :])):
        counts, due = np.bincount(chosen, minlength=len(CLASSES)), len(chosen) // len(CLASSES)
        for name, count in zip(CLASSES, counts, strict=True):
            if count != due:
                raise MalformedError(f"has {count} photos of the class {name} in the {part}, must have {due}")
