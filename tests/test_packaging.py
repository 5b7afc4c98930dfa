"""A wheel that is installed elsewhere has everything that it needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, built from a copy so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("tl_toolkit", "search_spaces"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    words = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), str(folder / "source")]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [built] = (folder / "dist").glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def test_a_wheel_finds_its_own_files(wheel: Path, tmp_path: Path) -> None:
    script = (
        "import tl_toolkit; from tl_toolkit.engines.spaces import find_space, load_space, space_for\n"
        "from tl_toolkit.datasets.slash import manifest\n"
        "print(tl_toolkit.__file__); print(find_space('slash')); print(load_space(space_for('slash')).trials)\n"
        "print(len(manifest()))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(wheel), "PATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    package, space, trials, photos = done.stdout.splitlines()
    assert Path(package).is_relative_to(wheel)
    assert Path(space).is_relative_to(wheel)
    assert int(trials) >= 1
    assert int(photos) == 427


def test_a_wheel_has_every_module(wheel: Path) -> None:
    ours = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tl_toolkit").rglob("*.py")}
    assert ours == {path.relative_to(wheel).as_posix() for path in wheel.rglob("*.py")}


def test_a_wheel_carries_the_schema_the_template_and_no_photo(wheel: Path) -> None:
    names = {path.relative_to(wheel).as_posix() for path in wheel.rglob("*") if path.is_file()}
    assert {
        "tl_toolkit/core/evaluation.schema.json",
        "tl_toolkit/core/run.schema.json",
        "tl_toolkit/sections/templates/report.html.j2",
        "tl_toolkit/py.typed",
    } <= names
    assert not [name for name in names if name.lower().endswith((".jpg", ".png", ".npz"))]
    assert not [name for name in names if name.startswith("tests")]
