"""Accuracy on the official test set of CIFAR-10 against minutes, and how busy the cores were.

    python benchmarks/bench_cifar10.py [--data-dir DIR] [--seeds 2] [--epochs N]
                                       [--only transfer cifar_cnn cifar_fast fine_tuned]

``transfer`` is the default search, ``fine_tuned`` the training of a backbone, all others one training of the network of
that name; each with its own settings, from the files to the report, and with a cache of its own, so that features are
computed anew. Prints for each the accuracy and the minutes of every seed, in all and of training; for networks from
scratch also the share of the machine's float32 matrix-product peak at which they trained: 3 forward passes a step.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit import pipeline
from tl_toolkit.backbones import fine_tuning
from tl_toolkit.core.files import CACHE_VARIABLE
from tl_toolkit.core.runtime import tensorflow
from tl_toolkit.networks import REGISTRY

TRAINING_PHOTOS = 50_000
MEASURED = ("transfer", "cifar_cnn", "cifar_fast", "fine_tuned")


def peak() -> float:
    """Float32 operations a second of a large matrix product: the best of several."""
    tf = tensorflow()
    n = 2048
    one = tf.random.normal((n, n))
    best = 0.0
    for _ in range(8):
        begun = time.monotonic()
        (one @ one).numpy()
        best = max(best, 2 * n**3 / (time.monotonic() - begun))
    return best


def multiplications(name: str) -> int:
    """Of one photo through a network: convolutions and dense layers."""
    network = REGISTRY.get(name)
    total = 0
    for layer in network.build(10, network.reference).layers:
        if hasattr(layer, "kernel"):
            places = np.prod(layer.output.shape[1:-1], dtype=int)
            total += int(np.prod(layer.kernel.shape)) * int(places)
    return total


def measured(what: str, seed: int, data_dir: Path | None, epochs: int | None) -> dict[str, Any]:
    """One run, with features and baselines in a cache of its own; its ``run.json``."""
    with tempfile.TemporaryDirectory() as out:
        os.environ[CACHE_VARIABLE] = f"{out}/cache"
        shared: dict[str, Any] = {"dataset": "cifar10", "data_dir": data_dir, "seed": seed, "out": Path(out)}
        if what == "transfer":
            return pipeline.search(pipeline.SearchOptions(**shared, baseline="none")).run
        network = {"backbone": fine_tuning.MANY.backbone} if what == "fine_tuned" else {"network": what}
        settings = {"epochs": epochs} if epochs else {}
        return pipeline.train(pipeline.TrainOptions(**shared, **network, settings=settings)).run


def main() -> None:
    """Run and print."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--data-dir", type=Path)
    made.add_argument("--seeds", type=int, default=2)
    made.add_argument("--epochs", type=int, help="of networks (default: their own)")
    made.add_argument("--only", nargs="+", choices=MEASURED, default=MEASURED)
    given = made.parse_args()
    most = peak()
    print(f"matrix-product peak: {most / 1e9:.0f} GFLOPS float32")
    for what in given.only:
        for seed in range(given.seeds):
            run = measured(what, seed, given.data_dir, given.epochs)
            accuracy = run["evaluation"]["metrics"]["accuracy"]
            line = (
                f"{what}, seed {seed}: accuracy {accuracy['value']:.4f} ({accuracy['low']:.4f} to "
                f"{accuracy['high']:.4f}) in {run['timing']['total_seconds'] / 60:.1f} minutes, "
                f"{run['peak_memory_bytes'] / 2**30:.1f} GiB"
            )
            if what != "transfer":
                [training] = run["training"]["trainings"]
                line += f"; {training['epochs']} epochs in {training['seconds'] / 60:.1f} minutes"
                if what in REGISTRY:
                    done = 6 * multiplications(what) * TRAINING_PHOTOS * training["epochs"] / training["seconds"]
                    line += f" at {done / most:.0%} of the peak"
            print(line, flush=True)


if __name__ == "__main__":
    main()
