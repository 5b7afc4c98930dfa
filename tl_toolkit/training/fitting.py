"""Networks trained on the photos of one data set: for themselves, or as the jobs of an evaluation protocol."""

from __future__ import annotations

import gc
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.core.console import warn
from tl_toolkit.core.files import write_json
from tl_toolkit.core.searches import Job
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.training import VERSION
from tl_toolkit.training.checkpoints import Predictions, Scratch, State, identity, load, save
from tl_toolkit.training.courses import Course, Trained
from tl_toolkit.training.inputs import ViewPixels
from tl_toolkit.training.monitoring import Board, overfits
from tl_toolkit.training.precision import Precision, dtype_policy
from tl_toolkit.training.programs import Begin, Build, Program, averaged, new_model, structure

_AT_ONCE = 2048
"""Photos whose pixels are held at the input's size at a time, to predict them."""


def epochs(jobs: Sequence[Job]) -> int:
    """Epochs of all jobs together, at most: the total for a display of progress."""
    return sum(job.config.epochs if job.until is None else job.until for job in jobs)


class Trainer:
    """Trains any network that ``build`` makes, on the photos of one data set.

    Invariants, each with a test of its own: the same seed gives the same weights, whatever was trained before; a
    training that was killed and taken up again ends where it would have ended; one that was looked at on its way, too.

    Args:
        build: What makes the network.
        pixels: The photos.
        labels: int64, shape (n,).
        n_classes: k.
        seed: Of initial weights, batches, views and dropout.
        fingerprint: Settings -> what else a training depends on: the identity of the data, and the versions of what
            makes views and network.
        begin: What the network is given before its first step.
        precision: See :func:`~tl_toolkit.training.precision.dtype_policy`.
        scratch: Where trainings that are looked at on their way wait for going on; None: they start again.
        kept: Where predictions of :meth:`fit` are kept; None: nowhere.
    """

    def __init__(
        self,
        build: Build,
        pixels: ViewPixels,
        labels: np.ndarray,
        n_classes: int,
        *,
        seed: int,
        fingerprint: Callable[[TrainingConfig], str],
        begin: Begin = lambda _model, _config, _rows: None,
        precision: Precision = "auto",
        scratch: Scratch | None = None,
        kept: Predictions | None = None,
    ) -> None:
        self._build = build
        self._pixels = pixels
        self._labels = labels
        self._n_classes = n_classes
        self._seed = seed
        self._fingerprint = fingerprint
        self._begin = begin
        self._precision: Precision = precision
        self._scratch = scratch
        self._kept = kept
        # Of each dtype policy the last program, and what it was compiled for.
        self._programs: dict[str, tuple[TrainingConfig, Program]] = {}
        # The last training that ended: on an official test set it is scored, and exported, too.
        self._latest: tuple[str, Trained] | None = None

    def train(
        self,
        config: TrainingConfig,
        rows: np.ndarray,
        *,
        watched: np.ndarray | None = None,
        folder: Path | None = None,
        logs: Path | None = None,
        deadline: float = math.inf,
        advance: Callable[[int], None] = lambda _: None,
        every: float | None = None,
    ) -> Trained:
        """Train a network to its end, and take up what an earlier call in the same folder left unfinished.

        Args:
            config: Settings.
            rows: bool, shape (n,): the photos to train on.
            watched: bool, shape (n,): photos whose loss and accuracy are recorded after every epoch, and which select
                nothing. Where they show over-fitting, a warning is given once.
            folder: For ``checkpoint.npz`` and ``curves.json``, both written as training goes; None to keep nothing.
            logs: Folder for TensorBoard.
            deadline: On the clock of ``time.monotonic``: no epoch begins after it, except the first.
            advance: Called with numbers of epochs done; they sum to ``config.epochs`` however training ends.
            every: Seconds between checkpoints, at least; None for 20, or more where writing them would take more than a
                twentieth of the time. One is written at the end in any case.

        Raises:
            ValueError: there are no rows to train on.
        """
        checkpoint = folder / "checkpoint.npz" if folder else None
        owner = self.identity(config, rows, watched)
        if not folder and not logs and (known := self._ended(owner)):
            advance(config.epochs)
            return known
        course = self._course(config, rows, watched, load(checkpoint, owner) if checkpoint else None)
        advance(len(course.curves))
        board = Board(logs) if logs else None
        warned, written, taken = overfits(course.curves), time.monotonic(), 0.0
        try:
            while (stopped := course.stopped(config.epochs)) is None:
                if course.curves and time.monotonic() >= deadline:
                    stopped = "deadline"
                    break
                if not course.epoch():
                    continue
                advance(1)
                if board:
                    board.log(course.curves)
                if not warned and overfits(course.curves):
                    warned = True
                    warn(
                        f"Over-fitting: after {len(course.curves)} epochs the training loss still falls, but that of "
                        "the watched photos has risen. More augmentation, more dropout or fewer epochs may help."
                    )
                if folder:
                    write_json(folder / "curves.json", course.curves.plain())
                now = time.monotonic()
                if checkpoint and now - written >= (max(20.0, 20 * taken) if every is None else every):
                    save(checkpoint, owner, course.state())
                    written = time.monotonic()
                    taken = written - now
        finally:
            if board:
                board.close()
        if checkpoint and stopped != "diverged":
            save(checkpoint, owner, course.state())
        advance(config.epochs - len(course.curves))
        trained = course.trained(stopped)
        if stopped != "deadline":
            self._latest = owner, trained
        return trained

    def fit(
        self,
        jobs: Sequence[Job],
        *,
        advance: Callable[[int], None] = lambda _: None,
        expired: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Train a network for each job and predict its test photos in their clean view.

        Jobs that differ in their rows, or in settings that leave the compiled program as it is, share one. What was
        said before of the same photos, after the same training, is said again.

        Args:
            advance: Called with numbers of epochs done; they sum to :func:`epochs` of the jobs however trainings end,
                and to fewer where time was up.
            expired: Whether time is up: the training under way then stops between two steps, is left where its last
                look or epoch left it, and nothing more is yielded.

        Yields:
            (position of the job, probabilities float32 (its test photos, k)); NaN where the training diverged.
        """
        together: dict[TrainingConfig, list[int]] = defaultdict(list)
        for position, job in enumerate(jobs):
            together[structure(job.config)].append(position)
        for members in together.values():
            for position in members:
                if expired():
                    return
                job = jobs[position]
                until = job.config.epochs if job.until is None else job.until
                owner = identity(
                    training=self.identity(job.config, job.train), until=until, predicted=job.test.tobytes()
                )
                said = self._kept.get(owner) if self._kept else None
                if said is None:
                    own = self.identity(job.config, job.train)
                    trained = self._ended(own) if until == job.config.epochs else None
                    if trained is None:
                        trained = self._look(job, until, advance, expired)
                        if trained.stopped == "deadline":
                            return
                        if until == job.config.epochs:
                            self._latest = own, trained
                    else:
                        advance(until)
                    said = self.probabilities(trained, job.test)
                    if self._kept:
                        self._kept.put(owner, said)
                else:
                    advance(until)
                yield position, said

    def probabilities(self, trained: Trained, rows: np.ndarray) -> np.ndarray:
        """What a network says of photos in their clean view; in float32, as its exported file does.

        Args:
            rows: bool, shape (n,).

        Returns:
            float32, shape (photos in ``rows``, k); NaN where its training diverged.
        """
        images = np.flatnonzero(rows)
        if trained.stopped == "diverged" or not len(images):
            return np.full((len(images), self._n_classes), np.nan, np.float32)
        program = self._program_for(trained.config, "float32")
        program.load(trained.weights)
        parts = [images[start : start + _AT_ONCE] for start in range(0, len(images), _AT_ONCE)]
        clean = (self._pixels(trained.config, program.side, part, np.zeros_like(part)) for part in parts)
        return np.concatenate([program.probabilities(pixels) for pixels in clean])

    def exact(self, network: tuple[Any, int], config: TrainingConfig, rows: np.ndarray) -> np.ndarray:
        """As :meth:`probabilities`, in float32 by a network of :meth:`model`: what an exported file must say."""
        images = np.flatnonzero(rows)
        model, side = network
        pixels = self._pixels(config, side, images, np.zeros_like(images))
        return np.asarray(model(pixels.astype(np.float32), training=False))

    def model(self, trained: Trained) -> tuple[Any, int]:
        """The network as a keras.Model of its own in float32, and the side of its input; to export it."""
        model, side = new_model(self._build, trained.config, self._n_classes, seed=self._seed, policy="float32")
        model.set_weights(list(trained.weights))
        return averaged(model, side, trained.config.test_time_views), side

    def _look(self, job: Job, until: int, advance: Callable[[int], None], expired: Callable[[], bool]) -> Trained:
        """Train for ``until`` epochs or while there is time, from where an earlier look of the training left off."""
        config = job.config
        owner = self.identity(config, job.train, None)
        kept = self._scratch.get(owner) if self._scratch else None
        if kept and len(kept.curves) > until:
            kept = None
        course = self._course(config, job.train, None, kept)
        advance(len(course.curves))
        while (stopped := course.stopped(until)) is None:
            if expired():
                stopped = "deadline"
                break
            if course.epoch(expired):
                advance(1)
        if self._scratch and stopped != "diverged" and not course.cut:
            if until < config.epochs or stopped == "deadline":
                self._scratch.put(owner, course.state())
            else:
                self._scratch.drop(owner)
        if stopped != "deadline":
            advance(until - len(course.curves))
        return course.trained(stopped)

    def _course(
        self, config: TrainingConfig, rows: np.ndarray, watched: np.ndarray | None, state: State | None
    ) -> Course:
        if not rows.any():
            raise ValueError("a network needs at least one training row")
        return Course(
            self._program_for(config, dtype_policy(self._precision, config.network)),
            self._pixels,
            config,
            self._labels,
            self._n_classes,
            rows=rows,
            watched=watched,
            seed=self._seed,
            begin=lambda model: self._begin(model, config, rows),
            state=state,
        )

    def _ended(self, owner: str) -> Trained | None:
        """The training of this identity, if it is the last that ended."""
        return self._latest[1] if self._latest and self._latest[0] == owner else None

    def _program_for(self, config: TrainingConfig, policy: str) -> Program:
        wanted = structure(config)
        if policy in self._programs and self._programs[policy][0] != wanted:
            # The old ones first: all at once need twice the memory, and their graphs refer to one another.
            self._programs.clear()
            gc.collect()
        if policy not in self._programs:
            made = Program(self._build, wanted, self._n_classes, seed=self._seed, policy=policy)
            self._programs[policy] = wanted, made
        return self._programs[policy][1]

    def identity(self, config: TrainingConfig, rows: np.ndarray, watched: np.ndarray | None = None) -> str:
        """What tells a training from all others, in hexadecimal; equal ones give equal weights on the same machine."""
        return identity(
            config=repr(config),
            rows=rows.tobytes(),
            watched=None if watched is None else watched.tobytes(),
            labels=self._labels.tobytes(),
            n_classes=self._n_classes,
            seed=self._seed,
            fingerprint=self._fingerprint(config),
            policy=dtype_policy(self._precision, config.network),
            training=VERSION,
            keras=version("keras"),
            tensorflow=version("tensorflow"),
        )
