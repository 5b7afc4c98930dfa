"""The report of a large run: 100 classes and 10,000 scored photos, from made-up records.

python benchmarks/bench_report.py [--classes 100] [--photos 10000]

Prints how long the page takes to build, its size, and how long a browser takes to open it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import tempfile
import time
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
from PIL import Image

from tl_toolkit.core.files import write_json, write_text
from tl_toolkit.core.records import Audit, Dataset, Evaluation, ExportedModel, Splits
from tl_toolkit.core.runs import plain
from tl_toolkit.core.searches import SearchResult, SearchSpace, Trial
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.core.thumbnails import keep_picture
from tl_toolkit.evaluation.comparison import compare
from tl_toolkit.evaluation.metrics import evaluate
from tl_toolkit.pipeline.analysing import keep_pictures, largest_class, of_predictions
from tl_toolkit.sections import page, record

OUTER, INNER, TRIALS = 5, 5, 64
RESAMPLES = 100  # the width of a made-up interval says nothing
NAME = "made-up-records"


def make_run(folder: Path, classes: int = 100, photos: int = 10_000, seed: int = 0) -> Path:
    """Fill ``folder`` with the records of a run that never took place, as a real one would write them.

    The records are made by the code that makes the real ones, so that the page is as large as a real one would be;
    only what a training or a photo would have said is drawn at random. Classes are uneven, and each is mostly
    mistaken for its neighbours.

    Raises:
        jsonschema.ValidationError: ``run.json`` does not keep to its schema.
    """
    random = np.random.default_rng(seed)
    dataset = _dataset(random, classes, photos)
    audit, splits = _audit(random, dataset), _splits(random, photos)
    best = _predictions(random, "search winners", dataset, audit, splits, skill=5.0)
    reference = _predictions(random, "reference settings", dataset, audit, splits, skill=4.5)
    found = _searches(random)
    run = record.run_record(
        dataset=dataset,
        audit=audit,
        splits=splits,
        space=SearchSpace(
            name=NAME,
            parameters=(),
            fixed={},
            reference=TrainingConfig(momentum=0.7),
            metric=found.metric,
            trials=TRIALS,
            sha256="0" * 64,
        ),
        engine="none",
        seed=seed,
        found=found,
        members={study: [trial.number for trial in found.best(study, 5)] for study in _studies()},
        evaluation=best,
        without_twins=None,
        reference=reference,
        baseline=None,
        leaking=None,
        comparison=compare(best, reference, audit.groups, resamples=RESAMPLES),
        exports=[
            ExportedModel(
                path="model.keras",
                format="keras",
                sha256="0" * 64,
                size=0,
                max_difference=0.0,
                agreement=1.0,
                checked=0,
                milliseconds=0.0,
            )
        ],
        run_id="none",
        asked={},
        steps={"search": found.seconds},
        total_seconds=found.seconds,
        peak_memory=0,
        computed=0,
        reused=0,
        command=f"python benchmarks/bench_report.py --classes {classes} --photos {photos}",
        smoke=False,
    )
    schema = json.loads((resources.files("tl_toolkit.core") / "run.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(run, schema)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "run.json", run)
    write_text(folder / "trials.csv", record.trials_table(found))
    write_text(folder / "predictions.csv", record.predictions_table(dataset, splits.outer, best))
    write_json(folder / "audit.json", plain(audit))
    write_json(folder / "analysis.json", plain(_analysis(random, folder, dataset, audit, splits, best)))
    return folder


def _dataset(random: np.random.Generator, classes: int, photos: int) -> Dataset:
    names = tuple(f"made-up class {c:03d}" for c in range(classes))
    shares = random.dirichlet(np.full(classes, 3.0))
    # Two photos at least of each class; the rest as the shares have it.
    labels = np.concatenate([np.repeat(np.arange(classes), 2), random.choice(classes, photos - 2 * classes, p=shares)])
    labels.sort()
    return Dataset(
        name=NAME,
        root=Path(NAME),
        paths=tuple(f"{names[label]}/{i:05d}.jpg" for i, label in enumerate(labels)),
        labels=labels,
        class_names=names,
        source="Made-up records: no photo and no training is behind them.",
        licence="none needed",
        notes=("Made-up records, to see how large and how fast the page is. No figure means anything.",),
    )


def _audit(random: np.random.Generator, dataset: Dataset) -> Audit:
    """Every twentieth photo is a near duplicate of the one before it."""
    n = len(dataset)
    seconds = np.arange(1, n, 20)
    groups = np.arange(n)
    groups[seconds] = groups[seconds - 1]
    near = tuple((int(i) - 1, int(i)) for i in seconds)
    return Audit(
        paths=dataset.paths,
        sha256=tuple(f"{i:064x}" for i in range(n)),
        widths=random.integers(200, 4000, n),
        heights=random.integers(200, 4000, n),
        groups=groups,
        exact=near[::10],
        near=near,
        conflicts=tuple(twins for twins in near if dataset.labels[twins[0]] != dataset.labels[twins[1]]),
        quarantined=(),
        fingerprint="0" * 64,
    )


def _splits(random: np.random.Generator, photos: int) -> Splits:
    outer = random.integers(OUTER, size=photos)
    inner = random.integers(INNER, size=(OUTER + 1, photos))
    inner[outer, np.arange(photos)] = -1
    return Splits(outer=outer, inner=inner, seed=0)


def _predictions(
    random: np.random.Generator, title: str, dataset: Dataset, audit: Audit, splits: Splits, skill: float
) -> Evaluation:
    """Softmax of noise, with ``skill`` added for the right class and half of it for its neighbour."""
    n, k = len(dataset), len(dataset.class_names)
    logits = random.normal(size=(n, k))
    logits[np.arange(n), dataset.labels] += skill
    logits[np.arange(n), (dataset.labels + 1) % k] += skill / 2
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return evaluate(
        title,
        dataset.labels,
        probabilities.astype(np.float32),
        audit.groups,
        splits.outer,
        dataset.class_names,
        resamples=RESAMPLES,
    )


def _analysis(
    random: np.random.Generator, folder: Path, dataset: Dataset, audit: Audit, splits: Splits, best: Evaluation
) -> dict[str, Any]:
    """The content of ``analysis.json``; writes the pictures that the page shows."""
    labels, names = dataset.labels, dataset.class_names
    largest = largest_class(labels, splits.outer)
    found = of_predictions(best, dataset, largest, splits.outer, audit.groups, resamples=RESAMPLES)
    found["twins"] = keep_pictures(folder, lambda _: _blotches(random), audit, found, np.arange(len(labels)))
    for index in found["mistakes"]:
        keep_picture(folder, index, _blotches(random), "cam")
    epochs, sizes = (1, 2, 3, 5, 7, 10, 14, 20, 30), np.linspace(0.1, 0.8, 6) * len(labels)

    def rising(*shape: int) -> np.ndarray:
        return (
            0.9 - 0.4 / np.arange(1, shape[0] + 1).reshape(-1, *[1] * (len(shape) - 1)) + random.uniform(0, 0.1, shape)
        )

    return {
        **found,
        "curves": {
            "epochs": epochs,
            **{f"{part}_loss": 1 - rising(len(epochs), INNER).T for part in ("train", "validation")},
            **{f"{part}_accuracy": rising(len(epochs), INNER).T for part in ("train", "validation")},
        },
        "learning_curve": {
            "n_train": sizes,
            "accuracy": rising(len(sizes), 3),
            "macro_f1": rising(len(sizes), 3),
            "class_f1": rising(len(sizes), len(names)),
            "class_gain": random.uniform(0, 0.2, (3, len(names))),
            "outlook": [(factor, {"value": 0.9, "low": 0.88, "high": 0.92}) for factor in (1.5, 2.0, 3.0)],
        },
        "weights": {"efficientnet_lite0": "Apache-2.0"},
    }


def _blotches(random: np.random.Generator) -> np.ndarray:
    """A picture of blotches: its thumbnail takes as many bytes as that of a photo, about 4 kB."""
    return np.asarray(Image.fromarray(random.integers(0, 256, (24, 24, 3), np.uint8)).resize((320, 320)))


def _studies() -> list[str]:
    return [*(f"outer-{fold}" for fold in range(OUTER)), "final"]


def _searches(random: np.random.Generator) -> SearchResult:
    trials = []
    for study in _studies():
        for number in range(TRIALS):
            scores = tuple(random.uniform(0.7, 0.9, INNER).tolist())
            trials.append(
                Trial(
                    study=study,
                    number=number,
                    config=TrainingConfig(learning_rate=float(10 ** random.uniform(-3, -1)), momentum=0.7),
                    score=sum(scores) / INNER,
                    fold_scores=scores,
                    seconds=1.0,
                    trained_epochs=30,
                )
            )
    # One that diverged, for there is one in most searches.
    trials[1] = dataclasses.replace(trials[1], score=None, fold_scores=(), state="failed", error="made up")
    return SearchResult(trials=tuple(trials), metric="weighted_f1", stopped="finished", seconds=float(len(trials)))


def seconds_to_open(path: Path) -> float | None:
    """Seconds from asking a browser for the page until it is laid out; None where there is no Chromium."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        return None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        opened = browser.new_page()
        begun = time.perf_counter()
        opened.goto(path.as_uri())
        opened.evaluate("document.documentElement.scrollHeight")
        seconds = time.perf_counter() - begun
        browser.close()
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--photos", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        begun = time.perf_counter()
        folder = make_run(Path(temporary) / NAME, options.classes, options.photos)
        print(f"{options.classes} classes, {options.photos} photos: records in {time.perf_counter() - begun:.1f} s")
        begun = time.perf_counter()
        built = page.build(folder)
        print(f"page built in {time.perf_counter() - begun:.1f} s, {built.stat().st_size / 1e6:.1f} MB")
        opening = seconds_to_open(built)
        print("no Chromium to open it" if opening is None else f"opened in Chromium in {opening:.1f} s")


if __name__ == "__main__":
    main()
