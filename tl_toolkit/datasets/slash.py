"""The Slash photos: 427 pictures of products in 8 classes, cropped out of screenshots of a shopping app.

The project carries no photo. It carries a manifest that says where each one is published, the hash of the
published file and the part of it that shows the product.

    file                  Class/name.jpg of the finished photo
    source_repository, source_commit, source_path, source_sha256, source_bytes    the published file
    crop_left, crop_top, crop_right, crop_bottom    box in its stored pixels; right and bottom exclusive;
                                                    all four empty: the whole file
"""

from __future__ import annotations

import csv
import errno
import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from urllib.parse import quote

from tl_toolkit.core.console import note, progress, warn
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import expanded
from tl_toolkit.datasets.download import DownloadError, RemoteFile, exclusive, fetch_all

NAME = "slash"

CLASSES = ("Accessories", "Artifacts", "Beauty", "Fashion", "Games", "Home", "Nutrition", "Stationary")
"""The class folders, spelt as the publishing repositories spell them."""

REPOSITORIES = (
    "MernaAbdallah/Slash-Product-Classification-Task-",
    "Yehia404/Product-Image-Classifier",
    "Geno212/Slash-s-Product-Image-Classifier",
    "MoYasser1777/Product-Image-Classifier",
)
SOURCE = f"Screenshots of the Slash app, published in the GitHub repositories {', '.join(REPOSITORIES)}"
LICENCE = (
    "no licence is known for the photos: they are other people's product photos. "
    "Use them for research and learning only, and do not pass them on"
)

BASE_URL = "https://raw.githubusercontent.com"
URL_VARIABLE = "TL_TOOLKIT_SLASH_URL"
DATA_VARIABLE = "TL_TOOLKIT_DATA"

LONGEST_SIDE = 512  # pixels
JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestRow:
    """One photo.

    Args:
        file: ``Class/name.jpg``, where the finished photo goes below the data set's folder.
        label: Its class.
        repository: The publishing repository, ``owner/name``.
        commit: The commit, 40 hexadecimal digits.
        path: The published file in the repository, unquoted.
        sha256: The published file's hash.
        size: The published file's length in bytes.
        box: (left, top, right, bottom) in the published file's stored pixels, right and bottom exclusive;
            ``None`` keeps the whole file.
    """

    file: str
    label: str
    repository: str
    commit: str
    path: str
    sha256: str
    size: int
    box: tuple[int, int, int, int] | None


def manifest(path: Path | None = None) -> list[ManifestRow]:
    """The packaged manifest, or another one in the same layout, such as a mirror's."""
    source = resources.files(__package__) / "slash_manifest.csv" if path is None else path
    return [
        ManifestRow(
            file=row["file"],
            label=row["label"],
            repository=row["source_repository"],
            commit=row["source_commit"],
            path=row["source_path"],
            sha256=row["source_sha256"],
            size=int(row["source_bytes"]),
            box=(
                int(row["crop_left"]),
                int(row["crop_top"]),
                int(row["crop_right"]),
                int(row["crop_bottom"]),
            )
            if row["crop_left"]
            else None,
        )
        for row in csv.DictReader(source.read_text(encoding="utf-8").splitlines())
    ]


def locate(data_dir: Path | None) -> Path | None:
    """The folder of the Slash photos, if they are on this machine.

    Looked for in this order: ``data_dir`` (``data_dir/slash``, or the folder itself); ``slash`` in each
    folder of ``$TL_TOOLKIT_DATA``; ``slash`` in the user data folder. A folder counts if it holds all 8 class
    folders and none is empty.

    Raises:
        UserError: ``data_dir`` is given and holds no Slash photos. Whoever names a folder wants that one.
    """
    if data_dir is not None:
        data_dir = expanded(data_dir)
        for folder in (data_dir / NAME, data_dir):
            if not _missing_classes(folder):
                return folder
        raise UserError(
            f"No Slash photos in {data_dir}: looked for the class folders {', '.join(CLASSES)} in it and in "
            f"{data_dir / NAME}. Name a folder that holds them, or leave --data-dir out."
        )
    for parent in [*named_folders(), user_folder()]:
        folder = parent / NAME
        missing = _missing_classes(folder)
        if not missing:
            return folder
        if folder.is_dir():
            warn(f"{folder} is passed over: no photos of the classes {', '.join(missing)} are in it.")
    return None


def find_or_download(data_dir: Path | None) -> Path:
    """The folder of the Slash photos; downloaded into the user data folder if they are nowhere.

    Raises:
        UserError: ``data_dir`` is given and holds no Slash photos.
        DownloadError: they are not here and cannot be downloaded.
    """
    return locate(data_dir) or download(user_folder())


def download(
    folder: Path,
    *,
    base_url: str | None = None,
    keep_originals: bool = False,
    rows: Sequence[ManifestRow] | None = None,
) -> Path:
    """Put the Slash photos into ``folder / "slash"``; at once if they are there.

    The published files (228 MB) go to the hidden folder ``.slash.download`` beside it, so that an
    interrupted download continues. ``slash`` appears when every photo is made, by one renaming. A second
    process waits for the first.

    Args:
        folder: The data folder; made if it is missing.
        base_url: Stands for ``https://raw.githubusercontent.com``; by default ``$TL_TOOLKIT_SLASH_URL``.
        keep_originals: Leave the published files in ``.slash.download`` afterwards.
        rows: What to fetch; by default the packaged manifest.

    Returns:
        ``folder / "slash"``, which holds ``Class/name.jpg`` for every row.

    Raises:
        DownloadError: a file cannot be had, the folder cannot be written to, or ``slash`` is incomplete.
        OSError: as the system raised it, such as a full disk.
    """
    rows = manifest() if rows is None else rows
    base_url = (base_url or os.environ.get(URL_VARIABLE) or BASE_URL).rstrip("/")
    target, work = folder / NAME, folder / f".{NAME}.download"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f".{NAME}.lock").touch()
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR):
            raise DownloadError(
                f"Cannot write to {folder} ({error.strerror}): make it writable, or put the Slash photos "
                f"anywhere else and name that place in ${DATA_VARIABLE}."
            ) from error
        raise
    with exclusive(folder / f".{NAME}.lock"):
        absent = [row.file for row in rows if not (target / row.file).is_file()]
        if not absent:
            return target
        if target.exists():
            raise DownloadError(
                f"{target} lacks {len(absent)} of {len(rows)} Slash photos, {absent[0]} to begin with; "
                "move it elsewhere and run again to download them all."
            )
        published: dict[str, ManifestRow] = {}
        for row in rows:
            published.setdefault(row.sha256, row)  # photos cut from one published file share it
        files = [
            RemoteFile(
                url=f"{base_url}/{quote(f'{row.repository}/{row.commit}/{row.path}')}",
                name=row.file,
                sha256=row.sha256,
                size=row.size,
            )
            for row in published.values()
        ]
        megabytes = sum(file.size for file in files) / 1e6
        note(f"Downloading the {len(rows)} Slash photos ({megabytes:.0f} MB) to {target}; {LICENCE}.")
        fetch_all(files, work / "originals")

        photos = work / "photos"
        if photos.exists():  # from an ended run; quickly made again, and then by this version throughout
            shutil.rmtree(photos)
        for label in {Path(row.file).parent for row in rows}:
            (photos / label).mkdir(parents=True)
        with progress() as bar, ThreadPoolExecutor(os.cpu_count()) as pool:
            task = bar.add_task("Cropping", total=len(rows))
            for _ in pool.map(
                lambda row: make_photo(work / "originals" / published[row.sha256].file, photos / row.file, row.box),
                rows,
            ):
                bar.advance(task)
        photos.rename(target)
        if not keep_originals:
            shutil.rmtree(work)
    return target


def make_photo(original: Path, photo: Path, box: tuple[int, int, int, int] | None) -> None:
    """Write the photo that ``box`` cuts from a published file.

    The order matters where the file carries an EXIF orientation: the box is in the pixels as they are stored,
    so the cut comes first, then what it leaves is turned upright, shrunk to at most 512 px (Lanczos; never
    enlarged) and saved as an RGB JPEG of quality 90 without metadata.

    Raises:
        ValueError: the box does not lie within the published file.
    """
    from PIL import Image, ImageOps

    with Image.open(original) as image:
        if box is None:
            box = (0, 0, *image.size)
        left, top, right, bottom = box
        if not (0 <= left < right <= image.width and 0 <= top < bottom <= image.height):
            raise ValueError(f"the box must lie within {image.width} x {image.height} pixels, got {box}")
        upright = ImageOps.exif_transpose(image.crop(box)).convert("RGB")
    upright.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS, reducing_gap=None)
    upright.save(photo, "JPEG", quality=JPEG_QUALITY)


def _missing_classes(folder: Path) -> list[str]:
    """The classes of which ``folder`` holds no photo."""
    return [
        name
        for name in CLASSES
        if not (folder / name).is_dir()
        or all(entry.name.startswith(".") or not entry.is_file() for entry in (folder / name).iterdir())
    ]


def named_folders() -> list[Path]:
    """The folders that ``$TL_TOOLKIT_DATA`` lists.

    Raises:
        UserError: one is in the home folder of nobody.
    """
    return [expanded(entry) for entry in os.environ.get(DATA_VARIABLE, "").split(os.pathsep) if entry]


def user_folder() -> Path:
    """Where data belong that this machine's user keeps for this project."""
    import platformdirs

    return platformdirs.user_data_path("tl_toolkit")
