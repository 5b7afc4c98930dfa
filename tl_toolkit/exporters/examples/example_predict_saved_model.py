"""Predict with the TensorFlow SavedModel: python example_predict_saved_model.py [--json] PHOTO ...

Needs TensorFlow and Pillow, and nothing else: pip install tensorflow pillow
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent


def decoded(path):
    """A photo as the model wants it: upright, RGB, what is transparent on white; uint8 (height, width, 3)."""
    with Image.open(path) as file:
        photo = ImageOps.exif_transpose(file)
        tags = getattr(file, "tag_v2", {})
    if photo.mode.startswith(("I", "F")):
        photo = Image.fromarray(in_8_bits(photo, tags))
    elif photo.has_transparency_data:
        photo = photo.convert("RGBA")
        white = Image.new("RGB", photo.size, "white")
        white.paste(photo, mask=photo.getchannel("A"))
        photo = white
    return np.asarray(photo.convert("RGB"))


def in_8_bits(photo, tags):
    """Grey of more than 8 bits, which Pillow would cut off at 255; uint8 (height, width)."""
    values = np.asarray(photo)
    if photo.mode.startswith("I;16"):
        white = 4095 if tags.get(258) == (12,) else 65535  # bits a sample
    else:
        if photo.mode == "I" and tags.get(339, (1,)) == (1,):  # the sample's format: unsigned
            values = values.view(np.uint32)
        # White is the first usual level that no pixel exceeds.
        brightest = float(values[np.isfinite(values)].max(initial=0))
        usual = (1, 255, 65535) if photo.mode == "F" else (255, 65535)
        white = next((level for level in usual if brightest <= level), brightest)
    levels = np.nan_to_num(values.astype(np.float32) * np.float32(255 / white), nan=0.0)
    grey = np.rint(levels.clip(0, 255)).astype(np.uint8)
    if tags.get(262) == 0:  # white is zero
        grey = 255 - grey
    if "transparency" in photo.info:
        grey[values == photo.info["transparency"]] = 255
    return grey


def loaded():
    """The model: photos of one size, uint8 (n, height, width, 3) -> probabilities, float32 (n, classes)."""
    import tensorflow as tf

    model = tf.saved_model.load(str(HERE / "saved_model"))
    return lambda photos: model.signatures["serving_default"](photos=tf.constant(photos))["probabilities"]


def main(words):
    """One line a photo: label and probabilities; of --json a JSON document with all digits."""
    names = (HERE / "labels.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    paths = [word for word in words if word != "--json"]
    if not paths:
        sys.exit(__doc__)
    predict = loaded()
    for path in paths:
        photo = decoded(path)[None]
        begun = time.perf_counter()
        said = np.asarray(predict(photo))[0]
        taken = 1000 * (time.perf_counter() - begun)
        label = names[int(said.argmax())]
        if "--json" in words:
            probabilities = [float(p) for p in said]
            print(json.dumps({"path": path, "label": label, "probabilities": probabilities, "milliseconds": taken}))
        else:
            print(path, label, *(f"{name}={p:.3f}" for name, p in zip(names, said, strict=True)), sep="\t")


if __name__ == "__main__":
    main(sys.argv[1:])
