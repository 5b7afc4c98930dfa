"""The feature bank: what each backbone says of each view of each photo, computed once and kept on disk.

A file of the bank is a block: rows of (SHA-256 of the photo's file, features) for one view under one key, which names
everything else that the features depend on. Blocks are never changed. So another data set that shares photos shares
their features, a photo more costs one row, and a killed run loses at most the block that it was computing.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import filelock
import numpy as np

from tl_toolkit.backbones import REGISTRY
from tl_toolkit.backbones.base import Backbone
from tl_toolkit.core.console import warn
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import written_whole
from tl_toolkit.core.runtime import native_messages_held, tensorflow

_BLOCK = 2048
"""Most rows of a block, so that a run over many photos can be killed at small cost."""

CLEAN = "clean"
"""Key of view 0, which is the same for all policies."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ViewSource:
    """Where the bank gets its pixels from.

    Attributes:
        ids: SHA-256 of each photo's file, hexadecimal, length n.
        key: What the pixels of views 1, 2, ... depend on besides the photo and the view's number.
        views: Number of views, the clean one included.
        pixels: (photo number, view number) -> uint8 RGB, shape (height, width, 3). Called from several threads.
        decoding: What the pixels of all views, the clean one as well, depend on besides.
        together: View number -> the same of all photos at once, uint8 RGB, shape (n, height, width, 3), not to be
            written to; None where they come one by one only.
    """

    ids: tuple[str, ...]
    key: str
    views: int
    pixels: Callable[[int, int], np.ndarray]
    decoding: str = ""
    together: Callable[[int], np.ndarray | None] = lambda _view: None


def resolve(specification: str) -> list[tuple[Backbone, int]]:
    """The backbones of a specification and their input sizes in pixels.

    ``name``, ``name@size`` for another input size, and several of them joined by ``+``.

    Raises:
        UserError: a name or size that cannot be.
    """
    parts = []
    for part in specification.split("+"):
        name, at, size = part.partition("@")
        backbone = REGISTRY.get(name)
        if at and not (size.isdecimal() and 32 <= int(size) <= 1024):
            raise UserError(f"Backbone {part!r}: the input size must be a whole number of pixels from 32 to 1024.")
        parts.append((backbone, int(size) if at else backbone.image_size))
    return parts


@lru_cache(maxsize=4)
def _program(name: str, size: int) -> bytes:
    """The network as a LiteRT program, from pixels float32 (1, size, size, 3) to features float32 (1, n_features).

    One photo at a time on one thread, and as many such programs as there are cores: about three times as fast here as
    TensorFlow on batches (``benchmarks/bench_features.py``), and a photo's features do not depend on its company.
    """
    tf = tensorflow()
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    model = REGISTRY.get(name).build(size)
    signature = tf.TensorSpec((1, size, size, 3), tf.float32)
    graph = tf.function(lambda pixels: model(pixels, training=False)).get_concrete_function(signature)
    with native_messages_held():
        # Frozen first: the converter takes five times as long to find the weights of variables, if it finds them.
        converter = tf.lite.TFLiteConverter.from_concrete_functions([convert_variables_to_constants_v2(graph)])
        return converter.convert()


def _extractors(name: str, size: int, count: int) -> list[Callable[[Any], np.ndarray]]:
    """``count`` copies of a backbone, each for one thread: pixels float32 (size, size, 3) -> features (n_features,)."""
    from ai_edge_litert.interpreter import Interpreter

    def extractor() -> Callable[[Any], np.ndarray]:
        interpreter = Interpreter(model_content=_program(name, size), num_threads=1)
        interpreter.allocate_tensors()
        [into], [out] = interpreter.get_input_details(), interpreter.get_output_details()

        def extract(pixels: Any) -> np.ndarray:
            interpreter.set_tensor(into["index"], pixels[None])
            interpreter.invoke()
            return interpreter.get_tensor(out["index"])[0]

        return extract

    with native_messages_held():
        return [extractor() for _ in range(count)]


def extractor(specification: str) -> Callable[[np.ndarray], np.ndarray]:
    """What takes one photo, uint8 RGB (height, width, 3), to its features, float32 (d,), as the bank has them; to be
    called by one thread at a time."""
    tf = tensorflow()
    parts = [(_extractors(backbone.name, side, 1)[0], side) for backbone, side in resolve(specification)]
    return lambda photo: np.concatenate(
        [extract(tf.image.resize(photo, (side, side)).numpy()) for extract, side in parts]
    )


class FeatureBank:
    """Features on disk, computed where they are missing.

    Args:
        folder: Where blocks are kept; made when needed.

    Attributes:
        computed: Image views that went through a backbone so far.
        reused: Image views that were read from disk.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.computed = 0
        self.reused = 0

    def features(
        self, specification: str, source: ViewSource, advance: Callable[[int], None] = lambda _: None
    ) -> np.ndarray:
        """Features of every view, those of several backbones side by side.

        Args:
            specification: See :func:`resolve`.
            source: Photos and views.
            advance: Called with the number of image views done, for progress.

        Returns:
            float32, shape (n, views, d).

        Raises:
            OSError: the bank cannot be written.
        """
        parts = resolve(specification)
        table = np.empty((len(source.ids), source.views, sum(b.n_features for b, _ in parts)), np.float32)
        at = 0
        for backbone, size in parts:
            for view in range(source.views):
                rows = self._view(backbone, size, source, view, advance)
                for index, identity in enumerate(source.ids):
                    table[index, view, at : at + backbone.n_features] = rows[identity]
            at += backbone.n_features
        return table

    def missing(self, specification: str, source: ViewSource) -> int:
        """Image views that :meth:`features` would have to compute."""
        count = 0
        for backbone, size in resolve(specification):
            for view in range(source.views):
                rows = self._read(self._folder(backbone, size, source, view), backbone)
                count += len({identity for identity in source.ids if identity not in rows})
        return count

    def _view(
        self, backbone: Backbone, size: int, source: ViewSource, view: int, advance: Callable[[int], None]
    ) -> dict[str, np.ndarray]:
        """Features of one view of all photos by one backbone: identity -> float32, shape (backbone.n_features,)."""
        folder = self._folder(backbone, size, source, view)
        rows, before = self._read(folder, backbone), self.computed
        if any(i not in rows for i in source.ids):
            folder.mkdir(parents=True, exist_ok=True)
            # A second process that wants the same waits here, and then finds it done.
            with filelock.FileLock(folder / ".lock"):
                rows = self._read(folder, backbone)
                wanted: dict[str, int] = {}
                for index, identity in enumerate(source.ids):
                    if identity not in rows:
                        wanted.setdefault(identity, index)
                missing = list(wanted.values())
                for start in range(0, len(missing), _BLOCK):
                    self._compute(backbone, size, source, view, missing[start : start + _BLOCK], folder, advance)
                rows = self._read(folder, backbone)
        self.reused += len(source.ids) - (self.computed - before)
        return rows

    def _folder(self, backbone: Backbone, size: int, source: ViewSource, view: int) -> Path:
        key = ", ".join(filter(None, (source.key if view else CLEAN, source.decoding)))
        readable = re.sub(r"[^a-z0-9.]+", "-", key.lower()).strip("-")[:60]
        digest = hashlib.sha256(key.encode()).hexdigest()[:12]
        return self.folder / f"{backbone.name}-v{backbone.version}-{size}px" / f"{readable}-{digest}" / f"{view:03d}"

    def _read(self, folder: Path, backbone: Backbone) -> dict[str, np.ndarray]:
        """Identity -> features of all blocks, memory-mapped."""
        rows: dict[str, np.ndarray] = {}
        for path in sorted(folder.glob("block-*.npy")):
            try:
                block = np.load(path, mmap_mode="r")
                if block.dtype != _row_type(backbone.n_features):
                    raise ValueError(f"rows of type {block.dtype}")
            except (ValueError, EOFError) as error:
                warn(f"{path} is damaged ({error}); its features are computed again.")
                path.unlink(missing_ok=True)
                continue
            rows.update(zip((i.tobytes().hex() for i in block["id"]), block["features"], strict=True))
        return rows

    def _compute(
        self,
        backbone: Backbone,
        size: int,
        source: ViewSource,
        view: int,
        indices: Sequence[int],
        folder: Path,
        advance: Callable[[int], None],
    ) -> None:
        """Compute the features of some photos and write them as one block."""
        tf = tensorflow()
        block = np.empty(len(indices), _row_type(backbone.n_features))
        for row, index in enumerate(indices):
            block["id"][row] = np.frombuffer(bytes.fromhex(source.ids[index]), np.uint8)
        idle: SimpleQueue[Callable[[Any], np.ndarray]] = SimpleQueue()
        cores = os.cpu_count() or 1
        for extract in _extractors(backbone.name, size, cores):
            idle.put(extract)

        done = np.zeros(len(indices), bool)

        def fill(row: int) -> None:
            # The same operation as in an exported model's graph, so that both see the same pixels.
            pixels = tf.image.resize(source.pixels(indices[row], view), (size, size)).numpy()
            extract = idle.get()
            block["features"][row] = extract(pixels)
            idle.put(extract)
            done[row] = True
            advance(1)

        try:
            with ThreadPoolExecutor(cores) as pool:
                for _ in pool.map(fill, range(len(indices))):
                    pass  # raises what a thread raised
        finally:
            # After Ctrl-C or a photo that cannot be read, too: what is done need not be done again.
            self.computed += int(done.sum())
            if done.any():
                name = hashlib.sha256(block["id"][done].tobytes()).hexdigest()[:24]
                with written_whole(folder / f"block-{name}.npy") as file:
                    np.save(file, block[done])


def _row_type(n_features: int) -> np.dtype:
    return np.dtype([("id", np.uint8, (32,)), ("features", np.float32, (n_features,))])
