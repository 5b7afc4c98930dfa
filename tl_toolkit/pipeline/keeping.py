"""What a run keeps of the photos that its model was trained on, so that others can be compared with them later."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tl_toolkit.backbones.features import FeatureBank
from tl_toolkit.core.console import progress
from tl_toolkit.core.files import cache_folder
from tl_toolkit.core.prints import TrainingPrints, featured, save_prints
from tl_toolkit.core.runs import Stopwatch
from tl_toolkit.core.thumbnails import TRAIN, keep_picture
from tl_toolkit.datasets import audit as auditing
from tl_toolkit.datasets.images import MAX_SIDE, decode_image
from tl_toolkit.datasets.leaks import pixel_digest
from tl_toolkit.pipeline.data import Prepared, clean_views

MOST_THUMBNAILS = 2000
"""Of training photos; about 4 kB each."""


def keep_training(
    folder: Path, prepared: Prepared, trained: np.ndarray, watch: Stopwatch, *, thumbnails: bool = False
) -> None:
    """Write ``training.npz`` into a run folder, and thumbnails where they are wanted.

    A thumbnail is of the kind ``train``, under the photo's place in ``training.npz``. Of more than
    :data:`MOST_THUMBNAILS` photos, that many are drawn at random.

    Args:
        trained: bool, shape (n,): the photos that the exported model is trained on.
    """
    dataset, photos, audit = prepared.dataset, prepared.photos, prepared.audit

    def digest(index: int) -> str:
        # Photos of this size were not shrunk when they were read.
        whole = photos.pixels is not None or max(audit.widths[index], audit.heights[index]) <= MAX_SIDE
        found = pixel_digest(photos[index] if whole else decode_image(photos.file(index), max_side=None))
        display.advance(task)
        return found

    with watch.step("prints", "Noting what the training photos can be known by"), progress() as display:
        task = display.add_task("Digesting pixels", total=len(dataset))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            digests = list(pool.map(digest, range(len(dataset))))
        backbone = auditing.backbone_for(audit)
        rows = featured(trained, auditing.FEATURES)
        source = clean_views(photos.select(rows), [audit.sha256[i] for i in rows])
        # A bank of its own: what it reads is not counted as work of the run.
        features = FeatureBank(cache_folder() / "features").features(backbone, source)[:, 0, : auditing.FEATURES]
        save_prints(
            folder,
            TrainingPrints(
                paths=dataset.paths,
                class_names=dataset.class_names,
                labels=dataset.labels,
                trained=trained,
                groups=audit.groups,
                sha256=_bytes(audit.sha256),
                pixels=_bytes(digests),
                widths=audit.widths,
                heights=audit.heights,
                hashes=prepared.hashes,
                backbone=backbone,
                featured=rows,
                features=features.astype(np.float16),
            ),
        )
        if thumbnails:
            shown = np.flatnonzero(trained)
            if len(shown) > MOST_THUMBNAILS:
                shown = np.sort(np.random.default_rng(0).choice(shown, MOST_THUMBNAILS, replace=False))
            for index in shown.tolist():
                keep_picture(folder, index, photos[index], TRAIN)


def _bytes(digests: tuple[str, ...] | list[str]) -> np.ndarray:
    """Hexadecimal digests as uint8, shape (n, 32)."""
    return np.frombuffer(bytes.fromhex("".join(digests)), np.uint8).reshape(-1, 32)
