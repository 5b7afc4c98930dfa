"""One backbone forward pass a photo: LiteRT, as the feature bank runs it, beside TensorFlow on batches.

python benchmarks/bench_features.py
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tl_toolkit.backbones.features import _extractors, resolve
from tl_toolkit.core.runtime import tensorflow

PHOTOS = 64


def milliseconds(work) -> float:  # type: ignore[no-untyped-def]
    """The quicker of two runs after one to warm up, in milliseconds a photo."""
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return 1000 * min(seconds[1:]) / PHOTOS


def main() -> None:
    """Measure and print."""
    tf, cores = tensorflow(), os.cpu_count() or 1
    for specification in ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2", "efficientnet_lite2@320"):
        [(backbone, side)] = resolve(specification)
        pixels = np.random.default_rng(0).uniform(0, 255, (PHOTOS, side, side, 3)).astype(np.float32)
        extractors = _extractors(backbone.name, side, cores)
        model = tf.function(backbone.build(side))

        def litert(pixels=pixels, extractors=extractors) -> None:  # type: ignore[no-untyped-def]
            def share(core: int) -> None:
                for photo in pixels[core::cores]:
                    extractors[core](photo)

            with ThreadPoolExecutor(cores) as pool:
                list(pool.map(share, range(cores)))

        def batches(pixels=pixels, model=model) -> None:  # type: ignore[no-untyped-def]
            for start in range(0, PHOTOS, 32):
                model(tf.constant(pixels[start : start + 32]), training=False).numpy()

        ours, theirs = milliseconds(litert), milliseconds(batches)
        print(f"{specification:24} LiteRT {ours:5.1f} ms, TensorFlow {theirs:5.1f} ms, ratio {theirs / ours:.1f}")


if __name__ == "__main__":
    main()
