"""What several test files share: drawn pictures, a quick search space, a finished run, and an exploration."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from browser import find_chromium, started
from hypothesis import settings
from playwright.sync_api import Browser

from tl_toolkit import pipeline
from tl_toolkit.core.records import ExportedModel
from tl_toolkit.datasets.images import decode_image
from tl_toolkit.datasets.sample import draw
from tl_toolkit.exporters import parity
from tl_toolkit.exporters.base import opened

# A shell has what it starts in the background ignore Ctrl-C, and what that starts ignores it, too: commands under test.
signal.signal(signal.SIGINT, signal.default_int_handler)

# On a machine that has other things to do, any example may take longer than hypothesis allows.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

CLASSES = ("Beauty", "Games", "Home")
SCHEMA = json.loads((resources.files("tl_toolkit.core") / "run.schema.json").read_text())
OF_NETWORKS = {
    "network",
    "activity_l2",
    "bn_momentum",
    "bias_rate",
    "lookahead",
    "frozen_layers",
    "test_time_views",
    "patience",
}
"""Settings that heads refuse."""

STRANGE = "<script>alert(1)"
"""A class, as a folder can be called; in a record it may have a slash, too."""

QUICK_SPACE = """
metric: macro_f1
trials: 5
parameters:
  augmentation: {choices: [none, light]}
  strength: {choices: [0.5], when: {augmentation: [light]}}
  views: {choices: [2], when: {augmentation: [light]}}
  optimizer: {choices: [sgd, adam]}
  learning_rate: {low: 1e-3, high: 1e-1, log: true}
  momentum: {low: 0.0, high: 0.9, when: {optimizer: [sgd]}}
fixed: {epochs: 5, batch_size: 16}
reference: {optimizer: sgd, learning_rate: 0.01, momentum: 0.7}
"""


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    code: int
    stdout: str
    stderr: str


def run_of(folder: Path) -> dict[str, Any]:
    """The ``run.json`` of a run folder."""
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return found


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a table of a run."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def command(*words: str, timeout: float = 1200, where: Path | None = None) -> Finished:
    """Run ``python -m tl_toolkit.<words>`` as a user would, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", f"tl_toolkit.{words[0]}", *words[1:]],
        cwd=where,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of ten drawn pictures each."""
    root = tmp_path_factory.mktemp("data") / "pictures"
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for number in range(1, 11):
            draw(name, number).save(root / name / f"{number:02d}.jpg", quality=90)
    return root


@pytest.fixture(scope="session")
def quick_space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A space of one backbone and few trials."""
    path = tmp_path_factory.mktemp("spaces") / "quick.yaml"
    path.write_text(QUICK_SPACE)
    return path


@pytest.fixture
def scored_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end with their scores and a report of them: model file and analysis are what other tests are about."""
    model = ExportedModel(
        path="none",
        format="none",
        sha256="0" * 64,
        size=1,
        max_difference=0.0,
        agreement=1.0,
        checked=1,
        milliseconds=1.0,
    )
    monkeypatch.setattr("tl_toolkit.pipeline.searching.analyse", lambda *_: None)
    monkeypatch.setattr("tl_toolkit.pipeline.searching.export_final", lambda *_: [model])


@pytest.fixture
def measured_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Model files are compared with the pipeline in this process, which has TensorFlow, not in a new one for each.

    It is for tests in which a command runs once more: that it asks a new process, another test of it shows.
    """

    def answered(exporter: Any, folder: Path, photos: Sequence[Path]) -> list[dict[str, Any]]:
        predict, _ = opened(folder / exporter.path)
        said = (predict(decode_image(photo, max_side=None)[None])[0] for photo in photos)
        return [{"probabilities": one.tolist(), "milliseconds": 1.0} for one in said]

    monkeypatch.setattr(parity, "answered", answered)


@dataclass(frozen=True)
class SmokeRun:
    """The main job, done once for all tests that look at what it leaves."""

    folder: Path
    finished: Finished


@pytest.fixture(scope="session")
def smoke_run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> SmokeRun:
    """``search pictures --smoke --keep-thumbnails`` with the default space, as a user would run it beside them."""
    out = tmp_path_factory.mktemp("reports")
    words = ("search", pictures.name, "--smoke", "--keep-thumbnails", "--out", str(out))
    finished = command(*words, where=pictures.parent)
    assert finished.code == 0, finished.stderr
    [folder] = (out / "pictures").iterdir()
    return SmokeRun(folder, finished)


@dataclass(frozen=True)
class Explored:
    """The command, done once for all tests that look at what it leaves."""

    folder: Path
    finished: Finished
    record: dict[str, Any]
    page: str

    def position(self, path: str) -> int:
        return [photo["path"] for photo in self.record["photos"]].index(path)


@pytest.fixture(scope="session")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Explored:
    """Drawn pictures with a wrong label, a file that is there twice, and a broken one; a class with a strange name."""
    root = tmp_path_factory.mktemp("explored") / "planted"
    # Pictures that are easily told apart, in folds of many seeds: so what is planted is the one mistake.
    for name, shown, numbers in (
        (STRANGE, "Beauty", (1, 2, 3, 5, 6, 7, 10, 11)),
        ("Fashion", "Fashion", (1, 2, 4, 5, 7, 9, 11, 12)),
        ("Nutrition", "Nutrition", (1, 2, 3, 5, 6, 7, 8, 9)),
    ):
        (root / name).mkdir(parents=True)
        for number in numbers:
            draw(shown, number).save(root / name / f"{number:02d}.jpg", quality=90)
    draw("Fashion", 15).save(root / "Nutrition" / "wrong.jpg", quality=90)
    shutil.copy(root / "Fashion" / "02.jpg", root / "Fashion" / "again.jpg")
    whole = (root / "Fashion" / "04.jpg").read_bytes()
    (root / "Fashion" / "broken.jpg").write_bytes(whole[: len(whole) // 2])
    out = tmp_path_factory.mktemp("reports")
    finished = command("explore", str(root), "--smoke", "--out", str(out))
    assert finished.code == 0, finished.stderr
    folder = out / "planted" / "exploration"
    record = json.loads((folder / "exploration.json").read_text())
    return Explored(folder, finished, record, (folder / "index.html").read_text())


@pytest.fixture(scope="session")
def rediscovered(pictures: Path, quick_space: Path, tmp_path_factory: pytest.TempPathFactory) -> pipeline.Rediscovery:
    """The command, done once for all tests that look at what it leaves."""
    out = tmp_path_factory.mktemp("rediscoveries")
    options = {"engines": ("optuna",), "smoke": True, "trials": 3, "out": out, "command": "rediscover"}
    return pipeline.rediscover(pipeline.RediscoveryOptions(dataset=str(pictures), space=str(quick_space), **options))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One for all tests: Playwright cannot be started twice in one thread."""
    with started(find_chromium()) as opened:
        yield opened
