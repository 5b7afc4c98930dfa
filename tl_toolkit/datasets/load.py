"""From what the user names to a :class:`~tl_toolkit.core.records.Dataset`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tl_toolkit.core.console import warn
from tl_toolkit.core.errors import UnknownNameError, UserError
from tl_toolkit.core.files import cache_folder, expanded
from tl_toolkit.core.records import Dataset
from tl_toolkit.datasets import REGISTRY, sample, slash
from tl_toolkit.datasets.download import DownloadError
from tl_toolkit.datasets.image_folder import scan


def load_dataset(name: str, *, data_dir: Path | None = None, allow_sample: bool = True) -> Dataset:
    """The data set behind a name or a path.

    A registered name wins; then a path that exists or looks like one; then a folder of that name in ``data_dir`` or in
    a folder of ``$TL_TOOLKIT_DATA``.

    Args:
        allow_sample: Whether drawn pictures may stand in for photos that cannot be had.

    Raises:
        UserError: there is no such data set, or it cannot be used.
    """
    if name in REGISTRY:
        return REGISTRY.get(name)(data_dir, allow_sample)
    if path := named_path(name):
        return folder(path)
    for parent in [*([data_dir] if data_dir else []), *slash.named_folders()]:
        if (parent / name).is_dir():
            return folder(parent / name)
    unknown = str(UnknownNameError("data set", name, REGISTRY))
    raise UserError(f"{unknown} Or name a folder that holds one folder of photos per class.")


def named_path(name: str) -> Path | None:
    """The path that the name of a data set means; None for a registered name, and for one that is to be looked up."""
    path = expanded(name)
    return path if name not in REGISTRY and (path.exists() or len(path.parts) > 1) else None


def folder(path: Path) -> Dataset:
    """A folder of class folders as a data set."""
    found = scan(path)
    if found.empty_classes:
        warn(f"Class folders without a photo are left out: {', '.join(found.empty_classes)}.")
    return Dataset(
        name=path.resolve().name,
        root=path.resolve(),
        paths=found.paths,
        labels=np.array(found.labels, np.int64),
        class_names=found.class_names,
        source=f"the folder {path.name!r}",
        licence="not stated",
    )


def slash_sample(_data_dir: Path | None = None, _allow_sample: bool = True) -> Dataset:
    """The drawn stand-in for the Slash photos, made on first use."""
    where = sample.write_sample(cache_folder() / f"slash_sample-v{sample.SAMPLE_VERSION}")
    return replace(
        folder(where),
        name="slash_sample",
        source="pictures drawn by tl_toolkit; they are no photos",
        licence="Apache-2.0",
        is_sample=True,
        notes=("The pictures are drawn, not photographed: no figure here says anything about the Slash photos.",),
    )


def slash_or_sample(data_dir: Path | None, allow_sample: bool) -> Dataset:
    """The Slash photos; where they can be neither found nor downloaded, and it is allowed, the sample."""
    try:
        found = slash.find_or_download(data_dir)
    except DownloadError as error:
        if not allow_sample:
            raise
        warn(f"The Slash photos are not on this machine. {error}")
        warn(
            "THE RUN GOES ON WITH slash_sample, DRAWN PICTURES: its figures say nothing about Slash. "
            "--no-sample makes this an error."
        )
        dataset = slash_sample()
        return replace(dataset, notes=(*dataset.notes, f"They stand in for the Slash photos: {error}"))
    return replace(folder(found), name=slash.NAME, source=slash.SOURCE, licence=slash.LICENCE)
