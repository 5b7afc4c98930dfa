"""CIFAR-10: 60,000 photos of 32 x 32 pixels in ten classes, 10,000 of them the official test set.

Alex Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009;
https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from tl_toolkit.core.console import note, warn
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import expanded
from tl_toolkit.core.records import Dataset
from tl_toolkit.datasets import cifar10_files
from tl_toolkit.datasets.cifar10_files import ARCHIVE, FILES, FOLDER
from tl_toolkit.datasets.download import DownloadError, RemoteFile, exclusive, fetch_all
from tl_toolkit.datasets.slash import DATA_VARIABLE, named_folders, user_folder

NAME = "cifar10"
SOURCE = (
    "CIFAR-10, published in 2009 by Alex Krizhevsky, Vinod Nair and Geoffrey Hinton, University of Toronto; "
    "its photos are part of the 80 million tiny images, which were collected from the web"
)
LICENCE = "no licence is stated for the photos"

URL_VARIABLE = "TL_TOOLKIT_CIFAR10_URL"
PUBLISHED = RemoteFile(
    url=cifar10_files.URL,
    name=ARCHIVE,
    sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    size=170_498_071,
)


def load(data_dir: Path | None = None, _allow_sample: bool = False) -> Dataset:
    """CIFAR-10, from this machine or else downloaded; the training photos come first. Nothing stands in for it.

    ``pixels`` are uint8, shape (60000, 32, 32, 3).

    Raises:
        UserError: it cannot be had, or a file of it is not as it should be.
    """
    place = locate(data_dir) or download(user_folder())
    batches = cifar10_files.read(place)
    notes: tuple[str, ...] = ()
    if batches.per_batch != cifar10_files.PER_BATCH:
        notes = (f"A part of CIFAR-10: {batches.per_batch:,} photos a batch.",)
    elif not batches.published:
        notes = ("These are not the published files, as their checksums tell: pixels and order may differ.",)
    return Dataset(
        name=NAME,
        root=(place if place.is_dir() else place.parent).resolve(),
        paths=batches.names,
        labels=batches.labels,
        class_names=cifar10_files.CLASSES,
        source=SOURCE,
        licence=LICENCE,
        notes=notes,
        pixels=batches.pixels,
        test=np.arange(len(batches.labels)) >= 5 * batches.per_batch,
    )


def locate(data_dir: Path | None) -> Path | None:
    """The folder of batches, or the archive of it, if one is on this machine.

    Looked for in this order: ``data_dir``, which may be the archive, too; each folder of ``$TL_TOOLKIT_DATA``; Keras'
    cache; the user data folder. In each of them: the folder ``cifar-10-batches-py``, the place itself, and
    ``cifar-10-python.tar.gz``. A folder counts if it has all seven files.

    Raises:
        UserError: ``data_dir`` is given and has no CIFAR-10 in it. Whoever names a folder wants that one.
    """
    if data_dir is not None:
        data_dir = expanded(data_dir)
        found = data_dir if data_dir.is_file() else _inside(data_dir)
        if found is None:
            raise UserError(
                f"No CIFAR-10 in {data_dir}: looked for {ARCHIVE} and the folder {FOLDER} with {', '.join(FILES)}. "
                "Name a folder that holds either, or leave --data-dir out."
            )
        return found
    keras = expanded(os.environ.get("KERAS_HOME") or "~/.keras") / "datasets"
    places = (
        *named_folders(),
        keras / f"{FOLDER}-target",  # Keras 3 unpacks the archive here, older versions into one of the next two
        keras / FOLDER,
        keras,
        user_folder(),
    )
    return next((found for place in places if (found := _inside(place)) is not None), None)


def _inside(place: Path) -> Path | None:
    """The folder of batches or the archive in ``place``; says so where a folder has only some of the files."""
    for folder in (place / FOLDER, place):
        missing = [file for file in FILES if not (folder / file).is_file()]
        if not missing:
            return folder
        if len(missing) < len(FILES):
            warn(f"{folder} is passed over: of the files of CIFAR-10 it lacks {', '.join(missing)}.")
    return place / ARCHIVE if (place / ARCHIVE).is_file() else None


def download(folder: Path) -> Path:
    """Have ``folder / "cifar-10-python.tar.gz"``, downloaded (170 MB) if it is not there yet.

    An interrupted download is continued by the next; a second process waits for the first.
    ``$TL_TOOLKIT_CIFAR10_URL`` stands for the folder on the web that the file is in.

    Raises:
        DownloadError: it cannot be had, or the folder cannot be written to; the message says what else to do.
        OSError: as the system raised it, such as a full disk.
    """
    base_url = os.environ.get(URL_VARIABLE)
    file = replace(PUBLISHED, url=f"{base_url.rstrip('/')}/{ARCHIVE}") if base_url else PUBLISHED
    advice = f"Put {ARCHIVE} from {PUBLISHED.url} into a folder, and name that with --data-dir or in ${DATA_VARIABLE}."
    lock = folder / f".{NAME}.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.touch()
    except OSError as error:
        raise DownloadError(f"CIFAR-10 is not here, and {folder} not writable ({error.strerror}). {advice}") from error
    with exclusive(lock):
        if not (folder / ARCHIVE).is_file():  # else a process that held the lock before has brought it
            note(f"Downloading CIFAR-10 ({file.size / 1e6:.0f} MB) to {folder}; {LICENCE}.")
            try:
                fetch_all([file], folder)
            except DownloadError as error:
                raise DownloadError(f"CIFAR-10 is not on this machine. {error} {advice}") from error
    return folder / ARCHIVE
