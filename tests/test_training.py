"""End-to-end training: it does what Keras does, exactly reproducibly, and survives what happens to long runs."""

from __future__ import annotations

import gc
import json
import math
import signal
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tl_toolkit.core.runtime import keras, tensorflow
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.evaluation.nested import Job
from tl_toolkit.training.checkpoints import Predictions, Scratch
from tl_toolkit.training.compiling import optimizer_of, sample_weights, targets
from tl_toolkit.training.courses import Course, Trained
from tl_toolkit.training.fitting import Trainer, epochs
from tl_toolkit.training.inputs import ViewPixels, batches
from tl_toolkit.training.monitoring import Curves, overfits
from tl_toolkit.training.precision import Precision, dtype_policy
from tl_toolkit.training.programs import Program, new_model
from tl_toolkit.training.schedules import out_of_patience, rate

N, K, SIDE = 30, 3, 8
RNG = np.random.default_rng(0)
LABELS = np.repeat(np.arange(K), [15, 10, 5])
# Three views of each photo; classes differ in colour, so that there is something to learn.
PIXELS = RNG.integers(0, 200, (N, 3, SIDE, SIDE, 3), dtype=np.uint8)
PIXELS[np.arange(N), :, :, :, LABELS] += 55
ROWS = np.arange(N) % 5 != 0
CONFIG = TrainingConfig(
    network="tiny",
    backbone="none",
    augmentation="light",
    strength=1.0,
    views=3,
    learning_rate=0.05,
    momentum=0.7,
    dropout=0.2,
    epochs=4,
    batch_size=7,
)


def build(config: TrainingConfig, n_classes: int) -> tuple[Any, int]:
    k = keras()
    layers = k.layers
    penalty = k.regularizers.L2(config.activity_l2) if config.activity_l2 else None
    stack = [
        layers.Input((SIDE, SIDE, 3)),
        layers.Rescaling(1 / 255),
        layers.Conv2D(4, 3, activation="relu"),
        layers.BatchNormalization(momentum=config.bn_momentum),
        layers.GlobalAveragePooling2D(),
        layers.Dropout(config.dropout),
        layers.Dense(5, activation="relu", activity_regularizer=penalty),
        layers.Dense(n_classes),
        layers.Softmax(dtype="float32"),
    ]
    return k.Sequential(stack), SIDE


def photos(config: TrainingConfig) -> Any:
    """At strength 0.5, another order of the augmented views; for the policy heavy, inverted ones."""

    def pixels(image: int, view: int) -> np.ndarray:
        seen = PIXELS[image, view if config.strength == 1 else -view % 3]
        return 255 - seen if config.augmentation == "heavy" and view else seen

    return pixels


def trainer(seed: int = 0, precision: Precision = "float32", **options: Any) -> Trainer:
    """In one precision on all machines: by itself, a trainer takes bfloat16 where the CPU multiplies it."""
    options |= {"seed": seed, "precision": precision, "fingerprint": lambda _: "tiny"}
    return Trainer(build, ViewPixels(photos, N), LABELS, K, **options)


@pytest.fixture(scope="module")
def shared() -> Trainer:
    """One trainer for tests whose results must not depend on what it trained before."""
    return trainer()


def assert_same(one: Trained, other: Trained) -> None:
    """Bit for bit, but for the clock."""
    assert one.stopped == other.stopped
    assert replace(one.curves, seconds=()) == replace(other.curves, seconds=())
    for a, b in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)


# What is trained on.


def test_an_epoch_passes_each_training_photo_once_and_a_round_of_epochs_each_view() -> None:
    rounds: list[list[int]] = [[], []]
    clean = 0
    for epoch in range(2 * (CONFIG.views - 1)):
        parts = list(batches(ROWS, CONFIG, seed=3, epoch=epoch))
        images, views = (np.concatenate(part) for part in zip(*parts, strict=True))
        assert sorted(images) == list(np.flatnonzero(ROWS))
        assert [len(part) for part, _ in parts] == [7, 7, 7, 3]
        [augmented] = set(views) - {0}
        rounds[epoch // (CONFIG.views - 1)].append(int(augmented))
        clean += int((views == 0).sum())
    assert [sorted(one) for one in rounds] == [[1, 2]] * 2
    assert 0.15 < clean / (4 * ROWS.sum()) < 0.5  # a third, of few
    [(_, views), *_] = batches(ROWS, replace(CONFIG, augmentation="none", strength=0.0, views=1), seed=3, epoch=1)
    assert not views.any()


def test_batches_depend_on_seed_and_epoch_alone_and_agree_on_common_photos() -> None:
    def order(rows: np.ndarray, seed: int, epoch: int) -> list[tuple[int, int]]:
        parts = batches(rows, CONFIG, seed=seed, epoch=epoch)
        return [(int(i), int(v)) for images, views in parts for i, v in zip(images, views, strict=True)]

    first = order(ROWS, 3, 2)
    assert first == order(ROWS, 3, 2)
    assert first != order(ROWS, 3, 1)
    assert first != order(ROWS, 4, 2)
    fewer = ROWS & (np.arange(N) != 7)
    assert order(fewer, 3, 2) == [pair for pair in first if pair[0] != 7]


# It does what Keras does.


@pytest.mark.parametrize(
    "changes",
    [
        {"momentum": 0.7, "schedule": "cosine"},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "activity_l2": 0.01},
        {"optimizer": "adam", "learning_rate": 0.01, "class_weight": "balanced", "momentum": 0.0},
        {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1, "label_smoothing": 0.2, "momentum": 0.0},
        {"learning_rate": 0.5, "momentum": 0.9, "schedule": "plateau", "patience": 8, "epochs": 30},
    ],
    ids=["sgd cosine", "nesterov penalties", "adam balanced", "adamw smoothed", "plateau and early stopping"],
)
def test_training_equals_keras_own_fit_on_the_same_batches(changes: dict[str, Any], shared: Trainer) -> None:
    k = keras()
    config = replace(CONFIG, dropout=0.0, **changes)
    ours = shared.train(config, ROWS)

    model, _ = new_model(build, config, K, seed=0, policy="float32")
    optimizer = optimizer_of(config)
    callbacks = []
    if config.schedule == "cosine":
        optimizer.learning_rate = k.optimizers.schedules.CosineDecay(config.learning_rate, 4 * config.epochs)
    if config.schedule == "plateau":
        callbacks.append(k.callbacks.ReduceLROnPlateau("loss", factor=0.2, patience=5))
    if config.patience:
        callbacks.append(k.callbacks.EarlyStopping("loss", patience=config.patience, restore_best_weights=True))
    model.compile(
        optimizer, loss=k.losses.CategoricalCrossentropy(label_smoothing=config.label_smoothing), metrics=["accuracy"]
    )
    counts = np.bincount(LABELS[ROWS])
    weights = ROWS.sum() / (K * counts) if config.class_weight == "balanced" else np.ones(K)

    def endless() -> Any:
        for epoch in range(config.epochs):
            for images, views in batches(ROWS, config, seed=0, epoch=epoch):
                yield PIXELS[images, views].astype(np.float32), np.eye(K)[LABELS[images]], weights[LABELS[images]]

    history = model.fit(endless(), steps_per_epoch=4, epochs=config.epochs, callbacks=callbacks, verbose=0).history
    np.testing.assert_allclose(ours.curves.loss, history["loss"], rtol=1e-4)
    np.testing.assert_allclose(ours.curves.accuracy, history["accuracy"], rtol=1e-5)
    for mine, theirs in zip(ours.weights, model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


def test_schedules_count_as_keras_callbacks_do() -> None:
    losses = [3.0, 2.0, 2.5, 1.99995, 2.1, 2.2, 2.3, 1.0, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 0.5]
    config = replace(CONFIG, schedule="plateau", patience=6, learning_rate=1.0, epochs=99)
    k = keras()
    model, _ = new_model(build, config, K, seed=0, policy="float32")
    model.compile(optimizer_of(config), loss="categorical_crossentropy")
    reduce = k.callbacks.ReduceLROnPlateau("loss", factor=0.2, patience=5)
    stop = k.callbacks.EarlyStopping("loss", patience=6)
    for callback in (reduce, stop):
        callback.set_model(model)
        callback.on_train_begin()
    for epoch, loss in enumerate(losses):
        for callback in (reduce, stop):
            callback.on_epoch_end(epoch, {"loss": loss})
        so_far = losses[: epoch + 1]
        assert rate(config, so_far, 0, 4) == pytest.approx(float(model.optimizer.learning_rate), rel=1e-5)
        assert out_of_patience(config, so_far) == bool(model.stop_training)
        if model.stop_training:
            break
    assert epoch == 13
    assert rate(config, losses[:13], 0, 4) == pytest.approx(0.2**2, rel=1e-9)


def test_one_cycle_goes_up_for_a_fifth_of_the_steps_and_down_to_nothing() -> None:
    config = replace(CONFIG, schedule="one_cycle", learning_rate=3.0, epochs=5)
    rates = [rate(config, [1.0] * epoch, step, 10) for epoch in range(5) for step in range(10)]
    assert max(rates) == pytest.approx(3.0, rel=0.05)
    assert sum(rates) == pytest.approx(50 * 3.0 / 2, rel=0.01)
    slopes = np.diff(rates)
    np.testing.assert_allclose(slopes[:9], 3.0 / 10, rtol=1e-6)
    np.testing.assert_allclose(slopes[10:], -3.0 / 40, rtol=1e-6)
    assert 0 < rates[-1] < 0.05
    assert 0 < rates[0] < 0.2


def test_biases_learn_at_their_own_rate() -> None:
    moved = []
    for factor in (1.0, 8.0):
        config = replace(CONFIG, momentum=0.0, dropout=0.0, bias_rate=factor)
        program = Program(build, config, K, seed=0, policy="float32")
        before = [weight.numpy() for weight in program.model.trainable_weights]
        program.step(PIXELS[:, 0], np.eye(K, dtype=np.float32)[LABELS], np.ones(N, np.float32), 0.05)
        moved.append([w.numpy() - b for w, b in zip(program.model.trainable_weights, before, strict=True)])
    for plain, faster in zip(*moved, strict=True):
        np.testing.assert_allclose(faster, plain * (8 if plain.ndim == 1 else 1), rtol=1e-3, atol=1e-7)


def test_lookahead_moves_weights_to_their_average_and_a_killed_training_keeps_it(tmp_path: Path) -> None:
    config = replace(CONFIG, lookahead=True)
    program = Program(build, config, K, seed=0, policy="float32")
    program.start()
    begun = program.weights()
    program.load([weight + 1 for weight in begun])
    program.look_ahead(0.5)
    kept = 0.95**5 / 8
    for before, after in zip(begun, program.weights(), strict=True):
        np.testing.assert_allclose(after, before + 1 - kept, rtol=1e-5)
    # The average has moved, too: nothing pulls weights that are where it is.
    program.look_ahead(1.0)
    for before, after in zip(begun, program.weights(), strict=True):
        np.testing.assert_allclose(after, before + 1 - kept, rtol=1e-5)

    whole = trainer().train(config, ROWS)
    first = trainer().train(config, ROWS, folder=tmp_path, deadline=0.0)
    assert first.stopped == "deadline"
    assert_same(whole, trainer().train(config, ROWS, folder=tmp_path))


def test_mirror_images_have_their_say_in_the_trained_network_and_in_the_exported_one(shared: Trainer) -> None:
    config = replace(CONFIG, test_time_views=2)
    trained = shared.train(config, ROWS)
    said = shared.probabilities(trained, ~ROWS)
    model, side = shared.model(trained)
    pixels = PIXELS[~ROWS, 0].astype(np.float32)
    np.testing.assert_allclose(shared.exact((model, side), config, ~ROWS), said, atol=1e-6)
    np.testing.assert_allclose(model(pixels[:, :, ::-1]), said, atol=1e-6)
    single, _ = new_model(build, config, K, seed=0, policy="float32")
    single.set_weights(list(trained.weights))
    np.testing.assert_allclose((single(pixels) + single(pixels[:, :, ::-1])) / 2, said, atol=1e-6)


def test_shifted_photos_have_half_the_say_of_others(shared: Trainer) -> None:
    config = replace(CONFIG, test_time_views=6)
    trained = shared.train(config, ROWS)
    said = shared.probabilities(trained, ~ROWS)
    np.testing.assert_allclose(shared.exact(shared.model(trained), config, ~ROWS), said, atol=1e-6)
    single, _ = new_model(build, config, K, seed=0, policy="float32")
    single.set_weights(list(trained.weights))
    bordered = np.pad(PIXELS[~ROWS, 0].astype(np.float32), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    expected = np.zeros_like(said)
    for at, weight in ((1, 0.25), (0, 0.125), (2, 0.125)):
        seen = bordered[:, at : at + SIDE, at : at + SIDE]
        expected += weight * (single(seen).numpy() + single(seen[:, :, ::-1]).numpy())
    np.testing.assert_allclose(said, expected, atol=1e-6)


def test_a_network_is_given_its_first_weights_from_its_training_rows(tmp_path: Path) -> None:
    given: list[np.ndarray] = []

    def begin(model: Any, config: TrainingConfig, rows: np.ndarray) -> None:
        given.append(rows)
        model.layers[-2].set_weights([np.full((5, K), rows.sum(), np.float32), np.zeros(K, np.float32)])

    own = trainer(begin=begin)
    stopped = own.train(CONFIG, ROWS, folder=tmp_path, deadline=0.0)
    own.train(CONFIG, ROWS, folder=tmp_path)  # goes on: nothing is given anew
    [rows] = given
    assert (rows == ROWS).all()
    assert np.abs(stopped.weights[-2] - ROWS.sum()).max() < 5
    assert np.abs(trainer().train(replace(CONFIG, epochs=1), ROWS).weights[-2]).max() < 5


# Every hyperparameter is applied.

OTHER: dict[str, dict[str, Any]] = {
    "augmentation": {"augmentation": "heavy"},
    "strength": {"strength": 0.5},
    "views": {"views": 2},
    "optimizer": {"optimizer": "adam", "momentum": 0.0},
    "learning_rate": {"learning_rate": 0.04},
    "momentum": {"momentum": 0.6},
    "nesterov": {"nesterov": True},
    "weight_decay": {"weight_decay": 0.1},
    "schedule": {"schedule": "cosine"},
    "label_smoothing": {"label_smoothing": 0.1},
    "dropout": {"dropout": 0.4},
    "activity_l2": {"activity_l2": 0.1},
    "bn_momentum": {"bn_momentum": 0.9},
    "bias_rate": {"bias_rate": 4.0},
    "lookahead": {"lookahead": True},
    "test_time_views": {"test_time_views": 2},
    "class_weight": {"class_weight": "balanced"},
    "epochs": {"epochs": 3},
    "patience": {"patience": 1, "learning_rate": 0.5, "momentum": 0.3, "epochs": 8},
    "batch_size": {"batch_size": 8},
}


def test_every_field_is_covered() -> None:
    """But those that are for ``build`` alone."""
    assert set(OTHER) | {"network", "backbone", "frozen_layers"} == {field.name for field in fields(TrainingConfig)}


@pytest.fixture(scope="module")
def plain(shared: Trainer) -> np.ndarray:
    """What a network trained with the unchanged settings says."""
    return shared.probabilities(shared.train(CONFIG, ROWS), ~ROWS)


@pytest.mark.parametrize("field", OTHER)
def test_every_field_changes_something(field: str, shared: Trainer, plain: np.ndarray) -> None:
    other = replace(CONFIG, **OTHER[field])
    base = shared.probabilities(shared.train(replace(other, patience=0), ROWS), ~ROWS) if other.patience else plain
    changed = shared.probabilities(shared.train(other, ROWS), ~ROWS)
    assert np.abs(base - changed).max() > 1e-6


def test_balanced_weights_are_n_over_k_times_the_count_in_the_training_rows() -> None:
    weights = sample_weights(LABELS, ROWS, K, replace(CONFIG, class_weight="balanced"))
    np.testing.assert_allclose(weights[[0, 15, 25]], 24 / (3 * np.array([12, 8, 4])), rtol=1e-6)
    assert targets(LABELS, K, replace(CONFIG, label_smoothing=0.3))[0] == pytest.approx([0.8, 0.1, 0.1])


# Reproducible.


def test_the_same_seed_gives_the_same_result_whatever_was_trained_before(shared: Trainer) -> None:
    shared.train(replace(CONFIG, momentum=0.1), ROWS)
    first = shared.train(CONFIG, ROWS)
    shared.train(CONFIG, ~ROWS)
    assert_same(first, shared.train(CONFIG, ROWS))
    assert_same(first, trainer().train(CONFIG, ROWS))
    other = trainer(seed=1).train(CONFIG, ROWS)
    assert all(np.abs(a - b).max() > 0 for a, b in zip(first.weights[:1], other.weights[:1], strict=True))


def test_watched_photos_select_nothing(shared: Trainer) -> None:
    config = replace(CONFIG, patience=2, schedule="plateau")
    blind, watching = shared.train(config, ROWS), shared.train(config, ROWS, watched=~ROWS)
    assert len(watching.curves.val_loss) == len(watching.curves) == len(blind.curves)
    assert_same(blind, replace(watching, curves=replace(watching.curves, val_loss=(), val_accuracy=())))


def test_watched_curves_are_the_loss_and_accuracy_of_the_watched_photos(shared: Trainer) -> None:
    trained = shared.train(CONFIG, ROWS, watched=~ROWS)
    said, truth = shared.probabilities(trained, ~ROWS), LABELS[~ROWS]
    assert trained.curves.val_loss[-1] == pytest.approx(-np.log(said[np.arange(len(truth)), truth]).mean(), rel=1e-5)
    assert trained.curves.val_accuracy[-1] == pytest.approx((said.argmax(1) == truth).mean())


# Kill, look, go on.

KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.test_training import LONG, ROWS, trainer

def advance(done):
    print(done, flush=True)
    time.sleep(0.05)

trainer().train(LONG, ROWS, watched=~ROWS, folder=Path(sys.argv[1]), every=0.0, advance=advance)
"""
LONG = replace(CONFIG, epochs=20, schedule="plateau", patience=15, optimizer="adam", momentum=0.0, learning_rate=0.01)


def test_a_training_that_was_killed_goes_on_and_ends_where_it_would_have(tmp_path: Path, shared: Trainer) -> None:
    here = str(Path(__file__).resolve().parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), here],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    for _ in range(9):  # none done at the start, then one after each epoch
        assert process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    before = json.loads((tmp_path / "curves.json").read_text())
    assert 7 <= len(before["loss"]) < 20

    done: list[int] = []
    resumed = shared.train(LONG, ROWS, watched=~ROWS, folder=tmp_path, advance=done.append)
    assert done[0] >= 6  # taken up, not begun again
    assert sum(done) == 20
    assert_same(resumed, shared.train(LONG, ROWS, watched=~ROWS))
    assert list(resumed.curves.loss) == json.loads((tmp_path / "curves.json").read_text())["loss"]


def test_a_finished_training_is_not_trained_again(tmp_path: Path, shared: Trainer) -> None:
    first = shared.train(CONFIG, ROWS, folder=tmp_path)
    again = shared.train(CONFIG, ROWS, folder=tmp_path)
    assert again.curves.seconds == first.curves.seconds
    assert_same(again, first)


def test_what_was_predicted_with_last_is_not_trained_again(shared: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, one = shared.train(CONFIG, ROWS), trainer()
    [(_, said)] = one.fit([Job(config=CONFIG, train=ROWS, test=~ROWS)])
    epochs: list[int] = []
    real = Course.epoch

    def counted(course: Course) -> bool:
        epochs.append(1)
        return real(course)

    monkeypatch.setattr(Course, "epoch", counted)
    again = one.train(CONFIG, ROWS)
    assert not epochs
    assert_same(again, whole)
    np.testing.assert_array_equal(one.probabilities(again, ~ROWS), said)
    # Others are.
    assert one.train(CONFIG, ~ROWS).curves.loss != whole.curves.loss
    assert one.train(replace(CONFIG, epochs=1), ROWS).curves.loss != whole.curves.loss
    assert len(epochs) == CONFIG.epochs + 1


@pytest.mark.parametrize("what", ["settings", "rows", "data", "changed byte", "cut", "empty"])
def test_a_checkpoint_that_is_foreign_or_damaged_is_not_used(
    what: str, tmp_path: Path, shared: Trainer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("tl_toolkit.training.checkpoints.warn", said.append)
    path = tmp_path / "checkpoint.npz"
    config, rows = replace(CONFIG, learning_rate=0.02), ROWS
    shared.train(CONFIG, ROWS, folder=tmp_path)
    if what == "settings":
        pass
    elif what == "rows":
        config, rows = CONFIG, ~ROWS
    elif what == "data":
        config = CONFIG
        monkeypatch.setattr(shared, "_fingerprint", lambda _: "other photos")
    else:
        config = CONFIG
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes({"changed byte": content, "cut": content[: len(content) // 2], "empty": b""}[what])
    trained = shared.train(config, rows, folder=tmp_path)
    assert len(said) == 1
    assert ("damaged" in said[0]) == (what in ("changed byte", "cut", "empty"))
    assert_same(trained, shared.train(config, rows))


def jobs(until: int | None, **changes: Any) -> list[Job]:
    tests = [np.arange(N) % 5 == fold for fold in (0, 1)]
    return [Job(config=replace(CONFIG, epochs=9, **changes), train=~test, test=test, until=until) for test in tests]


@pytest.mark.parametrize("patience", [0, 2])
def test_looking_on_the_way_changes_nothing_whether_it_goes_on_or_starts_again(
    patience: int, tmp_path: Path, shared: Trainer
) -> None:
    changes = {"patience": patience, "learning_rate": 1.0} if patience else {}
    remembering = trainer(scratch=Scratch(tmp_path))
    looks: list[dict[int, np.ndarray]] = []
    for until in (2, 5, None):
        done: list[int] = []
        looks.append(dict(remembering.fit(jobs(until, **changes), advance=done.append)))
        assert sum(done) == epochs(jobs(until, **changes)) == 2 * (until or 9)
        # What an earlier look did, the next one does not do again.
        assert patience or done[0] == {2: 0, 5: 2, None: 5}[until]
        fresh = dict(shared.fit(jobs(until, **changes)))
        for position in (0, 1):
            np.testing.assert_array_equal(looks[-1][position], fresh[position])
    assert patience or np.abs(looks[0][0] - looks[1][0]).max() > 0
    assert not list(tmp_path.glob("*.npz"))


@pytest.mark.parametrize(
    ("asked", "yielded", "epochs_done", "kept"),
    [(0, 0, 0, 0), (1, 0, 0, 1), (2, 0, 0, 0), (5, 0, 1, 1), (7, 0, 1, 0), (13, 1, 3, 1), (17, 1, 3, 1), (26, 2, 6, 2)],
)
def test_a_training_stops_when_time_is_up_and_going_on_changes_nothing(
    asked: int, yielded: int, epochs_done: int, kept: int, tmp_path: Path, shared: Trainer
) -> None:
    own = trainer(scratch=Scratch(tmp_path))
    said, done = iter([False] * asked), []
    cut = dict(own.fit(jobs(3), advance=done.append, expired=lambda: next(said, True)))
    # It is asked before each training and each of the four steps of an epoch. Within an epoch nothing is kept.
    assert list(cut) == [0, 1][:yielded]
    assert sum(done) == epochs_done
    assert len(list(tmp_path.glob("*.npz"))) == kept
    for until in (3, None):
        done.clear()
        on, fresh = dict(own.fit(jobs(until), advance=done.append)), dict(shared.fit(jobs(until)))
        assert sum(done) == epochs(jobs(until))
        for position in (0, 1):
            np.testing.assert_array_equal(on[position], fresh[position])


def test_a_training_that_time_cut_in_its_middle_is_taken_up_there(
    tmp_path: Path, shared: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = trainer(scratch=Scratch(tmp_path))
    done: list[int] = []
    assert list(own.fit(jobs(None)[:1], advance=done.append, expired=lambda: sum(done) >= 5)) == []
    assert sum(done) == 5
    done.clear()
    [(_, said)] = own.fit(jobs(None)[:1], advance=done.append)
    assert (done[0], sum(done)) == (5, 9)
    [(_, fresh)] = shared.fit(jobs(None)[:1])
    np.testing.assert_array_equal(said, fresh)
    assert not list(tmp_path.glob("*.npz"))


def test_what_does_not_fit_into_the_scratch_folder_is_trained_again(tmp_path: Path, shared: Trainer) -> None:
    small = trainer(scratch=Scratch(tmp_path, most_bytes=1))
    list(small.fit(jobs(2)))
    assert not list(tmp_path.glob("*.npz"))
    for (_, one), (_, two) in zip(small.fit(jobs(5)), shared.fit(jobs(5)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_predictions_that_are_kept_are_not_made_again_and_damaged_ones_are(
    tmp_path: Path, shared: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr("tl_toolkit.training.checkpoints.warn", said.append)
    first = dict(trainer(kept=Predictions(tmp_path / "kept")).fit(jobs(2)))
    again = trainer(kept=Predictions(tmp_path / "kept"))
    monkeypatch.setattr(again, "_look", None)  # training would call it
    done: list[int] = []
    for position, probabilities in again.fit(jobs(2), advance=done.append):
        np.testing.assert_array_equal(probabilities, first[position])
    assert sum(done) == epochs(jobs(2))
    with pytest.raises(TypeError):
        list(again.fit(jobs(3)))
    for path in (tmp_path / "kept").iterdir():
        path.write_bytes(path.read_bytes()[:90])
    mended = dict(trainer(kept=Predictions(tmp_path / "kept")).fit(jobs(2)))
    np.testing.assert_array_equal(mended[0], first[0])
    assert len(said) == 2
    assert all("damaged" in one for one in said)


def test_jobs_come_with_their_own_test_photos_in_any_mixture(shared: Trainer) -> None:
    mixed = [job for momentum in (0.7, 0.1, 0.7) for job in jobs(2, momentum=momentum)]
    together = dict(shared.fit(mixed))
    assert sorted(together) == list(range(6))
    for position, job in enumerate(mixed):
        assert together[position].shape == (job.test.sum(), K)
        assert together[position].dtype == np.float32
        np.testing.assert_allclose(together[position].sum(1), 1, atol=1e-5)
    np.testing.assert_array_equal(together[0], together[4])
    assert np.abs(together[0] - together[2]).max() > 0


# How a training may end.


def test_a_diverged_training_stops_at_once_and_says_nan(shared: Trainer, plain: np.ndarray, tmp_path: Path) -> None:
    wild = replace(CONFIG, learning_rate=1e30, epochs=50)
    done: list[int] = []
    trained = shared.train(wild, ROWS, folder=tmp_path, advance=done.append)
    assert trained.stopped == "diverged"
    assert len(trained.curves) < 3
    assert all(math.isfinite(loss) for loss in trained.curves.loss)
    assert sum(done) == 50
    assert np.isnan(shared.probabilities(trained, ~ROWS)).all()
    [(_, said)] = shared.fit([Job(config=wild, train=ROWS, test=~ROWS)])
    assert np.isnan(said).all()
    # What the wreck leaves in the program does not reach the next training.
    np.testing.assert_array_equal(shared.probabilities(shared.train(CONFIG, ROWS), ~ROWS), plain)


def test_a_deadline_ends_training_after_the_epoch_under_way_and_more_time_goes_on(
    shared: Trainer, tmp_path: Path
) -> None:
    done: list[int] = []
    cut = shared.train(CONFIG, ROWS, folder=tmp_path, deadline=-math.inf, advance=done.append)
    assert (cut.stopped, len(cut.curves), sum(done)) == ("deadline", 1, CONFIG.epochs)
    assert np.isfinite(shared.probabilities(cut, ~ROWS)).all()
    assert_same(shared.train(CONFIG, ROWS, folder=tmp_path), shared.train(CONFIG, ROWS))


def test_early_stopping_keeps_the_weights_of_the_lowest_training_loss(shared: Trainer) -> None:
    config = replace(CONFIG, learning_rate=1.0, momentum=0.3, epochs=30, patience=3)
    trained = shared.train(config, ROWS)
    losses = trained.curves.loss
    assert trained.stopped == "patience"
    assert trained.kept_epoch == len(losses) - 3 == int(np.argmin(losses)) + 1
    until = shared.train(replace(config, patience=0, epochs=trained.kept_epoch), ROWS)
    for kept, last in zip(trained.weights, until.weights, strict=True):
        np.testing.assert_array_equal(kept, last)


def test_training_needs_rows(shared: Trainer) -> None:
    with pytest.raises(ValueError, match="at least one training row"):
        shared.train(CONFIG, np.zeros(N, bool))


# What comes of it.


def test_a_trained_network_is_a_model_of_its_own(shared: Trainer) -> None:
    trained = shared.train(CONFIG, ROWS)
    model, side = shared.model(trained)
    shared.train(replace(CONFIG, learning_rate=0.5), ROWS)
    assert side == SIDE
    said = np.asarray(model(PIXELS[~ROWS, 0].astype(np.float32), training=False))
    np.testing.assert_allclose(said, shared.probabilities(trained, ~ROWS), atol=1e-6)


def test_curves_and_tensorboard_logs_say_the_same(shared: Trainer, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained = shared.train(CONFIG, ROWS, watched=~ROWS, folder=tmp_path, logs=tmp_path / "logs")
    saved = json.loads((tmp_path / "curves.json").read_text())
    assert saved == trained.curves.plain()
    events = EventAccumulator(str(tmp_path / "logs")).Reload()
    assert sorted(events.Tags()["tensors"]) == sorted(saved)
    for name, values in saved.items():
        read = [float(tensorflow().make_ndarray(event.tensor_proto)) for event in events.Tensors(name)]
        assert read == pytest.approx(values, rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "watched", "warns"),
    [
        ([6, 5, 4, 3, 2, 1], [1, 1.2, 1.2, 1.2, 1.2, 1.2], True),
        ([6, 5, 4, 3, 2, 1], [1, 1.2, 1.2, 1.05, 1.2, 1.2], False),  # it came back
        ([1, 2, 3, 4, 5, 6], [1, 1.2, 1.2, 1.2, 1.2, 1.2], False),  # nothing learnt either
        ([5, 4, 3, 2, 1], [1, 1.2, 1.2, 1.2, 1.2], False),  # too early to say
        ([6, 5, 4, 3, 2, 1], [], False),  # nobody watched
    ],
)
def test_over_fitting_is_a_watched_loss_that_rises_while_the_training_loss_falls(
    loss: list[float], watched: list[float], warns: bool
) -> None:
    assert overfits(Curves(loss=tuple(loss), val_loss=tuple(watched))) == warns


def test_over_fitting_is_said_once_and_while_training(shared: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[str, int]] = []
    done: list[int] = []
    monkeypatch.setattr("tl_toolkit.training.fitting.warn", lambda text: said.append((text, sum(done))))
    wrong = LABELS.copy()
    wrong[~ROWS] = (LABELS[~ROWS] + 1) % K  # so the better it learns, the worse it does on the watched photos
    liar = Trainer(build, ViewPixels(photos, N), wrong, K, seed=0, fingerprint=lambda _: "liar")
    liar.train(replace(CONFIG, dropout=0.0, epochs=25, momentum=0.9), ROWS, watched=~ROWS, advance=done.append)
    [(text, after)] = said
    assert f"after {after} epochs" in text
    assert after < 25


# Precision, and memory.


def test_mixed_precision_is_for_machines_that_multiply_it(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    for flags, policy in [
        ("avx2 avx512f", "float32"),
        ("avx512f avx512_bf16", "mixed_bfloat16"),
        ("amx_tile amx_bf16", "mixed_bfloat16"),
    ]:
        info.write_text(f"processor : 0\nflags : fpu {flags} sse\n")
        assert dtype_policy("auto", "slash_cnn", info) == policy
        assert dtype_policy("auto", "fine_tuned", info) == "float32"
        assert dtype_policy("float32", "slash_cnn", info) == "float32"
    assert dtype_policy("auto", "slash_cnn", tmp_path / "none") == "float32"
    assert dtype_policy("mixed_bfloat16", "fine_tuned", tmp_path / "none") == "mixed_bfloat16"


def test_mixed_precision_trains_float32_weights_to_nearly_the_same_probabilities(shared: Trainer) -> None:
    config = replace(CONFIG, dropout=0.0)
    mixed = trainer(precision="mixed_bfloat16")
    trained = mixed.train(config, ROWS)
    # What is scored is what an exported file, which is in float32, says.
    exact = mixed.exact(mixed.model(trained), config, ~ROWS)
    np.testing.assert_allclose(mixed.probabilities(trained, ~ROWS), exact, atol=1e-6)
    assert keras().config.dtype_policy().name == "float32"
    assert {weight.dtype for weight in trained.weights} == {np.dtype(np.float32)}
    said = mixed.probabilities(trained, ~ROWS)
    assert said.dtype == np.float32
    exact = shared.probabilities(shared.train(config, ROWS), ~ROWS)
    assert 0 < np.abs(said - exact).max() < 0.05


def test_programs_leave_nothing_behind() -> None:
    """TensorFlow would keep the graph, and with it all weights, of every network that a search ever tried."""

    def graphs() -> int:
        gc.collect()
        return sum(type(thing).__name__ == "FuncGraph" for thing in gc.get_objects())

    def use() -> None:
        program = Program(build, CONFIG, K, seed=0, policy="float32")
        program.step(PIXELS[:2, 0], np.eye(K, dtype=np.float32)[:2], np.ones(2, np.float32), 0.1)
        program.probabilities(PIXELS[:2, 0])

    use()
    before = graphs()
    use()
    assert graphs() == before


def test_building_leaves_pythons_generator_as_it_was() -> None:
    import random

    random.seed(5)
    expected = random.random()
    random.seed(5)
    one, _ = new_model(build, CONFIG, K, seed=0, policy="float32")
    assert random.random() == expected
    two, _ = new_model(build, CONFIG, K, seed=0, policy="float32")
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
