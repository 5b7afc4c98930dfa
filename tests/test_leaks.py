"""Whether a test set leaks into a training set: what is found, what is not, and what is said about it."""

from __future__ import annotations

import csv
import json
import os
import shutil
import tempfile
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import CLASSES
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from tl_toolkit import leaks as command
from tl_toolkit.core.errors import UserError
from tl_toolkit.datasets import leaks as leaking
from tl_toolkit.datasets.audit import (
    NEAR_DUPLICATES,
    OF_SMALL_LIMITS,
    Examination,
    Limits,
    Prints,
    _near_pairs,
    examine,
)
from tl_toolkit.datasets.collection import collect
from tl_toolkit.datasets.leaks import MOST_TWINS, Leaks, Side, find_leaks
from tl_toolkit.datasets.photos import Photos
from tl_toolkit.datasets.sample import draw
from tl_toolkit.sections import leaks as page


def with_comment(data: bytes) -> bytes:
    """A JPEG file of the same pixels with a comment before them."""
    return data[:2] + b"\xff\xfe\x00\x07hello" + data[2:]


def resized(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)


WAYS: dict[str, tuple[str, Callable[[Path, Path], object]]] = {
    "copied": ("file", lambda old, new: shutil.copy(old, new.with_suffix(".jpg"))),
    "described": ("pixels", lambda old, new: new.with_suffix(".jpeg").write_bytes(with_comment(old.read_bytes()))),
    "lossless": ("pixels", lambda old, new: Image.open(old).save(new.with_suffix(".png"))),
    "compressed": ("near", lambda old, new: Image.open(old).save(new.with_suffix(".jpg"), quality=50)),
    "resized": ("near", lambda old, new: resized(Image.open(old)).save(new.with_suffix(".jpg"))),
    "brightened": (
        "near",
        lambda old, new: ImageEnhance.Brightness(Image.open(old)).enhance(1.05).save(new.with_suffix(".jpg")),
    ),
}
"""What may be done to a photo -> the kind of pair that it then is with the old one, and how to do it."""


def side(folder: Path) -> Side:
    """All photos of a folder, to be compared by their hashes alone."""
    collection = collect(str(folder))
    seen = examine(collection, Photos(folder, collection.paths))
    assert not seen.quarantined
    return Side(files=tuple(folder / path for path in collection.paths), examination=seen, features=None)


def made_up(hashes: np.ndarray, features: np.ndarray | None, name: str) -> Side:
    """Photos that are nowhere, all of other sizes and digests."""
    n = len(hashes)
    seen = Examination(
        readable=np.arange(n),
        sha256=tuple(f"{name}{i}" for i in range(n)),
        widths=np.arange(n),
        heights=np.full(n, sum(map(ord, name))),
        hashes=hashes,
        quarantined=(),
    )
    return Side(files=tuple(Path(f"{name}{i}") for i in range(n)), examination=seen, features=features)


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Side:
    """Drawn pictures, without those that were drawn as near duplicates of others."""
    folder = tmp_path_factory.mktemp("distinct")
    for name, numbers in (("Beauty", (1, 2, 3, 5)), ("Games", (1, 2, 3, 5)), ("Home", (1, 2, 5, 6))):
        for number in numbers:
            draw(name, number).save(folder / f"{name}-{number}.jpg", quality=90)
    found = side(folder)
    assert len(find_leaks(found, found).pairs) == found.n, "each is its own twin and no other's"
    return found


class TestFinding:
    @given(
        chosen=st.lists(st.tuples(st.integers(0, 11), st.sampled_from(sorted(WAYS))), min_size=1, max_size=5),
        strangers=st.lists(st.integers(11, 13), max_size=2, unique=True),
        names=st.permutations(range(7)),
    )
    @settings(max_examples=25, deadline=None)
    def test_changed_copies_are_found_and_no_others_whatever_their_names(
        self, train: Side, chosen: list[tuple[int, str]], strangers: list[int], names: list[int]
    ) -> None:
        with tempfile.TemporaryDirectory() as folder:
            expected = {}
            for name, (index, way) in zip(names, chosen, strict=False):
                kind, change = WAYS[way]
                change(train.files[index], Path(folder, str(name)))
                expected[str(name)] = (index, kind)
            for name, number in zip(names[len(chosen) :], strangers, strict=False):
                draw("Home", number).save(Path(folder, f"{name}.jpg"))
            test = side(Path(folder))
            found, turned = find_leaks(train, test), find_leaks(test, train)
        assert {test.files[pair.test].stem: (pair.train, pair.kind) for pair in found.closest} == expected
        assert len(found.pairs) == len(expected)
        assert found.n_test == len(chosen) + len(strangers)
        assert sum(found.counts.values()) == len(chosen) == round(found.share * found.n_test)
        mirrored = {(pair.train, pair.test, pair.kind, pair.distance) for pair in turned.pairs}
        assert mirrored == {(pair.test, pair.train, pair.kind, pair.distance) for pair in found.pairs}

    def test_pixels_are_compared_in_full_size(self, tmp_path: Path) -> None:
        """A JPEG is shrunk on another way than a PNG is, and both are shrunk before they are compared otherwise."""
        large = draw("Home", 1).resize((1600, 1200))
        for name in ("a", "b", "c"):
            (tmp_path / name).mkdir()
        large.save(tmp_path / "a" / "photo.jpg")
        same = Image.open(tmp_path / "a" / "photo.jpg")
        same.save(tmp_path / "b" / "photo.png")
        pixels = np.array(same)
        pixels[7, 7] ^= 1
        Image.fromarray(pixels).save(tmp_path / "c" / "photo.png")
        a, b, c = (side(tmp_path / name) for name in ("a", "b", "c"))
        assert [pair.kind for pair in find_leaks(a, b).pairs] == ["pixels"]
        assert [pair.kind for pair in find_leaks(a, c).pairs] == ["near"]

    @pytest.mark.parametrize("limits", [NEAR_DUPLICATES, OF_SMALL_LIMITS])
    def test_the_rule_is_that_of_the_audit(self, limits: Limits) -> None:
        rng = np.random.default_rng(0)
        hashes = rng.random((300, 64)) < 0.2
        features = rng.normal(0.5, 1, (300, 4)).astype(np.float32)
        first, second = _near_pairs(Prints.of(hashes, features, limits))
        across = {(int(a), int(b) - 100) for a, b in zip(first, second, strict=True) if a < 100 <= b}
        train, test = made_up(hashes[:100], features[:100], "a"), made_up(hashes[100:], features[100:], "b")
        pairs = [(pair.train, pair.test) for pair in _all_of(find_leaks, train, test, limits=limits).pairs]
        assert len(pairs) == len(set(pairs)) > 500
        assert set(pairs) == across

    def test_blocks_change_nothing(self) -> None:
        rng = np.random.default_rng(1)
        hashes, features = rng.random((90, 64)) < 0.15, rng.normal(0.4, 1, (90, 6)).astype(np.float32)
        train, test = made_up(hashes[:50], features[:50], "a"), made_up(hashes[50:], features[50:], "b")
        done: list[int] = []
        whole, parts = find_leaks(train, test), find_leaks(train, test, done.append, rows=7, columns=3)
        assert [(p.test, p.train, p.kind, p.distance) for p in whole.pairs] == [
            (p.test, p.train, p.kind, p.distance) for p in parts.pairs
        ]
        assert len(whole.pairs) > 20
        assert done == [7] * 5 + [5]

    def test_memory_does_not_grow_with_the_product(self) -> None:
        rng = np.random.default_rng(2)
        train, test = (made_up(rng.random((2000, 64)) < 0.5, None, name) for name in "ab")
        tracemalloc.start()
        try:
            find_leaks(train, test, rows=128, columns=512)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 2000 * 2000 * 4 / 4  # bytes; a quarter of one matrix of all with all

    def test_of_many_twins_the_closest_are_kept(self) -> None:
        hashes = np.zeros((3 * MOST_TWINS, 64), bool)
        order = np.random.default_rng(3).permutation(len(hashes))
        for place, index in enumerate(order):
            hashes[index, : place * 8 // len(order)] = True
        found = find_leaks(made_up(hashes, None, "a"), made_up(np.zeros((2, 64), bool), None, "b"), columns=7)
        for test in range(2):
            own = [pair for pair in found.pairs if pair.test == test]
            assert len(own) == MOST_TWINS
            assert [pair.distance for pair in own] == sorted(hashes.sum(1).tolist())[:MOST_TWINS]

    def test_cosines_are_asked_for_where_there_are_features(self) -> None:
        hashes = np.zeros((1, 64), bool)
        for angle, near in ((0, True), (59, True), (61, False)):
            features = [np.array([[3 * np.cos(a), 3 * np.sin(a)]], np.float32) for a in (0, np.deg2rad(angle))]
            found = find_leaks(made_up(hashes, features[0], "a"), made_up(hashes, features[1], "b"))
            assert bool(found.pairs) == near
        assert find_leaks(made_up(hashes, None, "a"), made_up(hashes, None, "b")).pairs[0].cosine is None


def _all_of(find: Callable[..., Leaks], train: Side, test: Side, **how: Any) -> Leaks:
    """Every pair, none left out for being one of many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leaking, "MOST_TWINS", 10**6)
        return find(train, test, **how)


class TestCollecting:
    def test_class_folders_give_labels(self, pictures: Path) -> None:
        found = collect(str(pictures))
        assert (found.name, found.root) == ("pictures", pictures.resolve())
        assert found.labels == tuple(path.split("/")[0] for path in found.paths)
        assert sorted(set(found.labels)) == sorted(CLASSES)

    def test_flat_and_deep_folders(self, tmp_path: Path) -> None:
        for name in ("a.jpg", "deep/er/b.PNG", ".hidden.jpg", ".hidden/c.jpg", "text.txt", "deep/.d.jpg"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "deep" / "loop").symlink_to(tmp_path)
        os.mkfifo(tmp_path / "pipe.jpg")
        found = collect(str(tmp_path))
        assert found.paths == ("a.jpg", "deep/er/b.PNG")
        assert found.labels is None

    def test_links_to_folders_are_followed(self, pictures: Path, tmp_path: Path) -> None:
        (tmp_path / "Games").symlink_to(pictures / "Games")
        found = collect(str(tmp_path))
        assert found.labels == ("Games",) * 10

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("text.txt", "cannot be read .Not a directory.: name a folder"),
            ("empty", "No photos in .*must end in one of"),
            ("no/where", "There is no folder"),
            ("slahs", "Did you mean 'slash'"),
        ],
    )
    def test_what_the_user_can_mend(
        self, name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("text.txt").touch()
        Path("empty").mkdir()
        with pytest.raises(UserError, match=message):
            collect(name)


@dataclass(frozen=True)
class Checked:
    """The command, done once for all tests that look at what it leaves."""

    folder: Path
    code: int
    stdout: str
    record: dict[str, Any]


PLANTED = {
    "Beauty/one.jpg": ("copied", "Beauty/01.jpg", "file"),
    "Games/two.jpg": ("copied", "Home/02.jpg", "file"),
    "Home/three.png": ("lossless", "Home/03.jpg", "pixels"),
    "Games/four.jpg": ("resized", "Games/04.jpg", "near"),
}
"""Photo of the test set -> what was done, to which photo of the training set, and the kind of pair that it is."""


@pytest.fixture(scope="module")
def checked(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Checked:
    root = tmp_path_factory.mktemp("leaks") / "planted"
    for name in CLASSES:
        (root / name).mkdir(parents=True)
    for new, (way, old, _) in PLANTED.items():
        WAYS[way][1](pictures / old, (root / new).with_suffix(""))
    ImageOps.mirror(Image.open(pictures / "Home" / "05.jpg")).save(root / "Home" / "mirrored.jpg")
    for number in (11, 12, 13):
        draw("Home", number).save(root / "Home" / f"{number}.jpg")
    whole = (pictures / "Home" / "06.jpg").read_bytes()
    (root / "Home" / "broken.jpg").write_bytes(whole[: len(whole) // 2])
    out = root.parent / "reports"
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("tl_toolkit.core.console.output.print", lambda text: said.append(str(text)))
        code = command.main([str(pictures), str(root), "--out", str(out), "--fail"])
    folder = out / "leaks" / "planted-in-pictures"
    return Checked(folder, code, "\n".join(said), json.loads((folder / "leaks.json").read_text()))


class TestTheCommand:
    def test_planted_photos_are_found_and_the_mirrored_one_too(self, checked: Checked) -> None:
        found = {pair["test"]: (pair["train"], pair["kind"]) for pair in page.closest(checked.record)}
        assert found == {new: (old, kind) for new, (_, old, kind) in PLANTED.items()} | {
            "Home/mirrored.jpg": ("Home/05.jpg", "near")
        }
        assert checked.record["counts"] == {"file": 2, "pixels": 1, "near": 2}
        assert (checked.record["leaking"], checked.record["share"]) == (5, 5 / 8)

    def test_labels_are_compared(self, checked: Checked) -> None:
        assert checked.record["labels"] == {"disagreeing": 1}
        pair = next(pair for pair in checked.record["pairs"] if pair["test"] == "Games/two.jpg")
        assert (pair["test_label"], pair["train_label"]) == ("Games", "Home")
        assert "labels differ: Games, Home" in (checked.folder / "index.html").read_text()

    def test_the_terminal_gives_the_answer_and_the_page(self, checked: Checked) -> None:
        lines = checked.stdout.splitlines()
        assert lines[-2] == (
            "5 of 8 test photos (62.5 %) are in the training set: 2 identical files, 1 other file of the same pixels, "
            "2 near duplicates; a score on this test set is not a score on unseen photos."
        )
        assert lines[-1] == f"Page: {checked.folder / 'index.html'}"
        assert "  Games/two.jpg: file, Home/02.jpg" in lines
        assert "Test photos whose twins carry another label: 1" in lines
        assert "Unreadable, so not compared: 1 of test, 0 of training" in lines

    def test_a_script_can_fail_on_it(self, checked: Checked) -> None:
        assert checked.code == 1

    def test_the_table_holds_every_pair(self, checked: Checked) -> None:
        with (checked.folder / "leaks.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [(row["test"], row["train"], row["kind"]) for row in rows] == [
            (pair["test"], pair["train"], pair["kind"]) for pair in checked.record["pairs"]
        ]
        assert all(0.5 <= float(row["cosine"]) <= 1 for row in rows)

    def test_the_page_shows_both_pictures_of_each_pair(self, checked: Checked) -> None:
        text = (checked.folder / "index.html").read_text()
        assert text.count('src="data:image/webp;base64,') == 2 * 5
        assert 'alt="Test set: Home/three.png"' in text
        assert 'alt="Training set: Home/03.jpg"' in text
        assert "Home/broken.jpg" in text

    def test_the_page_is_written_again_from_its_records(self, checked: Checked) -> None:
        before = (checked.folder / "index.html").read_text()
        assert page.build(checked.folder).read_text() == before


class TestAnswers:
    """Without features, and so in no time."""

    @pytest.fixture
    def unlike(self, tmp_path: Path) -> Path:
        folder = tmp_path / "unlike"
        folder.mkdir()
        for number in (11, 12):
            draw("Home", number).save(folder / f"{number}.jpg")
        return folder

    def run(self, *words: str | Path) -> int:
        return command.main([*map(str, words), "--no-embeddings"])

    def test_nothing_leaks(self, pictures: Path, unlike: Path, tmp_path: Path, capsys: Any) -> None:
        assert self.run(pictures, unlike, "--out", tmp_path, "--fail") == 0
        said = capsys.readouterr().out
        assert "None of 2 test photos was found among 30 training photos: no identical file" in said
        assert "the perceptual hashes differ in at most 8 of 64 bits." in said
        record = json.loads((tmp_path / "leaks" / "unlike-in-pictures" / "leaks.json").read_text())
        assert (record["leaking"], record["pairs"], record["labels"], record["backbone"]) == (0, [], None, None)

    def test_it_is_an_answer_unless_asked_to_fail(self, pictures: Path, unlike: Path, tmp_path: Path) -> None:
        shutil.copy(pictures / "Home" / "02.jpg", unlike / "1.jpg")
        assert self.run(pictures, unlike, "--out", tmp_path) == 0
        assert self.run(pictures, unlike, "--out", tmp_path, "--fail") == 1

    def test_pictures_of_an_earlier_comparison_are_gone(self, pictures: Path, unlike: Path, tmp_path: Path) -> None:
        shutil.copy(pictures / "Home" / "02.jpg", unlike / "1.jpg")
        self.run(pictures, unlike, "--out", tmp_path)
        assert len(list(tmp_path.rglob("*.webp"))) == 2
        (unlike / "1.jpg").unlink()
        self.run(pictures, unlike, "--out", tmp_path)
        assert not list(tmp_path.rglob("*.webp"))

    @pytest.mark.parametrize("inner", ["", "Home"])
    def test_a_set_is_not_compared_with_itself(self, pictures: Path, inner: str, capsys: Any) -> None:
        assert self.run(pictures, pictures / inner, "--fail") == 2
        assert self.run(pictures / inner, pictures) == 2
        assert "Neither set may lie in the other" in capsys.readouterr().err

    def test_files_that_are_no_photos(self, pictures: Path, tmp_path: Path, capsys: Any) -> None:
        (tmp_path / "test").mkdir()
        (tmp_path / "test" / "a.jpg").write_text("no photo")
        assert self.run(pictures, tmp_path / "test") == 2
        assert "None of the 1 files" in capsys.readouterr().err


class TestThePage:
    def test_names_are_data(self, checked: Checked) -> None:
        bad = '<img src=x onerror=alert(1)>"{{ 7 * 7 }}'
        record = json.loads(json.dumps(checked.record))
        record["train"]["name"] = record["test"]["name"] = bad
        record["test"]["class_counts"] = {bad: 8}
        record["test"]["quarantined"][0]["path"] = bad
        record["pairs"][0] |= {"train": bad, "test_label": bad}
        html = page.render(record, checked.folder)
        assert "<img src=x" not in html
        assert html.count("&lt;img src=x onerror=alert(1)&gt;&#34;{{ 7 * 7 }}") >= 7

    def test_many_pairs_are_not_all_shown(self, checked: Checked, tmp_path: Path) -> None:
        record = json.loads(json.dumps(checked.record))
        pair = record["pairs"][0]
        record["pairs"] = [
            {**pair, "test": f"{kind}{i}", "kind": kind} for kind in ("near", "file") for i in range(page.SHOWN + 3)
        ]
        assert page.pictured(record) == [*range(page.SHOWN + 3, 2 * page.SHOWN + 3), *range(page.SHOWN)]
        html = page.render(record, tmp_path)
        assert "6 more are in <code>leaks.csv</code>" in html
        assert "no picture" in html

    def test_a_folder_without_a_record(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="holds no comparison"):
            page.build(tmp_path)
