"""How fast ``predict`` is, beside decoding and the model by themselves on the same photos.

    python benchmarks/bench_predict.py RUN PHOTOS [--count 1000] [--repeats 3]

Bare decoding: all photos, with as many threads as there are cores. Bare model: the same decoded photos, in the batches
of equal size that ``predict`` makes. Predict: files in, results out, without the start of TensorFlow, which is told
apart. Photos of more than 512 px are shrunk to files of 512 px first, so that decoding is that of such files; they are
repeated where there are fewer than ``--count``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from tl_toolkit import load_model
from tl_toolkit.datasets.images import SUFFIXES, decode_image
from tl_toolkit.inference.listing import find_photos
from tl_toolkit.inference.streaming import WINDOW, of_one_size


def main() -> None:
    """Measure, and print a line of each repeat and their median ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("photos")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()

    begun = time.perf_counter()
    classifier = load_model(given.run)
    classifier.predict(np.zeros((64, 64, 3), np.uint8))
    print(f"{classifier.path}: ready after {time.perf_counter() - begun:.1f} s, TensorFlow's start included")
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, path in enumerate(find_photos([given.photos], SUFFIXES, bytes)):
            file = Path(folder, f"{number:05d}.jpg")
            Image.fromarray(decode_image(Path(path))).save(file, quality=90)
            files.append(file)
        files = (files * (given.count // len(files) + 1))[: given.count]
        # Pages of the files, and whatever is compiled on first use.
        classifier.predict(files[:WINDOW])

        ratios = []
        for _ in range(given.repeats):
            begun = time.perf_counter()
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                decoded = list(pool.map(decode_image, files))
            decoding = time.perf_counter() - begun

            begun = time.perf_counter()
            for at in range(0, len(decoded), WINDOW):
                for batch in of_one_size(decoded[at : at + WINDOW]):
                    classifier.model(np.stack([photo for _, photo in batch]))
            running = time.perf_counter() - begun
            del decoded

            begun = time.perf_counter()
            classifier.predict(files)
            predicting = time.perf_counter() - begun
            ratios.append(predicting / (decoding + running))
            print(
                f"{len(files)} photos: decoding {decoding:.1f} s, model {running:.1f} s, predict {predicting:.1f} s: "
                f"{ratios[-1]:.2f} times their sum, {len(files) / predicting:.0f} photos a second"
            )
    print(f"median ratio {np.median(ratios):.2f}")


if __name__ == "__main__":
    main()
