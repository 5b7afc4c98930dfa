"""Mistakes that the user can mend, as opposed to ours.

A :class:`UserError` is shown as one line and ends a command with exit code 2. A :class:`BrokenImageError` is for
whoever asked for the photo: commands go on without it. A :class:`TimeUpError` is for whoever set a time. Every other
exception is a defect of this project and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend; the message is one line that says what is wrong and what to do."""


class BrokenImageError(ValueError):
    """A file that cannot be decoded in full; the message is a one-line reason."""


class TimeUpError(Exception):
    """The time that was given is up; what was done is kept where it can be."""


class UnknownNameError(UserError):
    """A name that no registry entry carries."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        super().__init__(f"Unknown {kind} {name!r}.{guess} Known: {', '.join(names)}.")
