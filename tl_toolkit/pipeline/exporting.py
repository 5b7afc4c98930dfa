"""From a trained classifier to model files that were checked: at the end of a run, and later from its folder."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.core.console import note, warn
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import digest, sha256, write_json, write_text
from tl_toolkit.core.records import ExportedModel
from tl_toolkit.core.references import run_folder
from tl_toolkit.core.runs import plain
from tl_toolkit.core.runtime import keras
from tl_toolkit.core.saved import load_run
from tl_toolkit.datasets.images import decode_image
from tl_toolkit.datasets.load import load_dataset
from tl_toolkit.datasets.photos import Photos
from tl_toolkit.exporters import REGISTRY, card, parity
from tl_toolkit.exporters.base import LABELS, Exporter, Material
from tl_toolkit.pipeline.data import Prepared
from tl_toolkit.pipeline.options import ExportOptions
from tl_toolkit.sections import page

CHECKED = 64
"""Most photos on which files are checked."""

CALIBRATED = 128
"""Most photos by which formats of whole numbers find their ranges."""

EXPECTED = "expected.json"


def exporters_of(formats: Sequence[str]) -> list[Exporter]:
    """The formats that the user named, ``keras`` first, as the others are made of it; ``all`` for all.

    Raises:
        UserError: there is no such format, or a package that it needs is missing.
    """
    names = list(REGISTRY) if "all" in formats else ["keras", *formats]
    exporters: list[Exporter] = [REGISTRY.get(name) for name in dict.fromkeys(names)]
    for exporter in exporters:
        exporter.require()
    return exporters


def spread(labels: np.ndarray, rows: np.ndarray, most: int = CHECKED) -> np.ndarray:
    """Up to ``most`` of the photos in ``rows``, bool (n,), of all classes as evenly as can be: int64, ascending."""
    indices = np.flatnonzero(rows)
    rank = np.zeros(len(indices), np.int64)
    for c in np.unique(labels[indices]):
        members = labels[indices] == c
        rank[members] = np.arange(members.sum())
    return np.sort(indices[np.argsort(rank, kind="stable")[:most]])


def export_model(
    folder: Path,
    classifier: Any,
    prepared: Prepared,
    checked: np.ndarray,
    expected: np.ndarray,
    trained: np.ndarray,
    formats: Sequence[str],
) -> list[ExportedModel]:
    """Write the model files of a run, and check each.

    Args:
        folder: Of the run; files go into its folder ``model``.
        classifier: keras.Model; see :mod:`~tl_toolkit.exporters.classifiers`.
        checked: int64, shape (m,): photos on which files are checked, see :func:`spread`.
        expected: float32, shape (m, k): what the pipeline says of them.
        trained: bool, shape (n,): the photos that the classifier was trained on.
        formats: As the user named them.

    Returns:
        Of each format how it was found, that of Keras first.

    Raises:
        RuntimeError: the Keras file does not say what the pipeline says. Other formats that fail are warned of.
    """
    dataset, photos = prepared.dataset, prepared.photos
    kept = {
        "photos": [
            {"path": dataset.paths[i], "sha256": prepared.audit.sha256[i], "probabilities": said}
            for i, said in zip(checked.tolist(), expected, strict=True)
        ],
        "calibration": [
            {"path": dataset.paths[i], "sha256": prepared.audit.sha256[i]}
            for i in spread(dataset.labels, trained, CALIBRATED).tolist()
        ],
    }
    write_json(folder / "model" / EXPECTED, plain(kept))
    return _written(
        folder,
        classifier,
        dataset.class_names,
        exporters_of(formats),
        lambda number, side: _decoded(photos, int(checked[number]), side),
        dataset.labels[checked],
        expected,
        [photos[int(i)] for i in spread(dataset.labels, trained, CALIBRATED)],
    )


def finish(folder: Path, run: dict[str, Any]) -> None:
    """Write what describes the model files, ``run.json`` with the hashes of all of them, and the page."""
    model, analysis = folder / "model", folder / "analysis.json"
    # None after Ctrl-C during the analysis.
    weights = json.loads(analysis.read_text(encoding="utf-8")).get("weights", {}) if analysis.exists() else {}
    write_text(model / "model_card.md", card.text(run, weights))
    files = sorted(path for path in model.rglob("*") if path.is_file())
    run["model_files"] = {path.relative_to(model).as_posix(): sha256(path) for path in files}
    # Last but the page: a folder with a run.json is a finished run.
    write_json(folder / "run.json", run)
    page.build(folder)


def export(options: ExportOptions) -> list[ExportedModel]:
    """Write further formats of a finished run, check them on the photos of its run, and bring its records up to date.

    Where a format fails of which there is a file that passed, that file stays with its record.

    Returns:
        Of each format that was asked for how it was found now.

    Raises:
        UserError: something that the user can mend, such as photos that are elsewhere by now.
    """
    exporters = exporters_of(options.formats)
    folder = run_folder(options.run)
    saved = load_run(folder)
    run = saved.run
    try:
        kept = json.loads((folder / "model" / EXPECTED).read_text(encoding="utf-8"))
        classifier = keras().saving.load_model(folder / "model" / "model.keras")
        previous = {one["format"]: one for one in run["exports"]}
    except (FileNotFoundError, KeyError, ValueError, json.JSONDecodeError) as error:
        raise UserError(
            f"{folder} keeps no model with expected probabilities (model/model.keras, model/{EXPECTED}), as runs of "
            "older releases do not: run the search again."
        ) from error
    find = _finder(run, options)
    # Those on which files are checked were all scored.
    label_of = dict(zip(saved.paths, saved.labels.tolist(), strict=True))
    labels = np.array([label_of[one["path"]] for one in kept["photos"]])
    expected = np.array([one["probabilities"] for one in kept["photos"]], np.float32)
    calibration = [find(one, 512) for one in kept["calibration"]] if not all(e.exact for e in exporters) else []
    names = run["dataset"]["class_names"]
    # The Keras file is what the others are made of, and stays; unless it was asked for, it is not checked again.
    wanted = [e for e in exporters if e.name != "keras" or "keras" in options.formats or "all" in options.formats]
    made = _written(
        folder,
        classifier,
        names,
        wanted,
        lambda number, side: find(kept["photos"][number], side),
        labels,
        expected,
        calibration,
    )
    for one in made:
        before = previous.get(one.format)
        if one.error and before and not before["error"] and (folder / "model" / one.path).exists():
            # What failed was written elsewhere.
            warn(f"The file {one.path} of an earlier export, which passed, stays as it is, and so does its record.")
        else:
            previous[one.format] = plain(one)
    run["exports"] = list(previous.values())
    finish(folder, run)
    return made


def _decoded(photos: Photos, index: int, side: int | None) -> np.ndarray:
    """A photo of which nothing is kept in memory, its longest side at most ``side``."""
    return photos[index] if photos.pixels is not None else decode_image(photos.file(index), max_side=side)


def _finder(run: dict[str, Any], options: ExportOptions) -> Any:
    """What finds a photo of ``expected.json`` again, and decodes it: (record, longest side) -> uint8 RGB."""
    data = run["dataset"]
    how = f"name the folder of its photos: python -m tl_toolkit.export {options.run} --photos FOLDER"
    if options.photos is not None:
        root, pixels = options.photos, {}
    else:
        try:
            directory = options.data_dir or (Path(data["data_dir"]) if data.get("data_dir") else None)
            dataset = load_dataset(data["argument"], data_dir=directory, allow_sample=data["is_sample"])
        except UserError as error:
            raise UserError(f"The photos of this run are not found ({error}): {how}") from error
        root = dataset.root
        pixels = {} if dataset.pixels is None else dict(zip(dataset.paths, dataset.pixels, strict=True))

    def find(one: dict[str, Any], side: int | None) -> np.ndarray:
        array = pixels.get(one["path"])
        content = array.tobytes() if array is not None else None
        if content is None:
            try:
                content = (root / one["path"]).read_bytes()
            except OSError as error:
                raise UserError(
                    f"{root / one['path']}, on which this run was checked, cannot be read: {how}"
                ) from error
        if hashlib.sha256(content).hexdigest() != one["sha256"]:
            raise UserError(f"{one['path']} is not what it was when the run was made: {how}")
        return array if array is not None else decode_image(content, max_side=side)

    return find


def _written(
    folder: Path,
    classifier: Any,
    class_names: Sequence[str],
    exporters: Sequence[Exporter],
    photo: Callable[[int, int | None], np.ndarray],
    labels: np.ndarray,
    expected: np.ndarray,
    calibration: Sequence[np.ndarray],
) -> list[ExportedModel]:
    """Write and check; each format goes to its place when it is whole."""
    model = folder / "model"
    write_text(model / LABELS, "\n".join(class_names) + "\n")
    material = Material(
        classifier=classifier,
        class_names=class_names,
        metadata={"run": folder.name, "contract": card.CONTRACT, "large_photos": card.LARGE_PHOTOS},
        calibration=calibration,
    )
    made = []
    with tempfile.TemporaryDirectory() as temporary:
        files = parity.originals(Path(temporary), len(expected), photo)
        for exporter in exporters:
            try:
                made.append(_one(exporter, model, material, files, labels, expected))
            except parity.ExportError as error:
                if exporter.name == "keras":
                    raise
                warn(f"The format {exporter.name} failed: {error}")
                made.append(ExportedModel(path=exporter.path, format=exporter.name, error=str(error)))
    return made


def _one(
    exporter: Exporter,
    model: Path,
    material: Material,
    files: Sequence[Path],
    labels: np.ndarray,
    expected: np.ndarray,
) -> ExportedModel:
    """One format: written beside its place, checked there, and moved to its place if it passes."""
    part = Path(exporter.path).parts[0]
    with tempfile.TemporaryDirectory(prefix=f".{exporter.name}.", dir=model) as temporary:
        new = Path(temporary)
        shutil.copyfile(model / LABELS, new / LABELS)
        parity.add_example(exporter, new)
        try:
            exporter.write(new / exporter.path, material)
        # Whatever a converter raises, of packages that may be broken or too new: the run is worth more than a format.
        except Exception as error:
            if exporter.name == "keras":
                raise
            reason = " ".join(str(error).split())
            raise parity.ExportError(f"{exporter.path} cannot be written: {reason or type(error).__name__}") from error
        found = parity.measure(exporter, new, files, labels, expected)
        parity.judge(exporter, found)
        if (model / part).is_dir():
            shutil.rmtree(model / part)
        for name in (part, exporter.example):
            (new / name).replace(model / name)
    whole = sorted(path for path in [model / part, *(model / part).rglob("*")] if path.is_file())
    classes = (
        f", {found.agreement:.1%} of {found.checked} photos in the same class, accuracy lost {found.accuracy_loss:+.1%}"
    )
    note(
        f"Exported {exporter.path}: probabilities at most {found.max_difference:.1e} from the pipeline's"
        f"{'' if exporter.exact else classes}"
    )
    return ExportedModel(
        path=exporter.path,
        format=exporter.name,
        sha256=digest(model / part),
        size=sum(path.stat().st_size for path in whole),
        max_difference=found.max_difference,
        agreement=found.agreement,
        accuracy_loss=found.accuracy_loss,
        checked=found.checked,
        milliseconds=found.milliseconds,
    )
