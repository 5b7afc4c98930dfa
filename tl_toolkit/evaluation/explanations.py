"""Where in a photo a prediction comes from.

Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) weights the last feature maps by the gradient of a class's score,
averaged over places, and keeps what speaks for the class. Behind average pooling and a linear head that gradient is the
head's kernel, the same for every photo, divided by the number of places: so the maps are exact and need no backward
pass. A test compares them with TensorFlow's gradients through an exported model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


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
