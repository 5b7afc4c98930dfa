"""What a search says of options and data that it cannot work with."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from PIL import Image

from tl_toolkit import search
from tl_toolkit.datasets.sample import draw


def bad(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command with these arguments ends with."""
    assert search.main(arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    return lines[0]


class TestBadInput:
    @pytest.fixture(autouse=True)
    def elsewhere(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)

    def test_no_such_data_set(self, capsys: pytest.CaptureFixture[str]) -> None:
        line = bad(["slahs"], capsys)
        assert "Did you mean 'slash'?" in line
        assert "slash_sample" in line

    def test_no_such_folder(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert "There is no folder" in bad(["nowhere/at/all"], capsys)

    def test_an_empty_folder(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "empty").mkdir()
        assert "is empty" in bad([str(tmp_path / "empty")], capsys)

    def test_one_class_only(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "data" / "only").mkdir(parents=True)
        Image.new("RGB", (64, 64)).save(tmp_path / "data" / "only" / "a.png")
        assert "Only one class" in bad([str(tmp_path / "data")], capsys)

    def test_a_file_named_as_a_data_set(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8 not much of a photo")
        assert "is a file" in bad([str(tmp_path / "photo.jpg")], capsys)

    def test_nothing_that_can_be_read(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for name in ("a", "b"):
            (tmp_path / "data" / name).mkdir(parents=True)
            (tmp_path / "data" / name / "broken.jpg").write_bytes(b"broken")
        assert "None of the 2 files" in bad([str(tmp_path / "data")], capsys)

    def test_a_class_with_fewer_photos_than_folds(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for name, count in (("Games", 3), ("Home", 9)):
            (tmp_path / "data" / name).mkdir(parents=True)
            for number in range(1, count + 1):
                draw(name, number).save(tmp_path / "data" / name / f"{number}.png")
        assert "Class 'Games' has 3" in bad([str(tmp_path / "data"), "--out", str(tmp_path / "out")], capsys)
        assert list((tmp_path / "out" / "data").iterdir()) == []

    @pytest.mark.parametrize(
        ("content", "rule"),
        [
            (
                "metric: macro_f1\ntrials: 2\nparameters: {colour: {low: 0, high: 1}}\nreference: {}\n",
                ":3: Unknown field",
            ),
            (
                "metric: macro_f1\ntrials: 2\nparameters: {learning_rate: {low: 1.0, high: 0.1}}\nreference: {}\n",
                ":3: low <= high must hold",
            ),
            (
                "metric: macro_f1\ntrials: 2\nparameters: {backbone: {choices: [resnet1]}}\nreference: {}\n",
                "Unknown backbone 'resnet1'",
            ),
        ],
    )
    def test_an_impossible_space(
        self, content: str, rule: str, tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "mine.yaml").write_text(content)
        assert rule in bad([str(pictures), "--space", str(tmp_path / "mine.yaml")], capsys)

    def test_no_place_for_the_run(self, tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "file").write_text("in the way")
        assert "No run folder can be made" in bad([str(pictures), "--out", str(tmp_path / "file")], capsys)

    @pytest.mark.parametrize(
        ("path", "rule"),
        [("~no-such-user-here/photos", "names the home folder of nobody"), ("x" * 300, "File name too long")],
    )
    @pytest.mark.parametrize("name", ["slash", "cifar10", None])
    def test_paths_that_cannot_be(
        self, name: str | None, path: str, rule: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert rule in bad([name, "--data-dir", path] if name else [path], capsys)

    def test_options_that_cannot_be(self, capsys: pytest.CaptureFixture[str]) -> None:
        for words in (["--trials", "0"], ["--folds", "1"], ["--timeout", "-5"], ["--metric", "auc"], ["--seed", "-1"]):
            with pytest.raises(SystemExit) as ended:
                search.main(["slash", *words])
            assert ended.value.code == 2
        assert "must be at least" in capsys.readouterr().err

    def test_a_full_disk_leaves_nothing_behind(
        self, tmp_path: Path, pictures: Path, quick_space: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        disk = tmp_path / "disk"
        disk.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip("this user may not make a small disk")
        try:
            assert search.main([str(pictures), "--space", str(quick_space), "--out", str(disk)]) == 2
            assert "No space left on device" in capsys.readouterr().err.splitlines()[-1]
            assert [path for path in disk.rglob("*") if path.is_file()] == []
        finally:
            subprocess.run(["umount", str(disk)], check=True)
