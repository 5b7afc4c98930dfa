"""What is found out about a result: calibration, curves, learning curve, Grad-CAM."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tl_toolkit.backbones import REGISTRY as BACKBONES
from tl_toolkit.core.records import Evaluation, FeatureTable, Splits
from tl_toolkit.core.runtime import keras, tensorflow
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.evaluation.calibration import calibrate
from tl_toolkit.evaluation.curves import epochs_to_look, training_curves
from tl_toolkit.evaluation.explanations import grad_cam, overlay
from tl_toolkit.evaluation.learning_curve import FRACTIONS, learning_curve, subset
from tl_toolkit.evaluation.metrics import evaluate
from tl_toolkit.exporters.classifiers import classifier_of_heads
from tl_toolkit.heads.batched import HeadTask, train_heads
from tl_toolkit.heads.fitting import course, fit


def evaluation(labels: np.ndarray, probabilities: np.ndarray) -> Evaluation:
    k = probabilities.shape[1]
    names = [f"class {c}" for c in range(k)]
    each = np.arange(len(labels))
    return evaluate("test", labels, probabilities, each, each % 2, names, resamples=20)


class TestCalibration:
    def test_the_error_is_the_weighted_distance_over_bins(self) -> None:
        # Ten photos at 0.75, of which six are right, and ten at 0.95, all right: (0.15 + 0.05) / 2.
        sure = np.repeat([0.75, 0.95], 10)
        right = np.array([1] * 6 + [0] * 4 + [1] * 10)
        probabilities = np.stack([sure, 1 - sure], 1)
        found = calibrate(evaluation(1 - right, probabilities), np.arange(20), resamples=50)
        assert found.expected_error.value == pytest.approx(0.1, abs=1e-6)
        assert [(one.n, one.accuracy.value) for one in found.bins] == [(10, 0.6), (10, 1.0)]
        assert found.mean_confidence == pytest.approx(0.85)
        assert all(one.accuracy.low <= one.accuracy.value <= one.accuracy.high for one in found.bins)

    def test_refusing_the_unsure_first(self) -> None:
        sure = np.linspace(0.51, 0.99, 20)
        right = sure > 0.75
        found = calibrate(evaluation((~right).astype(int), np.stack([sure, 1 - sure], 1)), np.arange(20), resamples=5)
        assert found.coverage[0].coverage == 1
        assert found.coverage[0].accuracy == right.mean()
        assert found.coverage[-1].coverage == 0.5
        assert found.coverage[-1].accuracy == 1
        thresholds = [point.threshold for point in found.coverage]
        assert thresholds == sorted(thresholds)

    @given(st.integers(0, 10_000))
    def test_probabilities_that_are_meant_have_a_small_error(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        probabilities = random.dirichlet(np.ones(3), 4000)
        labels = (random.random((4000, 1)) > probabilities.cumsum(1)).sum(1).clip(0, 2)
        found = calibrate(evaluation(labels, probabilities.astype(np.float32)), np.arange(4000), resamples=5)
        assert found.expected_error.value < 0.06


@pytest.fixture(scope="module")
def table() -> FeatureTable:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 40)
    features = random.normal(size=(120, 1, 30)).astype(np.float32) + np.eye(3, 30)[labels][:, None] * 2
    return FeatureTable(features=features.astype(np.float32), labels=labels)


class TestCurves:
    @pytest.mark.parametrize("schedule", ["constant", "cosine"])
    def test_a_head_that_stops_is_the_head_on_its_way(self, table: FeatureTable, schedule: str) -> None:
        config = TrainingConfig(epochs=8, momentum=0.7, batch_size=32, schedule=schedule, dropout=0.2)
        rows = np.arange(120) % 4 > 0
        tasks = [HeadTask(config=config, rows=rows, stop=stop) for stop in (3, 8)]
        stopped = train_heads(table, 3, [*tasks, HeadTask(config=config, rows=rows)], seed=1)
        np.testing.assert_array_equal(stopped.kernels[1], stopped.kernels[2])
        assert np.abs(stopped.kernels[0] - stopped.kernels[1]).max() > 1e-3
        if schedule == "constant":
            short = TrainingConfig(epochs=3, momentum=0.7, batch_size=32, dropout=0.2)
            alone = train_heads(table, 3, [HeadTask(config=short, rows=rows)], seed=1)
            np.testing.assert_allclose(stopped.kernels[0], alone.kernels[0], atol=1e-6)

    def test_curves_are_of_the_photos_that_they_name(self, table: FeatureTable) -> None:
        config = TrainingConfig(epochs=6, batch_size=32)
        train = [np.arange(120) % 3 != fold for fold in range(3)]
        epochs = epochs_to_look(6)
        assert epochs[0] == 1
        assert epochs[-1] == 6
        found = training_curves(
            table.labels,
            train,
            [~rows for rows in train],
            epochs,
            course(config, train, epochs, lambda _: table, 3, seed=0),
        )
        assert found.train_loss.shape == (3, len(epochs))
        assert np.isfinite(found.validation_loss).all()
        assert (found.train_loss[:, -1] < found.train_loss[:, 0]).all()
        assert (found.train_loss[:, -1] < found.validation_loss[:, -1]).all()


class TestLearningCurve:
    @given(seed=st.integers(0, 1000), fraction=st.sampled_from(FRACTIONS))
    def test_a_subset_keeps_classes_and_groups_whole_and_is_nested(self, seed: int, fraction: float) -> None:
        labels = np.repeat([0, 1, 2], [30, 12, 4])
        groups = np.repeat(np.arange(23), 2)
        rows = np.arange(46) % 5 > 0
        part = subset(rows, labels, groups, fraction, seed)
        assert not (part & ~rows).any()
        assert set(labels[part]) == {0, 1, 2}
        for group in np.unique(groups[rows]):
            inside = part[rows & (groups == group)]
            assert inside.all() or not inside.any()
        assert not (part & ~subset(rows, labels, groups, 1.0, seed)).any()
        np.testing.assert_array_equal(subset(rows, labels, groups, 1.0, seed), rows)

    def test_more_photos_are_better_and_the_outlook_goes_on(self, table: FeatureTable) -> None:
        outer = np.arange(120) % 3
        splits = Splits(outer=outer, inner=np.zeros((4, 120), np.int64), seed=0)
        found = learning_curve(
            lambda jobs, seed: fit(jobs, lambda _: table, 3, seed=seed),
            [TrainingConfig(epochs=10, batch_size=32)] * 3,
            table.labels,
            np.arange(120),
            splits,
            3,
            seed=0,
            resamples=30,
        )
        assert found.accuracy.shape == (len(FRACTIONS), 3)
        assert found.accuracy[-1].mean() > found.accuracy[0].mean()
        assert found.n_train[-1] == 80
        for _, figure in found.outlook:
            assert found.accuracy[-1].mean() - 0.1 < figure.value <= 1
            assert figure.low <= figure.value <= figure.high


def test_grad_cam_is_what_gradients_through_the_exported_model_give(tmp_path) -> None:  # type: ignore[no-untyped-def]
    tf, k = tensorflow(), keras()
    random = np.random.default_rng(0)
    backbones = [(BACKBONES.get("efficientnet_lite0"), 64), (BACKBONES.get("efficientnet_lite1"), 96)]
    kernels = random.normal(size=(2, 2560, 3)).astype(np.float32) / 50
    biases = np.zeros((2, 3), np.float32)
    photo = random.integers(0, 256, (80, 100, 3), dtype=np.uint8)
    maps, features = [], []
    for backbone, side in backbones:
        pixels = tf.image.resize(photo[None], (side, side))
        maps.append(np.asarray(backbone.build(side, pooled=False)(pixels))[0])
        features.append(maps[-1].mean((0, 1)))
    logits = np.concatenate(features) @ kernels + biases
    expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    branches = [(backbone.connect, side) for backbone, side in backbones]
    classifier_of_heads(branches, kernels, biases, ("a", "b", "c")).save(tmp_path / "model.keras")
    model = k.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(model(photo[None])["probabilities"], expected.mean(0, keepdims=True), atol=1e-3)
    inside = k.Model(
        model.input, [*(model.get_layer(f"maps_{i}").output for i in (0, 1)), model.get_layer("heads").output]
    )
    with tf.GradientTape() as tape:
        first, second, scores = inside(photo[None])
        tape.watch([first, second])
        # A second pass from the maps on, as the first one was not yet watched.
        pooled = tf.concat([tf.reduce_mean(first, (1, 2)), tf.reduce_mean(second, (1, 2))], 1)
        again = model.get_layer("heads")(pooled)
        score = tf.reduce_mean(tf.reshape(again, (2, 3))[:, 1])
    np.testing.assert_allclose(again, scores, atol=1e-4)
    gradients = tape.gradient(score, [first, second])
    total = np.zeros((80, 100), np.float32)
    for activation, gradient in zip((first, second), gradients, strict=True):
        places = gradient.shape[1] * gradient.shape[2]
        # Grad-CAM's weights are mean gradients; undone by the number of places, twice, they are per area.
        weights = tf.reduce_mean(gradient, (1, 2), keepdims=True) * places
        total += tf.image.resize(tf.reduce_sum(activation * weights, -1, keepdims=True), (80, 100))[0, :, :, 0].numpy()
    total = np.maximum(total, 0)
    ours = grad_cam(maps, kernels.mean(0)[:, 1], (80, 100))
    np.testing.assert_allclose(ours, total / total.max(), atol=2e-3)


def test_nothing_that_speaks_for_a_class_is_an_empty_map() -> None:
    assert not grad_cam([-np.ones((2, 2, 3), np.float32)], np.ones(3, np.float32), (8, 8)).any()


def test_an_overlay_is_bright_where_the_map_is() -> None:
    heat = np.zeros((10, 20), np.float32)
    heat[:, 10:] = 1
    laid = overlay(np.full((10, 20, 3), 128, np.uint8), heat)
    assert laid.dtype == np.uint8
    assert laid[:, 10:].mean() > laid[:, :10].mean() + 50
