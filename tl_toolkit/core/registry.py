"""Names to attributes, imported when they are asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from tl_toolkit.core.errors import UnknownNameError


class Registry:
    """A catalogue of the interchangeable things in one room.

    Args:
        kind: What the entries are, in the singular, for error messages ("backbone").
        entries: name -> ``"package.module:attribute"``. The module is imported on first use, so listing names is free.
    """

    def __init__(self, kind: str, entries: dict[str, str]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    def names(self) -> list[str]:
        """All names, in the order of registration."""
        return list(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def get(self, name: str) -> Any:
        """The attribute behind ``name``.

        Raises:
            UnknownNameError: no entry has that name.
        """
        if name not in self._entries:
            raise UnknownNameError(self.kind, name, self._entries)
        module, _, attribute = self._entries[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
