"""The honest score on the real Slash photos over several seeds, against logistic regression on the same outer folds.

    TL_TOOLKIT_DATA=... python benchmarks/bench_slash.py [--seeds 3]

Each seed has folds, views, batches and searches of its own. Prints each seed's figures, then mean and standard
deviation, and what logistic regression on standardised features of the clean photos scores on the very same folds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tl_toolkit import pipeline
from tl_toolkit.backbones.features import FeatureBank, ViewSource
from tl_toolkit.core.files import cache_folder
from tl_toolkit.core.runs import Stopwatch
from tl_toolkit.evaluation.metrics import score

METRICS = ("accuracy", "macro_f1", "weighted_f1")
RIVALS = ("efficientnet_lite0", "efficientnet_lite2", "efficientnet_lite0+efficientnet_lite2")


def rival(prepared: pipeline.Prepared, features: np.ndarray) -> list[float]:
    """Logistic regression on the outer folds."""
    labels, outer = prepared.dataset.labels, prepared.splits.outer
    predicted = np.zeros((len(labels), len(prepared.dataset.class_names)))
    for fold in range(prepared.splits.n_outer):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
        model.fit(features[outer != fold], labels[outer != fold])
        predicted[outer == fold] = model.predict_proba(features[outer == fold])
    return [score(metric, labels, predicted) for metric in METRICS]


def main() -> None:
    """Run and print."""
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--only-rivals", action="store_true", help="leave the searches out")
    given = made.parse_args()
    figures: dict[str, list[list[float]]] = {}
    for seed in range(given.seeds):
        if not given.only_rivals:
            begun = time.monotonic()
            with tempfile.TemporaryDirectory() as out:
                options = pipeline.SearchOptions(dataset="slash", seed=seed, out=Path(out), baseline="none")
                run = pipeline.search(options).run
            for title, metrics in (
                ("search winners", run["evaluation"]["metrics"]),
                ("reference settings", run["search"]["reference"]["metrics"]),
            ):
                figures.setdefault(title, []).append([metrics[metric]["value"] for metric in METRICS])
            print(
                f"seed {seed}: {time.monotonic() - begun:.0f} s, inner {run['search']['outer_winners_inner_score']:.3f}"
            )
        options = pipeline.SearchOptions(dataset="slash", seed=seed)
        bank, watch = FeatureBank(cache_folder() / "features"), Stopwatch()
        prepared = pipeline.prepare(options, pipeline.find_data(options, watch), bank, watch)
        photos = prepared.photos
        clean = ViewSource(
            ids=prepared.audit.sha256,
            key="clean",
            views=1,
            pixels=lambda i, _, p=photos: p[i],
            decoding=photos.decoding,
        )
        for name in RIVALS:
            title = f"logistic regression, {name}"
            figures.setdefault(title, []).append(rival(prepared, bank.features(name, clean)[:, 0]))
    for title, rows in figures.items():
        mean, spread = np.mean(rows, 0), np.std(rows, 0, ddof=1) if len(rows) > 1 else np.full(3, np.nan)
        said = "  ".join(f"{m} {a:.3f} +- {s:.3f}" for m, a, s in zip(METRICS, mean, spread, strict=True))
        print(f"{title:58} {said}  (n = {len(rows)} seeds)")
        print(" " * 58, " | ".join(" ".join(f"{value:.3f}" for value in row) for row in rows))


if __name__ == "__main__":
    main()
