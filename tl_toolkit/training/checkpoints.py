"""States of a training that outlive the process: on disk whole or not at all, and used only where they belong."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tl_toolkit.core.console import warn
from tl_toolkit.core.files import written_whole
from tl_toolkit.training.monitoring import Curves
from tl_toolkit.training.schedules import lowest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    """A training after a number of epochs: all that the rest of it depends on.

    No random generator is in it: each epoch seeds its own from the seed of the training and its number. Neither is the
    state of the schedule or of early stopping: both follow from the losses.

    Attributes:
        weights: The network's, in Keras' order.
        optimizer: The optimiser's variables, in Keras' order, and Lookahead's averages behind them.
        best: Weights of the epoch with the lowest training loss, where early stopping keeps them; else None.
        curves: What has happened so far.
    """

    weights: Sequence[np.ndarray]
    optimizer: Sequence[np.ndarray]
    best: Sequence[np.ndarray] | None
    curves: Curves


def identity(**facts: object) -> str:
    """What a state belongs to, as a hexadecimal digest: equal facts, equal identity."""
    return hashlib.sha256(repr(sorted(facts.items())).encode()).hexdigest()


def save(path: Path, owner: str, state: State) -> None:
    """Write a state; whoever is killed meanwhile leaves the one before.

    Args:
        owner: An :func:`identity`.
    """
    # The best weights are most often the last ones: no need to write them twice.
    best = state.best if state.best and lowest(state.curves.loss) < len(state.curves) - 1 else ()
    groups = {"weights": state.weights, "optimizer": state.optimizer, "best": best}
    about = {
        "owner": owner,
        "keeps_best": state.best is not None,
        "counts": {name: len(arrays) for name, arrays in groups.items()},
        "curves": state.curves.plain(),
    }
    arrays = {f"{name}_{i}": array for name, group in groups.items() for i, array in enumerate(group)}
    with written_whole(path) as file:
        np.savez(file, about=np.array(json.dumps(about, allow_nan=False)), **arrays)  # type: ignore[arg-type]


def load(path: Path, owner: str) -> State | None:
    """The state at ``path``; None, with a warning, where it is damaged or belongs to something else.

    Every array is read to its end: the archive has checksums, so a single changed bit is seen.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as archive:
            about = json.loads(str(archive["about"]))
            groups = {name: [archive[f"{name}_{i}"] for i in range(count)] for name, count in about["counts"].items()}
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        warn(f"The checkpoint {path} is damaged ({error}): training starts from the beginning.")
        return None
    if about["owner"] != owner:
        warn(f"The checkpoint {path} is of other settings, photos or versions: training starts from the beginning.")
        return None
    best = (groups["best"] or groups["weights"]) if about["keeps_best"] else None
    curves = Curves(**{name: tuple(values) for name, values in about["curves"].items()})
    return State(weights=groups["weights"], optimizer=groups["optimizer"], best=best, curves=curves)


class Predictions:
    """What trained networks said, on disk: a training that was made is not made again, whichever command asks.

    Args:
        folder: For nothing else; made when needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, owner: str) -> np.ndarray | None:
        """Probabilities, float32; None where there are none, or, with a warning, where they are damaged."""
        path = self._path(owner)
        try:
            return np.load(path, allow_pickle=False)
        except FileNotFoundError:
            return None
        except (OSError, EOFError, ValueError) as error:
            warn(f"{path} is damaged ({error}): the training is made again.")
            return None

    def put(self, owner: str, probabilities: np.ndarray) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with written_whole(self._path(owner)) as file:
            np.save(file, probabilities)

    def _path(self, owner: str) -> Path:
        return self._folder / f"{owner}.npy"


class Scratch:
    """States at the last look of trainings that may go on: a folder of limited size.

    Args:
        folder: For nothing else.
        most_bytes: Where all states together exceed it, those that were written first are removed; their trainings
            start from the beginning, to the same result.
    """

    def __init__(self, folder: Path, *, most_bytes: int = 8 * 2**30) -> None:
        self._folder = folder
        self._most = most_bytes

    def get(self, owner: str) -> State | None:
        return load(self._path(owner), owner)

    def put(self, owner: str, state: State) -> None:
        save(self._path(owner), owner, state)
        kept = sorted(((path.stat(), path) for path in self._folder.glob("*.npz")), key=lambda one: one[0].st_mtime_ns)
        total = sum(stat.st_size for stat, _ in kept)
        for stat, path in kept:
            if total <= self._most:
                break
            path.unlink()
            total -= stat.st_size

    def drop(self, owner: str) -> None:
        """Forget a training that has ended."""
        self._path(owner).unlink(missing_ok=True)

    def _path(self, owner: str) -> Path:
        return self._folder / f"{owner}.npz"
