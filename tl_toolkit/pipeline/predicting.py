"""From a run or a model file to predictions of any photos: ``load_model``, and what ``predict`` writes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO, Any

from tl_toolkit.core.console import note, progress, warn
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.references import run_folder
from tl_toolkit.core.runs import Stopwatch
from tl_toolkit.datasets.images import SUFFIXES, decode_image
from tl_toolkit.exporters.base import opened
from tl_toolkit.inference.classifier import Classifier, Failure
from tl_toolkit.inference.layouts import LAYOUTS, printable
from tl_toolkit.inference.listing import find_photos

QUICKEST = ("litert",)
"""Formats of exports that a run's predictions are made with, where it has them and they passed their check; else the
``.keras`` file. LiteRT runs the backbones some three times as fast as TensorFlow."""

_FLUSHED = 0.2
"""Seconds between lines that are written out."""


def load_model(reference: str | PathLike[str]) -> Classifier:
    """Open a model to predict with.

    Args:
        reference: A model file, a run folder, or ``<folder of runs>/latest`` or ``/best``, such as
            ``reports/slash/best``. ``latest`` is the finished run that began last. ``best`` is the one with the best
            honest score of those on the same photos as ``latest``, by the metric that it optimised; of equal ones, the
            later. Smoke runs and those of drawn pictures count only where there are no others. See
            :func:`tl_toolkit.core.references.run_folder`.

    Raises:
        UserError: nothing is there, or it is neither a run nor a model of this package.
    """
    path = model_file(Path(reference))
    model, class_names = opened(path)
    return Classifier(model, class_names, decode_image, path)


def model_file(reference: Path) -> Path:
    """The model file that a reference means: itself, or the quickest of a run's that passed its check.

    Raises:
        UserError: nothing is there.
    """
    folder = run_folder(reference)
    if not folder.exists():
        raise UserError(f"{folder} does not exist: name a run folder, a model file, or a folder of runs and /latest.")
    if not folder.is_dir():
        return folder
    if not (folder / "run.json").exists():
        if any(folder.glob("*/run.json")):
            raise UserError(
                f"{folder} is a folder of runs: name one of them, or {folder / 'latest'}, {folder / 'best'}."
            )
        return folder
    for path in (*_quickest(folder), folder / "model" / "model.keras"):
        if path.exists():
            return path
    raise UserError(f"{folder} is a run without its model file: name another, or search again.")


def _quickest(folder: Path) -> list[Path]:
    try:
        run: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        exports = {one["format"]: folder / "model" / one["path"] for one in run.get("exports", []) if one.get("sha256")}
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"The records in {folder} are damaged ({error!r}): name the model file instead.") from error
    return [exports[name] for name in QUICKEST if name in exports]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOptions:
    """The options of ``python -m tl_toolkit.predict``.

    Attributes:
        words: Files, folders, globs, and ``-`` for a list on standard input.
        layout: ``table``, ``csv`` or ``jsonl``; None for a table on a terminal, what the suffix of ``out`` says, else
            CSV.
        out: File for the results; None for standard output.
    """

    model: Path
    words: tuple[str, ...]
    layout: str | None = None
    top_k: int = 1
    threshold: float = 0.0
    out: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many photos were predicted, how many could not be read, and the seconds that both took."""

    predicted: int
    broken: int
    seconds: float


def predict(options: PredictOptions) -> Tally:
    """Predict photos and write what is said of each, one line a photo, as it comes.

    A photo that cannot be read is warned of, and has a line that says why.

    Raises:
        UserError: there is no such model, or no photo.
        KeyboardInterrupt: Ctrl-C; what was written to standard output stays. ``out`` is not touched; what would have
            become it is kept beside it, as ``<out>.part``, with a line for each of the first photos.
        BrokenPipeError: who reads standard output has had enough.
    """
    watch = Stopwatch()
    path = model_file(options.model)
    photos = find_photos(options.words, SUFFIXES, lambda: sys.stdin.buffer.read())
    classifier = load_model(path)
    note(f"{path}: {len(classifier.classes_)} classes; ready after {watch.total():.1f} s")
    name = options.layout or _layout(options.out)
    layout = LAYOUTS[name](tuple(classifier.classes_.tolist()), options.top_k)
    watch, broken = Stopwatch(), 0
    with _results(options.out) as file, progress() as display:
        task = display.add_task("Predicting", total=len(photos))
        lines, written = [layout.head()], 0.0

        def flush() -> None:
            nonlocal lines, written
            # On one terminal, results and progress would write over each other.
            shared = options.out is None and file.isatty() and not display.disable
            if shared:
                display.stop()
            file.write("".join(lines).encode("utf-8", "surrogateescape"))
            file.flush()
            if shared:
                display.start()
            lines, written = [], watch.total()

        with closing(classifier.stream(photos, threshold=options.threshold)) as stream:
            for done, one in enumerate(stream, 1):
                if isinstance(one, Failure):
                    broken += 1
                    warn(f"{printable(one.path or '')} cannot be read: {printable(one.reason)}.")
                lines.append(layout.line(one))
                display.update(task, completed=done)
                if watch.total() > written + _FLUSHED:
                    flush()
        flush()
    seconds = watch.total()
    what = "photo" if len(photos) == 1 else "photos"
    rate = f"{len(photos)} {what} in {seconds:.2f} s: {len(photos) / seconds:.1f} a second"
    note(f"{rate}; {broken} could not be read" if broken else rate)
    return Tally(predicted=len(photos) - broken, broken=broken, seconds=seconds)


@contextmanager
def _results(out: Path | None) -> Iterator[IO[bytes]]:
    if out is None:
        # Taken now: a progress display puts something else in place of standard output.
        yield sys.stdout.buffer
        return
    if out.is_dir():
        raise UserError(f"{out} is a folder: name a file with --out.")
    part = out.with_name(f"{out.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(out)
    except BaseException as error:
        # Lines are written whole, and there is no cache that would answer the same photos again at once.
        if isinstance(error, KeyboardInterrupt) and part.stat().st_size:
            raise KeyboardInterrupt(f"Interrupted: what was said so far is in {part}.") from error
        part.unlink(missing_ok=True)
        raise


def _layout(out: Path | None) -> str:
    if out is None:
        return "table" if sys.stdout.isatty() else "csv"
    return {".jsonl": "jsonl", ".txt": "table"}.get(out.suffix.lower(), "csv")
