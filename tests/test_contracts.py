"""What every entry of every registry owes; a new entry is tested as soon as it is registered."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest

from tl_toolkit import augmentation, backbones, datasets, engines, exporters, networks
from tl_toolkit.core.records import Proposal, SearchResult
from tl_toolkit.core.runtime import tensorflow
from tl_toolkit.engines.spaces import config_from, load_space

REGISTRIES = (
    augmentation.REGISTRY,
    backbones.REGISTRY,
    datasets.REGISTRY,
    engines.REGISTRY,
    exporters.REGISTRY,
    networks.REGISTRY,
)


@pytest.mark.parametrize(
    ("registry", "name"), [(r, name) for r in REGISTRIES for name in r.names()], ids=lambda value: str(value)[:40]
)
def test_every_entry_can_be_imported_and_its_module_says_what_it_is(registry, name: str) -> None:  # type: ignore[no-untyped-def]
    entry = registry.get(name)
    assert entry is not None
    module = importlib.import_module(registry._entries[name].partition(":")[0])
    assert inspect.getdoc(module)


@pytest.mark.parametrize("name", augmentation.REGISTRY.names())
def test_a_policy_gives_rgb_views_and_leaves_the_photo_alone(name: str) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    before = photo.copy()
    for view in range(3):
        seen = augmentation.augment(photo, policy=name, strength=1.0, seed=0, view=view, image_id="a")
        assert seen.dtype == np.uint8
        assert seen.ndim == 3
        assert seen.shape[2] == 3
    np.testing.assert_array_equal(photo, before)


@pytest.mark.parametrize("name", backbones.REGISTRY.names())
def test_a_backbone_states_its_facts_truly(name: str) -> None:
    backbone = backbones.REGISTRY.get(name)
    assert backbone.name == name
    assert backbone.weights().is_file()
    model = backbone.build(64)
    assert model.output_shape == (None, backbone.n_features)
    features = np.asarray(model(np.full((1, 64, 64, 3), 128, np.float32), training=False))
    assert np.isfinite(features).all()
    assert features.std() > 0  # weights, not zeros


@pytest.mark.parametrize("name", networks.REGISTRY.names())
def test_a_network_gives_probabilities_and_learns_in_every_weight(name: str) -> None:
    network = networks.REGISTRY.get(name)
    assert network.name == network.reference.network == name
    model = network.build(3, network.reference)
    side = network.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (4, side, side, 3)).astype(np.float32)
    tf = tensorflow()
    with tf.GradientTape() as tape:
        said = model(pixels, training=True)
        loss = tf.reduce_sum(tf.math.log(said[:, 0])) + sum(model.losses)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(gradient is not None and np.abs(gradient.numpy()).max() > 0 for gradient in gradients)
    assert said.dtype == tf.float32
    np.testing.assert_allclose(said.numpy().sum(1), 1, atol=1e-5)
    said = model(pixels, training=False).numpy()
    assert said.shape == (4, 3)
    assert np.abs(said[0] - said[1]).max() > 0
    about = inspect.getdoc(inspect.getmodule(network.build))
    assert about is not None
    assert f"{network.build(8, network.reference).count_params():,} parameters for 8 classes" in about


@pytest.mark.parametrize("name", engines.REGISTRY.names())
def test_an_engine_searches_as_asked(name: str, tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        "metric: accuracy\ntrials: 7\n"
        "parameters:\n  optimizer: {choices: [sgd, adam]}\n  learning_rate: {low: 1e-3, high: 1.0, log: true}\n"
        "  momentum: {low: 0.0, high: 0.9, when: {optimizer: [sgd]}}\n"
        "reference: {learning_rate: 0.01, momentum: 0.7}\n"
    )
    space = load_space(path)
    asked: list[Proposal] = []

    def objective(trials):  # type: ignore[no-untyped-def]
        asked.extend(trials)
        for i, proposal in enumerate(trials):
            config = proposal.config
            good = 1 - abs(config.learning_rate - 0.1)
            yield i, float("nan") if config.learning_rate > 0.7 else good, (good, good)

    def run(folder: Path) -> SearchResult:
        folder.mkdir()
        return engines.REGISTRY.get(name)(
            space,
            ("outer-0", "final"),
            objective,
            lambda values: config_from(space, values),
            batch=3,
            seed=0,
            deadline=float("inf"),
            storage=folder / "study.log",
        )

    found = run(tmp_path / "a")
    assert (found.stopped, found.metric, len(found.trials)) == ("finished", "accuracy", 14)
    for study in ("outer-0", "final"):
        own = [trial for trial in found.trials if trial.study == study]
        assert [trial.number for trial in own] == list(range(7))
        assert own[0].config == space.reference
        assert found.winner(study).score == max(trial.score for trial in own if trial.score is not None)
    assert all((trial.state == "failed") == (trial.config.learning_rate > 0.7) for trial in found.trials)
    assert all(trial.error for trial in found.trials if trial.state == "failed")
    again = run(tmp_path / "b")
    assert [(t.config, t.score) for t in again.trials] == [(t.config, t.score) for t in found.trials]
