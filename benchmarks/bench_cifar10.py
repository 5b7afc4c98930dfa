"""Accuracy on the official test set of CIFAR-10 against minutes, and how busy the cores were.

    python benchmarks/bench_cifar10.py [--data-dir DIR] [--seeds 2] [--epochs N]
                                       [--only transfer cifar_cnn cifar_fast fine_tuned]

``transfer`` is the default search; ``fine_tuned`` the training of a backbone, which begins with the best head of the
``transfer`` of the same seed where that is measured, too; all others are one training of the network of that name. Each
has its own settings, goes from the files to the report, and has a process and a cache of its own, so that TensorFlow is
started and features are computed anew, and its memory is its own. Prints for each the accuracy, the minutes and the
memory of every seed, and the minutes of training; for networks from scratch also the share of the machine's float32
matrix-product peak at which they trained: 3 forward passes a step. It is that of float32 where they train in bfloat16,
too, which may be twice as fast. The minutes of ``fine_tuned`` are without those of the search that it begins from.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit import pipeline
from tl_toolkit.backbones import fine_tuning
from tl_toolkit.core.files import CACHE_VARIABLE
from tl_toolkit.core.runtime import tensorflow
from tl_toolkit.networks import REGISTRY

MEASURED = ("transfer", "cifar_cnn", "cifar_fast", "fine_tuned")
"""In the order in which they are measured."""


def alone(function: Callable[..., Any], *given: Any) -> Any:
    """What a function gives in a new process.

    The system counts the memory of the process that starts another as that of the other, too: this one must stay small,
    and so whatever needs TensorFlow goes through here.
    """
    # Started anew, not forked: a fork would have this one's memory and threads.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *given).result()


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


def measured(
    what: str, seed: int, data_dir: Path | None, epochs: int | None, out: Path, found: Path | None
) -> pipeline.Outcome:
    """One run, with features in a cache of its own.

    Args:
        out: Folder for runs.
        found: Folder of the search whose best head fine-tuning begins with; None for the backbone alone.
    """
    with tempfile.TemporaryDirectory() as cache:
        os.environ[CACHE_VARIABLE] = cache
        shared: dict[str, Any] = {"dataset": "cifar10", "data_dir": data_dir, "seed": seed, "out": out}
        if what == "transfer":
            return pipeline.search(pipeline.SearchOptions(**shared, baseline="none"))
        network: dict[str, Any] = {"network": what}
        if what == "fine_tuned":
            network = {"fine_tune": found} if found else {"backbone": fine_tuning.MANY.backbone}
        settings = {"epochs": epochs} if epochs else {}
        return pipeline.train(pipeline.TrainOptions(**shared, **network, settings=settings))


def main() -> None:
    """Run and print."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--data-dir", type=Path)
    made.add_argument("--seeds", type=int, default=2)
    made.add_argument("--epochs", type=int, help="of networks (default: their own)")
    made.add_argument("--only", nargs="+", choices=MEASURED, default=MEASURED)
    given = made.parse_args()
    most = alone(peak)
    print(f"matrix-product peak: {most / 1e9:.0f} GFLOPS float32")
    searches: dict[int, Path] = {}
    with tempfile.TemporaryDirectory() as out:
        for what in (name for name in MEASURED if name in given.only):
            for seed in range(given.seeds):
                found = searches.get(seed)
                outcome = alone(measured, what, seed, given.data_dir, given.epochs, Path(out), found)
                run = outcome.run
                accuracy = run["evaluation"]["metrics"]["accuracy"]
                line = (
                    f"{what}, seed {seed}: accuracy {accuracy['value']:.4f} ({accuracy['low']:.4f} to "
                    f"{accuracy['high']:.4f}) in {run['timing']['total_seconds'] / 60:.1f} minutes, "
                    f"{run['peak_memory_bytes'] / 2**30:.1f} GiB"
                )
                if what == "transfer":
                    searches[seed] = outcome.folder
                else:
                    [training] = run["training"]["trainings"]
                    line += f"; {training['epochs']} epochs in {training['seconds'] / 60:.1f} minutes"
                if what == "fine_tuned":
                    line += ", from the best head of the search" if found else ", from the backbone alone"
                if what in REGISTRY:
                    photos = run["dataset"]["n_images"] - run["splits"]["n_scored"]
                    done = 6 * alone(multiplications, what) * photos * training["epochs"] / training["seconds"]
                    line += f" at {done / most:.0%} of the peak"
                print(line, flush=True)


if __name__ == "__main__":
    main()
