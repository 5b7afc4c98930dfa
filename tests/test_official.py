"""A data set of arrays with an official test set: one search chooses, and the test set is scored once."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest
from conftest import CLASSES, SCHEMA, run_of
from PIL import Image

from tl_toolkit import pipeline
from tl_toolkit.backbones.features import CLEAN, FeatureBank, ViewSource
from tl_toolkit.core import console, saved
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import cache_folder
from tl_toolkit.core.records import Dataset
from tl_toolkit.core.runs import Stopwatch
from tl_toolkit.core.runtime import tensorflow
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.datasets import collection
from tl_toolkit.datasets.sample import draw
from tl_toolkit.datasets.splits import make_splits
from tl_toolkit.evaluation.nested import Job
from tl_toolkit.heads.fitting import fit_final
from tl_toolkit.pipeline import data, fitting
from tl_toolkit.pipeline.fitting import tables_of
from tl_toolkit.training.courses import Course
from tl_toolkit.training.inputs import ViewPixels

SPACE = """
metric: accuracy
trials: 4
scored_folds: 1
parameters:
  optimizer: {choices: [sgd, adam]}
  learning_rate: {low: 1e-3, high: 1e-1, log: true}
fixed: {backbone: efficientnet_lite0@96, epochs: 5, batch_size: 16}
reference: {learning_rate: 0.01, momentum: 0.7}
"""

PER_CLASS, TESTED = 12, 4


@pytest.fixture(scope="module")
def arrays() -> Dataset:
    """Drawn pictures of 32 pixels; the last of each class are the test set, and one of them is a training picture."""
    pixels, labels, test = [], [], []
    for label, name in enumerate(CLASSES):
        for number in range(1, PER_CLASS + 1):
            pixels.append(np.asarray(draw(name, number).resize((32, 32)).convert("RGB")))
            labels.append(label)
            test.append(number > PER_CLASS - TESTED)
    pixels[PER_CLASS - 1] = pixels[0]
    return Dataset(
        name="arrays",
        root=Path(),
        paths=tuple(f"{CLASSES[label]}/{i:03d}.png" for i, label in enumerate(labels)),
        labels=np.array(labels),
        class_names=CLASSES,
        source="drawn",
        licence="Apache-2.0",
        pixels=np.stack(pixels),
        test=np.array(test),
    )


@pytest.fixture(scope="module")
def searched(arrays: Dataset, tmp_path_factory: pytest.TempPathFactory) -> pipeline.Outcome:
    out = tmp_path_factory.mktemp("official")
    (out / "space.yaml").write_text(SPACE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load_dataset", lambda *_, **__: arrays)
        return pipeline.search(
            pipeline.SearchOptions(dataset="arrays", space=str(out / "space.yaml"), out=out, baseline="quick", trials=4)
        )


NETWORKS = """
metric: accuracy
trials: 5
scored_folds: 1
pruning: {first: 1}
parameters:
  learning_rate: {low: 1e-3, high: 1e-2, log: true}
fixed: {network: cifar_cnn, backbone: none, epochs: 4, batch_size: 16}
reference: {learning_rate: 0.01, momentum: 0.7}
"""


def test_small_photos_have_limits_of_their_own(arrays: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    bank, options = FeatureBank(cache_folder() / "features"), pipeline.SearchOptions(dataset="arrays")
    assert pipeline.prepare(options, arrays, bank, Stopwatch()).audit.near
    monkeypatch.setattr("tl_toolkit.datasets.audit.OF_SMALL_LIMITS", ((-1, 2.0),))
    assert not pipeline.prepare(options, arrays, bank, Stopwatch()).audit.near


def test_a_fitter_ends_where_time_is_up_in_features(
    arrays: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each core is at a photo of its own when time is up.
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    bank, options = FeatureBank(tmp_path / "features"), pipeline.SearchOptions(dataset="arrays")
    prepared = pipeline.prepare(options, arrays, bank, Stopwatch())
    rows = ~prepared.splits.scored
    job = Job(config=TrainingConfig(backbone="efficientnet_lite0@64", epochs=1), train=rows, test=~rows)
    with console.progress() as display:
        _, _, fit = fitting.fitted_with(prepared, bank, display, 0, tmp_path / "scratch")
        distinct = bank.computed
        assert list(fit([job], expired=lambda: bank.folder.exists() and any(bank.folder.glob("*64px*")))) == []
        assert distinct < bank.computed < 2 * distinct
        assert len(list(fit([job]))) == 1
    assert bank.computed == 2 * distinct


@pytest.mark.usefixtures("scored_only")
def test_a_timeout_stops_the_training_under_way(
    arrays: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "space.yaml").write_text(NETWORKS)
    # What an earlier run was told is not trained again.
    monkeypatch.setenv("TL_TOOLKIT_CACHE", str(tmp_path / "cache"))
    rows: list[int] = []
    train = Course.epoch

    def counted(course: Course, *asked: Any) -> bool:
        rows.append(int(course._rows.sum()))
        return train(course, *asked)

    # The reference, the first look at both others, and the first of three more epochs of the better one.
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + (1e6 if len(rows) >= 4 + 2 + 1 else 0))
    monkeypatch.setattr("tl_toolkit.engines.engine.time", clock)
    monkeypatch.setattr(Course, "epoch", counted)
    monkeypatch.setattr(data, "load_dataset", lambda *_, **__: arrays)
    options = pipeline.SearchOptions(dataset="arrays", space=str(tmp_path / "space.yaml"), out=tmp_path, timeout=1e5)
    outcome = pipeline.search(options)
    assert outcome.run["search"]["stopped"] == "timeout"
    with (outcome.folder / "trials.csv").open(newline="") as file:
        ends = [(row["state"], row["trained_epochs"]) for row in csv.DictReader(file)]
    assert ends == [("complete", "4"), ("pruned", "1"), ("pruned", "1")]
    assert rows[:7] == [rows[0]] * 7
    # What comes after the search is trained on more photos.
    assert min(rows[7:]) > rows[0]
    said = capsys.readouterr().err
    assert "ended early (timeout)" in said
    assert "without the network from scratch" in said


@pytest.mark.parametrize(("space", "engine"), [(NETWORKS, "optuna"), (SPACE, "keras-tuner")])
def test_where_time_is_up_before_a_trial_the_reference_stands_in(
    space: str,
    engine: str,
    arrays: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "space.yaml").write_text(space)
    monkeypatch.setattr(data, "load_dataset", lambda *_, **__: arrays)
    options = pipeline.SearchOptions(
        dataset="arrays", space=str(tmp_path / "space.yaml"), out=tmp_path, timeout=1e-3, engine=engine
    )
    outcome = pipeline.search(options)
    run = outcome.run
    jsonschema.validate(run, SCHEMA)
    assert "ended early (timeout) after 0 of" in capsys.readouterr().err
    search = run["search"]
    assert (search["stopped"], search["n_trials"], search["n_failed"], search["n_pruned"]) == ("timeout", 0, 0, 0)
    assert search["members"] == {"final": [0]}
    assert search["best"] == search["reference"]["settings"]
    assert search["best_inner_score"] is None
    assert search["outer_winners_inner_score"] is None
    assert run["evaluation"]["metrics"] == search["reference"]["metrics"]
    with (outcome.folder / "trials.csv").open(newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["state"], row["score"], row["trained_epochs"]) == ("cut", "", "0")
    both = pipeline.compare_runs(outcome.folder, outcome.folder, tmp_path / "both.html")
    page = pipeline.report(outcome.folder).read_text()
    assert "Time was up before the search had a complete trial" in page
    assert ">What the search found<" not in page
    assert "reference, for time was up" in page
    assert "best trial" not in page
    assert "not every search had a complete trial" in both.read_text()


@pytest.mark.usefixtures("scored_only")
@pytest.mark.parametrize("engine", ["optuna", "keras-tuner"])
@pytest.mark.parametrize("space", ["cifar10", "cifar10_scratch"])
def test_both_engines_search_the_spaces_of_cifar10(
    space: str, engine: str, arrays: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "load_dataset", lambda *_, **__: arrays)
    run = pipeline.search(
        pipeline.SearchOptions(
            dataset="arrays", space=space, engine=engine, out=tmp_path, smoke=True, trials=2, baseline="none"
        )
    ).run
    search = run["search"]
    assert (search["space"], search["engine"], search["stopped"]) == (space, engine, "finished")
    assert (search["n_trials"], search["n_failed"]) == (2, 0)
    assert run["splits"]["official_test_set"]


def test_the_test_set_is_the_only_fold_and_takes_no_part_in_the_search() -> None:
    labels, test = np.tile([0, 1], 20), np.arange(40) >= 30
    splits = make_splits(labels, np.arange(40), ("a", "b"), n_inner=3, seed=0, test=test)
    assert splits.official
    assert splits.n_outer == 1
    assert (splits.scored == test).all()
    assert (splits.final == ~test).all()
    assert ((splits.inner[0] < 0) == test).all()
    assert splits.n_inner == 3


def test_a_test_set_without_a_class_is_refused() -> None:
    labels = np.tile([0, 1], 20)
    with pytest.raises(UserError, match="'b' is in the official"):
        make_splits(labels, np.arange(40), ("a", "b"), test=(np.arange(40) >= 30) & (labels == 0))
    with pytest.raises(UserError, match="'b' is outside"):
        make_splits(labels, np.arange(40), ("a", "b"), test=(np.arange(40) >= 30) | (labels == 1))


def test_the_run_scores_the_test_set_and_keeps_to_the_schema(searched: pipeline.Outcome, arrays: Dataset) -> None:
    run = run_of(searched.folder)
    jsonschema.validate(run, SCHEMA)
    assert run["splits"]["official_test_set"]
    assert run["splits"]["n_scored"] == len(CLASSES) * TESTED
    assert run["search"]["n_trials"] == 4
    with (searched.folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert arrays.test is not None
    assert [row["path"] for row in rows] == [arrays.paths[i] for i in np.flatnonzero(arrays.test)]
    right = np.mean([row["label"] == row["predicted"] for row in rows])
    assert run["evaluation"]["metrics"]["accuracy"]["value"] == pytest.approx(right)
    assert len(run["baseline"]["epochs"]) == 1


def test_the_exported_model_is_the_one_that_was_scored(searched: pipeline.Outcome, arrays: Dataset) -> None:
    import keras

    model = keras.saving.load_model(searched.folder / "model" / "model.keras")
    assert arrays.test is not None
    assert arrays.pixels is not None
    said = np.asarray(model(arrays.pixels[arrays.test])["probabilities"])
    with (searched.folder / "predictions.csv").open(newline="") as file:
        kept = np.array([[float(row[f"p_{name}"]) for name in CLASSES] for row in csv.DictReader(file)])
    np.testing.assert_allclose(said, kept, atol=1e-3)


def test_the_score_without_what_training_has_seen(searched: pipeline.Outcome) -> None:
    apart = searched.run["without_twins"]
    assert apart["n"] == len(CLASSES) * TESTED - apart["left_out"]
    assert apart["left_out"] >= 1
    assert 0 <= apart["metrics"]["accuracy"]["value"] <= 1


def test_all_photos_are_explored_and_arrays_are_no_folder_to_compare(
    arrays: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "load_dataset", lambda *_, **__: arrays)
    record = pipeline.explore(pipeline.SearchOptions(dataset="arrays", out=tmp_path)).record
    assert record["suspects"]["n_folds"] == 5
    monkeypatch.setattr(collection, "load_dataset", lambda *_, **__: arrays)
    with pytest.raises(UserError, match="not in photo files"):
        collection.collect("arrays")


def test_the_page_says_what_was_scored(searched: pipeline.Outcome) -> None:
    page = (searched.folder / "index.html").read_text(encoding="utf-8")
    assert "official test set" in page
    assert "outer fold" not in page.split("<main")[-1]
    left_out = searched.run["without_twins"]["left_out"]
    assert f"{left_out} photos of the test set are near duplicates" in page
    assert "never on both sides" not in page


def test_the_page_shows_duplicates_of_both_parts(searched: pipeline.Outcome, arrays: Dataset) -> None:
    page = (searched.folder / "index.html").read_text(encoding="utf-8")
    exact = page.split("<h3>Identical files")[1].split("<h3>Near duplicates")[0]
    # The first picture of the first class is one of its test pictures, too.
    for i in (0, PER_CLASS - 1):
        assert f'alt="{arrays.paths[i]}"' in exact
    first = saved.load_run(searched.folder).picture(PER_CLASS - 1, "twin")
    assert first is not None
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(first.partition(",")[2]))).convert("RGB"), float)
    assert arrays.pixels is not None
    assert np.abs(shown - arrays.pixels[PER_CLASS - 1]).mean() < 10


@pytest.mark.usefixtures("measured_here")
def test_fine_tuning_begins_with_the_best_head_of_the_search(
    searched: pipeline.Outcome, arrays: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "load_dataset", lambda *_, **__: arrays)
    # All layers but the head: batch normalisation that is not frozen would move its statistics, whatever the rate.
    settings = {"epochs": 1, "frozen_layers": 1.0, "learning_rate": 1e-9, "test_time_views": 1}
    options = pipeline.TrainOptions(
        dataset="arrays",
        fine_tune=searched.folder.parent / "latest",
        settings=settings,
        precision="float32",
        out=tmp_path,
    )
    outcome = pipeline.train(options)
    jsonschema.validate(run_of(outcome.folder), SCHEMA)
    assert outcome.run["training"]["head"] == searched.run["search"]["best"]
    assert outcome.run["training"]["settings"]["backbone"] == "efficientnet_lite0@96"

    # At next to no learning rate it still says what that head alone says; the search's own scores are of several.
    # Networks see photos enlarged and rounded to whole grey levels, and heads of so few photos make much of that.
    bank, config = FeatureBank(cache_folder() / "features"), TrainingConfig(**searched.run["search"]["best"])
    prepared = pipeline.prepare(options, arrays, bank, Stopwatch())
    with console.progress() as display:
        tables = tables_of(prepared, bank, display, options.seed)
        head = fit_final(config, tables, prepared.splits.final, len(CLASSES), seed=options.seed)
    rounded = np.rint(tensorflow().image.resize(arrays.pixels, (96, 96)).numpy()).astype(np.uint8)
    ids = tuple(hashlib.sha256(photo).hexdigest() for photo in rounded)
    seen = ViewSource(ids=ids, key=CLEAN, views=1, pixels=lambda index, _: rounded[index], decoding="none")
    [said] = head.probabilities(bank.features(config.backbone, seen)[prepared.splits.scored, 0])
    with (outcome.folder / "predictions.csv").open(newline="") as file:
        tuned = np.array([[float(row[f"p_{name}"]) for name in CLASSES] for row in csv.DictReader(file)])
    np.testing.assert_allclose(tuned, said, atol=0.01)


@pytest.mark.usefixtures("measured_here")
def test_the_test_set_is_looked_at_once_when_training_is_over(
    arrays: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "load_dataset", lambda *_, **__: arrays)
    assert arrays.test is not None
    epochs: list[bool] = []
    looks: list[int] = []
    train, look = Course.epoch, ViewPixels.__call__

    def counted(course: Course, *asked: Any) -> bool:
        epochs.append(train(course, *asked))
        return epochs[-1]

    def seen(pixels: ViewPixels, config: Any, side: int, images: np.ndarray, views: np.ndarray) -> np.ndarray:
        if arrays.test[images].any():  # type: ignore[index]
            looks.append(len(epochs))
        return look(pixels, config, side, images, views)

    monkeypatch.setattr(Course, "epoch", counted)
    monkeypatch.setattr(ViewPixels, "__call__", seen)
    options = pipeline.TrainOptions(dataset="arrays", network="cifar_cnn", settings={"epochs": 2}, out=tmp_path)
    outcome = pipeline.train(options)
    assert looks
    assert set(looks) == {2}
    page = (outcome.folder / "index.html").read_text(encoding="utf-8")
    assert "The official test set was looked at once" in page
    assert "held-out photos" not in page.split("Training and over-fitting</h2>")[1].split("</section>")[0]


@pytest.mark.usefixtures("measured_here")
def test_a_network_takes_its_first_weights_from_photos_of_all_classes(
    arrays: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "load_dataset", lambda *_, **__: arrays)
    monkeypatch.setattr("tl_toolkit.pipeline.fitting._SEEN", 6)
    shown: list[np.ndarray] = []
    network = fitting.NETWORKS.get("cifar_fast")

    def begin(model: Any, pixels: np.ndarray) -> None:
        shown.append(pixels)
        network.begin(model, pixels)

    monkeypatch.setattr("tl_toolkit.networks.cifar_fast.NETWORK", replace(network, begin=begin))
    pipeline.train(pipeline.TrainOptions(dataset="arrays", network="cifar_fast", settings={"epochs": 1}, out=tmp_path))
    [pixels] = shown
    assert arrays.pixels is not None
    classes = {int(arrays.labels[i]) for one in pixels for i in range(len(arrays)) if (arrays.pixels[i] == one).all()}
    assert classes == set(range(len(CLASSES)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dataset": {"fingerprint": "0" * 64}}, "other photos"),
        ({"search": {"best": {"network": "slash_cnn", "backbone": "none"}}}, "search of heads"),
        ({"search": {}}, "not a finished search"),
        ({"search": {"best": {"backbone": "efficientnet_lite0+efficientnet_lite1"}}}, "Only one backbone"),
    ],
    ids=["other photos", "a network", "no search", "two backbones"],
)
def test_what_cannot_be_fine_tuned_is_refused(
    change: dict[str, dict[str, object]],
    said: str,
    searched: pipeline.Outcome,
    arrays: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(data, "load_dataset", lambda *_, **__: arrays)
    run = run_of(searched.folder)
    (tmp_path / "run.json").write_text(json.dumps(run | change))
    with pytest.raises(UserError, match=said):
        pipeline.train(pipeline.TrainOptions(dataset="arrays", fine_tune=tmp_path, out=tmp_path))


def test_a_search_that_has_seen_the_photos_held_out_is_no_beginning(
    searched: pipeline.Outcome, arrays: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "load_dataset", lambda *_, **__: replace(arrays, test=None))
    run = run_of(searched.folder)
    (tmp_path / "run.json").write_text(json.dumps(run))
    with pytest.raises(UserError, match="no official test set: name the --backbone"):
        pipeline.train(pipeline.TrainOptions(dataset="arrays", fine_tune=tmp_path, out=tmp_path))


@pytest.mark.parametrize(
    ("official", "held_out", "said"),
    [
        (False, "as it was", "by all photos, those of the official test set among them"),
        (True, "another photo", "held out other photos than the official test set of now"),
        (True, "unknown", "does not tell which photos"),
    ],
)
def test_a_search_on_the_same_photos_must_have_held_the_same_ones_out(
    official: bool,
    held_out: str,
    said: str,
    searched: pipeline.Outcome,
    arrays: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(data, "load_dataset", lambda *_, **__: arrays)
    run = run_of(searched.folder)
    run["splits"]["official_test_set"] = official
    (tmp_path / "run.json").write_text(json.dumps(run))
    splits = json.loads((searched.folder / "splits.json").read_text())
    if held_out == "another photo":
        tested = splits["outer"].index(0)
        splits["outer"][tested], splits["outer"][tested - 1] = -1, 0
    if held_out != "unknown":
        (tmp_path / "splits.json").write_text(json.dumps(splits))
    with pytest.raises(UserError, match=said):
        pipeline.train(pipeline.TrainOptions(dataset="arrays", fine_tune=tmp_path, out=tmp_path))
