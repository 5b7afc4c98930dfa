"""A model at work: ``load_model`` in Python, and the command as a user runs it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from conftest import CLASSES, SmokeRun
from PIL import Image
from sklearn.metrics import accuracy_score, log_loss

import tl_toolkit
from tl_toolkit import BrokenImageError, Classifier, UserError, load_model, predict
from tl_toolkit.core.runtime import keras
from tl_toolkit.datasets.images import SUFFIXES, decode_image
from tl_toolkit.exporters.classifiers import classifier_of_networks
from tl_toolkit.inference.listing import find_photos
from tl_toolkit.inference.streaming import WINDOW, streamed


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is as quick to load as any: as it is exported, but on a network of one layer that learnt nothing."""
    k = keras()
    k.utils.set_random_seed(0)
    pixels = k.Input((16, 16, 3))
    said = k.layers.Dense(3, "softmax")(k.layers.Flatten()(k.layers.Rescaling(1 / 255)(pixels)))
    classifier = classifier_of_networks([(k.Model(pixels, said), 16)], CLASSES)
    path = tmp_path_factory.mktemp("model") / "model.keras"
    classifier.save(path)
    return path


@pytest.fixture(scope="module")
def classifier(model_file: Path) -> Classifier:
    return load_model(model_file)


@pytest.fixture(scope="module")
def photos(pictures: Path) -> list[Path]:
    return sorted(pictures.rglob("*.jpg"))


@pytest.fixture
def mixed(tmp_path: Path, photos: list[Path]) -> Path:
    """A folder with two photos, a broken one, what is no photo, and a hidden photo."""
    folder = tmp_path / "mixed"
    (folder / "deep er").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(photos[0].read_bytes())
    (folder / "deep er" / "c.JPG").write_bytes(photos[1].read_bytes())
    (folder / "b.jpg").write_bytes(photos[2].read_bytes()[:2000])
    (folder / "notes.txt").write_text("no photo")
    (folder / ".hidden.jpg").write_bytes(photos[0].read_bytes())
    return folder


class TestFromPython:
    def test_probabilities_are_those_of_the_model_file(self, smoke_run: SmokeRun, photos: list[Path]) -> None:
        classifier = load_model(str(smoke_run.folder.parent / "best"))
        assert classifier.path == smoke_run.folder / "model" / "model.keras"
        model = keras().saving.load_model(classifier.path)
        some = photos[::6]
        expected = np.concatenate([np.asarray(model(decode_image(path)[None])["probabilities"]) for path in some])
        said = classifier.predict_proba(some)
        assert said.shape == (5, 3)
        assert said.dtype == np.float32
        np.testing.assert_allclose(said, expected, atol=1e-5)
        assert classifier.classes_.tolist() == list(CLASSES)

    def test_predictions_are_typed_and_in_order(self, classifier: Classifier, photos: list[Path]) -> None:
        said = classifier.predict_proba(photos)
        predictions = classifier.predict(photos)
        assert [one.path for one in predictions] == [str(path) for path in photos]
        np.testing.assert_array_equal(np.stack([one.probabilities for one in predictions]), said)
        for one in predictions:
            assert one.label == CLASSES[int(one.probabilities.argmax())] == one.answer
            assert one.probability == one.probabilities.max()
            top = one.top(9)
            assert {name for name, _ in top} == set(CLASSES)
            assert [p for _, p in top] == sorted(one.probabilities.tolist(), reverse=True)

    def test_scikit_learn_takes_them_as_labels(self, classifier: Classifier, photos: list[Path]) -> None:
        labels = np.array([path.parent.name for path in photos])
        predictions = classifier.predict(photos)
        right = [one.label == label for one, label in zip(predictions, labels, strict=True)]
        assert accuracy_score(labels, predictions) == np.mean(labels == predictions) == np.mean(right)
        assert np.asarray(predictions).tolist() == [one.label for one in predictions]
        assert len(predictions[2:5]) == 3
        assert log_loss(labels, classifier.predict_proba(photos), labels=classifier.classes_) > 0

    @pytest.mark.parametrize("kind", [list, tuple, np.array, np.ma.array, pandas.Series, pandas.Index])
    def test_predictions_are_compared_label_by_label(
        self, classifier: Classifier, photos: list[Path], kind: Callable[[list[str]], Any]
    ) -> None:
        predictions = classifier.predict(photos[:6])
        labels = [one.label for one in predictions]
        labels[::3] = ["other"] * 2
        same = np.arange(6) % 3 > 0
        y = kind(labels)
        for equal, different in ((y == predictions, y != predictions), (predictions == y, predictions != y)):
            assert np.asarray(equal).dtype == bool
            np.testing.assert_array_equal(equal, same)
            np.testing.assert_array_equal(different, ~same)
            assert np.mean(equal) == pytest.approx(2 / 3)
        with pytest.raises(ValueError, match=r"length|shape|broadcast"):
            _ = predictions == kind(labels[:2])
        assert (predictions == classifier.predict(photos[:6])).all()
        with pytest.raises(TypeError, match="unhashable"):
            hash(predictions)

    def test_below_the_threshold_it_is_unsure(self, classifier: Classifier, photos: list[Path]) -> None:
        highest = classifier.predict_proba(photos).max(axis=1)
        threshold = float(np.median(highest))
        predictions = classifier.predict(photos, threshold=threshold)
        assert [one.unsure for one in predictions] == (highest < threshold).tolist()
        assert 0 < sum(one.answer == "unsure" for one in predictions) < 30
        assert all(one.label in CLASSES for one in predictions)
        with pytest.raises(ValueError, match="threshold"):
            classifier.predict(photos, threshold=1.5)

    def test_all_kinds_of_photos_are_the_same_photo(
        self, classifier: Classifier, photos: list[Path], tmp_path: Path
    ) -> None:
        array = decode_image(photos[0])
        image = Image.fromarray(array)
        image.save(tmp_path / "photo.png")
        whole = classifier.predict_proba(array[None])
        for one in (tmp_path / "photo.png", str(tmp_path / "photo.png"), array, image, [image], (array,)):
            np.testing.assert_array_equal(classifier.predict_proba(one), whole)
        np.testing.assert_array_equal(classifier.predict_proba((tmp_path / "photo.png").read_bytes()), whole)
        assert classifier.predict(array)[0].path is None

    @pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK", "I;16", "F", "YCbCr", "HSV"])
    def test_pillow_images_follow_the_rules_of_files(
        self, classifier: Classifier, photos: list[Path], mode: str, tmp_path: Path
    ) -> None:
        rgb = Image.open(photos[0]).convert("RGB")
        if mode in ("I;16", "F"):
            grey = np.asarray(rgb.convert("L"))
            image = Image.fromarray(grey.astype(np.uint16) * 257 if mode == "I;16" else grey.astype(np.float32))
            expected = rgb.convert("L").convert("RGB")
        else:
            image = rgb.convert(mode)
            expected = image.convert("RGB")
        if mode in ("LA", "RGBA"):
            image.putalpha(Image.linear_gradient("L").resize(image.size))
            # What lies below transparency is white.
            image.save(tmp_path / "clear.png")
            expected = Image.fromarray(decode_image(tmp_path / "clear.png"))
        np.testing.assert_allclose(classifier.predict_proba(image), classifier.predict_proba(expected), atol=2e-3)

    def test_an_image_that_lies_on_its_side_is_set_upright(self, classifier: Classifier, photos: list[Path]) -> None:
        turned = Image.open(photos[0]).convert("RGB").transpose(Image.Transpose.ROTATE_90)
        upright = classifier.predict_proba(turned.transpose(Image.Transpose.ROTATE_270))
        turned.getexif()[274] = 6
        np.testing.assert_array_equal(classifier.predict_proba(turned), upright)

    def test_large_arrays_are_shrunk_as_files_are(self, classifier: Classifier, tmp_path: Path) -> None:
        large = np.random.default_rng(0).integers(0, 256, (900, 1300, 3), np.uint8)
        Image.fromarray(large).save(tmp_path / "large.bmp")
        np.testing.assert_array_equal(
            classifier.predict_proba(large), classifier.predict_proba([tmp_path / "large.bmp"])
        )

    def test_more_photos_than_a_window_of_many_sizes_stay_in_order(self, classifier: Classifier) -> None:
        rng = np.random.default_rng(0)
        shapes = [(40, 60), (60, 40), (50, 50)]
        many = [rng.integers(0, 256, (*shapes[i % 3], 3), np.uint8) for i in range(150)]
        alone = np.concatenate([classifier.predict_proba(one) for one in many[::29]])
        np.testing.assert_allclose(classifier.predict_proba(iter(many))[::29], alone, atol=1e-5)

    def test_photos_are_taken_as_they_are_needed(self, classifier: Classifier) -> None:
        taken = 0

        def endless() -> Iterator[np.ndarray]:
            nonlocal taken
            while True:
                taken += 1
                yield np.zeros((8, 8, 3), np.uint8)

        stream = classifier.stream(endless())
        for _ in range(100):
            next(stream)
        stream.close()
        # Two windows that were looked at, at least in part, and one that is being read.
        assert taken == 3 * WINDOW

    def test_two_windows_are_in_memory_while_the_model_runs(self) -> None:
        taken = 0
        made: list[weakref.ref[np.ndarray]] = []
        alive = []

        def items() -> Iterator[int]:
            nonlocal taken
            while taken < 5 * WINDOW:
                taken += 1
                yield taken

        def read(_: int) -> np.ndarray:
            photo = np.zeros((8, 8, 3), np.uint8)
            made.append(weakref.ref(photo))
            return photo

        def model(photos: np.ndarray) -> np.ndarray:
            # As of a slow model: all that may be read meanwhile is read.
            while len(made) < taken:
                time.sleep(0.001)
            alive.append(sum(one() is not None for one in made))
            return np.ones((len(photos), 1), np.float32)

        assert [item for item, _ in streamed(items(), read, model)] == list(range(1, 5 * WINDOW + 1))
        # And the last photo of the window before.
        assert 2 * WINDOW <= max(alive) <= 2 * WINDOW + 1

    def test_broken_photos_raise_with_their_path(self, classifier: Classifier, mixed: Path) -> None:
        with pytest.raises(BrokenImageError, match=r"b\.jpg: "):
            classifier.predict([mixed / "a.jpg", mixed / "b.jpg"])
        with pytest.raises(BrokenImageError, match="image"):
            classifier.predict_proba(b"nonsense")
        with pytest.raises(FileNotFoundError):
            classifier.predict("nowhere.jpg")

    @pytest.mark.parametrize(
        ("wrong", "told"),
        [
            (np.zeros((8, 9, 3)), "dtype='float64', shape=(8, 9, 3)"),
            (np.zeros((8, 9, 3), np.float32), "dtype='float32', shape=(8, 9, 3)"),
            (np.zeros((8, 9), np.uint8), "dtype='uint8', shape=(8, 9)"),
            (np.zeros((8, 9), bool), "dtype='bool', shape=(8, 9)"),
            (np.zeros((2, 8, 9, 3)), "dtype='float64', shape=(8, 9, 3)"),
        ],
    )
    def test_an_array_alone_is_refused_by_the_shape_that_was_given(
        self, classifier: Classifier, wrong: np.ndarray, told: str
    ) -> None:
        with pytest.raises(ValueError, match=re.escape(told)):
            classifier.predict(wrong)

    @pytest.mark.parametrize("wrong", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3))])
    def test_other_arrays_are_refused(self, classifier: Classifier, wrong: np.ndarray) -> None:
        with pytest.raises(ValueError, match=r"uint8 \(height, width, 3\)"):
            classifier.predict([wrong])

    def test_no_photos_are_no_predictions(self, classifier: Classifier) -> None:
        assert len(classifier.predict([])) == 0
        assert classifier.predict_proba([]).shape == (0, 3)

    def test_what_is_no_model_is_said(self, smoke_run: SmokeRun, tmp_path: Path) -> None:
        (tmp_path / "model.keras").write_text("nonsense")
        for reference, text in (
            (tmp_path / "nowhere", "does not exist"),
            (smoke_run.folder.parent, "folder of runs"),
            (smoke_run.folder / "run.json", "not a model file"),
            (tmp_path / "model.keras", "damaged"),
            (tmp_path / "latest", "holds no finished run"),
        ):
            with pytest.raises(UserError, match=text):
                load_model(reference)


def test_importing_the_package_costs_nothing() -> None:
    script = "import sys, tl_toolkit; dir(tl_toolkit); print(len({'numpy', 'keras', 'rich', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
    assert set(tl_toolkit.__all__) <= set(dir(tl_toolkit))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = tl_toolkit.no_such_name


class Told:
    """The command, run in this process, and what it wrote."""

    def __init__(self, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
        self._captured = capsysbinary

    def __call__(self, *words: object) -> tuple[int, str, str]:
        code = predict.main([str(word) for word in words])
        captured = self._captured.readouterr()
        return code, captured.out.decode("utf-8", "surrogateescape"), captured.err.decode()


@pytest.fixture
def told(capsysbinary: pytest.CaptureFixture[bytes]) -> Told:
    return Told(capsysbinary)


class TestTheCommand:
    def test_a_broken_photo_is_reported_and_the_rest_goes_on(
        self, told: Told, model_file: Path, mixed: Path, classifier: Classifier
    ) -> None:
        code, out, err = told(model_file, mixed, "--top-k", 2)
        rows = list(csv.DictReader(io.StringIO(out)))
        assert code == 1
        assert [Path(row["path"]).name for row in rows] == ["a.jpg", "b.jpg", "c.JPG"]
        assert rows[1]["error"]
        assert rows[1]["label"] == rows[1]["class_1"] == ""
        assert f"{mixed / 'b.jpg'} cannot be read: {rows[1]['error']}." in err
        for row in (rows[0], rows[2]):
            [expected] = classifier.predict(row["path"])
            assert row["error"] == ""
            assert row["label"] == row["class_1"] == expected.label
            for n, (name, probability) in enumerate(expected.top(2), 1):
                assert row[f"class_{n}"] == name
                assert float(row[f"probability_{n}"]) == pytest.approx(probability, abs=2e-6)
        assert "3 photos in" in err
        assert "1 could not be read" in err

    def test_json_lines(self, told: Told, model_file: Path, mixed: Path) -> None:
        code, out, _ = told(model_file, mixed, "--format", "jsonl", "--top-k", 9, "--threshold", 1)
        said = [json.loads(line) for line in out.splitlines()]
        assert code == 1
        assert set(said[0]) == {"path", "label", "top"}
        assert said[0]["label"] == "unsure"
        assert {one["class"] for one in said[0]["top"]} == set(CLASSES)
        assert sum(one["probability"] for one in said[0]["top"]) == pytest.approx(1, abs=1e-5)
        assert set(said[1]) == {"path", "error"}

    def test_a_table_is_aligned(self, told: Told, model_file: Path, mixed: Path) -> None:
        for top_k in (1, 2):
            _, out, _ = told(model_file, mixed, "--format", "table", "--top-k", top_k)
            lines = out.splitlines()
            assert len({line.index(str(mixed)) for line in lines}) == 1
            assert lines[1].startswith("(unreadable)")

    def test_a_file_is_whole_and_its_suffix_says_what_it_is(
        self, told: Told, model_file: Path, mixed: Path, tmp_path: Path
    ) -> None:
        target = tmp_path / "new" / "said.jsonl"
        code, out, _ = told(model_file, mixed / "a.jpg", "--out", target)
        assert (code, out) == (0, "")
        assert json.loads(target.read_text())["path"] == str(mixed / "a.jpg")

    @pytest.mark.parametrize(
        ("words", "text"),
        [
            (("nowhere.jpg",), "nowhere.jpg does not exist"),
            (("*.nothing",), "There is no photo in *.nothing"),
            (("{empty}",), "There is no photo in"),
            (("/dev/null",), "neither a file nor a folder"),
        ],
    )
    def test_nothing_found_is_the_users_to_mend(
        self, told: Told, model_file: Path, tmp_path: Path, words: tuple[str, ...], text: str
    ) -> None:
        code, out, err = told(model_file, *(word.format(empty=tmp_path) for word in words))
        assert (code, out) == (2, "")
        assert text in err

    @pytest.mark.parametrize("words", [("--threshold", "1.1"), ("--top-k", "0"), ("--format", "xml")])
    def test_options_out_of_range_are_refused(self, words: tuple[str, ...]) -> None:
        with pytest.raises(SystemExit) as caught:
            predict.main(["model", "photo.jpg", *words])
        assert caught.value.code == 2

    def test_names_of_any_bytes_from_standard_input(
        self, told: Told, model_file: Path, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names = [
            b"plain.jpg",
            b'sp ace, "comma".jpg',
            "Größe ✓.jpg".encode(),
            b"not utf-8 \xff.jpg",
            b"two\nlines.jpg",
            b"missing.jpg",
        ]
        folder = os.fsencode(tmp_path)
        for name in names[:-1]:
            Path(os.fsdecode(folder + b"/" + name)).write_bytes(photos[0].read_bytes())
        given = b"".join(folder + b"/" + name + b"\0" for name in names)
        for layout in ("csv", "jsonl"):
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
            code, out, err = told(model_file, "-", "--format", layout)
            assert code == 1
            if layout == "csv":
                rows = list(csv.DictReader(io.StringIO(out, newline="")))
            else:
                out.encode()  # JSON is UTF-8
                rows = [json.loads(line) for line in out.splitlines()]
            assert [os.fsencode(row["path"]) for row in rows] == [folder + b"/" + name for name in names]
            assert [row["path"] for row in rows if row.get("error")] == [str(tmp_path / "missing.jpg")]
            assert "missing.jpg cannot be read: No such file or directory." in err


class TestFindingPhotos:
    @pytest.mark.parametrize(
        ("word", "names"),
        [
            ("", ["a.jpg", "b.jpg", "c.JPG"]),
            ("/*.jpg", ["a.jpg", "b.jpg"]),
            ("/*", ["a.jpg", "b.jpg", "c.JPG"]),
            ("/**", ["a.jpg", "b.jpg", "c.JPG"]),
            ("/**/*.JPG", ["c.JPG"]),
            ("/notes.txt", ["notes.txt"]),
        ],
    )
    def test_folders_and_globs(self, mixed: Path, word: str, names: list[str]) -> None:
        found = find_photos([f"{mixed}{word}"], SUFFIXES, bytes)
        assert [Path(path).name for path in found] == names

    def test_a_file_with_the_name_of_a_glob_is_meant_itself(self, tmp_path: Path) -> None:
        for name in ("[a].jpg", "a.jpg"):
            (tmp_path / name).touch()
        assert find_photos([str(tmp_path / "[a].jpg")], SUFFIXES, bytes) == [str(tmp_path / "[a].jpg")]

    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\0"])
    def test_lists(self, end: bytes) -> None:
        assert find_photos(["-"], SUFFIXES, lambda: b"one" + end + b"t wo" + end + end) == ["one", "t wo"]
        assert find_photos(["-"], SUFFIXES, lambda: b"one" + end + b"two") == ["one", "two"]


def started(model_file: Path, *words: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tl_toolkit.predict", str(model_file), *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.PIPE,
    )


class TestHowItEnds:
    def test_a_reader_that_has_had_enough(self, model_file: Path, photos: list[Path]) -> None:
        process = started(model_file, "-", "--format", "jsonl")
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(b"".join(os.fsencode(path) + b"\n" for path in photos * 100))
        process.stdin.close()
        assert json.loads(process.stdout.readline())["label"] in CLASSES
        process.stdout.close()
        assert process.wait(200) == 0
        said = process.stderr.read().decode()
        process.stderr.close()
        assert "Traceback" not in said
        assert "Broken" not in said

    def test_ctrl_c(self, model_file: Path, photos: list[Path], tmp_path: Path) -> None:
        target, part = tmp_path / "said.csv", tmp_path / "said.csv.part"
        target.write_text("what was said before")
        process = started(model_file, "-", "--out", target)
        assert process.stdin
        process.stdin.write(b"".join(os.fsencode(path) + b"\n" for path in photos * 3000))
        process.stdin.close()
        end = time.monotonic() + 200
        while not (part.exists() and part.stat().st_size) and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.stdin = None
        _, said = process.communicate(timeout=200)
        assert process.returncode == 130, said
        assert said.decode().splitlines()[-1] == f"Error: Interrupted: what was said so far is in {part}."
        assert b"Traceback" not in said
        assert target.read_text() == "what was said before"
        assert set(tmp_path.iterdir()) == {target, part}
        text = part.read_text()
        rows = list(csv.DictReader(io.StringIO(text)))
        assert text.endswith("\n")
        assert [row["path"] for row in rows] == [str(path) for path in (photos * 3000)[: len(rows)]]
        assert {row["label"] for row in rows} <= set(CLASSES)
        assert 0 < len(rows) < 90_000
