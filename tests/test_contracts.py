"""What every entry of every registry owes; a new entry is tested as soon as it is registered."""

from __future__ import annotations

import importlib
import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tl_toolkit import augmentation, backbones, datasets, engines, exporters, networks
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.runtime import tensorflow
from tl_toolkit.core.searches import Proposal, SearchResult
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.engines.configuring import config_from
from tl_toolkit.engines.spaces import load_space

Expired = Callable[[], bool]

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


CONDITIONAL = """
metric: accuracy
trials: 5
parameters:
  optimizer: {choices: [sgd, adam]}
  learning_rate: {low: 1e-3, high: 1.0, log: true}
  momentum: {low: 0.0, high: 0.9, step: 0.3, when: {optimizer: [sgd]}}
  nesterov: {choices: [false, true], when: {optimizer: [sgd]}}
  schedule: {choices: [constant, cosine]}
  dropout: {choices: [0.2, 0.4], when: {schedule: [cosine], nesterov: [true]}}
  batch_size: {low: 16, high: 64, log: true}
fixed: {epochs: 27}
reference: {learning_rate: 0.01, momentum: 0.3, epochs: 27}
"""
"""Parameters with one condition, with two, and with one whose own field has a condition."""


def smooth(config: TrainingConfig) -> float:
    """At most 1, at a learning rate of 0.1; as of a training that diverged above 0.7."""
    return float("nan") if config.learning_rate > 0.7 else 1 - abs(np.log10(config.learning_rate) + 1) / 4


class Search:
    """One search by an engine, and everything that it asked for on the way."""

    def __init__(self, name: str, folder: Path, batch: int = 3, text: str = CONDITIONAL) -> None:
        folder.mkdir()
        (folder / "space.yaml").write_text(text)
        self.space = load_space(folder / "space.yaml")
        self.engine, self.batch, self.storage = engines.REGISTRY.get(name), batch, folder / "study.log"
        self.values: list[Mapping[str, Any]] = []
        self.asked: list[list[Proposal]] = []

    def configure(self, values: Mapping[str, Any]) -> TrainingConfig:
        self.values.append(values)
        return config_from(self.space, values)

    def objective(
        self, proposals: Sequence[Proposal], expired: Expired
    ) -> Iterator[tuple[int, float, tuple[float, ...]]]:
        self.asked.append(list(proposals))
        for i, proposal in enumerate(proposals):
            score = smooth(proposal.config)
            yield i, score, (score, score)

    def run(self, studies: Sequence[str] = ("final",), **changes: Any) -> SearchResult:
        how = {"objective": self.objective, "deadline": float("inf"), "seed": 0, "advance": lambda _: None, **changes}
        objective = how.pop("objective")
        found = self.engine(
            self.space, studies, objective, self.configure, batch=self.batch, storage=self.storage, **how
        )
        assert isinstance(found, SearchResult)
        return found


@pytest.mark.parametrize("name", engines.REGISTRY.names())
def test_an_engine_searches_as_asked(name: str, tmp_path: Path) -> None:
    search = Search(name, tmp_path / "a")
    told: list[int] = []
    found = search.run(("outer-0", "final"), advance=told.append)
    assert (found.stopped, found.metric, len(found.trials), sum(told)) == ("finished", "accuracy", 10, 10)
    for study in ("outer-0", "final"):
        own = [trial for trial in found.trials if trial.study == study]
        assert [trial.number for trial in own] == list(range(5))
        assert own[0].config == search.space.reference
        assert own[0].score is not None
        winner = found.winner(study)
        assert winner.score is not None
        assert winner.score == max(t.score for t in own if t.state == "complete" and t.score is not None)
        assert winner.score > own[0].score
    assert {(trial.study, trial.config) for trial in found.trials} == {
        (proposal.study, proposal.config) for batch in search.asked for proposal in batch
    }
    first, second = ([t.config for t in found.trials if t.study == study][1:] for study in ("outer-0", "final"))
    assert not set(first) & set(second)
    again = Search(name, tmp_path / "b").run(("outer-0",))
    assert [(t.config, t.score) for t in again.trials] == [(t.config, t.score) for t in found.trials[:5]]


@pytest.mark.parametrize("name", engines.REGISTRY.names())
def test_an_engine_proposes_values_of_the_space_and_only_those_that_exist(name: str, tmp_path: Path) -> None:
    search = Search(name, tmp_path / "a", batch=30, text=CONDITIONAL.replace("trials: 5", "trials: 30"))
    search.run(enqueue_reference=False)
    assert len(search.values) == 30
    for values in search.values:
        exist = [parameter for parameter in search.space.parameters if parameter.applies(values)]
        assert values.keys() == {parameter.name for parameter in exist}
        for parameter in exist:
            value = values[parameter.name]
            if parameter.low is None or parameter.high is None:
                assert [value] == [choice for choice in parameter.choices if choice == value]
                assert type(value) is type(parameter.choices[0])
            else:
                assert type(value).__name__ == parameter.kind
                assert parameter.low <= value <= parameter.high
    momenta = {round(values["momentum"], 9) for values in search.values if "momentum" in values}
    assert momenta == {0.0, 0.3, 0.6, 0.9}
    for field, least in (("nesterov", 2), ("schedule", 2), ("dropout", 1)):
        assert len({values[field] for values in search.values if field in values}) >= least


@pytest.mark.parametrize("name", engines.REGISTRY.names())
def test_a_blind_search_is_not_told_the_reference(name: str, tmp_path: Path) -> None:
    search = Search(name, tmp_path / "a", batch=6)
    found = search.run(enqueue_reference=False)
    assert [trial.number for trial in found.trials] == list(range(5))
    assert search.space.reference not in {trial.config for trial in found.trials}
    assert len(search.asked[0]) == 5  # the first trial has no batch of its own


@pytest.mark.parametrize("name", engines.REGISTRY.names())
def test_diverged_trials_are_failed_and_many_in_a_row_end_nothing(name: str, tmp_path: Path) -> None:
    search = Search(name, tmp_path / "a", batch=5)

    def diverging(proposals: Sequence[Proposal], expired: Expired) -> Iterator[tuple[int, float, tuple[float, ...]]]:
        for i, proposal in enumerate(proposals):
            score = 0.5 if proposal.config == search.space.reference else float("nan")
            yield i, score, (score, 0.5)

    found = search.run(objective=diverging)
    assert [trial.state for trial in found.trials] == ["complete"] + ["failed"] * 4
    for trial in found.trials[1:]:
        assert (trial.score, trial.fold_scores) == (None, ())
        assert trial.error == "training diverged: probabilities are not finite"
    with pytest.raises(UserError, match="Every trial of the search final diverged: lower the learning rates"):
        Search(name, tmp_path / "b", batch=6).run(objective=diverging, enqueue_reference=False)


@pytest.mark.parametrize("name", engines.REGISTRY.names())
def test_what_an_objective_raises_is_raised(name: str, tmp_path: Path) -> None:
    def broken(proposals: Sequence[Proposal], expired: Expired) -> Iterator[tuple[int, float, tuple[float, ...]]]:
        yield 0, 0.5, (0.5,)
        raise ZeroDivisionError("a defect")

    with pytest.raises(ZeroDivisionError, match="a defect"):
        Search(name, tmp_path / "a").run(objective=broken)


@pytest.mark.parametrize("name", engines.REGISTRY.names())
@pytest.mark.parametrize("end", ["interrupted", "timeout"])
def test_a_search_cut_off_keeps_what_was_told(name: str, end: str, tmp_path: Path) -> None:
    search = Search(name, tmp_path / "a", batch=5)
    now = time.monotonic()

    def cut(proposals: Sequence[Proposal], expired: Expired) -> Iterator[tuple[int, float, tuple[float, ...]]]:
        for i, score, fold_scores in search.objective(proposals, expired):
            if len(proposals) > 1 and i == 2:
                if end == "interrupted":
                    raise KeyboardInterrupt
                monkeypatch.setattr(time, "monotonic", lambda: now + 100)
            yield i, score, fold_scores

    with pytest.MonkeyPatch.context() as monkeypatch:
        found = search.run(objective=cut, deadline=now + 50)
    assert found.stopped == end
    asked = [proposal.config for proposal in search.asked[1]]
    kept = [search.space.reference, *asked[: 2 if end == "interrupted" else 3]]
    assert [trial.config for trial in found.trials] == kept


@pytest.mark.parametrize("name", engines.REGISTRY.names())
def test_ctrl_c_before_there_is_anything_to_show_ends_the_search(name: str, tmp_path: Path) -> None:
    def cut(proposals: Sequence[Proposal], expired: Expired) -> Iterator[tuple[int, float, tuple[float, ...]]]:
        yield 0, 0.5, (0.5,)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Search(name, tmp_path / "a").run(("outer-0", "final"), objective=cut)


@pytest.mark.parametrize("name", engines.REGISTRY.names())
def test_pruning_spends_fewer_epochs_and_spares_the_reference(name: str, tmp_path: Path) -> None:
    text = CONDITIONAL.replace("trials: 5", "trials: 10\npruning: {first: 3}")
    search = Search(name, tmp_path / "a", batch=9, text=text)
    found = search.run()
    assert (found.stopped, [trial.number for trial in found.trials]) == ("finished", list(range(10)))
    of_reference = [p for batch in search.asked for p in batch if p.config == search.space.reference]
    assert [proposal.until for proposal in of_reference] == [None]
    states = {state: [t for t in found.trials if t.state == state] for state in ("complete", "pruned", "failed")}
    assert found.trials[0] in states["complete"]
    assert len(states["complete"]) > 1
    assert len(states["pruned"]) > 3
    assert all(trial.trained_epochs == 27 for trial in states["complete"])
    assert all(trial.trained_epochs in (3, 9) and trial.score is not None for trial in states["pruned"])
    looked = [{p.until or 27 for batch in search.asked for p in batch if p.config == t.config} for t in found.trials]
    assert [max(epochs) for epochs in looked] == [trial.trained_epochs for trial in found.trials]
    assert sum(max(epochs) for epochs in looked) < 0.8 * 27 * len(found.trials)
    assert found.winner("final").state == "complete"
