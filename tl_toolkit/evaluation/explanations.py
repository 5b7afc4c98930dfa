"""Where in a photo a prediction comes from.

Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) weights the last feature maps by the gradient of a class's score,
averaged over places, and keeps what speaks for the class. Behind average pooling and a linear head that gradient is the
head's kernel, the same for every photo, divided by the number of places: so the maps are exact and need no backward
pass. Of a model that is exported the gradients are taken, whatever stands behind its maps. Tests compare both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tl_toolkit.core.runtime import keras, tensorflow


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Explainer:
    """Shows where a model looks.

    Attributes:
        explain: A photo, uint8 RGB (h, w, 3), and a class -> the photo with what speaks for the class bright, of the
            same shape and type. May be called from any thread, from several at a time.
        one_view: Whether the model averages what it says of several views of a photo. Maps of shifted and mirrored
            views do not lie on each other: that of the photo as it is is shown.
    """

    explain: Callable[[np.ndarray, int], np.ndarray]
    one_view: bool


def explainer_of(model: Any) -> Explainer | None:
    """What shows where an exported classifier looks.

    The score of a class is the mean of what the averaged heads or networks say of it before their softmax.

    Args:
        model: keras.Model of :mod:`tl_toolkit.exporters.classifiers`, photos uint8 (n, height, width, 3) -> a
            dictionary of ``probabilities``; layers ``maps_0``, ``maps_1`` .. and ``heads`` are in it, or networks
            ``network_0``, ``network_1`` ...

    Returns:
        None where the model has no maps that it could be seen in.
    """
    tf = tensorflow()
    parts = list(_parts(model))
    if not parts:
        return None
    n_classes = model.output["probabilities"].shape[-1]

    @tf.function(input_signature=[tf.TensorSpec((1, None, None, 3), tf.uint8), tf.TensorSpec((), tf.int32)])
    def look(photos: Any, wanted: Any) -> Any:
        """The maps of every part, and the gradient of the class's score by their channels, summed over places."""
        seen = []
        for before, after in parts:
            # Keras gives one map by itself, not in a list.
            maps = tf.nest.flatten(before(photos, training=False))
            with tf.GradientTape() as tape:
                tape.watch(maps)
                score = tf.reduce_mean(tf.reshape(after(maps, training=False), (-1, n_classes))[:, wanted])
            gradients = tape.gradient(score, maps)
            seen += [(one[0], tf.reduce_sum(by, (0, 1, 2))) for one, by in zip(maps, gradients, strict=True)]
        return seen

    def explain(photo: np.ndarray, wanted: int) -> np.ndarray:
        maps, kernels = zip(*look(photo[None], wanted), strict=True)
        heat = grad_cam([one.numpy() for one in maps], np.concatenate(kernels), photo.shape[:2])
        return overlay(photo, heat)

    return Explainer(explain=explain, one_view=any(_views(network) for network in _networks(model)))


def _parts(model: Any) -> Iterator[tuple[Any, Any]]:
    """Pairs of models: photos -> maps, and a list of these -> scores float32 (n, any number of times the classes)."""
    k = keras()
    maps = [layer.output for layer in model.layers if layer.name.startswith("maps_")]
    if maps:
        yield k.Model(model.inputs, maps), k.Model(maps, model.get_layer("heads").output)
    for network in _networks(model):
        # What the network is called with; as a model, it would say what it was made of.
        pixels = k.Operation.input.fget(network)
        while views := _views(network):
            network = views[0]
        network = _copy(network)
        spatial = [layer.output for layer in network.layers if len(layer.output.shape) == 4]
        if maps := spatial[-1:]:
            seen = k.Model(network.inputs, maps)(pixels, training=False)
            yield k.Model(model.inputs, seen), k.Model(maps, _scores(network))


def _copy(network: Any) -> Any:
    """A network of new layers, each called once: of one that was called more often, ``output`` is that of any call."""
    k = keras()
    flat = k.Model(network.inputs, network.outputs)
    copy = k.Model.from_config(flat.get_config())
    copy.set_weights(flat.get_weights())
    return copy


def _networks(model: Any) -> list[Any]:
    return [layer for layer in model.layers if layer.name.startswith("network_")]


def _views(network: Any) -> list[Any]:
    """The one network inside another that averages what it says of several views; none elsewhere."""
    return [layer for layer in network.layers if isinstance(layer, keras().Model)]


def _scores(network: Any) -> Any:
    """What stands before the softmax that a network ends with; that itself, were there none."""
    k, last = keras(), network.layers[-1]
    if isinstance(last, k.layers.Softmax):
        return last.input
    if getattr(last, "activation", None) is not k.activations.softmax:
        return last.output
    linear = type(last).from_config({**last.get_config(), "activation": "linear"})
    scores = linear(last.input)
    linear.set_weights(last.get_weights())
    return scores


def grad_cam(maps: Sequence[np.ndarray], kernel: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Grad-CAM of one class over several backbones whose features stand side by side.

    Args:
        maps: float32, shape (h, w, d_i) each: a backbone's last maps of the photo.
        kernel: float32, shape (sum of d_i,): the class's column of the head.
        shape: Height and width wanted, pixels.

    Returns:
        float32, of that shape, 0 (nothing speaks for the class) .. 1 (the most of this photo).
    """
    import cv2

    total = np.zeros(shape, np.float32)
    at = 0
    for one in maps:
        d = one.shape[2]
        # The score is the sum over backbones of the mean over places: undivided, each place has its share by area.
        total += cv2.resize(one @ kernel[at : at + d], shape[::-1], interpolation=cv2.INTER_LINEAR)
        at += d
    total = np.maximum(total, 0)
    highest = total.max()
    return total / highest if highest > 0 else total


def overlay(photo: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A heat map laid over its photo: what does not speak for the class grows dark and grey.

    Args:
        photo: uint8 RGB, shape (h, w, 3).
        heat: float32, shape (h, w), 0..1.

    Returns:
        uint8 RGB, shape (h, w, 3).
    """
    import cv2

    colours = cv2.applyColorMap((heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[:, :, ::-1]
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[:, :, None]
    return (0.45 * grey + 0.55 * colours).astype(np.uint8)
