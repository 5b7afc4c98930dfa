"""Read a state dictionary from PyTorch's legacy file format, without PyTorch and without running foreign code.

Such a file is four pickles in a row (magic number, protocol version, system information, the object itself), a
pickled list of storage keys, and for each key an 8-byte little-endian element count followed by the raw data.
Tensors in the object are calls of ``torch._utils._rebuild_tensor_v2`` on persistent identifiers that name a storage.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Storage:
    """Elements of one storage; filled in after the object has been unpickled, as the file demands."""

    def __init__(self, dtype: np.dtype, size: int) -> None:
        self.elements = np.zeros(size, dtype)


class _Tensor:
    """A strided look at a storage, resolved once its elements are known."""

    def __init__(self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self) -> np.ndarray:
        elements = self.storage.elements
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        if 0 in self.shape or min((self.offset, *self.strides)) < 0 or last >= elements.size:
            raise pickle.UnpicklingError(f"A tensor of shape {self.shape} reaches outside its storage.")
        strides = tuple(s * elements.itemsize for s in self.strides)
        return np.lib.stride_tricks.as_strided(elements[self.offset :], self.shape, strides).copy()


def _rebuild_tensor(storage: _Storage, offset: int, shape: tuple, strides: tuple, *_: object) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


class _StateUnpickler(pickle.Unpickler):
    """Unpickles ordered dictionaries of tensors and nothing else."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a weights file.")

    def persistent_load(self, identifier: Any) -> _Storage:
        kind, dtype, key, _location, size, *_ = identifier
        if kind != "storage":
            raise pickle.UnpicklingError(f"Persistent identifier {kind!r} is not a storage.")
        return self.storages.setdefault(key, _Storage(dtype, size))


def read_state(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a legacy PyTorch file.

    Returns:
        parameter name -> array, with the shape and dtype of the stored tensor.

    Raises:
        pickle.UnpicklingError: the file is not of this format, is cut short, or names anything but tensors.
    """
    try:
        with path.open("rb") as file:
            state = _read(file, path.name)
        return {name: tensor.array() for name, tensor in state.items()}
    except (pickle.UnpicklingError, OSError):
        raise
    # Not a list of types: on damaged data pickle raises whatever its instructions run into.
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise pickle.UnpicklingError(f"{path.name} is no legacy PyTorch file, or is damaged ({reason}).") from error


def _read(file: BinaryIO, name: str) -> dict[str, _Tensor]:
    if _StateUnpickler(file).load() != _MAGIC_NUMBER:
        raise pickle.UnpicklingError(f"{name} is not a legacy PyTorch file.")
    for _ in ("protocol version", "system information"):
        _StateUnpickler(file).load()
    unpickler = _StateUnpickler(file)
    state = unpickler.load()
    for key in _StateUnpickler(file).load():
        storage = unpickler.storages[key]
        count = int.from_bytes(file.read(8), "little")
        data = file.read(count * storage.elements.itemsize)
        if count != storage.elements.size or len(data) != storage.elements.nbytes:
            raise pickle.UnpicklingError(f"{name} is cut short or damaged at storage {key}.")
        storage.elements = np.frombuffer(data, storage.elements.dtype)
    return state
