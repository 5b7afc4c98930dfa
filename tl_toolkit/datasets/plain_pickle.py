"""Read a pickle of plain data without running it.

A pickle is a program for a small machine. Here its instructions are only listed, by :func:`pickletools.genops`, and the
few that make numbers, text, bytes, lists, tuples, dicts and uint8 matrices are followed; nothing is imported or called.
Not a :class:`pickle.Unpickler` that allows a few globals: nine bytes can make one fill 64 GiB (``LONG_BINPUT`` sizes
its memo), and tuples nested into the key of a dict make it hash for ever.

Followed are protocols 2 to 4, as Python 2 with NumPy 1 and Python 3 with NumPy 1 or 2 write them.
"""

from __future__ import annotations

import io
import pickletools
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_INSTRUCTIONS = 500_000
"""As each can make an object, this bounds memory and time; a batch of CIFAR-10 has 30,000 to 60,000."""


class MalformedError(Exception):
    """A file that is not what it should be; the message goes on where the name of the file ended."""


@dataclass(frozen=True, slots=True)
class _Stand:
    """Stands for a function, a class, or an object that is not complete yet."""

    name: str


_RECONSTRUCT, _NDARRAY, _DTYPE, _ENCODE = (_Stand(name) for name in ("_reconstruct", "ndarray", "dtype", "encode"))
_EMPTY_ARRAY, _UINT8 = _Stand("array without elements"), _Stand("uint8")

_GLOBALS = {
    "numpy.core.multiarray _reconstruct": _RECONSTRUCT,
    "numpy._core.multiarray _reconstruct": _RECONSTRUCT,
    "numpy ndarray": _NDARRAY,
    "numpy dtype": _DTYPE,
    "_codecs encode": _ENCODE,  # how Python 3 writes bytes in protocol 2
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "BINBYTES", "SHORT_BINBYTES", "BINUNICODE", "SHORT_BINUNICODE"}


def load(content: bytes) -> Any:
    """What a pickle holds.

    Returns:
        int, bool, None, str, bytes (also for the text of Python 2), and lists, tuples and dicts of these, with str or
        bytes for keys; a matrix is an array, uint8, shape (rows, columns), that looks into ``content`` or a copy of it.

    Raises:
        MalformedError: the pickle is cut short or damaged, goes on after its end, is too long, or has anything else in
            it; the message names a global that is not allowed.
    """
    machine, stream = _Machine(len(content)), io.BytesIO(content)
    try:
        for number, (instruction, argument, _) in enumerate(pickletools.genops(stream)):
            if number == MOST_INSTRUCTIONS:
                raise MalformedError(f"is a pickle of more than {MOST_INSTRUCTIONS:,} instructions")
            machine.follow(instruction.name, argument)
        [value] = machine.stack
    except (ValueError, LookupError) as error:
        raise MalformedError("is no pickle, or is cut short or damaged") from error
    if stream.read(1):
        raise MalformedError("goes on after the end of its pickle")
    return value


class _Machine:
    """The stack, the marks in it and the memo of a pickle that is followed.

    Args:
        size: Of the pickle in bytes: calls may make no more bytes than it has, for a text in the memo can be encoded
            again and again.
    """

    def __init__(self, size: int) -> None:
        self.left = size
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def follow(self, name: str, argument: Any) -> None:
        """Follow one instruction, as :mod:`pickletools` names it."""
        stack = self.stack
        if name in _VALUES:
            stack.append(argument)
        elif name in ("SHORT_BINSTRING", "BINSTRING"):  # Python 2: bytes, which genops decodes
            stack.append(argument.encode("latin-1"))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            stack.append(tuple(self.taken(_TUPLES[name])))
        elif name == "TUPLE":
            stack.append(tuple(self.since_mark()))
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name in ("EMPTY_LIST", "EMPTY_DICT"):
            stack.append([] if name == "EMPTY_LIST" else {})
        elif name in ("APPEND", "APPENDS"):
            self.extend(self.taken(1) if name == "APPEND" else self.since_mark())
        elif name in ("SETITEM", "SETITEMS"):
            self.update(self.taken(2) if name == "SETITEM" else self.since_mark())
        elif name == "GLOBAL":
            stack.append(_global(argument))
        elif name == "STACK_GLOBAL":
            stack.append(_global(" ".join(part for part in self.taken(2) if isinstance(part, str))))
        elif name == "REDUCE":
            stack.append(made := _called(*self.taken(2)))
            self.left -= len(made) if isinstance(made, bytes) else 0
            if self.left < 0:
                raise MalformedError("makes more bytes in its pickle than it has")
        elif name == "BUILD":
            stack.append(_completed(*self.taken(2)))
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise MalformedError(f"has the pickle instruction {name}, which plain data do not need")

    def taken(self, count: int) -> list[Any]:
        """The uppermost ``count`` values, off the stack."""
        if count > len(self.stack):
            raise ValueError(f"{count} values must be on the stack, got {len(self.stack)}")
        start = len(self.stack) - count
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def since_mark(self) -> list[Any]:
        """The values above the last mark, off the stack."""
        return self.taken(len(self.stack) - self.marks.pop())

    def extend(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("only a list is appended to")
        self.stack[-1].extend(values)

    def update(self, values: list[Any]) -> None:
        keys = values[::2]
        if not isinstance(self.stack[-1], dict) or not all(isinstance(key, str | bytes) for key in keys):
            raise MalformedError("has a dict with keys that are not text")
        self.stack[-1].update(zip(keys, values[1::2], strict=True))


def _global(name: str) -> _Stand:
    """What stands for the global that is named by its module, a space, and its own name."""
    if name not in _GLOBALS:
        raise MalformedError(f"asks for the global {name[:80].replace(' ', '.')!r}, which plain data do not need")
    return _GLOBALS[name]


def _called(function: Any, arguments: Any) -> Any:
    """What stands for the result of a call."""
    match function, arguments:
        case _Stand("_reconstruct"), (_Stand("ndarray"), (0,), bytes() | str()):
            return _EMPTY_ARRAY
        case _Stand("dtype"), (b"u1" | "u1" | b"uint8" | "uint8", *_):
            return _UINT8
        case _Stand("dtype"), (bytes() | str() as name, *_):
            raise MalformedError(f"has an array of dtype {name[:20]!r}, not of 'u1'")
        case _Stand("encode"), (str() as text, b"latin1" | "latin1"):
            return text.encode("latin-1")
    raise MalformedError("has a call in its pickle that plain data do not need")


def _completed(value: Any, state: Any) -> Any:
    """A value after it has been given its state."""
    match value, state:
        case _Stand("uint8"), tuple():  # byte order, alignment: nothing that matters to single bytes
            return _UINT8
        case (
            _Stand("array without elements"),
            (1, (int() as rows, int() as columns), _Stand("uint8"), int() as by_columns, bytes() as elements),
        ) if min(rows, columns) >= 0:
            if rows * columns != len(elements):
                raise MalformedError(f"has an array of shape ({rows}, {columns}) with {len(elements)} elements")
            array = np.frombuffer(elements, np.uint8)
            return array.reshape((rows, columns), order="F" if by_columns else "C")
    raise MalformedError("has an array that is no uint8 matrix, or another object that plain data do not need")
