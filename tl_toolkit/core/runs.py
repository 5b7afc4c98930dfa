"""Run folders, and what a run was: command, versions, machine, time and memory."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.core.console import note
from tl_toolkit.core.errors import UserError

_STAMP = re.compile(r"(\d{8}-\d{6})(-\d+)?")

LIBRARIES = (
    "tl_toolkit",
    "tensorflow",
    "keras",
    "ai-edge-litert",
    "numpy",
    "scikit-learn",
    "optuna",
    "keras-tuner",
    "albumentations",
    "pillow",
    "opencv-python-headless",
    "seaborn",
)


def plain(value: Any) -> Any:
    """A record, array or container as what JSON has: dictionaries, lists, numbers, strings."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, dict) or hasattr(value, "items"):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value


def new_run_folder(parent: Path) -> Path:
    """A new folder ``parent/<date>-<time>``, with a number behind it if two runs start in the same second.

    Raises:
        UserError: the folder cannot be made.
    """
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    for suffix in ["", *(f"-{number}" for number in range(2, 1000))]:
        folder = parent / f"{stamp}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(
                f"No run folder can be made in {parent} ({error.strerror}): name another place with --out."
            ) from error
        return folder
    raise UserError(f"{parent} holds a thousand runs of this second: name another place with --out.")


def began(folder: Path) -> tuple[datetime, bool]:
    """When the run in a folder began, local time, by the folder's name; else when its ``run.json`` was written.

    Returns:
        The time, and whether it is that of the file.
    """
    stamp = _STAMP.fullmatch(folder.resolve().name)
    try:
        return datetime.strptime(stamp[1], "%Y%m%d-%H%M%S"), False  # type: ignore[index]
    except (TypeError, ValueError):
        return datetime.fromtimestamp((folder / "run.json").stat().st_mtime), True


class Stopwatch:
    """Seconds of each named step, in the order of their beginnings."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.steps: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, text: str) -> Iterator[None]:
        """Say what begins, and remember how long it took."""
        note(text)
        begun = time.monotonic()
        try:
            yield
        finally:
            self.steps[name] = self.steps.get(name, 0.0) + time.monotonic() - begun

    def move(self, seconds: float, source: str, target: str) -> None:
        """Count seconds that passed within ``source`` as those of ``target``."""
        self.steps[source] -= seconds
        self.steps[target] = self.steps.get(target, 0.0) + seconds

    def total(self) -> float:
        """Seconds since the stopwatch was made."""
        return time.monotonic() - self.started


class PeakMemory:
    """Largest resident memory of this process, bytes, as sampled while it runs; the system's own record where there
    is one."""

    def __init__(self, interval: float = 0.2) -> None:
        self._peak, self._interval = 0, interval
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        import psutil

        process = psutil.Process()
        while True:
            self._peak = max(self._peak, process.memory_info().rss)
            time.sleep(self._interval)

    def bytes(self) -> int:
        """The peak so far."""
        try:
            import resource
        except ImportError:  # Windows
            return self._peak
        unit = 1 if sys.platform == "darwin" else 1024
        return max(self._peak, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def environment() -> dict[str, Any]:
    """What a reader needs to run the same again: versions, operating system, cores, memory."""
    import psutil

    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count() or 1,
        "memory_bytes": psutil.virtual_memory().total,
        "libraries": {name: _version(name) for name in LIBRARIES},
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
