"""The exploration of a data set: its record, ``exploration.json``, and the page that is drawn from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.core.records import Audit, Dataset
from tl_toolkit.core.runs import environment, plain
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.core.thumbnails import kept_picture
from tl_toolkit.sections import exploration_figures as figures
from tl_toolkit.sections.document import build_page
from tl_toolkit.sections.document import render as fill

SCHEMA_VERSION = 1

MAP_PHOTOS = 2000
"""Most photos of a map: each brings a picture, and t-SNE of more takes minutes."""

SUSPECTS, GROUPS, TWINS, EXTREMES = 60, 40, 12, 8
"""Most suspects, groups of each kind, photos of a group, and photos of each extreme that the page shows: it stays
below some megabytes. The record holds all."""

SAMPLES = 240
"""Photos in all sample grids together: at most 12 of a class, and at least 3."""


def mapped(features: np.ndarray, labels: np.ndarray, *, seed: int) -> dict[str, Any]:
    """A map on which photos that a backbone finds alike are neighbours.

    t-SNE (van der Maaten and Hinton 2008), started from the first two principal components, on the first 50 of the
    features at unit length. Distances between far islands mean little.

    Args:
        features: float32, shape (n, d).
        labels: int64, shape (n,).

    Returns:
        ``indices`` of the photos on it, at most :data:`MAP_PHOTOS`, of each class its share; ``x`` and ``y`` of each,
        of which the wider spans 0..1; and ``perplexity``.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    chosen = stratified(labels, MAP_PHOTOS, seed=seed)
    some = features[chosen].astype(np.float64)
    some /= np.maximum(np.linalg.norm(some, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    with np.errstate(invalid="ignore", divide="ignore"):  # shares of no variance, where all photos are the same
        some = PCA(min(50, *some.shape), random_state=seed).fit_transform(some)
    # As init="pca" has it, but for two things: that is NaN, and crashes, where all photos are the same; and identical
    # ones, which would stay one point for ever, begin a hair apart.
    begin = some[:, :2] / max(float(some[:, 0].std()), np.finfo(np.float32).tiny) * 1e-4
    begin += np.random.default_rng(seed).normal(scale=1e-7, size=begin.shape)
    perplexity = min(30.0, (len(some) - 1) / 3)
    at = TSNE(perplexity=perplexity, init=begin.astype(np.float32), random_state=seed).fit_transform(some)
    at -= at.min(0)
    at /= max(float(at.max()), np.finfo(np.float32).tiny)
    return {
        "indices": chosen.tolist(),
        "x": [round(float(x), 4) for x in at[:, 0]],
        "y": [round(float(y), 4) for y in at[:, 1]],
        "perplexity": perplexity,
    }


def stratified(labels: np.ndarray, most: int, *, seed: int) -> np.ndarray:
    """Indices of at most ``most`` photos, in order: of each class its share, and one at least while there is room."""
    order = np.random.default_rng(seed).permutation(len(labels))
    quantile = np.empty(len(labels))
    for c in np.unique(labels):
        members = order[labels[order] == c]
        quantile[members] = np.arange(len(members)) / len(members)
    return np.sort(order[np.argsort(quantile[order], kind="stable")][:most])


def exploration_record(
    *,
    dataset: Dataset,
    audit: Audit,
    brightness: np.ndarray,
    sharpness: np.ndarray,
    unusual: Any,
    issues: Sequence[Any],
    thresholds: np.ndarray,
    probabilities: np.ndarray,
    n_folds: int,
    settings: TrainingConfig,
    drawn: dict[str, Any],
    command: str,
    seed: int,
    smoke: bool,
    seconds: float,
) -> dict[str, Any]:
    """The content of ``exploration.json``. Photos are named by their position in ``photos``, classes likewise.

    Args:
        brightness, sharpness: float64, shape (n,), mean luma 0..255, and variance of the Laplacian.
        unusual: Which of them stand out.
        issues: Photos whose labels are probably wrong, ranked.
        thresholds: float64, shape (k,): mean self-confidence.
        probabilities: float32, shape (n, k), out of fold.
        drawn: As :func:`mapped` gives it.
        seconds: What it all took.
    """
    predicted = probabilities.argmax(1)
    return plain(
        {
            "schema_version": SCHEMA_VERSION,
            "command": command,
            "smoke": smoke,
            "seed": seed,
            "seconds": seconds,
            "dataset": {
                "name": dataset.name,
                "is_sample": dataset.is_sample,
                "n_groups": len(np.unique(audit.groups)),
                "class_names": dataset.class_names,
                "class_counts": dataset.counts,
                "source": dataset.source,
                "licence": dataset.licence,
                "notes": dataset.notes,
                "fingerprint": audit.fingerprint,
            },
            "photos": [
                {
                    "path": path,
                    "label": dataset.labels[i],
                    "group": audit.groups[i],
                    "width": audit.widths[i],
                    "height": audit.heights[i],
                    "brightness": round(float(brightness[i]), 2),
                    "sharpness": round(float(sharpness[i]), 2),
                    "predicted": predicted[i],
                    "self_confidence": round(float(probabilities[i, dataset.labels[i]]), 6),
                }
                for i, path in enumerate(dataset.paths)
            ],
            "unusual": unusual,
            "duplicates": {"exact": audit.exact, "near": audit.near, "conflicts": audit.conflicts},
            "quarantined": audit.quarantined,
            "suspects": {
                "settings": settings,
                "n_folds": n_folds,
                "accuracy": float((predicted == dataset.labels).mean()),
                "thresholds": [float(t) if np.isfinite(t) else None for t in thresholds],
                "issues": issues,
            },
            "samples": samples(dataset.labels, audit.groups, len(dataset.class_names), seed=seed),
            "map": drawn,
            "environment": environment(),
        }
    )


def samples(labels: np.ndarray, groups: np.ndarray, n_classes: int, *, seed: int) -> list[list[int]]:
    """Photos of each class for its grid, by chance; of near duplicates one."""
    most = int(np.clip(SAMPLES // n_classes, 3, 12))
    order = np.random.default_rng(seed).permutation(len(labels))
    distinct = order[np.sort(np.unique(groups[order], return_index=True)[1])]
    return [sorted(distinct[labels[distinct] == c][:most].tolist()) for c in range(n_classes)]


def shown(record: dict[str, Any]) -> dict[str, Any]:
    """What of a record the page shows as pictures: lists of photos, and lists of groups of them."""
    photos, twins, unusual = record["photos"], record["duplicates"], record["unusual"]
    light = sorted(range(len(photos)), key=lambda i: photos[i]["brightness"])
    detail = sorted(range(len(photos)), key=lambda i: photos[i]["sharpness"])
    return {
        "issues": record["suspects"]["issues"][:SUSPECTS],
        "groups": {kind: [group[:TWINS] for group in groups[:GROUPS]] for kind, groups in twins.items()},
        "extremes": {
            kind: order[: max(EXTREMES, min(len(unusual[kind]), 2 * EXTREMES))]
            for kind, order in (("dark", light), ("bright", light[::-1]), ("blurred", detail))
        },
        "samples": record["samples"],
    }


def pictured(record: dict[str, Any]) -> list[int]:
    """The photos that the page shows beside the map."""
    parts = shown(record)
    groups: Iterable[list[int]] = (group for kind in parts["groups"].values() for group in kind)
    lists = [[issue["index"] for issue in parts["issues"]], *groups, *parts["extremes"].values(), *parts["samples"]]
    return sorted({index for indices in lists for index in indices})


def build(folder: Path) -> Path:
    """Write ``index.html`` into the folder of an exploration, from its record and its pictures.

    Raises:
        UserError: the folder holds no exploration.
    """
    return build_page(folder, "exploration.json", "exploration", "explore the data set again", render)


def render(record: dict[str, Any], folder: Path) -> str:
    """The page as HTML; every name in it is escaped, for names are data.

    Args:
        folder: Of the record and the thumbnails. One that is missing leaves its place empty.
    """
    names = record["dataset"]["class_names"]
    return fill(
        "exploration.html.j2",
        record=record,
        names=names,
        photos=record["photos"],
        shown=shown(record),
        picture=partial(kept_picture, folder),
        classes=class_rows(record),
        marks=figures.marks(len(names)),
        points=figures.points(record),
        distribution=figures.distribution(record),
        sizes=figures.sizes(record),
        ratios=figures.ratios(record),
        brightness=figures.brightness(record),
        sharpness=figures.sharpness(record),
    )


def class_rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """What the table of classes says of each, in the order of the classes."""
    photos = record["photos"]
    suspects = [issue["label"] for issue in record["suspects"]["issues"]]
    rows = []
    for c, name in enumerate(record["dataset"]["class_names"]):
        own = [photo for photo in photos if photo["label"] == c]
        middle = {
            what: float(np.median([photo[what] for photo in own])) if own else float("nan")
            for what in ("width", "height", "brightness", "sharpness")
        }
        rows.append(
            {
                "name": name,
                "photos": len(own),
                "distinct": len({photo["group"] for photo in own}),
                "recognised": sum(photo["predicted"] == c for photo in own) / max(len(own), 1),
                "suspects": suspects.count(c),
                **middle,
            }
        )
    return rows
