"""CIFAR-10: flavours of its files, files that are not what they should be, where it is looked for, downloads."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import re
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from http_server import Fault, Server
from PIL import Image

from tl_toolkit.core.errors import UserError
from tl_toolkit.core.records import Dataset
from tl_toolkit.datasets import cifar10, cifar10_files, plain_pickle
from tl_toolkit.datasets.cifar10_files import ARCHIVE, CLASSES, FILES, FOLDER, META, TITLES
from tl_toolkit.datasets.download import DownloadError
from tl_toolkit.datasets.load import load_dataset
from tl_toolkit.datasets.plain_pickle import MalformedError

BATCHES = FILES[:-1]
M = 4
"""Photos of a batch, unless a test says otherwise."""

Entries = dict[str, dict[bytes, Any]]
Dump = Callable[[Any], bytes]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy between test and server, and nobody's own data."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in (cifar10.DATA_VARIABLE, cifar10.URL_VARIABLE, "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)


# A part of the data set, made here


def entries(m: int = M) -> Entries:
    """What is in each file, with random pixels and labels."""
    random = np.random.default_rng(m)
    meta = {b"num_cases_per_batch": m, b"label_names": [name.encode() for name in CLASSES], b"num_vis": 3072}
    made: Entries = {
        file: {
            b"batch_label": title.encode(),
            b"labels": random.integers(0, 10, m).tolist(),
            b"data": random.integers(0, 256, (m, 3072), dtype=np.uint8),
            b"filenames": [f"{file[-1]}_s_{position:06d}.png".encode() for position in range(m)],
        }
        for file, title in zip(BATCHES, TITLES, strict=True)
    }
    return made | {META: meta}


def python2(value: Any) -> bytes:
    """A pickle as Python 2 with NumPy 1 wrote the published files: protocol 2, text as bytes."""
    memo = iter(range(1, 1 << 20))

    def put() -> bytes:
        number = next(memo)
        return b"q" + bytes([number]) if number < 256 else b"r" + struct.pack("<I", number)

    def written(value: Any) -> bytes:
        if isinstance(value, bytes):
            size = b"U" + bytes([len(value)]) if len(value) < 256 else b"T" + struct.pack("<I", len(value))
            return size + value + put()
        if isinstance(value, int):
            return b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value)
        if isinstance(value, list):
            return b"]" + put() + b"(" + b"".join(map(written, value)) + b"e"
        if isinstance(value, dict):
            return b"}" + put() + b"(" + b"".join(written(part) for item in value.items() for part in item) + b"u"
        return (
            b"cnumpy.core.multiarray\n_reconstruct\n" + put() + b"cnumpy\nndarray\n" + put()
            + b"K\x00\x85" + put() + b"U\x01b\x87" + put() + b"R" + put()
            + b"(K\x01" + written(value.shape[0]) + written(value.shape[1]) + b"\x86" + put()
            + b"cnumpy\ndtype\n" + put() + b"U\x02u1K\x00K\x01\x87" + put() + b"R" + put()
            + b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89" + written(value.tobytes()) + b"tb"
        )  # fmt: skip

    return b"\x80\x02" + written(value) + b"."


def python3(protocol: int) -> Dump:
    return lambda value: pickle.dumps(value, protocol=protocol)


def numpy1(value: Any) -> bytes:
    """Protocol 3, from Python 3 with NumPy 1."""
    return pickle.dumps(value, protocol=3).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


FLAVOURS: dict[str, Dump] = {
    "python 2": python2,
    "protocol 2": python3(2),
    "protocol 3": python3(3),
    "protocol 3, numpy 1": numpy1,
    "protocol 4": python3(4),
}


def contents(made: Entries, dump: Dump = python2) -> dict[str, bytes]:
    return {file: dump(value) for file, value in made.items()}


def in_folder(parent: Path, files: dict[str, bytes]) -> Path:
    (parent / FOLDER).mkdir(parents=True)
    for file, content in files.items():
        (parent / FOLDER / file).write_bytes(content)
    return parent / FOLDER


def member(name: str, content: bytes = b"", **changes: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for attribute, value in changes.items():
        setattr(info, attribute, value)
    return info, content


def members_of(files: dict[str, bytes]) -> list[tuple[tarfile.TarInfo, bytes]]:
    """Members in the order of the published archive, which has the folder and a readme in it, too."""
    order = ("data_batch_4", "readme.html", "test_batch", "data_batch_3", META, *(f"data_batch_{n}" for n in (2, 5, 1)))
    files = {**files, "readme.html": b"<meta>"}
    return [
        member(FOLDER, type=tarfile.DIRTYPE),
        *(member(f"{FOLDER}/{name}", files[name]) for name in order if name in files),
    ]


def packed(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=1) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def in_archive(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed(members))
    return path


def assert_is(dataset: Dataset, made: Entries) -> None:
    """The data set has what is in the files, in the official order."""
    data = np.concatenate([made[file][b"data"] for file in BATCHES])
    m = len(data) // 6
    y, x, channel = np.meshgrid(np.arange(32), np.arange(32), np.arange(3), indexing="ij")
    assert dataset.pixels is not None
    assert dataset.test is not None
    np.testing.assert_array_equal(dataset.pixels, data[:, 1024 * channel + 32 * y + x])
    assert dataset.pixels.dtype == np.uint8
    assert dataset.pixels.flags.c_contiguous
    assert dataset.labels.tolist() == [label for file in BATCHES for label in made[file][b"labels"]]
    assert dataset.labels.dtype == np.int64
    assert dataset.paths == tuple(f"{file}/{name.decode()}" for file in BATCHES for name in made[file][b"filenames"])
    assert dataset.test.dtype == bool
    assert dataset.test.tolist() == [False] * 5 * m + [True] * m
    assert dataset.class_names == CLASSES == tuple(sorted(CLASSES))
    assert dataset.name == "cifar10"
    assert not dataset.is_sample


def refusal(place: Path) -> str:
    """Why the files are refused, in one line."""
    with pytest.raises(UserError) as caught:
        cifar10.load(place)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 500
    assert said.startswith(str(place))
    assert cifar10.PUBLISHED.url in said
    return said


def refusal_of(folder: Path, file: str, content: bytes) -> str:
    """Why a folder is refused that is right but for one file; the file is named."""
    place = in_folder(folder, contents(entries()) | {file: content})
    said = refusal(place)
    assert said.startswith(str(place / file))
    return said


# Files as they should be


def test_the_flavour_of_python_2_is_that_of_the_published_files() -> None:
    written = python2(entries()[META] | {b"num_cases_per_batch": 10_000})
    assert hashlib.md5(written).hexdigest() == "5ff9c542aee3614f3951f8cda6e48888"  # of the published batches.meta


@pytest.mark.parametrize("kind", ["folder", "archive"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_flavour_gives_the_same_data_set(flavour: str, kind: str, tmp_path: Path) -> None:
    made = entries()
    files = contents(made, FLAVOURS[flavour])
    for file, content in files.items():  # they are real pickles
        told = pickle.loads(content, encoding="bytes")
        assert {key: np.asarray(value).tolist() for key, value in told.items()} == {
            key: np.asarray(value).tolist() for key, value in made[file].items()
        }
    place = in_folder(tmp_path, files) if kind == "folder" else in_archive(tmp_path / "any.name", members_of(files))
    dataset = load_dataset("cifar10", data_dir=place, allow_sample=False)
    assert_is(dataset, made)
    assert dataset.root == (place if kind == "folder" else tmp_path)
    assert dataset.notes == ("A part of CIFAR-10: 4 photos a batch.",)
    assert "Krizhevsky" in dataset.source
    assert "no licence" in dataset.licence


def test_an_array_stored_by_columns_is_the_same(tmp_path: Path) -> None:
    made = entries()
    by_columns = {**made["test_batch"], b"data": np.asfortranarray(made["test_batch"][b"data"])}
    place = in_folder(tmp_path, contents(made | {"test_batch": by_columns}, python3(3)))
    assert_is(cifar10.load(place), made)


def test_repeated_file_names_are_made_different(tmp_path: Path) -> None:
    made = entries()
    made["data_batch_2"][b"filenames"] = [b"a.png", b"00000_a.png", b"a.png", b"no suffix"]
    made["data_batch_3"][b"filenames"] = [b"a.png", b"b", b"c.JPG", b"d.."]
    dataset = cifar10.load(in_folder(tmp_path, contents(made)))
    assert dataset.paths[M : 2 * M] == tuple(
        f"data_batch_2/{name}" for name in ("00000_a.png", "00001_00000_a.png", "00002_a.png", "00003_no suffix")
    )
    assert dataset.paths[2 * M : 3 * M] == tuple(f"data_batch_3/{name}" for name in ("a.png", "b", "c.JPG", "d.."))
    assert len(set(dataset.paths)) == 6 * M


def balanced(m: int) -> Entries:
    made = entries(m)
    for file in BATCHES:
        made[file][b"labels"] = [position % 10 for position in range(m)]
    return made


def test_all_of_it_is_balanced_and_compared_with_the_published_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10_files, "PER_BATCH", 20)  # as if all of CIFAR-10 were 120 photos
    made = balanced(20)
    files = contents(made)
    place = in_folder(tmp_path / "right", files)
    [note] = cifar10.load(place).notes
    assert "not the published files" in note
    md5 = {file: hashlib.md5(content).hexdigest() for file, content in files.items() if file != META}
    monkeypatch.setattr(cifar10_files, "MD5", md5)
    assert cifar10.load(place).notes == ()

    made["test_batch"][b"labels"][0] = 1
    said = refusal(in_folder(tmp_path / "test", contents(made)))
    assert "has 1 photos of the class airplane in the test batch, must have 2" in said
    made = balanced(20)
    made["data_batch_3"][b"labels"][:2] = [9, 9]
    said = refusal(in_folder(tmp_path / "training", contents(made)))
    assert "has 9 photos of the class airplane in the training batches, must have 10" in said


# Files that are not what they should be


def changed(file: str, **changes: Any) -> bytes:
    return pickle.dumps(entries()[file] | {key.encode(): value for key, value in changes.items()}, protocol=3)


DATA = entries()["test_batch"][b"data"]
TREE = {b"fine_labels": [0] * M, b"coarse_labels": [0] * M, b"filenames": [b""] * M, b"batch_label": b"", b"data": DATA}


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("test_batch", changed("test_batch", data=DATA[:, :-1]), r"data of shape \(4, 3071\), must be \(1 to 10,000,"),
        ("test_batch", changed("test_batch", data=DATA.astype(np.uint16)), "an array of dtype 'u2', not of 'u1'"),
        ("test_batch", changed("test_batch", data=DATA.reshape(M, 3, 1024)), "no uint8 matrix"),
        ("test_batch", changed("test_batch", data=DATA.tobytes()), "data of shape no array"),
        ("test_batch", changed("test_batch", data=DATA[:0]), r"data of shape \(0, 3072\)"),
        ("test_batch", changed("test_batch", labels=[0, 1, 2]), "has 3 labels for 4 photos"),
        ("test_batch", changed("test_batch", labels=(0, 1, 2, 3)), "has no list of labels for 4 photos"),
        ("test_batch", changed("test_batch", labels=[0, 1, 2, 10]), "whole numbers from 0 to 9"),
        ("test_batch", changed("test_batch", labels=[0, 1, 2, -1]), "whole numbers from 0 to 9"),
        ("test_batch", changed("test_batch", labels=[0, 1, 2, True]), "whole numbers from 0 to 9"),
        ("test_batch", changed("test_batch", labels=[0, 1, 2, 1 << 70]), "whole numbers from 0 to 9"),
        ("test_batch", changed("test_batch", filenames=[b"a"] * 5), "has 5 file names for 4 photos"),
        ("test_batch", changed("test_batch", filenames=[b"a", b"b", b"c", "d"]), "file names that are"),
        ("test_batch", changed("test_batch", filenames=[b"a", b"b", b"c", b"../d"]), "file names that are"),
        ("test_batch", changed("test_batch", filenames=[b"a", b"b", b"c", b".."]), "file names that are"),
        ("test_batch", changed("test_batch", filenames=[b"a", b"b", b"c", b"d\n"]), "file names that are"),
        ("test_batch", changed("test_batch", filenames=[b"a", b"b", b"c", b"\xff"]), "file names that are"),
        ("test_batch", changed("test_batch", filenames=[b"a", b"b", b"c", b"d" * 256]), "file names that are"),
        ("test_batch", changed("data_batch_1"), "another batch in it: its label is b'training batch 1 of 5'"),
        ("data_batch_2", changed("data_batch_1"), "another batch in it"),
        ("test_batch", changed("test_batch", batch_label=7), "its label is not text"),
        ("test_batch", changed("test_batch", more=7), r"has the keys \[.*b'more'\], must have"),
        ("test_batch", pickle.dumps(TREE, protocol=3), "has the keys .*b'fine_labels', .*must have .*b'labels'"),
        ("test_batch", pickle.dumps([1], protocol=3), "no dict"),
        ("test_batch", pickle.dumps({1: 2}, protocol=3), "a dict with keys that are not text"),
        ("test_batch", pickle.dumps({b"labels": 1.5}, protocol=3), "the pickle instruction BINFLOAT"),
        ("test_batch", python2(entries(5)["test_batch"]), "has 5 photos, another batch 4"),
        ("test_batch", python2(entries()["test_batch"]) + b"\0", "goes on after the end"),
        ("test_batch", python2(entries()["test_batch"])[:-1], "is no pickle, or is cut short"),
        ("test_batch", b"", "is no pickle, or is cut short"),
        ("test_batch", b"<!DOCTYPE html>\n<title>404 Not Found</title>\n", "is no pickle, or is cut short"),
        ("test_batch", b"version https://git-lfs.github.com/spec/v1\n", "is no pickle, or is cut short"),
        (META, changed(META, label_names=[name.encode() for name in CLASSES[::-1]]), "the class names .*b'truck'"),
        (META, changed(META, label_names=list(CLASSES)), "no list of class names"),
        (META, changed(META, num_vis=784), "photos of other than 3072 values"),
        (META, changed(META, num_cases_per_batch=0), "must promise 1 to 10,000 photos"),
        (META, changed(META, num_cases_per_batch=10_001), "must promise 1 to 10,000 photos"),
        (META, changed(META, num_cases_per_batch=4.0), "the pickle instruction BINFLOAT"),
        (META, pickle.dumps({b"fine_label_names": [], b"coarse_label_names": []}, protocol=3), "fine_label_names"),
    ],
)
def test_a_file_with_something_else_in_it_is_refused(file: str, content: bytes, reason: str, tmp_path: Path) -> None:
    assert re.search(reason, refusal_of(tmp_path, file, content))


def test_meta_must_promise_what_the_batches_have(tmp_path: Path) -> None:
    files = contents(entries()) | {META: changed(META, num_cases_per_batch=10_000)}
    assert "has 4 photos a batch, but its batches.meta promises 10000" in refusal(in_folder(tmp_path, files))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = contents(entries())
    place = in_folder(tmp_path, files)
    archive = in_archive(tmp_path / ARCHIVE, members_of(files))
    monkeypatch.setattr(cifar10_files, "MOST_BYTES", len(files["data_batch_1"]) - 1)
    assert "has a data_batch_1 of more than" in refusal(place)
    assert "has a data_batch_4 of more than" in refusal(archive)


def test_a_file_that_must_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = in_folder(tmp_path, contents(entries()))

    def denied(path: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(UserError, match=rf"^{place} cannot be read \(Permission denied\)"):
        cifar10.load(place)


# Malicious files


class Evil:
    """Makes a file when a pickle of it is run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(5))
def test_a_pickle_that_runs_something_is_refused_and_does_not_run(protocol: int, tmp_path: Path) -> None:
    content = pickle.dumps(Evil(tmp_path / "ran"), protocol=protocol)
    said = refusal_of(tmp_path, "data_batch_1", content)
    assert f"asks for the global '{os.name}.mkdir'" in said
    content = pickle.dumps({**entries()["test_batch"], b"labels": Evil(tmp_path / "ran")}, protocol=max(protocol, 2))
    said = refusal_of(tmp_path / "b", "test_batch", content)
    assert f"asks for the global '{os.name}.mkdir'" in said
    assert not (tmp_path / "ran").exists()
    pickle.loads(content)  # it would have
    assert (tmp_path / "ran").exists()


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", "the global 'builtins.eval'"),
        (b"\x80\x04K\x01K\x02\x93.", "the global ''"),
        (b"\x80\x02cnumpy\nload\n.", "the global 'numpy.load'"),
        (b"\x80\x02cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85R.", "a call in its pickle"),  # 2 GiB
        (b"\x80\x02cnumpy\nndarray\n)\x81.", "instruction NEWOBJ"),
        (b"(icollections\nOrderedDict\n.", "instruction INST"),
        (b"\x80\x02\x82\x01.", "instruction EXT1"),
        (b"\x80\x02K\x01Q.", "instruction BINPERSID"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\x00\x00\x00.", "cut short"),  # a bytearray of a terabyte
        (b"\x80\x02cnumpy\ndtype\nX\x01\x00\x00\x00OK\x00K\x01\x87R.", "an array of dtype 'O'"),
        (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00idna_\x86R.", "a call in its pickle"),
        (RECONSTRUCT + b"(K\x01K\x02K\x03\x86C\x02u1\x89C\x00tb.", "no uint8 matrix"),  # its dtype is bytes
        (b"\x80\x02cnumpy\nndarray\n}C\x01aC\x01bsb.", "no uint8 matrix"),  # would set an attribute of ndarray
    ],
)
def test_what_plain_data_do_not_need_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        plain_pickle.load(content)


@pytest.mark.parametrize(
    ("rows", "columns"), [(1 << 20, 3072), (-1, 3072), (-2, -1), (0, 3072), (1 << 400, 1 << 400), (2, 2)]
)
def test_an_array_has_as_many_elements_as_its_shape_says(rows: int, columns: int) -> None:
    dtype = b"cnumpy\ndtype\nC\x02u1K\x00K\x01\x87R"
    shape = pickle.dumps((rows, columns), protocol=2)[2:-1]
    assert plain_pickle.load(RECONSTRUCT + b"(K\x01K\x02K\x01\x86" + dtype + b"\x89C\x02abtb.").tolist() == [[97], [98]]
    with pytest.raises(MalformedError, match=r"an array of shape|no uint8 matrix"):
        plain_pickle.load(RECONSTRUCT + b"(K\x01" + shape + dtype + b"\x89C\x02abtb.")


def test_small_files_cannot_ask_for_much_memory_or_time(monkeypatch: pytest.MonkeyPatch) -> None:
    nested = b")" + b"q\x00h\x00\x86" * 100
    tracemalloc.start()
    try:
        # A memo of 2 to the 32 entries, in nine bytes.
        assert plain_pickle.load(b"\x80\x02Nr\xff\xff\xff\xff.") is None
        # A tuple of tuples of tuples: 2 to the 100 to hash as a key, or to show.
        with pytest.raises(MalformedError, match="keys that are not text"):
            plain_pickle.load(b"\x80\x02}(" + nested + b"Nu.")
        with pytest.raises(MalformedError, match="the global ''"):
            plain_pickle.load(b"\x80\x02" + nested + b"h\x00\x93.")
        assert len(plain_pickle.load(b"\x80\x02" + nested + b".")) == 2
        with pytest.raises(MalformedError, match="a call in its pickle"):
            plain_pickle.load(b"\x80\x02c_codecs\nencode\n" + nested + b"R.")
        # One text, encoded a thousand times.
        text = b"X" + (10_000).to_bytes(4, "little") + b"a" * 10_000
        encode = b"\x80\x02(c_codecs\nencode\nq\x00" + text + b"X\x06\x00\x00\x00latin1\x86q\x01"
        assert plain_pickle.load(encode + b"h\x00h\x01Rt.")[-1] == b"a" * 10_000
        with pytest.raises(MalformedError, match="makes more bytes in its pickle than it has"):
            plain_pickle.load(encode + b"h\x00h\x01R" * 1000 + b"t.")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    monkeypatch.setattr(plain_pickle, "MOST_INSTRUCTIONS", 1000)
    with pytest.raises(MalformedError, match="more than 1,000 instructions"):
        plain_pickle.load(b"\x80\x02(" + b"]" * 1000 + b"l.")


def test_nested_values_are_not_shown_at_length(tmp_path: Path) -> None:
    nested: Any = ()
    for _ in range(100):
        nested = (nested, nested)
    for number, key in enumerate((b"labels", b"filenames", b"batch_label", b"data")):
        content = pickle.dumps(entries()["test_batch"] | {key: [nested] * M}, protocol=3)
        refusal_of(tmp_path / str(number), "test_batch", content)
    refusal_of(tmp_path / "meta", META, pickle.dumps(entries()[META] | {b"label_names": [nested]}, protocol=3))
    refusal_of(tmp_path / "keys", META, pickle.dumps({b"\n" * 10_000: nested, "\n" * 10_000: 0}, protocol=3))


@pytest.mark.filterwarnings("ignore:invalid escape sequence")  # of pickletools, in text as protocol 0 writes it
@pytest.mark.parametrize("flavour", ["python 2", "protocol 4"])
def test_damage_is_refused_or_read_and_never_anything_else(flavour: str) -> None:
    small = entries(1)["test_batch"] | {b"data": np.zeros((1, 4), np.uint8)}
    content = FLAVOURS[flavour](small)
    for end in range(len(content)):
        with pytest.raises(MalformedError):
            plain_pickle.load(content[:end])
    random, refused = np.random.default_rng(0), 0
    for _ in range(5000):
        damaged = bytearray(content)
        for position in random.integers(0, len(content), random.integers(1, 4)):
            damaged[position] = random.integers(256)
        try:
            plain_pickle.load(bytes(damaged))
        except MalformedError:
            refused += 1
    assert 1000 < refused < 5000


# Archives that are not what they should be

RIGHT = members_of(contents(entries()))
BATCH = RIGHT[1][1]


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        (RIGHT[:-1], "lacks data_batch_1"),
        ([one for one in RIGHT if META not in one[0].name], "lacks batches.meta"),
        ([], "lacks data_batch_1, data_batch_2"),
        ([*RIGHT, RIGHT[1]], "has data_batch_4 in it twice"),
        ([*RIGHT, member(f"{FOLDER}/data_batch_6", BATCH)], "'cifar-10-batches-py/data_batch_6' in it, which is no"),
        ([member("cifar-100-python/train", BATCH)], "'cifar-100-python/train' in it, which is no file of CIFAR-10"),
        ([*RIGHT, member(f"../{FOLDER}/test_batch", BATCH)], "in it, which is no file of"),
        ([*RIGHT, member(f"/{FOLDER}/test_batch", BATCH)], "in it, which is no file of"),
        ([*RIGHT, member(f"{FOLDER}/../{FOLDER}/test_batch", BATCH)], "in it, which is no file of"),
        ([*RIGHT, member("test_batch", BATCH)], "in it, which is no file of"),
        ([member(FOLDER, type=tarfile.SYMTYPE, linkname="/etc")], "in it, which is no file of"),
        ([member(f"{FOLDER}/{META}", type=tarfile.SYMTYPE, linkname="/etc/passwd")], "as a link or the like"),
        ([member(f"{FOLDER}/{META}", type=tarfile.LNKTYPE, linkname="x")], "as a link or the like"),
        ([member(f"{FOLDER}/{META}", type=tarfile.FIFOTYPE)], "as a link or the like"),
        ([member(f"{FOLDER}/{META}", type=tarfile.DIRTYPE)], "as a link or the like"),
        ([member(f"{FOLDER}/{META}", type=tarfile.GNUTYPE_SPARSE)], "as a link or the like"),
        ([member(f"{FOLDER}/{META}", b"", size=1 << 40)], "has a batches.meta of more than 40,000,000 bytes"),
    ],
)
def test_an_archive_with_other_members_is_refused(
    members: list[tuple[tarfile.TarInfo, bytes]], reason: str, tmp_path: Path
) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for info, content in members:  # by hand, as addfile would miss what a size promises
            stream.write(info.tobuf() + content + bytes(-len(content) % 512))
        archive.offset = stream.tell()
    path = tmp_path / ARCHIVE
    path.write_bytes(gzip.compress(stream.getvalue(), 1))
    assert reason in refusal(path)


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    whole = packed(RIGHT)
    path = tmp_path / ARCHIVE
    wrong_checksum = whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:]
    for content in (
        b"",
        b"no archive",
        whole[: len(whole) // 2],
        whole[:-1],
        wrong_checksum,
        gzip.compress(b"x" * 999),
    ):
        path.write_bytes(content)
        assert "is no tar.gz archive, or is cut short or damaged" in refusal(path)
    path.write_bytes(whole)
    assert_is(cifar10.load(path), entries())
    made = entries()
    for file in BATCHES:
        made[file][b"data"] &= 3  # else nothing is compressed, and zlib finds no fault in anything
    whole = packed(members_of(contents(made)))
    for start in range(0, len(whole) - 50, len(whole) // 40):
        path.write_bytes(whole[:start] + b"\xff" * 50 + whole[start + 50 :])
        refusal(path)


def test_an_archive_of_names_of_names_is_refused(tmp_path: Path) -> None:
    path = tmp_path / ARCHIVE
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
        info, content = member("././@LongLink", b"x", type=kind)
        path.write_bytes(gzip.compress((info.tobuf() + content + bytes(511)) * 3000, 1))
        assert "is no tar.gz archive, or is cut short or damaged" in refusal(path)


def test_a_file_in_an_archive_is_named(tmp_path: Path) -> None:
    files = contents(entries()) | {"data_batch_3": b"cos\nsystem\n."}
    path = in_archive(tmp_path / ARCHIVE, members_of(files))
    assert refusal(path).startswith(f"{path / 'data_batch_3'} asks for the global 'os.system'")


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = in_archive(tmp_path / ARCHIVE, RIGHT)
    unpacked = len(gzip.decompress(path.read_bytes()))
    monkeypatch.setattr(cifar10_files, "MOST_UNPACKED", unpacked)
    assert_is(cifar10.load(path), entries())
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(1_000_000)))
    assert f"unpacks to more than {unpacked:,} bytes" in refusal(path)


# Where it is looked for


def test_locate_goes_from_the_nearest_to_the_farthest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = contents(entries())
    assert cifar10.locate(None) is None
    user = tmp_path / "user/tl_toolkit"
    nearer = [
        in_archive(user / ARCHIVE, RIGHT),
        in_folder(user, files),
        in_folder(tmp_path / "home/.keras/datasets", files),  # Keras 2
        in_folder(tmp_path / f"home/.keras/datasets/{FOLDER}-target", files),  # Keras 3.15
    ]
    for number, place in enumerate(nearer):
        for later in nearer[number + 1 :]:
            later.rename(later.with_name("hidden"))
        assert cifar10.locate(None) == place
        for later in nearer[number + 1 :]:
            later.with_name("hidden").rename(later)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    assert cifar10.locate(None) == user / FOLDER
    keras = in_folder(tmp_path / f"keras/datasets/{FOLDER}", files)  # nested
    assert cifar10.locate(None) == keras
    monkeypatch.setenv(cifar10.DATA_VARIABLE, os.pathsep.join(["", str(tmp_path / "none"), "~/first", "~/second"]))
    assert cifar10.locate(None) == keras
    second = in_archive(tmp_path / "home/second" / ARCHIVE, RIGHT)
    assert cifar10.locate(None) == second
    first = in_folder(tmp_path / "home/first", files)
    assert cifar10.locate(None) == first
    given = in_archive(tmp_path / "given" / ARCHIVE, RIGHT)
    assert cifar10.locate(tmp_path / "given") == cifar10.locate(given) == given
    batches = in_folder(tmp_path / "given", files)
    assert cifar10.locate(tmp_path / "given") == cifar10.locate(batches) == batches
    assert cifar10.locate(Path("~/first")) == first


def test_a_named_folder_without_cifar10_is_an_error(tmp_path: Path) -> None:
    in_archive(tmp_path / "user/tl_toolkit" / ARCHIVE, RIGHT)
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(
            UserError, match=rf"No CIFAR-10 in {folder}: .*{ARCHIVE}.*batches\.meta.*--data-dir"
        ) as caught:
            load_dataset("cifar10", data_dir=folder)
        assert "\n" not in str(caught.value)


def test_an_incomplete_folder_is_passed_over_aloud(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = in_folder(tmp_path, contents(entries()))
    (folder / "test_batch").unlink()
    monkeypatch.setenv(cifar10.DATA_VARIABLE, str(tmp_path))
    assert cifar10.locate(None) is None
    assert "passed over: of the files of CIFAR-10 it lacks test_batch." in " ".join(capsys.readouterr().err.split())


# Downloads


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A mirror that has a part of CIFAR-10 under the name of all of it."""
    body = packed(RIGHT)
    published = replace(cifar10.PUBLISHED, sha256=hashlib.sha256(body).hexdigest(), size=len(body))
    monkeypatch.setattr(cifar10, "PUBLISHED", published)
    with Server({f"kriz/{ARCHIVE}": body}) as running:
        monkeypatch.setenv(cifar10.URL_VARIABLE, f"{running.url}/kriz/")
        yield running


def test_it_is_downloaded_once_into_the_user_folder(site: Server, tmp_path: Path) -> None:
    dataset = load_dataset("cifar10")
    assert_is(dataset, entries())
    user = tmp_path / "user/tl_toolkit"
    assert dataset.root == user
    assert {path.name for path in user.iterdir()} <= {ARCHIVE, ".cifar10.lock"}
    assert_is(load_dataset("cifar10"), entries())
    assert site.requests == [(f"kriz/{ARCHIVE}", None)]


SCRIPT = """
import sys
from dataclasses import replace
from tl_toolkit.datasets import cifar10
sha256, size = sys.argv[1:]
cifar10.PUBLISHED = replace(cifar10.PUBLISHED, sha256=sha256, size=int(size))
print(len(cifar10.load()), flush=True)
"""


def test_of_two_processes_one_downloads_and_one_waits(site: Server, tmp_path: Path) -> None:
    gate = threading.Event()
    site.misbehave(f"kriz/{ARCHIVE}", [Fault(hold=gate)])
    words = [sys.executable, "-c", SCRIPT, cifar10.PUBLISHED.sha256, str(cifar10.PUBLISHED.size)]
    logs = [tmp_path / "first.log", tmp_path / "second.log"]
    processes = []
    try:
        for log in logs:
            with log.open("w") as stream:
                processes.append(subprocess.Popen(words, stdout=stream, stderr=subprocess.STDOUT))
        deadline = time.monotonic() + 20
        while not any("Waiting for another process" in log.read_text() for log in logs):
            assert time.monotonic() < deadline, [log.read_text() for log in logs]
            time.sleep(0.02)
        gate.set()
        assert [process.wait(20) for process in processes] == [0, 0], [log.read_text() for log in logs]
    finally:
        for process in processes:
            process.kill()
    assert [log.read_text().splitlines()[-1] for log in logs] == [str(6 * M)] * 2
    assert sum("Downloading CIFAR-10" in log.read_text() for log in logs) == 1
    assert len(site.requests) == 1


def test_without_a_network_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        monkeypatch.setenv(cifar10.URL_VARIABLE, f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(DownloadError) as caught:
            load_dataset("cifar10", allow_sample=True)  # and nothing stands in for it
    said = str(caught.value)
    assert "no connection" in said
    assert f"Put {ARCHIVE} from https://www.cs.toronto.edu/~kriz/{ARCHIVE} into a folder" in said
    assert "--data-dir or in $TL_TOOLKIT_DATA" in said
    assert "\n" not in said


def test_a_wrong_file_is_not_kept(site: Server, tmp_path: Path) -> None:
    site.misbehave(f"kriz/{ARCHIVE}", [Fault(status=404)])
    with pytest.raises(DownloadError, match=rf"CIFAR-10 is not on this machine\. .*404.*Put {ARCHIVE}"):
        load_dataset("cifar10")
    assert not (tmp_path / "user/tl_toolkit" / ARCHIVE).exists()


def test_a_user_folder_that_cannot_be_made_is_named(
    site: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file/data"))
    with pytest.raises(DownloadError, match=rf"{tmp_path}/file/data/tl_toolkit not writable \(Not a directory\)\. Put"):
        load_dataset("cifar10")


# The real photos

REAL = Path(os.environ.get("TL_TOOLKIT_DATA", "-").split(os.pathsep)[0])
PER_PART = 200


def real_photos(split: str, count: int) -> tuple[list[np.ndarray], list[int], list[bytes]]:
    """Pixels (uint8, shape (32, 32, 3)), labels and file names of the first photos in an archive of JPEG files."""
    pixels: list[np.ndarray] = []
    labels: list[int] = []
    names: list[bytes] = []
    with tarfile.open(REAL / f"cifar10_{split}_jpeg.tar") as archive:
        for info in archive:
            file = archive.extractfile(info)
            if file is not None:
                pixels.append(np.asarray(Image.open(file).convert("RGB")))
                labels.append(CLASSES.index(Path(info.name).parts[1]))
                names.append(f"{CLASSES[labels[-1]]}_{Path(info.name).name}".encode())
            if len(pixels) == count:
                break
    return pixels, labels, names


@pytest.mark.real_photos
@pytest.mark.skipif(
    not (REAL / "cifar10_train_jpeg.tar").is_file(), reason="no cifar10_train_jpeg.tar in $TL_TOOLKIT_DATA"
)
def test_real_photos_come_through_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training, test = real_photos("train", 5 * PER_PART), real_photos("test", PER_PART)
    pixels, labels, names = (one + other for one, other in zip(training, test, strict=True))
    made = entries(PER_PART)
    for number, file in enumerate(BATCHES):
        chosen = slice(number * PER_PART, (number + 1) * PER_PART)
        made[file] = {
            b"batch_label": TITLES[number].encode(),
            b"labels": labels[chosen],
            b"data": np.stack([one.transpose(2, 0, 1).reshape(-1) for one in pixels[chosen]]),
            b"filenames": names[chosen],
        }
    in_folder(tmp_path, contents(made, python3(3)))
    monkeypatch.setenv(cifar10.DATA_VARIABLE, str(tmp_path))
    dataset = load_dataset("cifar10")
    assert dataset.pixels is not None
    np.testing.assert_array_equal(dataset.pixels, np.stack(pixels))
    assert dataset.labels.tolist() == labels
    assert [path.split("/")[1].encode() for path in dataset.paths] == names
