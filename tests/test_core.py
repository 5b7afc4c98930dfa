"""The registry, the errors, files that are whole or not there, and what to type for Python."""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from pathlib import Path

import pytest

from tl_toolkit.core.command import this_python
from tl_toolkit.core.errors import UnknownNameError, UserError
from tl_toolkit.core.files import cache_folder, sha256, write_json, write_text, written_whole
from tl_toolkit.core.registry import Registry

REGISTRY = Registry("shape", {"square": "math:sqrt", "circle": "math:pi", "lost": "tl_toolkit.no_such_module:it"})


def test_registry_lists_in_order_of_registration() -> None:
    assert REGISTRY.names() == list(REGISTRY) == ["square", "circle", "lost"]
    assert "circle" in REGISTRY
    assert "cirle" not in REGISTRY


def test_registry_gives_the_attribute() -> None:
    assert REGISTRY.get("square") is math.sqrt
    assert REGISTRY.get("circle") is math.pi


def test_registry_imports_on_first_use_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lazy_entry_of_a_registry.py").write_text("VALUE = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry("thing", {"lazy": "lazy_entry_of_a_registry:VALUE"})
    assert registry.names() == ["lazy"]
    assert "lazy_entry_of_a_registry" not in sys.modules
    assert registry.get("lazy") == 7


def test_registry_does_not_follow_later_changes_of_its_argument() -> None:
    entries = {"one": "math:pi"}
    registry = Registry("number", entries)
    entries["two"] = "math:e"
    assert registry.names() == ["one"]


def test_unknown_name_is_answered_with_the_near_and_the_known() -> None:
    with pytest.raises(UnknownNameError) as caught:
        REGISTRY.get("cirle")
    assert str(caught.value) == "Unknown shape 'cirle'. Did you mean 'circle'? Known: circle, lost, square."
    assert isinstance(caught.value, UserError)


def test_a_name_like_no_other_gets_no_guess() -> None:
    with pytest.raises(UnknownNameError) as caught:
        REGISTRY.get("zzz")
    assert str(caught.value) == "Unknown shape 'zzz'. Known: circle, lost, square."


def test_a_broken_entry_is_our_defect_and_not_the_users() -> None:
    with pytest.raises(ModuleNotFoundError):
        REGISTRY.get("lost")


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.bin"
    with written_whole(path) as file:
        file.write(b"half ")
        assert not path.exists()
        file.write(b"whole")
    assert path.read_bytes() == b"half whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_behind_when_the_block_raises(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file.bin"
    with pytest.raises(error), written_whole(path) as file:
        file.write(b"half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), written_whole(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        raise RuntimeError
    assert path.read_bytes() == b"old"
    # A reader that opened the old file keeps it whole: the name moves, the content is never written over.
    with path.open("rb") as reader:
        with written_whole(path) as file:
            file.write(b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_is_beside_the_final_one(tmp_path: Path) -> None:
    # Renaming is atomic within one file system only.
    with written_whole(tmp_path / "file.bin"):
        (temporary,) = tmp_path.iterdir()
        assert temporary.name.startswith(".file.bin.")


def test_others_may_read_a_written_file(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "Käse\n")
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.read_bytes() == "Käse\n".encode()


def test_a_name_that_is_a_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_text(tmp_path / "taken", "text")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_json_comes_back_and_has_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    value = {"name": "Käse", "score": 0.5, "folds": [1, 2], "none": None}
    write_json(path, value)
    assert json.loads(path.read_text(encoding="utf-8")) == value
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"score": math.nan})
    assert json.loads(path.read_text(encoding="utf-8")) == value
    assert list(tmp_path.iterdir()) == [path]


def test_sha256_is_of_the_bytes(tmp_path: Path) -> None:
    content = os.urandom(300_000)
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_the_cache_is_where_the_variable_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TL_TOOLKIT_CACHE", "~/elsewhere")
    assert cache_folder() == Path.home() / "elsewhere"
    monkeypatch.delenv("TL_TOOLKIT_CACHE")
    assert cache_folder().name == "tl_toolkit"


@pytest.mark.parametrize(
    ("path", "executable", "typed"),
    [
        ("{here}/bin", "{here}/bin/python", "python"),
        ("{here}/other", "{here}/bin/python", "bin/python"),
        ("/nowhere", "{here}/my env/python", "'my env/python'"),
        ("/nowhere", "{here}/python", "{here}/python"),  # a bare name would be looked up
        ("/nowhere", "/elsewhere/bin/python", "/elsewhere/bin/python"),
        ("/nowhere", "", "python"),
    ],
)
def test_what_to_type_runs_the_python_that_runs(
    path: str, executable: str, typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("bin", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "python").symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", path.format(here=tmp_path))
    monkeypatch.setattr(sys, "executable", executable.format(here=tmp_path))
    assert this_python() == typed.format(here=tmp_path)
