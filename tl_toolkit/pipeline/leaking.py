"""Whether a test set leaks into a training set: what of the one is in the other, as a page.

photos -> examination -> features -> pairs -> page
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tl_toolkit.backbones.features import FeatureBank
from tl_toolkit.core.console import progress
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import cache_folder, write_json, write_text
from tl_toolkit.core.runs import Stopwatch
from tl_toolkit.core.thumbnails import PICTURES, keep_picture
from tl_toolkit.datasets import audit as auditing
from tl_toolkit.datasets.collection import Collection, collect
from tl_toolkit.datasets.leaks import Side
from tl_toolkit.datasets.leaks import find_leaks as compared
from tl_toolkit.datasets.photos import Photos
from tl_toolkit.pipeline.data import clean_views, examined
from tl_toolkit.sections import leaks as page

_BUDGET = 2**29
"""Bytes of decoded photos to keep of each side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakOptions:
    """What the user asked for: the options of ``python -m tl_toolkit.leaks``, and the command line itself."""

    train: str
    test: str
    data_dir: Path | None = None
    allow_sample: bool = True
    embeddings: bool = True
    out: Path = Path("reports")
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LeakCheck:
    """Where the page is, the content of its ``leaks.json``, and the answer in one sentence."""

    page: Path
    record: dict[str, Any]
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Read:
    """One side: the photos of it that can be read, and what was found out about them."""

    collection: Collection
    photos: Photos
    side: Side


def find_leaks(options: LeakOptions) -> LeakCheck:
    """Compare two sets of photos: from their names to ``<out>/leaks/<test>-in-<train>/index.html``.

    What an earlier comparison of sets of these names left there is replaced.

    Raises:
        UserError: something that the user can mend, such as a folder without photos.
    """
    watch = Stopwatch()
    train, test = (
        collect(name, data_dir=options.data_dir, allow_sample=options.allow_sample)
        for name in (options.train, options.test)
    )
    if train.root.is_relative_to(test.root) or test.root.is_relative_to(train.root):
        raise UserError(f"Neither set may lie in the other: name other folders than {train.root} and {test.root}.")
    bank = FeatureBank(cache_folder() / "features") if options.embeddings else None
    trained, tested = (
        _read(collection, bank, watch, f"the {what} set") for collection, what in ((train, "training"), (test, "test"))
    )
    with watch.step("leaks", "Comparing the two sets"), progress() as display:
        task = display.add_task("Comparing photos", total=tested.side.n)
        found = compared(trained.side, tested.side, lambda done: display.advance(task, done))
    with watch.step("page", "Writing the page"):
        record = page.leaks_record(
            train=trained.collection,
            test=tested.collection,
            found=found,
            quarantined={"train": trained.side.examination.quarantined, "test": tested.side.examination.quarantined},
            rules=auditing.NEAR_DUPLICATES if options.embeddings else ((auditing.HASH_ALONE, None),),
            backbone=auditing.BACKBONE if options.embeddings else None,
            command=options.command,
            seconds=watch.total(),
        )
        folder = options.out / "leaks" / f"{test.name}-in-{train.name}"
        # Those of an earlier comparison may be of other photos under the same numbers.
        shutil.rmtree(folder / PICTURES, ignore_errors=True)
        for number in page.pictured(record):
            pair = found.closest[number]
            keep_picture(folder, number, tested.photos[pair.test], "test")
            keep_picture(folder, number, trained.photos[pair.train], "train")
        write_text(folder / "leaks.csv", page.table(record))
        write_json(folder / "leaks.json", record)
        written = page.build(folder)
    return LeakCheck(page=written, record=record, verdict=page.verdict(record))


def _read(collection: Collection, bank: FeatureBank | None, watch: Stopwatch, what: str) -> _Read:
    with watch.step("audit", f"Reading {len(collection)} photos of {what}, {collection.name}"):
        photos = Photos(collection.root, collection.paths, budget=_BUDGET)
        examination = examined(collection, photos, f" of {what}")
    readable = examination.readable
    photos = photos.select(readable)
    collection = replace(
        collection,
        paths=tuple(collection.paths[i] for i in readable),
        labels=collection.labels and tuple(collection.labels[i] for i in readable),
    )
    features = None
    if bank is not None:
        source = clean_views(photos, examination.sha256)
        with watch.step("features", "Looking at what they show"), progress() as display:
            task = display.add_task("Computing features", total=bank.missing(auditing.BACKBONE, source))
            features = bank.features(auditing.BACKBONE, source, lambda done: display.advance(task, done))[:, 0]
    files = tuple(photos.file(i) for i in range(len(photos)))
    return _Read(
        collection=collection, photos=photos, side=Side(files=files, examination=examination, features=features)
    )
