"""Decoded photos on demand."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from tl_toolkit.datasets.images import VERSION, decode_image


class Photos:
    """The decoded photos of a data set by index; decoded at most once as long as they fit into memory.

    Args:
        root: Folder that ``paths`` are relative to.
        paths: POSIX paths, length n.
        budget: Bytes of decoded photos to keep. Later ones are decoded again whenever they are asked for.
        pixels: uint8 RGB, shape (n, height, width, 3): the photos themselves, where they are arrays and not files.
    """

    def __init__(
        self, root: Path, paths: tuple[str, ...], *, budget: int = 2**30, pixels: np.ndarray | None = None
    ) -> None:
        self._root, self._paths, self._left = root, paths, budget
        self.pixels = pixels
        self._kept: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def decoding(self) -> str:
        """What the pixels depend on besides the photos' files; for cache keys. Nothing, where they are arrays."""
        return f"decoded {VERSION}" if self.pixels is None else ""

    def file(self, index: int) -> Path:
        """The file of photo ``index``."""
        return self._root / self._paths[index]

    def __getitem__(self, index: int) -> np.ndarray:
        """Photo ``index`` as uint8 RGB, shape (height, width, 3), longest side at most 512 px.

        Raises:
            BrokenImageError: the file is not a whole photo.
            OSError: the file cannot be read.
        """
        if self.pixels is not None:
            return self.pixels[index]
        photo = self._kept.get(index)
        return self.keep(index, decode_image(self.file(index))) if photo is None else photo

    def keep(self, index: int, photo: np.ndarray) -> np.ndarray:
        """Remember a decoded photo while there is room, and give it back."""
        photo.setflags(write=False)
        with self._lock:
            if index not in self._kept and photo.nbytes <= self._left:
                self._kept[index] = photo
                self._left -= photo.nbytes
        return photo

    def select(self, indices: np.ndarray) -> Photos:
        """The photos at ``indices``, with what is decoded already."""
        if self.pixels is not None and len(indices) == len(self):
            return self
        pixels = None if self.pixels is None else self.pixels[indices]
        chosen = Photos(self._root, tuple(self._paths[i] for i in indices), budget=self._left, pixels=pixels)
        chosen._kept = {new: self._kept[old] for new, old in enumerate(indices.tolist()) if old in self._kept}
        return chosen
