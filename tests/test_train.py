"""``train``: one training from pixels to a scored, exported model; and the network from scratch in the main job."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from conftest import SCHEMA, rows_of, run_of
from PIL import Image

import tl_toolkit.pipeline.fitting as fitting
from tl_toolkit import backbones, pipeline
from tl_toolkit.backbones import fine_tuning
from tl_toolkit.backbones.features import FeatureBank
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import cache_folder
from tl_toolkit.core.prints import load_prints
from tl_toolkit.core.runs import Stopwatch
from tl_toolkit.core.runtime import keras
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.core.thumbnails import picture_file, thumbnail
from tl_toolkit.evaluation.explanations import explainer_of
from tl_toolkit.networks.base import Network
from tl_toolkit.pipeline.baseline import baseline_settings
from tl_toolkit.pipeline.training_settings import settings_of
from tl_toolkit.train import main


def tiny(n_classes: int, config: TrainingConfig) -> Any:
    """A network that trains in no time."""
    layers = keras().layers
    return keras().Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, activation="relu"),
            layers.Flatten(),
            layers.Dropout(config.dropout),
            layers.Dense(n_classes, activation="softmax"),
        ]
    )


REFERENCE = TrainingConfig(network="slash_cnn", backbone="none", momentum=0.7, epochs=4, batch_size=8)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A tiny network under the name of the real one, and a cache of its own."""
    network = Network(
        name="slash_cnn", image_size=8, build=tiny, reference=REFERENCE, version=1, source="made for this test"
    )
    monkeypatch.setattr(type(fitting.NETWORKS), "get", _getter(type(fitting.NETWORKS).get, network))
    monkeypatch.setenv("TL_TOOLKIT_CACHE", str(tmp_path / "cache"))


def _getter(real: Any, network: Network) -> Any:
    return lambda self, name: network if (self.kind, name) == ("network", "slash_cnn") else real(self, name)


def options(pictures: Path, out: Path, **given: Any) -> pipeline.TrainOptions:
    return pipeline.TrainOptions(**{"dataset": str(pictures), "network": "slash_cnn", "out": out, "folds": 3, **given})


def test_a_training_leaves_a_scored_model_and_its_report(pictures: Path, tmp_path: Path, small: None) -> None:
    outcome = pipeline.train(options(pictures, tmp_path))
    folder, run = outcome.folder, outcome.run
    jsonschema.validate(run_of(folder), SCHEMA)
    predictions = rows_of(folder / "predictions.csv")
    splits = json.loads((folder / "splits.json").read_text())
    held_out = {path for path, fold in zip(splits["paths"], splits["outer"], strict=True) if fold == 0}
    assert {row["path"] for row in predictions} == held_out
    kept = load_prints(folder)
    assert kept
    assert {path for path, trained in zip(kept.paths, kept.trained, strict=True) if not trained} == held_out
    assert run["training"]["n_scored"] == len(held_out)
    right = sum(row["label"] == row["predicted"] for row in predictions)
    assert run["evaluation"]["metrics"]["accuracy"]["value"] == pytest.approx(right / len(held_out))
    # The exported model is the one that was scored: it says the same of a held-out photo.
    model = keras().saving.load_model(folder / "model" / run["model"]["path"])
    photo = np.asarray(Image.open(pictures / predictions[0]["path"]).convert("RGB"))
    said = dict(zip(run["dataset"]["class_names"], np.asarray(model(photo[None])["probabilities"])[0], strict=True))
    for name, probability in said.items():
        assert probability == pytest.approx(float(predictions[0][f"p_{name}"]), abs=1e-3)
    # It is the one that is shown where it looked at what it mistook.
    looked = explainer_of(model)
    mistakes = [i for i, row in enumerate(predictions) if row["label"] != row["predicted"]]
    assert looked
    assert mistakes
    for index in mistakes:
        photo = np.asarray(Image.open(pictures / predictions[index]["path"]).convert("RGB"))
        seen = looked.explain(photo, run["dataset"]["class_names"].index(predictions[index]["predicted"]))
        assert picture_file(folder, index, "cam").read_bytes() == thumbnail(seen)
    curves = json.loads((folder / "trainings" / "fold-0" / "curves.json").read_text())
    assert len(curves["loss"]) == len(curves["val_loss"]) == 4
    assert list((folder / "tensorboard" / "fold-0").glob("events*"))
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "were held out and scored" in page
    assert "Training and over-fitting" in page
    assert "nested cross-validation" not in page


@pytest.mark.usefixtures("measured_here")
def test_cross_validation_scores_every_photo_and_trains_the_model_on_all(
    pictures: Path, tmp_path: Path, small: None
) -> None:
    outcome = pipeline.train(options(pictures, tmp_path, cross_validate=True))
    predictions = rows_of(outcome.folder / "predictions.csv")
    assert len(predictions) == 30
    mistakes = {i for i, row in enumerate(predictions) if row["label"] != row["predicted"]}
    assert {i for i in range(30) if picture_file(outcome.folder, i, "cam").exists()} == mistakes
    names = [training["name"] for training in outcome.run["training"]["trainings"]]
    assert names == ["fold-0", "fold-1", "fold-2", "final"]


@pytest.mark.usefixtures("measured_here")
def test_an_interrupted_training_goes_on_to_the_same_end(
    pictures: Path, tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = pipeline.train(options(pictures, tmp_path / "whole", cross_validate=True))
    real, calls = fitting.Trainer.train, []

    def interrupted(self: Any, *arguments: Any, **named: Any) -> Any:
        calls.append(named)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(fitting.Trainer, "train", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pipeline.train(options(pictures, tmp_path / "part", cross_validate=True))
    [folder] = (tmp_path / "part" / "pictures").iterdir()
    with pytest.raises(UserError, match="other seed"):
        pipeline.train(options(pictures, tmp_path, cross_validate=True, resume=folder, seed=1))
    resumed = pipeline.train(options(pictures, tmp_path, cross_validate=True, resume=folder))
    assert resumed.folder == folder
    assert (folder / "predictions.csv").read_text() == (whole.folder / "predictions.csv").read_text()
    with pytest.raises(UserError, match="finished run"):
        pipeline.train(options(pictures, tmp_path, cross_validate=True, resume=folder))


@pytest.mark.usefixtures("measured_here")
def test_a_training_that_ran_out_of_time_goes_on_where_it_was_cut(
    pictures: Path, tmp_path: Path, small: None, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = pipeline.train(options(pictures, tmp_path / "whole"))
    cut = pipeline.train(options(pictures, tmp_path / "cut", timeout=1e-3))
    [training] = cut.run["training"]["trainings"]
    assert (training["stopped"], training["epochs"]) == ("deadline", 1)
    assert f"--resume {cut.folder}" in capsys.readouterr().err
    pipeline.train(options(pictures, tmp_path, resume=cut.folder))
    assert (cut.folder / "predictions.csv").read_text() == (whole.folder / "predictions.csv").read_text()


def test_a_training_in_mixed_precision_is_exported_as_it_is_in_float32(
    pictures: Path, tmp_path: Path, small: None
) -> None:
    run = pipeline.train(options(pictures, tmp_path, precision="mixed_bfloat16")).run
    assert run["training"]["precision"] == "mixed_bfloat16"
    assert run["model"]["max_difference"] <= 1e-5


def test_a_training_that_diverges_is_an_error_that_says_what_to_do(pictures: Path, tmp_path: Path, small: None) -> None:
    with pytest.raises(UserError, match="lower --learning-rate"):
        pipeline.train(options(pictures, tmp_path, settings={"learning_rate": 1e30}))


def test_settings_are_those_of_the_network_but_for_what_was_given(pictures: Path, tmp_path: Path) -> None:
    given = options(pictures, tmp_path, settings={"optimizer": "adam", "augmentation": "none", "epochs": 3})
    config = settings_of(given, 100)
    assert (config.optimizer, config.momentum, config.views, config.epochs) == ("adam", 0.0, 1, 3)
    assert config.learning_rate == 1e-3  # that of SGD would be ten times too high
    assert (config.activity_l2, config.dropout, config.network) == (0.001, 0.3, "slash_cnn")
    tuned = settings_of(options(pictures, tmp_path, network=None, backbone="efficientnet_lite0"), 100)
    assert (tuned.network, tuned.backbone) == ("fine_tuned", "efficientnet_lite0")
    many = settings_of(options(pictures, tmp_path, network=None, backbone="efficientnet_lite0"), 50_000)
    assert (many.batch_size, many.augmentation) == (64, "flip_shift")
    with pytest.raises(UserError, match="weight_decay"):
        settings_of(options(pictures, tmp_path, settings={"optimizer": "adam", "weight_decay": 0.1}), 100)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--network", "slash_cn"], "Did you mean"),
        (["--backbone", "efficientnet_lite9"], "Did you mean"),
        (["--backbone", "efficientnet_lite0+efficientnet_lite1"], "Only one backbone"),
        (["--network", "slash_cnn", "--momentum", "1.5"], "momentum"),
        (["--network", "slash_cnn", "--augmentation", "hevy"], "Did you mean"),
        (["--network", "slash_cnn", "--resume", "nowhere"], "no interrupted training"),
    ],
)
def test_mistakes_end_with_one_line(
    words: list[str], said: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(pictures), *words, "--out", str(tmp_path), "--smoke"]) == 2
    assert said in capsys.readouterr().err


def test_what_to_resume_is_looked_for_before_the_photos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(tmp_path / "no photos"), "--network", "slash_cnn", "--resume", str(tmp_path), "--out", str(tmp_path)]
    assert main(words) == 2
    assert "no interrupted training" in capsys.readouterr().err


@pytest.mark.usefixtures("measured_here")
class TestMainJob:
    def test_the_baseline_and_the_leak_are_in_the_report(
        self,
        pictures: Path,
        quick_space: Path,
        tmp_path: Path,
        small: None,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def run() -> pipeline.Outcome:
            return pipeline.search(
                pipeline.SearchOptions(
                    dataset=str(pictures),
                    space=str(quick_space),
                    out=tmp_path,
                    smoke=True,
                    protocol="original",
                )
            )

        first, again = run(), run()
        for outcome in (first, again):
            jsonschema.validate(run_of(outcome.folder), SCHEMA)
        baseline, leaking = first.run["baseline"], first.run["leaking"]
        assert baseline["epochs"] == [1, 1, 1]
        assert (baseline["folds_reused"], again.run["baseline"]["folds_reused"]) == (0, 3)
        assert again.run["baseline"]["metrics"] == baseline["metrics"]
        assert leaking["warning"].startswith("LEAKING")
        assert not (first.folder / "unfinished").exists()
        page = (first.folder / "index.html").read_text(encoding="utf-8")
        assert "slash_cnn from scratch, 1 epoch only" in page
        assert '<strong class="leak">LEAKING</strong>' in page

    def test_a_space_of_networks_is_searched_scored_and_exported(
        self, pictures: Path, tmp_path: Path, small: None
    ) -> None:
        space = tmp_path / "scratch.yaml"
        space.write_text(
            "metric: accuracy\ntrials: 3\nscored_folds: 1\n"
            "parameters:\n  learning_rate: {low: 1e-3, high: 1e-1, log: true}\n  optimizer: {choices: [sgd, adam]}\n"
            "fixed: {network: slash_cnn, epochs: 2, batch_size: 8}\n"
            "reference: {learning_rate: 0.01, momentum: 0.7, epochs: 3}\n"
        )
        outcome = pipeline.search(
            pipeline.SearchOptions(
                dataset=str(pictures),
                space=str(space),
                out=tmp_path,
                folds=2,
                inner_folds=2,
                baseline="none",
                ensemble=2,
            )
        )
        run = outcome.run
        jsonschema.validate(run_of(outcome.folder), SCHEMA)
        assert run["search"]["best"]["network"] == "slash_cnn"
        assert len(run["search"]["members"]["final"]) == 2
        assert run["model"]["max_difference"] <= 1e-3
        assert run["baseline"] is None
        assert not (outcome.folder / "unfinished").exists()

    def test_a_quick_baseline_keeps_to_its_budget(self, pictures: Path) -> None:
        given, watch = pipeline.SearchOptions(dataset=str(pictures)), Stopwatch()
        bank = FeatureBank(cache_folder() / "features")
        prepared = pipeline.prepare(given, pipeline.find_data(given, watch), bank, watch)
        quick = baseline_settings("quick", prepared, smoke=False)
        full = baseline_settings("full", prepared, smoke=False)
        assert quick is not None
        assert full is not None
        assert quick.epochs == 10_000 // 120
        assert full.epochs == 200


def test_a_backbone_is_fine_tuned_from_its_pretrained_weights(pictures: Path, tmp_path: Path) -> None:
    config = settings_of(options(pictures, tmp_path, network=None, backbone="efficientnet_lite0@32"), 100)
    model, side = fine_tuning.build(config, 3)
    assert side == 32
    backbone = backbones.REGISTRY.get("efficientnet_lite0").build(32)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.float32)
    inside = keras().Model(model.input, model.get_layer("features").output)
    np.testing.assert_allclose(inside(pixels), backbone(pixels), atol=1e-5)
    # All of it trains, unless layers are frozen.
    frozen = {weight.path.rpartition("/")[2] for weight in model.non_trainable_weights}
    assert frozen == {"moving_mean", "moving_variance"}
    assert len(model.trainable_weights) > 100
    half, _ = fine_tuning.build(replace(config, frozen_layers=0.5), 3)
    assert 0.4 < len(half.trainable_weights) / len(model.trainable_weights) < 0.6
    assert half.trainable_weights[-1].path.endswith("head/bias")
    # So do the statistics of batch normalisation.
    means = [weight for weight in half.non_trainable_weights if weight.path.endswith("moving_mean")]
    before = [weight.numpy() for weight in means]
    half(pixels, training=True)
    moved = [bool((weight.numpy() != old).any()) for weight, old in zip(means, before, strict=True)]
    still = moved.index(True)
    assert 0.3 * len(moved) < still < 0.7 * len(moved)
    assert all(moved[still:])
    none, _ = fine_tuning.build(replace(config, frozen_layers=1.0), 3)
    assert [weight.path for weight in none.trainable_weights] == ["head/kernel", "head/bias"]
