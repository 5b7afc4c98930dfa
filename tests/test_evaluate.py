"""A model on new photos: what is scored, what is found out about the photos, what is said, and how it ends."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from conftest import CLASSES, Finished, SmokeRun, command
from PIL import Image

from tl_toolkit import evaluate, pipeline
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import digest, sha256
from tl_toolkit.core.prints import FILE, SAMPLE, TrainingPrints, featured, load_prints, save_prints
from tl_toolkit.core.thumbnails import TRAIN, kept_picture, picture_file, thumbnail
from tl_toolkit.datasets.images import decode_image
from tl_toolkit.datasets.leaks import pixel_digest
from tl_toolkit.datasets.sample import draw
from tl_toolkit.evaluation.metrics import score
from tl_toolkit.pipeline.evaluating import model_digest
from tl_toolkit.pipeline.explaining import explainer

SCHEMA = json.loads((resources.files("tl_toolkit.core") / "evaluation.schema.json").read_text())
NEW = range(15, 20)


@dataclass(frozen=True)
class Evaluated:
    """The command, done once for all tests that look at what it leaves."""

    folder: Path
    photos: Path
    finished: Finished
    record: dict[str, Any]


def record_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "evaluation.json").read_text())


def judged(model: Path, folder: Path, out: Path, **options: Any) -> pipeline.FolderEvaluation:
    return pipeline.evaluate_folder(pipeline.EvaluateOptions(model=str(model), folder=folder, out=out, **options))


@pytest.fixture(scope="module")
def evaluated(smoke_run: SmokeRun, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """New pictures of two classes of three, two that the model was trained on, a broken file, and a strange class."""
    root = tmp_path_factory.mktemp("new") / "fresh"
    for name in ("Beauty", "Home"):
        (root / name).mkdir(parents=True)
        for number in NEW:
            draw(name, number).save(root / name / f"{number}.jpg", quality=90)
    shutil.copy(pictures / "Beauty" / "01.jpg", root / "Home" / "copied.jpg")
    Image.open(pictures / "Beauty" / "02.jpg").save(root / "Beauty" / "lossless.png")
    (root / "Home" / "broken.jpg").write_bytes((root / "Home" / "15.jpg").read_bytes()[:500])
    (root / "Strange").mkdir()
    draw("Games", 15).save(root / "Strange" / "1.jpg")
    out = tmp_path_factory.mktemp("reports")
    finished = command("evaluate", str(smoke_run.folder), str(root), "--ignore-unknown", "--fail", "--out", str(out))
    [folder] = (out / "evaluations").iterdir()
    return Evaluated(folder, root, finished, record_of(folder))


class TestWhatIsLeft:
    def test_every_file(self, evaluated: Evaluated, smoke_run: SmokeRun) -> None:
        assert evaluated.folder.name == f"fresh-by-{smoke_run.folder.name}"
        names = {path.name for path in evaluated.folder.iterdir()}
        assert names == {"index.html", "evaluation.json", "predictions.csv", "pictures"}

    def test_training_photos_are_shown_beside_what_leaks(self, evaluated: Evaluated, smoke_run: SmokeRun) -> None:
        page = (evaluated.folder / "index.html").read_text()
        for pair in evaluated.record["leaks"]["pairs"]:
            kept = kept_picture(smoke_run.folder, pair["train_index"], TRAIN)
            assert kept
            assert kept in page

    def test_the_record_keeps_to_its_schema(self, evaluated: Evaluated) -> None:
        jsonschema.Draft202012Validator.check_schema(SCHEMA)
        jsonschema.validate(evaluated.record, SCHEMA)
        with pytest.raises(jsonschema.ValidationError, match="verdict"):
            jsonschema.validate({**evaluated.record, "promise": {"accuracy": 1}}, SCHEMA)

    def test_the_figures_are_those_of_the_predictions(self, evaluated: Evaluated, smoke_run: SmokeRun) -> None:
        import keras

        with (evaluated.folder / "predictions.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 12
        labels = np.array([CLASSES.index(row["label"]) for row in rows])
        said = np.array([[float(row[f"p_{name}"]) for name in CLASSES] for row in rows])
        new = np.array([not row["leak"] for row in rows])
        metrics = evaluated.record["evaluation"]["metrics"]
        assert metrics["accuracy"]["value"] == pytest.approx(score("accuracy", labels, said))
        without = evaluated.record["without_leaks"]["metrics"]
        assert without["accuracy"]["value"] == pytest.approx(score("accuracy", labels[new], said[new]))
        model = keras.saving.load_model(smoke_run.folder / "model" / "model.keras")
        for row, probabilities in zip(rows[:3], said, strict=False):
            photo = decode_image(evaluated.photos / row["path"])
            np.testing.assert_allclose(model(photo[None])["probabilities"][0], probabilities, atol=2e-6)

    def test_what_leaks_is_found_and_said(self, evaluated: Evaluated) -> None:
        pairs = {pair["path"]: pair for pair in evaluated.record["leaks"]["pairs"]}
        copied, lossless = pairs["Home/copied.jpg"], pairs["Beauty/lossless.png"]
        assert (copied["kind"], copied["train_path"], copied["train_label"]) == ("file", "Beauty/01.jpg", "Beauty")
        assert (lossless["kind"], lossless["train_path"]) == ("pixels", "Beauty/02.jpg")
        n = 12 - len(pairs)
        assert evaluated.record["without_leaks"]["n"] == evaluated.record["promise"]["n"] == n > 0
        assert "labels differ: Home, Beauty" in (evaluated.folder / "index.html").read_text()

    def test_few_photos_tell_nothing_of_drift(self, evaluated: Evaluated) -> None:
        assert evaluated.record["drift"]["features"] == {"frechet": None, "separation": None}
        assert "too few to tell" in evaluated.finished.stdout

    def test_classes_without_photos_have_no_scores(self, evaluated: Evaluated) -> None:
        assert set(evaluated.record["evaluation"]["per_class"]) == {"Beauty", "Home"}
        assert "Classes without a photo here: Games" in (evaluated.folder / "index.html").read_text()

    def test_mistakes_and_the_least_certain_have_pictures_of_where_the_model_looked(
        self, evaluated: Evaluated, smoke_run: SmokeRun
    ) -> None:
        with (evaluated.folder / "predictions.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        confidence = np.array([max(float(row[f"p_{name}"]) for name in CLASSES) for row in rows])
        right = np.array([row["label"] == row["predicted"] for row in rows])
        found = evaluated.record["analysis"]
        mistakes, uncertain = found["mistakes"], found["uncertain"]
        assert set(mistakes) == set(np.flatnonzero(~right).tolist())
        assert set(uncertain) == set(np.flatnonzero(right).tolist())  # of 12 photos, all
        assert (np.diff(confidence[uncertain]) >= 0).all()
        looked = explainer(smoke_run.folder / "model" / "model.keras")
        assert looked
        assert found["one_view"] is looked.one_view is False
        page = (evaluated.folder / "index.html").read_text()
        for index in (*mistakes, *uncertain):
            address = kept_picture(evaluated.folder, index, "cam")
            assert address
            assert address in page
        index = [*mistakes, *uncertain][0]
        photo = decode_image(evaluated.photos / rows[index]["path"])
        expected = thumbnail(looked.explain(photo, CLASSES.index(rows[index]["predicted"])))
        difference = decode_image(picture_file(evaluated.folder, index, "cam")).astype(int) - decode_image(expected)
        assert np.abs(difference).mean() < 2

    def test_what_is_left_out_is_said(self, evaluated: Evaluated) -> None:
        assert evaluated.record["left_out"] == {"Strange": 1}
        assert [one["path"] for one in evaluated.record["quarantined"]] == ["Home/broken.jpg"]
        assert "Unreadable, so not scored: 1" in evaluated.finished.stdout

    def test_the_terminal_ends_with_the_answers(self, evaluated: Evaluated) -> None:
        lines = evaluated.finished.stdout.splitlines()
        assert [line.split(":")[0] for line in lines[-4:]] == ["Promise", "Leaks", "Drift", "Page"]
        assert evaluated.finished.code == 1  # for photos leak


class TestEdges:
    def test_all_photos_leak(self, smoke_run: SmokeRun, pictures: Path, tmp_path: Path) -> None:
        found = judged(smoke_run.folder, pictures, tmp_path)
        jsonschema.validate(found.record, SCHEMA)
        assert found.record["leaks"]["counts"] == {"file": 30, "pixels": 0, "near": 0}
        assert (found.record["promise"], found.record["without_leaks"]) == (None, None)
        assert "there is no score on unseen photos" in found.verdicts["Leaks"]
        assert "all 30 photos are known from training" in found.page.read_text()

    def test_one_photo_by_a_run_that_kept_nothing(self, smoke_run: SmokeRun, tmp_path: Path) -> None:
        run, photos = tmp_path / "old", tmp_path / "single"
        shutil.copytree(smoke_run.folder, run)
        (run / FILE).unlink()
        (photos / "Games").mkdir(parents=True)
        draw("Games", 17).save(photos / "Games" / "1.jpg")
        found = judged(run / "model" / "model.keras", photos, tmp_path)
        jsonschema.validate(found.record, SCHEMA)
        assert (found.record["leaks"], found.record["drift"], found.record["far"]) == (None, None, None)
        assert "kept nothing of its training photos" in found.verdicts["Leaks"]
        assert found.record["promise"]["verdict"] == "within"
        assert kept_picture(found.page.parent, 0, "cam")
        assert "too narrow" in found.verdicts["Note"]

        alone = tmp_path / "alone.keras"
        shutil.copy(run / "model" / "model.keras", alone)
        found = judged(alone, photos, tmp_path)
        jsonschema.validate(found.record, SCHEMA)
        assert (found.record["run"], found.record["promise"]) == (None, None)
        assert found.page.parent.name == "single-by-alone"

    def test_leaks_are_found_by_hashes_where_features_are_few(
        self, evaluated: Evaluated, smoke_run: SmokeRun, pictures: Path, tmp_path: Path
    ) -> None:
        run, photos = tmp_path / "few", tmp_path / "photos"
        shutil.copytree(smoke_run.folder, run)
        kept = load_prints(run)
        assert kept
        save_prints(run, replace(kept, featured=kept.featured[:5], features=kept.features[:5]))
        shutil.copytree(evaluated.photos, photos)
        Image.open(pictures / "Home" / "03.jpg").save(photos / "Home" / "compressed.jpg", quality=60)
        found = judged(run, photos, tmp_path, ignore_unknown=True)
        jsonschema.validate(found.record, SCHEMA)
        kinds = {pair["path"]: (pair["kind"], pair["train_path"]) for pair in found.record["leaks"]["pairs"]}
        assert found.record["leaks"]["by_hash_alone"]
        assert kinds["Home/copied.jpg"] == ("file", "Beauty/01.jpg")
        assert kinds["Beauty/lossless.png"] == ("pixels", "Beauty/02.jpg")
        assert kinds["Home/compressed.jpg"] == ("near", "Home/03.jpg")
        assert "mirrored or cropped ones are not found" in found.page.read_text()

    def test_unknown_classes_are_named(self, evaluated: Evaluated, smoke_run: SmokeRun, tmp_path: Path) -> None:
        (tmp_path / "few" / "beauty").mkdir(parents=True)
        draw("Beauty", 17).save(tmp_path / "few" / "beauty" / "1.jpg")
        with pytest.raises(UserError, match=r"Unknown class 'beauty'\. Did you mean 'Beauty'\? Known: Beauty, Games"):
            judged(smoke_run.folder, tmp_path / "few", tmp_path)
        with pytest.raises(UserError, match=r"No photo in .* is of a class of the model"):
            judged(smoke_run.folder, tmp_path / "few", tmp_path, ignore_unknown=True)

    @pytest.mark.parametrize("model", ["no-such-run", "text.keras"])
    def test_no_model(self, model: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "text.keras").write_text("no model")
        assert evaluate.main([str(tmp_path / model), str(pictures), "--out", str(tmp_path)]) == 2
        assert "name a run folder" in capsys.readouterr().err

    def test_an_empty_folder(self, smoke_run: SmokeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "empty").mkdir()
        assert evaluate.main([str(smoke_run.folder), str(tmp_path / "empty")]) == 2
        assert "is empty" in capsys.readouterr().err


def test_models_of_two_files_are_known_by_both(tmp_path: Path) -> None:
    """By the digest that the run has of them; a file that was moved among others is known by its own."""
    folder = tmp_path / "openvino"
    folder.mkdir()
    (folder / "model.xml").write_text("network")
    (folder / "model.bin").write_text("weights")
    before = model_digest(folder / "model.xml")
    assert before == digest(folder) != sha256(folder / "model.xml")
    (folder / "model.onnx").write_text("other")
    assert model_digest(folder / "model.xml") == before
    assert model_digest(folder / "model.onnx") == sha256(folder / "model.onnx")
    (folder / "model.bin").write_text("other weights")
    assert model_digest(folder / "model.xml") != before


def prints(n: int = 5) -> TrainingPrints:
    random = np.random.default_rng(0)
    trained = np.arange(n) != 2
    rows = featured(trained, 8)
    return TrainingPrints(
        paths=tuple(f"Ä/{i}.jpg" for i in range(n)),
        class_names=("a", "Ä"),
        labels=np.arange(n) % 2,
        trained=trained,
        groups=np.arange(n),
        sha256=random.integers(0, 256, (n, 32)).astype(np.uint8),
        pixels=random.integers(0, 256, (n, 32)).astype(np.uint8),
        widths=np.full(n, 640),
        heights=np.full(n, 480),
        hashes=random.random((n, 64)) > 0.5,
        backbone="efficientnet_lite0",
        featured=rows,
        features=random.random((len(rows), 8)).astype(np.float16),
    )


class TestPrints:
    def test_they_come_back_as_they_were(self, tmp_path: Path) -> None:
        assert load_prints(tmp_path) is None
        before = prints()
        save_prints(tmp_path, before)
        after = load_prints(tmp_path)
        assert after
        assert after.complete
        for name in TrainingPrints.__dataclass_fields__:
            first, second = getattr(before, name), getattr(after, name)
            assert np.array_equal(first, second), name
            assert getattr(first, "dtype", None) == getattr(second, "dtype", None), name

    def test_a_damaged_file_is_the_users_to_mend(self, tmp_path: Path) -> None:
        save_prints(tmp_path, prints())
        whole = (tmp_path / FILE).read_bytes()
        for damaged in (b"", b"no archive", whole[: len(whole) // 2]):
            (tmp_path / FILE).write_bytes(damaged)
            with pytest.raises(UserError, match="run the search again"):
                load_prints(tmp_path)

    def test_features_are_bounded(self) -> None:
        trained = np.arange(10_000) % 5 > 0
        assert np.array_equal(featured(trained, 100), np.flatnonzero(trained))
        some = featured(trained, 100, most=8000 * 200 - 1)
        assert len(some) == SAMPLE
        assert trained[some].all()
        assert (np.diff(some) > 0).all()

    def test_a_run_keeps_what_its_photos_are_known_by(self, smoke_run: SmokeRun, pictures: Path) -> None:
        kept = load_prints(smoke_run.folder)
        assert kept
        assert kept.trained.all()
        assert kept.complete
        audit = json.loads((smoke_run.folder / "audit.json").read_text())
        assert kept.paths == tuple(audit["paths"])
        assert [row.tobytes().hex() for row in kept.sha256] == audit["sha256"]
        assert [CLASSES[label] for label in kept.labels] == [path.split("/")[0] for path in kept.paths]
        whole = decode_image(pictures / kept.paths[7], max_side=None)
        assert kept.pixels[7].tobytes().hex() == pixel_digest(whole)

    def test_pixels_have_a_shape(self) -> None:
        photo = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
        assert pixel_digest(photo) != pixel_digest(photo.reshape(4, 2, 3))
        assert pixel_digest(photo[:, ::-1]) == pixel_digest(photo[:, ::-1].copy()) != pixel_digest(photo)
