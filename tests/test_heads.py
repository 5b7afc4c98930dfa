"""Heads trained as one program are the heads that Keras would train one by one."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from conftest import OF_NETWORKS

from tl_toolkit.core.records import FeatureTable
from tl_toolkit.core.runtime import keras
from tl_toolkit.core.settings import TrainingConfig, class_weights
from tl_toolkit.heads.batched import Heads, HeadTask, batches, standardisation, train_heads, train_in_turn

N, VIEWS, D, K, BATCH, SEED = 90, 3, 20, 4, 16, 3
PER_EPOCH = -(-N // BATCH)


def table_of(seed: int) -> FeatureTable:
    """Features as after ReLU: not negative, many zero; one never varies. Classes of unequal size, and learnable."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(K, N, p=(0.4, 0.3, 0.2, 0.1))
    features = rng.normal(0, 0.5, (N, VIEWS, D)) + rng.normal(0, 0.3, (K, D))[labels][:, None]
    features = np.maximum(features, 0).astype(np.float32)
    features[:, :, 7] = 0.25
    return FeatureTable(features=features, labels=labels)


TABLE = table_of(0)


def config(**values: Any) -> TrainingConfig:
    common = {"augmentation": "heavy", "strength": 0.5, "views": VIEWS, "batch_size": BATCH, "learning_rate": 0.05}
    return TrainingConfig(**{**common, **values})


CONFIGS = {
    "sgd": config(epochs=4),
    "sgd_momentum_cosine": config(momentum=0.7, epochs=5, schedule="cosine"),
    "nesterov_smoothed": config(momentum=0.9, nesterov=True, epochs=4, label_smoothing=0.1),
    "sgd_decay_balanced": config(weight_decay=0.2, epochs=6, class_weight="balanced"),
    "everything_of_sgd": config(
        momentum=0.8,
        nesterov=True,
        weight_decay=0.1,
        schedule="cosine",
        label_smoothing=0.2,
        class_weight="balanced",
        epochs=3,
    ),
    "adam": config(optimizer="adam", learning_rate=0.01, epochs=6),
    "adam_cosine_balanced": config(
        optimizer="adam", learning_rate=0.02, epochs=2, schedule="cosine", class_weight="balanced"
    ),
    "adamw_cosine": config(optimizer="adamw", learning_rate=0.01, epochs=6, schedule="cosine", weight_decay=0.3),
    "adamw_smoothed": config(
        optimizer="adamw", learning_rate=0.01, epochs=3, weight_decay=0.5, label_smoothing=0.2, class_weight="balanced"
    ),
    "few_rows": config(momentum=0.9, epochs=5, schedule="cosine", class_weight="balanced"),
}


def rows_of(name: str) -> np.ndarray:
    """Training rows, bool (n,), different for each configuration; eight of them for ``few_rows``."""
    rng = np.random.default_rng(list(CONFIGS).index(name))
    if name == "few_rows":  # some batches hold none of them, and one class is missing
        return np.isin(np.arange(N), rng.choice(np.flatnonzero(TABLE.labels < K - 1), 8, replace=False))
    return rng.random(N) < 0.7


@pytest.fixture(scope="module")
def together() -> Heads:
    """All of CONFIGS, trained in one call."""
    return train_heads(TABLE, K, [HeadTask(config=c, rows=rows_of(name)) for name, c in CONFIGS.items()], seed=SEED)


def keras_head(c: TrainingConfig, rows: np.ndarray) -> Any:
    """The Keras model from standardised features to logits, trained step by step on the very same rows."""
    k = keras()
    rate: Any = c.learning_rate
    if c.schedule == "cosine":
        rate = k.optimizers.schedules.CosineDecay(c.learning_rate, c.epochs * PER_EPOCH)
    decay = c.weight_decay or None
    optimizer = {
        "sgd": lambda: k.optimizers.SGD(rate, momentum=c.momentum, nesterov=c.nesterov, weight_decay=decay),
        "adam": lambda: k.optimizers.Adam(rate),
        "adamw": lambda: k.optimizers.AdamW(rate, weight_decay=decay),
    }[c.optimizer]()
    model = k.Sequential([k.Input((D,)), k.layers.Dense(K, kernel_initializer="zeros")])
    loss = k.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=c.label_smoothing)
    # Eagerly: batches have as many rows as it happens, and each number of them would be compiled by itself.
    model.compile(optimizer, loss, run_eagerly=True)
    mean, inverse = standardisation(TABLE.features, rows)
    weights = class_weights(TABLE.labels[rows], K, c.class_weight)
    for images, chosen in zip(*batches(N, c.views, BATCH, c.epochs, SEED), strict=True):
        own = (images >= 0) & rows[images]
        if own.any():
            i, view = images[own], chosen[own]
            y = TABLE.labels[i]
            model.train_on_batch((TABLE.features[i, view] - mean) * inverse, np.eye(K)[y], sample_weight=weights[y])
    return model


@pytest.mark.parametrize("name", CONFIGS)
def test_a_head_among_many_equals_keras(name: str, together: Heads) -> None:
    index = list(CONFIGS).index(name)
    rows = rows_of(name)
    mean, inverse = standardisation(TABLE.features, rows)
    clean = TABLE.features[:, 0]
    logits = keras_head(CONFIGS[name], rows)((clean - mean) * inverse)
    expected = np.asarray(keras().ops.softmax(logits))
    probabilities = together.probabilities(clean)[index]
    assert np.abs(expected - 1 / K).max() > 0.02  # it has learnt something: the comparison is not of two zeros
    np.testing.assert_allclose(probabilities, expected, rtol=0, atol=1e-5)


BASE = config(momentum=0.5, nesterov=False, weight_decay=0.1, epochs=4)
CHANGES: dict[str, Any] = {
    "views": 2,
    "optimizer": "adamw",
    "learning_rate": 0.04,
    "momentum": 0.4,
    "nesterov": True,
    "weight_decay": 0.2,
    "schedule": "cosine",
    "label_smoothing": 0.1,
    "dropout": 0.3,
    "class_weight": "balanced",
    "epochs": 5,
    "batch_size": 15,
}
NOT_OF_HEADS = {"backbone": "efficientnet_lite1", "augmentation": "light", "strength": 0.7}


def variants() -> list[HeadTask]:
    """The base configuration (without momentum for the optimizer), then each change of one field."""
    rows = rows_of("sgd")
    changed = [
        dataclasses.replace(BASE, **{name: value})
        for name, value in {**CHANGES, **NOT_OF_HEADS}.items()
        if name != "optimizer"
    ]
    plain = dataclasses.replace(BASE, momentum=0.0)
    optimizers = [plain, dataclasses.replace(plain, optimizer=CHANGES["optimizer"])]
    return [HeadTask(config=c, rows=rows) for c in (BASE, *changed, *optimizers)]


@pytest.fixture(scope="module")
def varied() -> Heads:
    return train_heads(TABLE, K, variants(), seed=SEED)


def test_every_field_is_known_to_these_tests() -> None:
    fields = {field.name for field in dataclasses.fields(TrainingConfig)}
    assert fields == CHANGES.keys() | NOT_OF_HEADS.keys() | OF_NETWORKS


@pytest.mark.parametrize("name", CHANGES)
def test_changing_a_field_changes_the_head(name: str, varied: Heads) -> None:
    names = [n for n in {**CHANGES, **NOT_OF_HEADS} if n != "optimizer"]
    one, other = (-2, -1) if name == "optimizer" else (0, 1 + names.index(name))
    assert np.abs(varied.kernels[one] - varied.kernels[other]).max() > 1e-4


@pytest.mark.parametrize("name", NOT_OF_HEADS)
def test_fields_of_the_features_are_taken_as_given(name: str, varied: Heads) -> None:
    names = [n for n in {**CHANGES, **NOT_OF_HEADS} if n != "optimizer"]
    np.testing.assert_array_equal(varied.kernels[0], varied.kernels[1 + names.index(name)])


def test_heads_come_in_the_order_of_their_tasks(varied: Heads) -> None:
    # The variants make up several programs; each head must find its place again.
    done: list[float] = []
    tasks = variants()[::-1]
    reverse = train_heads(TABLE, K, tasks, seed=SEED, advance=done.append)
    np.testing.assert_allclose(reverse.kernels[::-1], varied.kernels, rtol=0, atol=1e-6)
    np.testing.assert_allclose(reverse.biases[::-1], varied.biases, rtol=0, atol=1e-6)
    assert sum(done) == pytest.approx(len(tasks))


@pytest.mark.parametrize("steps", [1, 7])
def test_heads_are_the_same_however_many_steps_a_call_takes(
    steps: int, varied: Heads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tl_toolkit.heads.batched._STEPS", steps)
    parted = train_heads(TABLE, K, variants(), seed=SEED)
    np.testing.assert_allclose(parted.kernels, varied.kernels, rtol=0, atol=1e-6)
    np.testing.assert_allclose(parted.biases, varied.biases, rtol=0, atol=1e-6)


def test_when_time_is_up_the_program_under_way_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tl_toolkit.heads.batched._STEPS", 1)
    asked: list[int] = []

    def yielded(most: int) -> list[list[int]]:
        asked.clear()
        found = train_in_turn(TABLE, K, variants(), seed=SEED, expired=lambda: asked.append(1) or len(asked) > most)
        return [members for members, _ in found]

    every = yielded(10**6)
    whole = len(asked)
    assert sorted(itertools.chain.from_iterable(every)) == list(range(len(variants())))
    assert whole > 100
    assert yielded(whole) == every
    assert len(yielded(whole - 1)) == len(every) - 1
    assert len(asked) == whole
    assert yielded(20) == []
    assert len(asked) == 21


def test_the_same_seed_gives_the_same_bits(varied: Heads) -> None:
    again = train_heads(TABLE, K, variants(), seed=SEED)
    np.testing.assert_array_equal(again.kernels, varied.kernels)
    np.testing.assert_array_equal(again.biases, varied.biases)


def test_another_seed_gives_another_head(varied: Heads) -> None:
    other = train_heads(TABLE, K, variants(), seed=SEED + 1)
    assert (np.abs(other.kernels - varied.kernels).max((1, 2)) > 1e-4).all()


def test_other_rows_do_not_change_a_head_in_any_bit() -> None:
    rows = rows_of("sgd")
    # As many heads on all rows keep company: what others train on must not matter either.
    tasks = [HeadTask(config=c, rows=rows) for c in CONFIGS.values()]
    tasks += [HeadTask(config=c, rows=np.ones(N, bool)) for c in CONFIGS.values()]
    rng = np.random.default_rng(5)
    features, labels = TABLE.features.copy(), TABLE.labels.copy()
    features[~rows] = rng.normal(0, 30, features[~rows].shape)
    labels[~rows] = rng.integers(0, K, labels[~rows].shape)
    before = train_heads(TABLE, K, tasks, seed=SEED)
    after = train_heads(FeatureTable(features=features, labels=labels), K, tasks, seed=SEED)
    own = slice(len(CONFIGS))
    np.testing.assert_array_equal(before.kernels[own], after.kernels[own])
    np.testing.assert_array_equal(before.biases[own], after.biases[own])
    assert (np.abs(before.kernels - after.kernels).max((1, 2)) > 1e-4)[len(CONFIGS) :].all()


def test_a_head_ends_with_its_epochs_whoever_keeps_it_company() -> None:
    # Some of its batches are empty, which must not be made up for while a longer head is still at work.
    task = HeadTask(config=CONFIGS["few_rows"], rows=rows_of("few_rows"))
    longer = HeadTask(config=dataclasses.replace(task.config, epochs=9), rows=np.ones(N, bool))
    alone, accompanied = (train_heads(TABLE, K, tasks, seed=SEED) for tasks in ([task], [task, longer]))
    np.testing.assert_allclose(accompanied.kernels[0], alone.kernels[0], rtol=0, atol=1e-5)


def test_later_views_than_asked_for_do_not_matter(varied: Heads) -> None:
    features = TABLE.features.copy()
    features[:, 2] = 1e3
    task = next(task for task in variants() if task.config.views == 2)
    garbled = FeatureTable(features=features, labels=TABLE.labels)
    one, other = (train_heads(table, K, [task], seed=SEED) for table in (TABLE, garbled))
    np.testing.assert_array_equal(one.kernels, other.kernels)


def test_dropout_keeps_the_mean_of_the_first_step_and_has_its_variance() -> None:
    # From zero weights, one step of SGD over all photos is linear in the dropped features. So over many seeds its mean
    # is the step without dropout, and its variance that of the sum over photos of (g x)^2 rate / (1 - rate).
    seeds, rate = 100, 0.5
    one_step = config(views=1, epochs=1, batch_size=N, learning_rate=1.0)
    rows = np.ones(N, bool)
    plain = train_heads(TABLE, K, [HeadTask(config=one_step, rows=rows)], seed=0).kernels[0]
    task = HeadTask(config=dataclasses.replace(one_step, dropout=rate), rows=rows)
    dropped = np.stack([train_heads(TABLE, K, [task], seed=seed).kernels[0] for seed in range(seeds)])

    gradient = (np.full((N, K), 1 / K) - np.eye(K)[TABLE.labels]) / N
    _, inverse = standardisation(TABLE.features, rows)
    variance = (TABLE.features[:, 0] ** 2).T @ gradient**2 * inverse[:, None] ** 4 * rate / (1 - rate)
    varies = inverse > 0
    z = (dropped.mean(0) - plain)[varies] / np.sqrt(variance[varies] / seeds)
    assert np.abs(z).max() < 4.5
    assert 0.8 < np.sqrt(np.mean(z**2)) < 1.25
    ratio = dropped.var(0)[varies] / variance[varies]
    assert 0.9 < ratio.mean() < 1.1


@pytest.mark.parametrize("what", ["views", "rows"])
def test_impossible_tasks_are_refused(what: str) -> None:
    task = HeadTask(
        config=config(views=VIEWS + 1) if what == "views" else config(), rows=np.full(N, what == "views", bool)
    )
    with pytest.raises(ValueError, match="views <= 3 must hold, got views=4" if what == "views" else "training row"):
        train_heads(TABLE, K, [task], seed=SEED)


def test_probabilities_are_the_softmax_of_each_head() -> None:
    rng = np.random.default_rng(0)
    heads = Heads(
        kernels=rng.normal(0, 40, (3, D, K)).astype(np.float32), biases=rng.normal(size=(3, K)).astype(np.float32)
    )
    x = rng.normal(size=(11, D)).astype(np.float32)
    probabilities = heads.probabilities(x)
    assert probabilities.shape == (3, 11, K)
    assert probabilities.dtype == np.float32
    for j in range(3):
        logits = x.astype(np.float64) @ heads.kernels[j] + heads.biases[j]
        expected = np.exp(logits - logits.max(1, keepdims=True))
        np.testing.assert_allclose(probabilities[j], expected / expected.sum(1, keepdims=True), atol=1e-4)


@pytest.mark.parametrize(("n", "batch_size"), [(90, 16), (64, 16), (5, 8), (1, 1)])
def test_every_epoch_passes_each_photo_once(n: int, batch_size: int) -> None:
    images, chosen = batches(n, 3, batch_size, 4, seed=7)
    per_epoch = -(-n // batch_size)
    assert images.shape == chosen.shape == (4 * per_epoch, batch_size)
    assert images.dtype == chosen.dtype == np.int32
    for epoch in images.reshape(4, -1):
        assert sorted(epoch[:n]) == list(range(n))
        assert (epoch[n:] == -1).all()
    assert set(chosen.ravel()) <= {0, 1, 2}


def test_all_views_are_drawn_and_epochs_differ() -> None:
    images, chosen = batches(90, 3, 16, 4, seed=7)
    counts = np.bincount(chosen[images >= 0], minlength=3)
    assert (counts > 4 * 90 / 3 * 0.7).all()
    assert (images[:PER_EPOCH] != images[PER_EPOCH : 2 * PER_EPOCH]).any()
    assert (batches(90, 3, 16, 4, seed=8)[0] != images).any()


def test_longer_runs_begin_with_the_same_batches() -> None:
    short, long = batches(90, 3, 16, 2, seed=7), batches(90, 3, 16, 9, seed=7)
    for a, b in zip(short, long, strict=True):
        np.testing.assert_array_equal(a, b[: len(a)])


def test_standardisation_is_of_the_clean_view_of_the_rows() -> None:
    rows = rows_of("sgd")
    mean, inverse = standardisation(TABLE.features, rows)
    z = (TABLE.features[rows, 0] - mean) * inverse
    varies = np.arange(D) != 7
    assert mean.dtype == inverse.dtype == np.float32
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(z.std(0)[varies], 1, atol=1e-5)
    assert inverse[7] == 0


def test_balanced_weights_give_every_class_the_same_share() -> None:
    labels = np.array([0, 0, 0, 0, 2, 2])
    np.testing.assert_allclose(class_weights(labels, 3, "balanced"), [0.5, 0, 1])
    np.testing.assert_array_equal(class_weights(labels, 3, "none"), np.ones(3))
