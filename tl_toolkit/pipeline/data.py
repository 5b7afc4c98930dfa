"""From the name of a data set to audited photos and planned folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from tl_toolkit.augmentation import augment, augment_all, policy_version, shrink
from tl_toolkit.backbones.features import CLEAN, FeatureBank, ViewSource
from tl_toolkit.core.console import note, progress, warn
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.records import Audit, Dataset, Splits
from tl_toolkit.core.runs import Stopwatch
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.datasets import audit as auditing
from tl_toolkit.datasets.audit import Examination
from tl_toolkit.datasets.collection import Collection
from tl_toolkit.datasets.load import load_dataset
from tl_toolkit.datasets.photos import Photos
from tl_toolkit.datasets.splits import make_splits
from tl_toolkit.pipeline.options import DataOptions

HOLDOUTS = 10
"""Inner folds where there is an official test set: a tenth of the other photos validates."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """Photos that can be trained on, and the plan by which they are.

    Attributes:
        hashes: bool, shape (n, 64): perceptual hashes.
    """

    dataset: Dataset
    photos: Photos
    audit: Audit
    splits: Splits
    hashes: np.ndarray


def views_of(prepared: Prepared, config: TrainingConfig, seed: int) -> ViewSource:
    """The views of each photo that ``config`` trains on."""
    photos, digests = prepared.photos, prepared.audit.sha256

    def pixels(index: int, view: int) -> np.ndarray:
        photo = photos[index]
        return augment(
            shrink(photo) if view else photo,
            policy=config.augmentation,
            strength=config.strength,
            seed=seed,
            view=view,
            image_id=digests[index],
        )

    def together(view: int) -> np.ndarray | None:
        if photos.pixels is None:
            return None
        return augment_all(
            photos.pixels,
            policy=config.augmentation,
            strength=config.strength,
            seed=seed,
            view=view,
            image_ids=digests,
        )

    key = f"{policy_version(config.augmentation)}, strength {config.strength}, seed {seed}"
    return ViewSource(
        ids=digests, key=key, views=config.views, pixels=pixels, decoding=photos.decoding, together=together
    )


def clean_views(photos: Photos, digests: Sequence[str]) -> ViewSource:
    """Where features of photos as they are come from.

    Args:
        digests: SHA-256 of each photo's file, hexadecimal.
    """
    return ViewSource(
        ids=tuple(digests),
        key=CLEAN,
        views=1,
        pixels=lambda index, _view: photos[index],
        decoding=photos.decoding,
    )


def examined(found: Dataset | Collection, photos: Photos, of: str = "") -> Examination:
    """Read all photos, shown as progress, and warn of those that cannot be read.

    Args:
        of: Which photos, for the warnings, as in " of the test set".

    Raises:
        UserError: none can be read.
    """
    with progress() as display:
        task = display.add_task("Reading photos", total=len(found))
        examination = auditing.examine(found, photos, lambda: display.advance(task))
    for one in examination.quarantined:
        warn(f"{one.path}{of} takes no part: {one.reason}.")
    if len(examination.readable) == 0:
        raise UserError(f"None of the {len(found)} files in {found.root} can be read as a photo.")
    return examination


def find_data(options: DataOptions, watch: Stopwatch) -> Dataset:
    """The data set that the user named; a small part of it for a smoke run."""
    with watch.step("data", f"Looking for {options.dataset}"):
        dataset = load_dataset(options.dataset, data_dir=options.data_dir, allow_sample=options.allow_sample)
        return _first_of_each_class(dataset, 12) if options.smoke else dataset


def prepare(options: DataOptions, dataset: Dataset, bank: FeatureBank, watch: Stopwatch) -> Prepared:
    """Audit the photos, and plan the folds."""
    if dataset.test is not None:
        asked = {one.name for one in fields(options) if getattr(options, one.name) != one.default}
        for name in sorted(asked & {"folds", "inner_folds"}):
            warn(f"--{name.replace('_', '-')} has no effect: {dataset.name} has an official test set, scored once.")
    what = "drawn pictures" if dataset.is_sample else "photos"
    with watch.step("audit", f"Reading {len(dataset)} {what} in {len(dataset.class_names)} classes"):
        photos = Photos(dataset.root, dataset.paths, pixels=dataset.pixels)
        examination = examined(dataset, photos)
        photos = photos.select(examination.readable)
        dataset = dataset.select(examination.readable)
        clean = clean_views(photos, examination.sha256)
        with progress() as display:
            task = display.add_task("Looking for near duplicates", total=len(photos))
            backbone = auditing.backbone_for(examination)
            features = bank.features(backbone, clean, lambda done: display.advance(task, done))
            compared = features[:, 0, : auditing.FEATURES]
            task = display.add_task("Comparing all with all", total=len(photos))
            audit = auditing.group(
                dataset,
                examination,
                compared,
                lambda done: display.advance(task, done),
                limits=auditing.limits_of(backbone),
            )
    n_inner = options.inner_folds
    if n_inner and dataset.test is not None:
        n_inner = HOLDOUTS
    splits = make_splits(
        dataset.labels,
        audit.groups,
        dataset.class_names,
        n_outer=3 if options.smoke else options.folds,
        n_inner=min(2, n_inner) if options.smoke else n_inner,
        seed=options.seed,
        test=dataset.test,
    )
    for text in splits.notes:
        warn(text)
    note(
        f"{len(dataset)} {what}, {len(np.unique(audit.groups))} without near duplicates, "
        f"{len(audit.quarantined)} unreadable, {len(audit.conflicts)} groups of twins with different labels"
    )
    return Prepared(dataset=dataset, photos=photos, audit=audit, splits=splits, hashes=examination.hashes)


def _first_of_each_class(dataset: Dataset, most: int) -> Dataset:
    part = np.zeros(len(dataset), bool) if dataset.test is None else dataset.test
    rank = np.zeros(len(dataset), np.int64)
    for c in range(len(dataset.class_names)):
        for own in (part, ~part):
            members = own & (dataset.labels == c)
            rank[members] = np.arange(members.sum())
    return replace(
        dataset.select(np.flatnonzero(rank < most)),
        notes=(*dataset.notes, f"A smoke run: at most {most} photos of each class, few folds and trials."),
    )
