"""Whether a model file says what the pipeline says: measured on photos, in its own runtime, in a fresh process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.exporters.base import Exporter
from tl_toolkit.exporters.preprocessing import MAX_SIDE

TOLERANCE = 1e-3
"""Largest difference of a probability that passes, of formats that are exact."""

AGREEMENT = 0.98
"""Least share of photos that must be given the same class, of formats that are not."""

ORIGINAL_PIXELS = 400_000_000
"""About how many pixels files are checked on at original size, all photos together: 1.2 GB, if they were not packed."""

# The script as it is, in a process that cannot import this package.
_ISOLATED = (
    "import runpy, sys; sys.modules['tl_toolkit'] = None; sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


class ExportError(RuntimeError):
    """A model file that does not run, or does not say what the pipeline says; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Attributes:
    max_difference: Largest difference of a probability to the pipeline's.
    agreement: Share of photos that are given the same class.
    accuracy_loss: Share of photos that the pipeline tells right, less the share that the file tells right.
    checked: Number of photos.
    milliseconds: Median time of a photo, one at a time, without decoding, the first one left out.
    """

    max_difference: float
    agreement: float
    accuracy_loss: float
    checked: int
    milliseconds: float


def originals(folder: Path, number: int, photo: Callable[[int, int | None], np.ndarray]) -> list[Path]:
    """Photos as PNG files, which every reader decodes alike; in memory, there is one at a time.

    They are at original size, until those written are of :data:`ORIGINAL_PIXELS` together: such files of 64 photos of
    48 megapixels would take 6 GB. The others are shrunk to 512 px, as training saw them.

    Args:
        folder: An existing folder.
        number: How many photos there are.
        photo: Index of a photo, and its longest side in pixels or None for its own -> uint8 RGB.
    """
    from PIL import Image

    paths, left = [folder / f"{index:03d}.png" for index in range(number)], ORIGINAL_PIXELS
    for index, path in enumerate(paths):
        pixels = photo(index, None if left > 0 else MAX_SIDE)
        left -= pixels.shape[0] * pixels.shape[1]
        Image.fromarray(pixels).save(path, compress_level=1)
    return paths


def measure(
    exporter: Exporter, folder: Path, photos: Sequence[Path], labels: np.ndarray, expected: np.ndarray
) -> Parity:
    """Run the example script of a format, which must be in ``folder`` beside the model, and compare.

    Args:
        photos: Files, length n.
        labels: int64, shape (n,): their classes.
        expected: float32, shape (n, k): what the pipeline says.

    Raises:
        ExportError: the script fails, or answers other than it should.
    """
    answers = answered(exporter, folder, photos)
    said = np.array([answer["probabilities"] for answer in answers], np.float32)
    if said.shape != expected.shape:
        raise ExportError(f"{exporter.path} gives probabilities of shape {said.shape}, not {expected.shape}.")
    pipeline, file = expected.argmax(1), said.argmax(1)
    times = [answer["milliseconds"] for answer in answers]
    return Parity(
        max_difference=float(np.abs(said - expected).max()),
        agreement=float((file == pipeline).mean()),
        accuracy_loss=float((pipeline == labels).mean() - (file == labels).mean()),
        checked=len(said),
        milliseconds=float(np.median(times[1:] or times)),
    )


def answered(exporter: Exporter, folder: Path, photos: Sequence[Path]) -> list[dict[str, Any]]:
    """What the example script of a format says of each photo, in a fresh process: ``probabilities``, ``milliseconds``.

    Raises:
        ExportError: the script fails.
    """
    # Absolute, as the script runs in another folder, which -P keeps off the path. Not -I: packages may be those of the
    # user, or where PYTHONPATH says.
    files = [path.resolve() for path in (folder / exporter.example, *photos)]
    command = [sys.executable, "-P", "-c", _ISOLATED, str(files[0]), "--json", *map(str, files[1:])]
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ExportError(f"{exporter.path} does not run: {last}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def judge(exporter: Exporter, parity: Parity) -> None:
    """Raise ExportError where a file is too far from the pipeline."""
    if exporter.exact and not parity.max_difference <= TOLERANCE:
        raise ExportError(
            f"{exporter.path} says other probabilities than the pipeline: up to {parity.max_difference:.2g} apart on "
            f"{parity.checked} photos, where {TOLERANCE:g} is allowed."
        )
    if not exporter.exact and not (parity.agreement >= AGREEMENT and np.isfinite(parity.max_difference)):
        raise ExportError(
            f"{exporter.path} gives {parity.agreement:.1%} of {parity.checked} photos the class that the pipeline "
            f"gives them, where {AGREEMENT:.0%} are asked for: rounding to 8 bits costs this network too much."
        )


def add_example(exporter: Exporter, folder: Path) -> None:
    """Put the example script of a format beside its model."""
    shutil.copyfile(Path(__file__).with_name("examples") / exporter.example, folder / exporter.example)
