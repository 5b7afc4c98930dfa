"""The drawn stand-in for Slash: deterministic, complete or absent, varied, neither trivial nor hopeless."""

from __future__ import annotations

import csv
import hashlib
import inspect
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from tl_toolkit.core.errors import UnknownNameError, UserError
from tl_toolkit.datasets import sample_shapes
from tl_toolkit.datasets.sample import CLASS_COUNTS, draw, near_duplicate_of, write_sample

SMALL = {"Games": 3, "Beauty": 2, "Home": 4}


def digest(class_name: str, number: int) -> str:
    picture = draw(class_name, number)
    return hashlib.sha256(repr(picture.size).encode() + picture.tobytes()).hexdigest()


def python(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}


@pytest.fixture(scope="module")
def pictures() -> dict[tuple[str, int], Image.Image]:
    """The first pictures of every class, drawn once for the tests that look at them."""
    return {(name, n): draw(name, n) for name, count in CLASS_COUNTS.items() for n in range(1, min(count, 12) + 1)}


def test_counts_are_those_of_slash() -> None:
    manifest = resources.files("tl_toolkit.datasets") / "slash_manifest.csv"
    rows = csv.DictReader(manifest.read_text(encoding="utf-8").splitlines())
    assert Counter(row["label"] for row in rows) == CLASS_COUNTS


def test_same_picture_twice_and_in_another_process() -> None:
    wanted = [("Fashion", 1), ("Home", 7), ("Nutrition", 25)]
    code = "import hashlib\nfrom tl_toolkit.datasets.sample import draw\n" + inspect.getsource(digest)
    code += f"print(*[digest(*key) for key in {wanted}])"
    here = [digest(*key) for key in wanted]
    assert here == [digest(*key) for key in wanted]
    output, errors = python(code, PYTHONHASHSEED="7").communicate(timeout=200)
    assert output.split() == here, errors


def test_sizes_and_variety(pictures: dict[tuple[str, int], Image.Image]) -> None:
    assert all(picture.mode == "RGB" and 384 <= max(picture.size) <= 512 for picture in pictures.values())
    assert len({hashlib.sha256(picture.tobytes()).digest() for picture in pictures.values()}) == len(pictures)
    assert len({round(picture.width / picture.height, 1) for picture in pictures.values()}) >= 5


def test_no_picture_is_empty(pictures: dict[tuple[str, int], Image.Image]) -> None:
    for key, picture in pictures.items():
        assert np.asarray(picture.convert("L"), dtype=float).std() > 4, key


@pytest.mark.parametrize("kind", sample_shapes.KINDS)
def test_every_kind_draws_within_reach_and_varies(kind: str) -> None:
    sketches = []
    for seed in range(20):
        sketch = sample_shapes.Sketch()
        sample_shapes.KINDS[kind].draw(sketch, np.random.default_rng(seed))
        points = np.concatenate([shape.points for shape in sketch.shapes])
        assert np.isfinite(points).all()
        assert 0.4 < np.abs(points).max() < 1.6
        sketches.append(points.tobytes())
    assert len(set(sketches)) == 20


def test_near_duplicates_are_few_and_alike() -> None:
    repeats = [
        (name, number, near_duplicate_of(name, number))
        for name, count in CLASS_COUNTS.items()
        for number in range(1, count + 1)
        if near_duplicate_of(name, number) != number
    ]
    assert 0.02 < len(repeats) / sum(CLASS_COUNTS.values()) < 0.09

    def outline(class_name: str, number: int) -> np.ndarray:
        grey = np.asarray(draw(class_name, number).convert("L").resize((16, 16)), dtype=float)
        return (grey - grey.mean()) / grey.std()

    for name, number, original in repeats[:4]:
        assert original < number
        twin, first, other = outline(name, number), outline(name, original), outline(name, number + 1)
        assert (twin * first).mean() > max(0.8, (twin * other).mean())
        assert digest(name, number) != digest(name, original)


def test_writes_every_file_once(tmp_path: Path) -> None:
    counts = {name: -(-count // 20) for name, count in CLASS_COUNTS.items()}
    folder = write_sample(tmp_path / "data" / "slash_sample", counts)
    expected = {f"{c}/{c.lower()}_{n:03d}.jpg" for c, count in counts.items() for n in range(1, count + 1)}
    assert files_in(folder).keys() == expected
    for name in expected:
        with Image.open(folder / name) as picture:
            assert picture.format == "JPEG"
            picture.load()
    assert [path.name for path in folder.parent.iterdir()] == ["slash_sample"]

    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert write_sample(folder, counts) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == stamps


def test_a_folder_that_lost_a_picture_is_redrawn(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "sample", SMALL)
    before = files_in(folder)
    (folder / "Games" / "games_002.jpg").unlink()
    write_sample(folder, SMALL)
    assert files_in(folder) == before
    assert list(tmp_path.iterdir()) == [folder]


def test_foreign_files_are_never_removed(tmp_path: Path) -> None:
    holiday = tmp_path / "sample" / "holiday.jpg"
    holiday.parent.mkdir()
    holiday.write_bytes(b"precious")
    with pytest.raises(UserError, match=r"holiday\.jpg"):
        write_sample(holiday.parent, SMALL)
    with pytest.raises(UserError, match="is a file"):
        write_sample(holiday, SMALL)
    with pytest.raises(UserError, match="cannot be written"):
        write_sample(holiday / "below" / "sample", SMALL)
    assert holiday.read_bytes() == b"precious"
    assert [path.name for path in tmp_path.rglob("*")] == ["sample", "holiday.jpg"]


def test_unknown_class_and_empty_class(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'Games'"):
        draw("Game", 1)
    with pytest.raises(UnknownNameError):
        write_sample(tmp_path / "sample", {"Gadgets": 3})
    with pytest.raises(UserError, match="Games=0"):
        write_sample(tmp_path / "sample", {"Games": 0})
    assert not list(tmp_path.iterdir())


WRITE = """
import sys
from pathlib import Path
from tl_toolkit.datasets.sample import write_sample
print(write_sample(Path(sys.argv[1]), {"Home": int(sys.argv[2]), "Games": 3}))
"""


def test_two_processes_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "sample"
    writers = [python(WRITE, str(folder), "8") for _ in range(2)]
    for writer in writers:
        output, errors = writer.communicate(timeout=200)
        assert writer.returncode == 0, errors
        assert output.strip() == str(folder)
    assert len(files_in(folder)) == 11
    assert list(tmp_path.iterdir()) == [folder]


def test_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    # A limit on the size of files makes the system refuse a write within a picture, as a full disk does.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
    writer = python(limit + WRITE, str(tmp_path / "data" / "sample"), "12")
    _, errors = writer.communicate(timeout=200)
    assert writer.returncode != 0
    assert "UserError: The sample pictures cannot be written to" in errors
    assert not list((tmp_path / "data").iterdir())


def test_interruption_leaves_nothing_behind(tmp_path: Path) -> None:
    writer = python(WRITE, str(tmp_path / "sample"), "400")
    deadline = time.monotonic() + 30
    while not list(tmp_path.rglob("*.jpg")):
        assert time.monotonic() < deadline
        assert writer.poll() is None
        time.sleep(0.02)
    writer.send_signal(signal.SIGINT)
    writer.communicate(timeout=30)
    assert writer.returncode not in (0, None)
    assert not list(tmp_path.iterdir())


def test_leftovers_of_a_killed_process_are_swept(tmp_path: Path) -> None:
    old, fresh = tmp_path / ".sample.partial-old", tmp_path / ".sample.partial-fresh"
    for partial in (old, fresh):
        (partial / "pictures").mkdir(parents=True)
    os.utime(old, (time.time() - 7200,) * 2)
    write_sample(tmp_path / "sample", {"Games": 1})
    assert not old.exists()
    assert fresh.exists()


def test_neither_hopeless_nor_perfect(pictures: dict[tuple[str, int], Image.Image]) -> None:
    """Edges and colours tell four classes apart: far above chance (0.25), and not without mistakes."""
    chosen = {key: value for key, value in pictures.items() if key[0] in ("Beauty", "Fashion", "Home", "Stationary")}

    def features(picture: Image.Image) -> np.ndarray:
        small = np.asarray(picture.resize((64, 64), Image.Resampling.BOX), dtype=float) / 255
        down, across = np.gradient(small.mean(axis=2))
        strength, bins = (
            np.hypot(down, across),
            (np.arctan2(down, across) % np.pi * 8 / np.pi).astype(int) % 8,
        )
        edges = np.ravel([(strength * (bins == b)).reshape(8, 8, 8, 8).sum(axis=(1, 3)) for b in range(8)])
        colours = np.histogramdd(small.reshape(-1, 3), bins=4, range=[(0, 1)] * 3)[0] / 4096
        return np.sqrt(np.concatenate([edges / edges.sum(), colours.ravel() / 4]))

    labels = np.array([name for name, _ in chosen])
    table = np.stack([features(picture) for picture in chosen.values()])
    model, folds = LogisticRegression(C=10, max_iter=500), StratifiedKFold(5, shuffle=True, random_state=0)
    right = cross_val_predict(model, table, labels, cv=folds) == labels
    assert 0.45 < right.mean() < 0.95
