"""A network with its optimiser and its compiled step, ready for training after training of the same shape."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tl_toolkit.core.runtime import keras, tensorflow
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.training.checkpoints import State
from tl_toolkit.training.compiling import optimizer_of
from tl_toolkit.training.monitoring import Curves

Build = Callable[[TrainingConfig, int], tuple[Any, int]]
"""(settings, k) -> (keras.Model, not compiled, side of its input): pixels float32 (m, side, side, 3) in 0..255 ->
probabilities float32 (m, k). What does not train is frozen. All settings that :func:`structure` leaves out are at their
defaults."""

Begin = Callable[[Any, TrainingConfig, np.ndarray], None]
"""(keras.Model, settings, rows bool (n,)): gives a network what it takes from its training photos before the first
step, such as filters that whiten them. A pure function of the settings and the photos in ``rows``."""

_PREDICTED = 128
LOOKAHEAD = 5
"""Steps from one pull of :meth:`Program.look_ahead` to the next."""

_KEPT = 0.95**LOOKAHEAD
"""Share of the running average that the last pull keeps."""


def structure(config: TrainingConfig) -> TrainingConfig:
    """The settings that a program is built from; trainings that share them share a program.

    Momentum and weight decay are among them because Keras makes them constants of the step.
    """
    plain = TrainingConfig()
    return replace(
        config,
        augmentation=plain.augmentation,
        strength=plain.strength,
        views=plain.views,
        learning_rate=plain.learning_rate,
        schedule=plain.schedule,
        label_smoothing=plain.label_smoothing,
        class_weight=plain.class_weight,
        epochs=plain.epochs,
        patience=plain.patience,
        batch_size=plain.batch_size,
    )


def new_model(build: Build, config: TrainingConfig, n_classes: int, *, seed: int, policy: str) -> tuple[Any, int]:
    """A network with its initial weights, and the side of its input.

    Args:
        seed: The same seed gives the same weights, whatever was built before.
        policy: Name of a Keras dtype policy.
    """
    k = keras()
    before, state = k.config.dtype_policy(), random.getstate()
    try:
        # Initialisers without a seed take one from Python's generator.
        random.seed(seed)
        k.config.set_dtype_policy(policy)
        return build(structure(config), n_classes)
    finally:
        k.config.set_dtype_policy(before)
        random.setstate(state)


def averaged(model: Any, side: int, views: int) -> Any:
    """A network that says the mean of what ``model`` says of so many views of a photo; a keras.Model."""
    if views == 1:
        return model
    pixels = keras().Input((side, side, 3), name="pixels")
    return keras().Model(pixels, _mean(model, pixels, side, views), name="averaged")


def _mean(model: Any, pixels: Any, side: int, views: int) -> Any:
    """What ``model`` says of so many views of photos, symbolic or not; see ``test_time_views`` of the settings."""
    take, mirror = keras().ops.take, np.arange(side)[::-1].copy()
    total: Any = 0.0
    for shift, weight in {0: 0.5, -1: 0.25, 1: 0.25}.items() if views == 6 else [(0, 1.0)]:
        # Rows and columns by number, which every format of exported models can express; beyond the edge it is mirrored.
        places = np.abs(np.arange(side) + shift)
        places = np.where(places < side, places, 2 * (side - 1) - places)
        seen = take(take(pixels, places, axis=1), places, axis=2) if shift else pixels
        said = model(seen, training=False)
        if views > 1:
            said = (said + model(take(seen, mirror, axis=2), training=False)) / 2
        total = total + weight * said
    return total


class Program:
    """One network, which holds the weights of whichever training is at it.

    Building one and tracing its step takes 1.4 s for slash_cnn, on two cores of an AMD EPYC without AVX-512.

    Args:
        build: What makes the network.
        config: Settings; those of :func:`structure` matter.
        n_classes: k.
        seed: Of the initial weights and of dropout.
        policy: Name of a Keras dtype policy.
    """

    def __init__(self, build: Build, config: TrainingConfig, n_classes: int, *, seed: int, policy: str) -> None:
        tf = tensorflow()
        self.model, self.side = new_model(build, config, n_classes, seed=seed, policy=policy)
        self._optimizer = optimizer_of(structure(config))
        self._optimizer.build(self.model.trainable_variables)
        self._config = config
        averages = [tf.Variable(weight) for weight in self.model.weights] if config.lookahead else []
        self._averages = averages
        self._state = [*self._optimizer.variables, *averages]
        # Keras sums gradients over replicas, of which there is one here, by an operation with a gradient of its own.
        # TensorFlow registers such gradients for good, and with them the graph and all weights: 150 MiB a slash_cnn.
        if not hasattr(self._optimizer, "_all_reduce_sum_gradients"):
            raise RuntimeError("this Keras sums gradients in another way, which may keep 150 MiB a network")
        self._optimizer._all_reduce_sum_gradients = lambda gradients: gradients
        self._seed = seed
        weights = {id(variable) for variable in self.model.weights}
        self._generators = [variable for variable in self.model.variables if id(variable) not in weights]
        self._initial = self.state(best=None, curves=Curves())
        pixels = tf.TensorSpec((None, self.side, self.side, 3), tf.uint8)
        self._step = tf.function(
            self._train,
            input_signature=(pixels, tf.TensorSpec((None, n_classes)), tf.TensorSpec((None,))),
        )
        self._predict = tf.function(self._say, input_signature=(pixels,))

    def start(self, begin: Callable[[Any], None] = lambda _: None) -> None:
        """Back to the initial weights, and to what ``begin`` makes of the network with them."""
        self.restore(self._initial)
        begin(self.model)
        for average, weight in zip(self._averages, self.model.weights, strict=bool(self._averages)):
            average.assign(weight)

    def restore(self, state: State) -> None:
        """Take up a training where ``state`` left it."""
        self.load(state.weights)
        for variable, value in zip(self._state, state.optimizer, strict=True):
            variable.assign(value)

    def load(self, weights: Sequence[np.ndarray]) -> None:
        """Take weights alone, to predict with them."""
        self.model.set_weights(list(weights))

    def weights(self) -> tuple[np.ndarray, ...]:
        """A copy of the network's weights."""
        return tuple(variable.numpy().copy() for variable in self.model.weights)

    def state(self, *, best: Sequence[np.ndarray] | None, curves: Curves) -> State:
        """A copy of everything."""
        optimizer = tuple(variable.numpy().copy() for variable in self._state)
        return State(weights=self.weights(), optimizer=optimizer, best=best, curves=curves)

    def begin_epoch(self, epoch: int) -> None:
        """Seed every layer that draws, from the seed and the epoch: what was drawn before does not matter."""
        words = np.random.SeedSequence([self._seed % 2**64, epoch]).generate_state(2 * len(self._generators))
        for variable, pair in zip(self._generators, words.reshape(-1, 2) >> 1, strict=True):
            variable.assign(pair)

    def step(
        self, pixels: np.ndarray, targets: np.ndarray, sample_weights: np.ndarray, learning_rate: float
    ) -> tuple[float, int]:
        """One step of the optimiser.

        Args:
            pixels: uint8, shape (m, side, side, 3).
            targets: float32, shape (m, k).
            sample_weights: float32, shape (m,).

        Returns:
            The loss, penalties included, and how many photos were told right, both before the step.
        """
        self._optimizer.learning_rate.assign(learning_rate)
        loss, right = self._step(pixels, targets, sample_weights)
        return float(loss), int(right)

    def look_ahead(self, done: float) -> None:
        """Move the weights, and those of batch normalisation, back to their running average.

        Args:
            done: Share of the training that is done: the average keeps 0.95**5 * done**3 of itself.
        """
        kept = _KEPT * done**3
        for average, weight in zip(self._averages, self.model.weights, strict=True):
            average.assign(kept * average + (1 - kept) * weight)
            weight.assign(average)

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """What the network says of photos: uint8 (m, side, side, 3) -> float32 (m, k); of their mirror images, too,
        where the settings want it."""
        starts = range(0, len(pixels), _PREDICTED)
        return np.concatenate([self._predict(pixels[start : start + _PREDICTED]).numpy() for start in starts])

    def _train(self, pixels: Any, targets: Any, sample_weights: Any) -> tuple[Any, Any]:
        tf, variables = tensorflow(), self.model.trainable_variables
        with tf.GradientTape() as tape:
            said = self.model(tf.cast(pixels, tf.float32), training=True)
            loss = keras().losses.CategoricalCrossentropy()(targets, said, sample_weight=sample_weights)
            for penalty in self.model.losses:
                loss += tf.cast(penalty, tf.float32)
        gradients = tape.gradient(loss, variables)
        if self._config.bias_rate != 1:
            # The same as a learning rate of their own: every step of SGD is a sum of gradients times the rate.
            rates = [self._config.bias_rate if len(variable.shape) == 1 else 1.0 for variable in variables]
            gradients = [gradient * rate for gradient, rate in zip(gradients, rates, strict=True)]
        self._optimizer.apply(gradients, variables)
        return loss, tf.math.count_nonzero(tf.argmax(said, -1) == tf.argmax(targets, -1))

    def _say(self, pixels: Any) -> Any:
        tf = tensorflow()
        pixels = tf.cast(pixels, tf.float32)
        said = _mean(self.model, pixels, self.side, self._config.test_time_views)
        return tf.cast(said, tf.float32)
