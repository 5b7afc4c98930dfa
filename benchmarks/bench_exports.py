"""The model files of a run side by side: size, parity, time of a photo; and the accuracy that int8 costs.

    python benchmarks/bench_exports.py reports/slash/latest [--formats onnx litert] [--photos FOLDER] [--no-folds]

Times are of decoded photos, fitted into 512 x 512 px, in batches of 1 and of 32, each format as its exporter opens it,
on all cores. The formats take turns, so that other work on the machine meets all of them alike: medians over all turns,
and the time of processors, too, which waiting for others does not lengthen as much.

Accuracy of int8: a run's model is trained on all photos, so what it scores on them says nothing. Instead the nested
protocol of the run is repeated: for each outer fold the winners of its search are trained on the other folds, become an
int8 file that is calibrated on photos of these, and say what the photos of the fold are. So does the pipeline in
float32, and both are compared, paired. Of runs that searched heads: networks would have to be trained again for hours.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from tl_toolkit import pipeline
from tl_toolkit.backbones.features import FeatureBank, resolve
from tl_toolkit.core.console import progress
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import cache_folder
from tl_toolkit.core.runs import Stopwatch
from tl_toolkit.core.saved import SavedRun, load_run
from tl_toolkit.core.settings import FROZEN, TrainingConfig
from tl_toolkit.datasets.images import SUFFIXES, decode_image
from tl_toolkit.datasets.load import load_dataset
from tl_toolkit.evaluation.comparison import compare
from tl_toolkit.evaluation.metrics import evaluate
from tl_toolkit.evaluation.nested import outer_jobs
from tl_toolkit.exporters import REGISTRY
from tl_toolkit.exporters.base import Material
from tl_toolkit.exporters.classifiers import classifier_of_heads
from tl_toolkit.heads.fitting import joined, trained
from tl_toolkit.inference.listing import find_photos
from tl_toolkit.pipeline.exporting import CALIBRATED, spread
from tl_toolkit.pipeline.fitting import tables_of

BATCHES = (1, 32)
SINGLES = 8
"""Batches of one photo in a turn: a turn of each size then takes about as long."""


def dataset_of(run: dict[str, Any]) -> Any:
    """The photos of a run, where it found them."""
    data = run["dataset"]
    return load_dataset(
        data["argument"], data_dir=Path(data["data_dir"]) if data["data_dir"] else None, allow_sample=data["is_sample"]
    )


def timed(saved: SavedRun, formats: Sequence[str], files: Sequence[Path], turns: int) -> None:
    """Print a line of each format."""
    photos = np.stack([np.asarray(ImageOps.fit(Image.fromarray(decode_image(f)), (512, 512))) for f in files])
    exporters = {name: REGISTRY.get(name) for name in formats}
    models = {name: e.open(saved.folder / "model" / e.path) for name, e in exporters.items()}
    taken: dict[tuple[str, int], list[tuple[float, float]]] = {(n, size): [] for n in models for size in BATCHES}
    for turn in range(turns + 1):
        for name, model in models.items():
            for size in BATCHES:
                for number in range(SINGLES if size == 1 else 1):
                    batch = np.take(photos, np.arange(number, number + size), axis=0, mode="wrap")
                    begun, used = time.perf_counter(), time.process_time()
                    model(batch)
                    # The first turn compiles, and the first photo finds buffers of the size before.
                    if turn and (size > 1 or number):
                        spent = time.perf_counter() - begun, time.process_time() - used
                        taken[name, size].append((1000 * spent[0] / size, 1000 * spent[1] / size))
    print(f"{len(photos)} photos, {turns} turns; ms a photo (of processors)")
    print(f"{'':12}{'MB':>7}{'difference':>12}{'same class':>12}" + "".join(f"{f'batch {n}':>20}" for n in BATCHES))
    known = {one["format"]: one for one in saved.run["exports"]}
    for name in models:
        medians = [np.median(taken[name, size], axis=0) for size in BATCHES]
        one = known[name]
        print(
            f"{name:12}{one['size'] / 1e6:7.1f}{one['max_difference']:12.1e}{one['agreement']:12.1%}"
            + "".join(f"{f'{wall:.1f} ({used:.1f})':>20}" for wall, used in medians),
            flush=True,
        )


def of_int8(saved: SavedRun) -> None:
    """Print a line of each outer fold, and the paired comparison over all of them."""
    run = saved.run
    exporter = REGISTRY.get("litert_int8")
    trials = {(row["study"], int(row["number"])): row for row in saved.trials}
    members = [
        [config_of(trials[f"outer-{fold}", number]) for number in run["search"]["members"][f"outer-{fold}"]]
        for fold in range(run["splits"]["n_outer"])
    ]
    if any(config.network != FROZEN for configs in members for config in configs):
        raise SystemExit("The run searched networks, not heads: leave the outer folds out with --no-folds.")
    data = run["dataset"]
    options = pipeline.SearchOptions(
        dataset=data["argument"],
        data_dir=Path(data["data_dir"]) if data["data_dir"] else None,
        allow_sample=data["is_sample"],
        seed=run["seed"],
        folds=run["splits"]["n_outer"],
        inner_folds=run["splits"]["n_inner"],
        smoke=run["smoke"],
    )
    watch, bank = Stopwatch(), FeatureBank(cache_folder() / "features")
    prepared = pipeline.prepare(options, pipeline.find_data(options, watch), bank, watch)
    dataset, splits, names = prepared.dataset, prepared.splits, prepared.dataset.class_names
    if prepared.audit.fingerprint != data["fingerprint"] or not np.array_equal(
        splits.outer, json.loads((saved.folder / "splits.json").read_text(encoding="utf-8"))["outer"]
    ):
        raise UserError("The photos or the folds are not those of the run: run the search again.")
    jobs = outer_jobs(members, splits)
    whole, rounded = (np.zeros((len(dataset), len(names)), np.float32) for _ in range(2))
    with progress() as display:
        tables = tables_of(prepared, bank, display, run["seed"])
        heads = dict(trained([job for _, job in jobs], tables, len(names), seed=run["seed"]))
        for fold, configs in enumerate(members):
            own = [position for position, (owner, _) in enumerate(jobs) if owner == fold]
            test = splits.outer == fold
            for i in own:
                features = tables(jobs[i][1].config).features[test, 0]
                whole[test] += heads[i].probabilities(features)[0] / len(own)
            parts, kernels = joined(
                [heads[i] for i in own], [resolve(c.backbone) for c in configs], lambda part: part[0].n_features
            )
            biases = np.concatenate([heads[i].biases for i in own])
            material = Material(
                classifier=classifier_of_heads([(b.connect, side) for b, side in parts], kernels, biases, names),
                class_names=names,
                metadata={},
                calibration=[prepared.photos[int(i)] for i in spread(dataset.labels, ~test, CALIBRATED)],
            )
            with tempfile.TemporaryDirectory() as folder:
                exporter.write(Path(folder) / exporter.path, material)
                model = exporter.open(Path(folder) / exporter.path)
                rounded[test] = np.concatenate([model(prepared.photos[int(i)][None]) for i in np.flatnonzero(test)])
            right = [(said[test].argmax(1) == dataset.labels[test]).mean() for said in (whole, rounded)]
            same = (whole[test].argmax(1) == rounded[test].argmax(1)).mean()
            moved = np.abs(whole[test] - rounded[test]).max()
            print(
                f"fold {fold}: {test.sum()} photos, accuracy {right[0]:.3f} in float32, {right[1]:.3f} in int8; "
                f"same class {same:.1%}, largest difference {moved:.1e}",
                flush=True,
            )
    both = [
        evaluate(title, dataset.labels, said, prepared.audit.groups, splits.outer, names)
        for title, said in (("float32", whole), ("int8", rounded))
    ]
    found = compare(*both, prepared.audit.groups)
    kept = dict(zip(saved.paths, saved.probabilities, strict=True))
    apart = np.abs(whole - np.array([kept[path] for path in dataset.paths])).max()
    print(f"float32 is what the run's predictions.csv says, up to {apart:.1e}")
    for name, lost in found.differences.items():
        print(
            f"{name}: {both[0].metrics[name].value:.4f} in float32, {both[1].metrics[name].value:.4f} in int8, lost "
            f"{lost.value:+.4f} (95 % interval {lost.low:+.4f} to {lost.high:+.4f})"
        )
    same = (whole.argmax(1) == rounded.argmax(1)).mean()
    print(
        f"same class {same:.2%} of {len(dataset)}; right in float32 alone {found.better}, in int8 alone {found.worse}"
    )


def config_of(row: dict[str, str]) -> TrainingConfig:
    """Settings from a row of ``trials.csv``."""
    fields = {field.name: type(field.default) for field in dataclasses.fields(TrainingConfig)}
    return TrainingConfig(**{n: row[n] == "True" if kind is bool else kind(row[n]) for n, kind in fields.items()})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--formats", nargs="+", help="those that the run has, where none are named")
    parser.add_argument("--photos", help="folder of photos to time; those of the run, if none is named")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--no-folds", action="store_true", help="leave out what int8 costs on the outer folds")
    given = parser.parse_args()
    saved = load_run(given.run)
    there = [one["format"] for one in saved.run["exports"] if not one["error"]]
    formats = [name for name in given.formats or there if name in there]
    if given.photos:
        files = [Path(path) for path in find_photos([given.photos], SUFFIXES, bytes)]
    else:
        dataset = dataset_of(saved.run)
        files = [dataset.root / path for path in dataset.paths]
    timed(saved, formats, files[:: max(1, len(files) // 64)][:64], given.turns)
    if "litert_int8" in formats and not given.no_folds:
        of_int8(saved)


if __name__ == "__main__":
    main()
