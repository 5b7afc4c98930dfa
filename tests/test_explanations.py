"""Where exported networks look: Grad-CAM by gradients, whatever stands behind their last maps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tl_toolkit.core.runtime import keras, tensorflow
from tl_toolkit.evaluation.explanations import explainer_of, grad_cam, overlay
from tl_toolkit.exporters.classifiers import classifier_of_networks
from tl_toolkit.pipeline.explaining import explainer
from tl_toolkit.training.programs import averaged

NAMES = ("a", "b", "c")
SIDE = 12


def network(seed: int, *, softmax_inside: bool = False) -> Any:
    """Maps of 5 x 5, seen normalised and in a dense layer; batch normalisation tells training from prediction."""
    keras().utils.set_random_seed(seed)
    layers = keras().layers
    end = [layers.Dense(3, "softmax")] if softmax_inside else [layers.Dense(3), layers.Softmax()]
    model = keras().Sequential(
        [
            layers.Input((SIDE, SIDE, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(6, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.BatchNormalization(name="bn"),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(8, "tanh"),
            *end,
        ]
    )
    random = np.random.default_rng(seed)
    model.get_layer("bn").set_weights([random.uniform(0.5, 2, 6) for _ in range(4)])
    return model


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """Three and five times as large as what networks see, whose pixels are so whole grey levels, and never between."""
    return np.random.default_rng(0).integers(0, 256, (3 * SIDE, 5 * SIDE, 3), dtype=np.uint8)


def by_hand(networks: Sequence[Any], photo: np.ndarray, wanted: int) -> np.ndarray:
    """The definition, layer by layer: maps weighted by the sum over places of the gradient of the class's score."""
    tf = tensorflow()
    maps, weights = [], []
    for model in networks:
        seen = tf.round(tf.image.resize(photo[None], (SIDE, SIDE)))
        at = [layer.name for layer in model.layers].index("bn") + 2
        for layer in model.layers[:at]:
            seen = layer(seen, training=False)
        with tf.GradientTape() as tape:
            tape.watch(seen)
            scores = seen
            for layer in model.layers[at:-1]:
                scores = layer(scores, training=False)
            score = scores[0, wanted]
        maps.append(seen.numpy()[0])
        weights.append(tf.reduce_sum(tape.gradient(score, seen), (0, 1, 2)).numpy())
    return overlay(photo, grad_cam(maps, np.concatenate(weights), photo.shape[:2]))


def differs(one: np.ndarray, other: np.ndarray) -> int:
    """The largest difference of two pictures, in grey levels."""
    return int(np.abs(one.astype(int) - other).max())


@pytest.mark.parametrize(
    ("count", "saved", "asked"), [(1, "mine.keras", "mine.keras"), (2, "model.keras", "openvino/model.xml")]
)
def test_networks_from_their_file_are_seen_by_the_definition(
    count: int, saved: str, asked: str, photo: np.ndarray, tmp_path: Path
) -> None:
    networks = [network(seed) for seed in range(count)]
    classifier_of_networks([(one, SIDE) for one in networks], NAMES).save(tmp_path / saved)
    found = explainer(tmp_path / asked)
    assert found
    assert not found.one_view
    for wanted in range(3):
        assert differs(found.explain(photo, wanted), by_hand(networks, photo, wanted)) <= 2
    # Classes differ, or one map would do for all.
    assert differs(found.explain(photo, 0), found.explain(photo, 1)) > 50


def test_weights_are_finite_differences_of_the_score(photo: np.ndarray) -> None:
    """A little more of one channel everywhere changes the score by the channel's weight."""
    model = network(3)
    at = [layer.name for layer in model.layers].index("bn") + 2
    maps = tensorflow().round(tensorflow().image.resize(photo[None], (SIDE, SIDE)))
    for layer in model.layers[:at]:
        maps = layer(maps, training=False)
    maps = maps.numpy()

    def score(values: np.ndarray) -> float:
        scores: Any = values
        for layer in model.layers[at:-1]:
            scores = layer(scores, training=False)
        return float(scores[0, 1])

    step = np.eye(maps.shape[-1], dtype=np.float32) * 1e-2
    weights = np.array([(score(maps + one) - score(maps - one)) / 2e-2 for one in step], np.float32)
    found = explainer_of(classifier_of_networks([(model, SIDE)], NAMES))
    assert found
    expected = overlay(photo, grad_cam([maps[0]], weights, photo.shape[:2]))
    assert differs(found.explain(photo, 1), expected) <= 4


def test_several_views_are_explained_by_the_plain_one(photo: np.ndarray, tmp_path: Path) -> None:
    model = network(4)
    classifier_of_networks([(averaged(model, SIDE, 6), SIDE)], NAMES).save(tmp_path / "model.keras")
    found = explainer(tmp_path / "model.keras")
    assert found
    assert found.one_view
    assert differs(found.explain(photo, 2), by_hand([model], photo, 2)) <= 2


def test_scores_are_those_before_a_softmax_that_is_part_of_a_layer(photo: np.ndarray) -> None:
    plain, inside = network(5), network(5, softmax_inside=True)
    inside.set_weights(plain.get_weights())
    found = explainer_of(classifier_of_networks([(inside, SIDE)], NAMES))
    assert found
    assert differs(found.explain(photo, 0), by_hand([plain], photo, 0)) <= 2


def test_a_network_of_no_maps_is_not_explained(tmp_path: Path) -> None:
    k = keras()
    pixels = k.Input((None, None, 3))
    k.Model(pixels, k.layers.GlobalAveragePooling2D()(pixels)).save(tmp_path / "model.keras")
    assert explainer(tmp_path / "model.keras") is None
    assert explainer(tmp_path / "nowhere" / "model.tflite") is None
