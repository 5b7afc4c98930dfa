"""What a command says: results on standard output; progress, notes and warnings on standard error."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

output = Console(highlight=False, soft_wrap=True)
"""Results: what a user may pipe into a file."""

messages = Console(stderr=True, highlight=False, soft_wrap=True)
"""Progress, notes, warnings and errors."""


def progress() -> Progress:
    """A progress display with counts, elapsed time and time left; use it as a context manager.

    On anything but a terminal it prints nothing while it runs, so log files stay short; steps announce themselves
    with :func:`note` as well.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=messages,
        transient=True,
        disable=not messages.is_terminal,
    )


def note(text: str) -> None:
    """Say one line about what is going on. File and class names in ``text`` are shown as they are."""
    messages.print(Text(text))


def warn(text: str) -> None:
    """Say one line that the user should not overlook."""
    messages.print(Text(f"Warning: {text}", style="bold yellow"))


def error(text: str) -> None:
    """Say one line about why a command stops."""
    messages.print(Text(f"Error: {text}", style="bold red"))
