"""The Slash photos: manifest, where they are looked for, crops, downloads from a server that misbehaves."""

from __future__ import annotations

import csv
import errno
import functools
import hashlib
import io
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from http_server import Fault, Server
from PIL import Image

from tl_toolkit.core.errors import UserError
from tl_toolkit.datasets import download, slash
from tl_toolkit.datasets.download import DownloadError, RemoteFile, fetch_all
from tl_toolkit.datasets.slash import ManifestRow

COUNTS = {
    "Fashion": 127,
    "Accessories": 85,
    "Home": 81,
    "Stationary": 53,
    "Nutrition": 25,
    "Artifacts": 23,
    "Beauty": 22,
    "Games": 11,
}
COMMIT = "0123456789abcdef0123456789abcdef01234567"
BODY = np.random.default_rng(0).bytes(300_000)
PATH = "folder/a file.bin"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy between test and server, and nobody's own data."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    monkeypatch.delenv(slash.DATA_VARIABLE, raising=False)
    monkeypatch.delenv(slash.URL_VARIABLE, raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server({PATH: BODY}) as running:
        yield running


def remote(server: Server, path: str = PATH, body: bytes = BODY, name: str = "sub/file.bin") -> RemoteFile:
    return RemoteFile(
        url=f"{server.url}/{quote(path)}", name=name, sha256=hashlib.sha256(body).hexdigest(), size=len(body)
    )


def fetch(*files: RemoteFile, folder: Path, attempts: int = 3) -> None:
    fetch_all(files, folder, attempts=attempts, timeout=0.3, backoff=0.01)


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def assert_continued(server: Server, sent: int, least: int) -> None:
    """There were two requests, and the second asked for what the first had not brought."""
    first, second = server.ranges(PATH)
    assert first is None
    assert second is not None
    assert least <= first_byte(second) <= sent


def first_byte(range_header: str) -> int:
    return int(range_header.removeprefix("bytes=").removesuffix("-"))


# Fetching files


def test_fetch_all_has_every_file_and_asks_once(server: Server, tmp_path: Path) -> None:
    bodies = {f"{n}.bin": np.random.default_rng(n).bytes(1000 + n) for n in range(30)}
    server.files.update(bodies)
    files = [remote(server, name, body, f"{n % 3}/{name}") for n, (name, body) in enumerate(bodies.items())]
    fetch(*files, folder=tmp_path)
    assert everything_in(tmp_path) == sorted(file.name for file in files)
    for file in files:
        assert (tmp_path / file.name).read_bytes() == bodies[Path(file.name).name]
    assert Counter(server.requests) == Counter((name, None) for name in bodies)
    fetch(*files, folder=tmp_path)
    assert len(server.requests) == 30


def test_a_damaged_file_is_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/file.bin").write_bytes(BODY[:-1] + b"?")
    fetch(remote(server), folder=tmp_path)
    assert (tmp_path / "sub/file.bin").read_bytes() == BODY


def test_a_wrong_hash_gets_one_more_try(server: Server, tmp_path: Path) -> None:
    server.misbehave(PATH, [Fault(body=bytes(len(BODY)))])
    fetch(remote(server), folder=tmp_path)
    assert server.ranges(PATH) == [None, None]
    assert (tmp_path / "sub/file.bin").read_bytes() == BODY


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault(body=bytes(len(BODY))), "wrong SHA-256 hash"),
        (Fault(body=BODY + b"more"), "has not the 300000 bytes"),
        (Fault(body=BODY + b"more", declare_length=False), "sent more than 300000 bytes"),
        (Fault(body=BODY[:-1]), "has not the 300000 bytes"),
    ],
)
def test_a_wrong_file_is_given_up_after_two_tries(server: Server, tmp_path: Path, fault: Fault, reason: str) -> None:
    server.misbehave(PATH, itertools.repeat(fault))
    with pytest.raises(DownloadError, match=rf"sub/file\.bin from 127.*{reason}.*running again continues"):
        fetch(remote(server), folder=tmp_path)
    assert server.ranges(PATH) == [None, None]
    assert everything_in(tmp_path) == []


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_refusal_is_not_asked_again(server: Server, tmp_path: Path, status: int) -> None:
    server.misbehave(PATH, itertools.repeat(Fault(status=status)))
    with pytest.raises(DownloadError, match=rf"sub/file\.bin from 127.*{status}") as caught:
        fetch(remote(server), folder=tmp_path)
    assert "\n" not in str(caught.value)
    assert len(server.requests) == 1
    assert everything_in(tmp_path) == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_in_trouble_is_asked_again(server: Server, tmp_path: Path, status: int) -> None:
    server.misbehave(PATH, [Fault(status=status)] * 2)
    fetch(remote(server), folder=tmp_path)
    assert len(server.requests) == 3
    server.misbehave("gone", itertools.repeat(Fault(status=status)))
    with pytest.raises(DownloadError, match=str(status)):
        fetch(remote(server, "gone", name="gone"), folder=tmp_path)
    assert len(server.requests) == 6


def test_retry_after_is_obeyed(server: Server, tmp_path: Path) -> None:
    server.misbehave(PATH, [Fault(status=429, retry_after="1")])
    start = time.monotonic()
    fetch(remote(server), folder=tmp_path)
    assert time.monotonic() - start >= 1


@pytest.mark.parametrize("then", ["cut", "reset", "stall"])
@pytest.mark.parametrize("declare_length", [True, False])
def test_a_file_cut_off_half_way_continues_with_range(
    server: Server, tmp_path: Path, then: str, declare_length: bool
) -> None:
    server.misbehave(PATH, [Fault(after=150_000, then=then, declare_length=declare_length)])
    fetch(remote(server), folder=tmp_path)
    # A reset may also take back what the system had not handed over yet.
    assert_continued(server, 150_000, 1 if then == "reset" else 150_000 - download.CHUNK)
    assert (tmp_path / "sub/file.bin").read_bytes() == BODY
    assert everything_in(tmp_path) == ["sub/file.bin"]


def test_a_later_run_continues_an_earlier_one(server: Server, tmp_path: Path) -> None:
    server.misbehave(PATH, itertools.repeat(Fault(after=100_000)))
    with pytest.raises(DownloadError, match="cut off"):
        fetch(remote(server), folder=tmp_path, attempts=1)
    assert everything_in(tmp_path) == ["sub/file.bin.part"]
    server.misbehave(PATH, [])
    fetch(remote(server), folder=tmp_path)
    assert_continued(server, 100_000, 100_000 - download.CHUNK)
    assert (tmp_path / "sub/file.bin").read_bytes() == BODY


def test_a_server_that_ignores_range_starts_afresh(server: Server, tmp_path: Path) -> None:
    server.misbehave(PATH, [Fault(after=100_000), Fault(ignore_range=True)])
    fetch(remote(server), folder=tmp_path)
    assert_continued(server, 100_000, 100_000 - download.CHUNK)
    assert (tmp_path / "sub/file.bin").read_bytes() == BODY


@pytest.mark.parametrize(
    ("part", "ranges"),
    [
        (bytes(1000), ["bytes=1000-", None]),  # wrong bytes: the hash tells
        (bytes(len(BODY)), [None]),  # wrong and complete: no need to ask before the hash tells
        (bytes(len(BODY) + 1), [f"bytes={len(BODY) + 1}-", None]),  # too long: the server says 416
        (BODY, []),  # complete, but the process was killed before it could say so
    ],
)
def test_what_an_earlier_run_left(server: Server, tmp_path: Path, part: bytes, ranges: list[str | None]) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/file.bin.part").write_bytes(part)
    fetch(remote(server), folder=tmp_path)
    assert server.ranges(PATH) == ranges
    assert (tmp_path / "sub/file.bin").read_bytes() == BODY
    assert everything_in(tmp_path) == ["sub/file.bin"]


def test_a_server_that_stays_silent_is_given_up(server: Server, tmp_path: Path) -> None:
    server.misbehave(PATH, itertools.repeat(Fault(after=0, then="stall")))
    with pytest.raises(DownloadError, match=r"sub/file\.bin.*stalled, no bytes for 0\.3 s"):
        fetch(remote(server), folder=tmp_path, attempts=2)
    assert len(server.requests) == 2


def test_the_first_failure_stops_the_others(server: Server, tmp_path: Path) -> None:
    files = [remote(server, f"missing/{n}", name=f"{n}") for n in range(100)]
    with pytest.raises(DownloadError):
        fetch(*files, folder=tmp_path)
    assert len(server.requests) <= 16


def test_a_full_disk_is_passed_on(server: Server, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/file.bin.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        fetch(remote(server), folder=tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert everything_in(tmp_path) == ["sub/file.bin.part"]


@pytest.mark.parametrize(
    ("name", "sha256", "size"),
    [("../x", "0" * 64, 1), ("/x", "0" * 64, 1), ("", "0" * 64, 1), ("x", "0", 1), ("x", "0" * 64, 0)],
)
def test_impossible_remote_files_are_refused(name: str, sha256: str, size: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        RemoteFile(url="http://127.0.0.1", name=name, sha256=sha256, size=size)


def test_names_must_differ(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must differ"):
        fetch(remote(server), remote(server), folder=tmp_path)


# The manifest


def test_manifest_has_the_427_photos() -> None:
    rows = slash.manifest()
    assert len(rows) == 427
    assert Counter(row.label for row in rows) == COUNTS
    assert tuple(sorted(COUNTS)) == slash.CLASSES
    assert {row.repository for row in rows} == set(slash.REPOSITORIES)
    assert len({row.file for row in rows}) == 427
    for row in rows:
        assert Path(row.file).parts[:-1] == (row.label,)
        assert len(row.commit) == 40
        assert row.box is not None
        assert row.box[0] < row.box[2]
        assert row.box[1] < row.box[3]
        RemoteFile(url="", name=row.file, sha256=row.sha256, size=row.size)


# Where the photos are looked for


def photos_in(folder: Path) -> Path:
    for name in slash.CLASSES:
        (folder / name).mkdir(parents=True)
        (folder / name / "1.jpg").touch()
    return folder


def test_locate_goes_from_the_nearest_to_the_farthest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert slash.locate(None) is None
    user = photos_in(tmp_path / "user/tl_toolkit/slash")
    assert slash.locate(None) == user
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv(slash.DATA_VARIABLE, os.pathsep.join(["", str(tmp_path / "none"), "~/first", "~/second"]))
    assert slash.locate(None) == user
    second = photos_in(tmp_path / "home/second/slash")
    assert slash.locate(None) == second
    first = photos_in(tmp_path / "home/first/slash")
    assert slash.locate(None) == first
    given = photos_in(tmp_path / "given/slash")
    assert slash.locate(tmp_path / "given") == given
    assert slash.locate(given) == given
    assert slash.find_or_download(given) == given
    assert slash.find_or_download(None) == first


def test_a_named_folder_without_photos_is_an_error(tmp_path: Path) -> None:
    photos_in(tmp_path / "user/tl_toolkit/slash")
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match=r"No Slash photos in .*Accessories, .*Stationary.*--data-dir") as caught:
            slash.locate(folder)
        assert str(folder / "slash") in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_incomplete_folder_is_passed_over_aloud(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photos_in(tmp_path / "data/slash")
    (folder / "Games/1.jpg").rename(folder / "Games/.hidden.jpg")
    monkeypatch.setenv(slash.DATA_VARIABLE, str(tmp_path / "data"))
    assert slash.locate(None) is None
    assert "passed over: no photos of the classes Games are in it" in capsys.readouterr().err


# Making the photos


def picture(width: int, height: int) -> np.ndarray:
    """Soft colours under fine grey stripes, without symmetry: uint8, shape (height, width, 3)."""
    y, x = np.mgrid[0:height, 0:width]
    colours = np.stack([np.sin(x / 150 + y / 400), np.cos(y / 200 - x / 400), x * y / (height * width)], axis=-1)
    stripes = np.sin(2 * np.pi * (x + 0.3 * y) / 3.3)
    return np.round(127.5 + 80 * colours + 40 * stripes[..., None]).astype(np.uint8)


def jpeg(pixels: np.ndarray, orientation: int | None = None) -> bytes:
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95, exif=exif)
    return stream.getvalue()


def lanczos(pixels: np.ndarray, length: int) -> np.ndarray:
    """Shrink the first axis to ``length`` with the windowed sinc of three lobes, in float64."""
    scale = len(pixels) / length
    centres = (np.arange(length) + 0.5) * scale
    distance = (np.arange(len(pixels)) + 0.5 - centres[:, None]) / scale
    weights = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0.0)
    return np.tensordot(weights / weights.sum(axis=1, keepdims=True), pixels, axes=1)


UPRIGHT: dict[int | None, Callable[[np.ndarray], np.ndarray]] = {
    None: lambda pixels: pixels,
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    6: lambda pixels: np.rot90(pixels, -1),
    8: lambda pixels: np.rot90(pixels),
}


@pytest.mark.parametrize("orientation", list(UPRIGHT))
def test_photo_is_cut_then_turned_then_shrunk(tmp_path: Path, orientation: int | None) -> None:
    (tmp_path / "in.jpg").write_bytes(jpeg(picture(300, 900), orientation))
    slash.make_photo(tmp_path / "in.jpg", tmp_path / "out.jpg", (50, 100, 250, 740))
    with Image.open(tmp_path / "in.jpg") as stored:
        pixels = np.asarray(stored)
    expected = UPRIGHT[orientation](pixels[100:740, 50:250].astype(float))
    sides = (160, 512) if orientation in (6, 8) else (512, 160)
    expected = lanczos(lanczos(expected, sides[0]).swapaxes(0, 1), sides[1]).swapaxes(0, 1)
    with Image.open(tmp_path / "out.jpg") as photo:
        assert photo.mode == "RGB"
        assert dict(photo.getexif()) == {}
        result = np.asarray(photo).astype(float)
    assert result.shape == (*sides, 3)
    # Quality 90 moves these stripes by 2.1 to 2.2 levels on average; with bicubic shrinking it would be 3.4.
    assert np.abs(result - expected).mean() < 2.6
    assert np.abs(result - expected).max() < 20


def test_small_and_whole_files_keep_their_size(tmp_path: Path) -> None:
    (tmp_path / "in.jpg").write_bytes(jpeg(picture(300, 200)))
    slash.make_photo(tmp_path / "in.jpg", tmp_path / "out.jpg", None)
    with Image.open(tmp_path / "out.jpg") as photo:
        assert photo.size == (300, 200)
        assert np.abs(np.asarray(photo).astype(float) - picture(300, 200)).mean() < 3


def test_a_box_outside_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.jpg").write_bytes(jpeg(picture(300, 200)))
    with pytest.raises(ValueError, match=r"within 300 x 200 pixels, got \(0, 0, 300, 201\)"):
        slash.make_photo(tmp_path / "in.jpg", tmp_path / "out.jpg", (0, 0, 300, 201))
    assert not (tmp_path / "out.jpg").exists()


# The whole way


@functools.cache
def publication() -> tuple[list[ManifestRow], dict[str, bytes]]:
    """A published file for each class and rows for them; the last two share one, the first is turned."""
    rows: list[ManifestRow] = []
    files: dict[str, bytes] = {}

    def add(file: str, path: str, box: tuple[int, int, int, int] | None) -> None:
        body = files[f"someone/photos/{COMMIT}/{path}"]
        digest = hashlib.sha256(body).hexdigest()
        rows.append(
            ManifestRow(
                file=file,
                label=Path(file).parts[0],
                repository="someone/photos",
                commit=COMMIT,
                path=path,
                sha256=digest,
                size=len(body),
                box=box,
            )
        )

    for number, label in enumerate(slash.CLASSES):
        path = f"{label}/صورة {label} #1.jpg"
        noise = np.random.default_rng(number).integers(0, 256, (800, 640, 3), dtype=np.uint8)
        files[f"someone/photos/{COMMIT}/{path}"] = jpeg(noise, orientation=6 if number == 0 else None)
        add(f"{label}/{number}.jpg", path, None if number == 7 else (10, 20, 600 + number, 700))
    add(f"{label}/second.jpg", path, (0, 0, 100, 50))
    return rows, files


@pytest.fixture
def site() -> Iterator[tuple[Server, list[ManifestRow]]]:
    rows, files = publication()
    with Server(files) as running:
        yield running, rows


def check_photos(folder: Path, rows: list[ManifestRow]) -> None:
    assert everything_in(folder) == sorted(row.file for row in rows)
    sizes = {}
    for row in rows:
        with Image.open(folder / row.file) as photo:
            photo.load()
            sizes[row.file] = photo.size
    assert sizes["Accessories/0.jpg"] == (512, 444)  # 590 x 680 stored, turned by its orientation
    assert sizes["Artifacts/1.jpg"] == (445, 512)
    assert sizes["Stationary/7.jpg"] == (410, 512)
    assert sizes["Stationary/second.jpg"] == (100, 50)


def test_download_makes_the_folder_once(site: tuple[Server, list[ManifestRow]], tmp_path: Path) -> None:
    server, rows = site
    target = slash.download(tmp_path, base_url=server.url + "/", rows=rows)
    assert target == tmp_path / "slash"
    check_photos(target, rows)
    assert Counter(server.requests) == Counter((path, None) for path in server.files)
    assert {path.name for path in tmp_path.iterdir()} <= {"slash", ".slash.lock"}
    assert slash.locate(tmp_path) == target
    assert slash.download(tmp_path, base_url=server.url, rows=rows) == target
    assert len(server.requests) == len(server.files)


def test_download_can_keep_the_published_files(site: tuple[Server, list[ManifestRow]], tmp_path: Path) -> None:
    server, rows = site
    slash.download(tmp_path, base_url=server.url, rows=rows, keep_originals=True)
    kept = [path.read_bytes() for path in (tmp_path / ".slash.download/originals").rglob("*.jpg")]
    assert sorted(kept) == sorted(server.files.values())


def test_find_or_download_uses_the_user_folder_and_the_mirror(
    site: tuple[Server, list[ManifestRow]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, rows = site
    monkeypatch.setattr(slash, "manifest", lambda: rows)  # the real one names files that are not here to serve
    monkeypatch.setenv(slash.URL_VARIABLE, server.url)
    target = slash.find_or_download(None)
    assert target == tmp_path / "user/tl_toolkit/slash"
    check_photos(target, rows)
    assert slash.locate(None) == target


def test_no_network_is_known_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        monkeypatch.setenv(slash.URL_VARIABLE, f"http://127.0.0.1:{unused.getsockname()[1]}")
        start = time.monotonic()
        with pytest.raises(DownloadError, match=r"Accessories/.*\.jpg from 127.*no connection.*refused"):
            slash.find_or_download(None)  # 427 files
        assert time.monotonic() - start < 3
    assert not (tmp_path / "user/tl_toolkit/slash").exists()


def test_one_missing_file_leaves_no_data_set(site: tuple[Server, list[ManifestRow]], tmp_path: Path) -> None:
    server, rows = site
    server.misbehave(f"someone/photos/{COMMIT}/{rows[3].path}", [Fault(status=404)])
    with pytest.raises(DownloadError, match=r"Fashion/3\.jpg from .*404"):
        slash.download(tmp_path, base_url=server.url, rows=rows)
    assert not (tmp_path / "slash").exists()
    left = tmp_path / ".slash.download/photos/Games/left.jpg"  # as if a run had ended while it made photos
    left.parent.mkdir(parents=True)
    left.touch()
    check_photos(slash.download(tmp_path, base_url=server.url, rows=rows), rows)


def test_an_incomplete_folder_is_not_touched(site: tuple[Server, list[ManifestRow]], tmp_path: Path) -> None:
    server, rows = site
    mine = tmp_path / "slash/Games/mine.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(DownloadError, match="lacks 9 of 9 Slash photos"):
        slash.download(tmp_path, base_url=server.url, rows=rows)
    assert mine.read_bytes() == b"mine"
    assert server.requests == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=r"Cannot write to .*/file/data \(Not a directory\)"):
        slash.download(tmp_path / "file/data", base_url="http://127.0.0.1:9")


# Two processes, and processes that are ended

SCRIPT = """
import signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job's child would ignore it
from tl_toolkit.datasets import slash
folder, url, manifest = sys.argv[1:]
slash.download(Path(folder), base_url=url, rows=slash.manifest(Path(manifest)))
"""


def start_download(folder: Path, server: Server, rows: list[ManifestRow]) -> subprocess.Popen[str]:
    """A second process that downloads ``rows`` as a written manifest lists them."""
    table = folder / "manifest.csv"
    if not table.exists():
        with table.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            source = ("repository", "commit", "path", "sha256", "bytes")
            sides = ("left", "top", "right", "bottom")
            writer.writerow(
                ["file", "label", *(f"source_{name}" for name in source), *(f"crop_{side}" for side in sides)]
            )
            for row in rows:
                facts = (row.file, row.label, row.repository, row.commit, row.path, row.sha256, row.size)
                writer.writerow([*facts, *(row.box or [""] * 4)])
        assert slash.manifest(table) == rows
    root = Path(__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), server.url, str(table)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=root,
    )


def wait_until(condition: Callable[[], bool], seconds: float = 8.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_ended_process_leaves_nothing_half_done(
    site: tuple[Server, list[ManifestRow]], tmp_path: Path, how: signal.Signals
) -> None:
    server, rows = site
    stuck = f"someone/photos/{COMMIT}/{rows[2].path}"
    server.misbehave(stuck, [Fault(after=200_000, then="stall")])
    originals = tmp_path / ".slash.download/originals"
    part = originals / f"{rows[2].file}.part"
    with start_download(tmp_path, server, rows) as process:
        wait_until(lambda: len(list(originals.glob("*/*.jpg"))) == 7 and part.exists())
        start = time.monotonic()
        process.send_signal(how)
        _, messages = process.communicate(timeout=5)
    assert time.monotonic() - start < 2.5  # not the 20 seconds after which a stall counts as one
    assert process.returncode == -how
    assert ("KeyboardInterrupt" in messages) == (how == signal.SIGINT)
    assert not (tmp_path / "slash").exists()
    hashes = {row.file: row.sha256 for row in rows}
    for original in originals.glob("*/*.jpg"):
        found = hashlib.sha256(original.read_bytes()).hexdigest()
        assert found == hashes[str(original.relative_to(originals))]

    before = len(server.requests)
    with start_download(tmp_path, server, rows) as process:
        _, messages = process.communicate(timeout=10)
    assert process.returncode == 0, messages
    check_photos(tmp_path / "slash", rows)
    ((path, asked),) = server.requests[before:]
    assert path == stuck
    assert asked is not None
    assert 200_000 - download.CHUNK <= first_byte(asked) <= 200_000


def test_two_processes_share_one_download(site: tuple[Server, list[ManifestRow]], tmp_path: Path) -> None:
    server, rows = site
    gate = threading.Event()
    server.misbehave(f"someone/photos/{COMMIT}/{rows[0].path}", [Fault(hold=gate)])
    with start_download(tmp_path, server, rows) as first:
        wait_until(lambda: bool(server.requests))
        with start_download(tmp_path, server, rows) as second:
            assert second.stderr is not None
            assert "Waiting for another process" in second.stderr.readline()
            gate.set()
            assert second.wait(10) == 0
        assert first.wait(10) == 0
    check_photos(tmp_path / "slash", rows)
    assert Counter(server.requests) == Counter((path, None) for path in server.files)
