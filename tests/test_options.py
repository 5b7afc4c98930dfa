"""How a data set is named, and what is remembered of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tl_toolkit import pipeline


@pytest.mark.parametrize(
    ("name", "data_dir", "argument", "kept_dir"),
    [
        ("slash", None, "slash", None),
        ("slash", "photos", "slash", "{here}/photos"),
        ("photos", None, "{here}/photos", None),
        ("./photos", None, "{here}/photos", None),
        ("no/such", None, "{here}/no/such", None),
        ("/photos", None, "/photos", None),
        ("elsewhere", "photos", "elsewhere", "{here}/photos"),
        ("~/photos", "~", "{home}/photos", "{home}"),
    ],
)
def test_paths_are_remembered_as_they_can_be_found_from_any_folder(
    name: str,
    data_dir: str | None,
    argument: str,
    kept_dir: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "here" / "photos").mkdir(parents=True)
    (tmp_path / "here" / "slash").mkdir()  # a registered name wins
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    places = {"here": tmp_path / "here", "home": tmp_path}
    asked = pipeline.SearchOptions(dataset=name, data_dir=Path(data_dir) if data_dir else None).asked
    assert asked["argument"] == argument.format(**places)
    assert asked["data_dir"] == (kept_dir.format(**places) if kept_dir else None)
