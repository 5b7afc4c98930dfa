"""Jobs of an evaluation protocol, done with heads on frozen features."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from tl_toolkit.core.records import FeatureTable
from tl_toolkit.core.searches import Job
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.heads.batched import Heads, HeadTask, train_heads, train_in_turn

Tables = Callable[[TrainingConfig], FeatureTable]
"""Settings -> the features that they train on, in at least as many views as they ask for."""


Part = TypeVar("Part", bound=Hashable)


def trained(
    jobs: Sequence[Job],
    tables: Tables,
    n_classes: int,
    *,
    seed: int,
    advance: Callable[[float], None] = lambda _: None,
    expired: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[int, Heads]]:
    """Train a head for each job; jobs that share features are trained as one program.

    Args:
        advance: Called with what is done, for progress: numbers of jobs, and shares of such.
        expired: Whether time is up: no more features are then turned to, heads under way are left, and nothing more
            is yielded.

    Yields:
        (position of the job, its head alone).
    """
    together: dict[tuple[str, str, float], list[int]] = defaultdict(list)
    for position, job in enumerate(jobs):
        together[job.config.backbone, job.config.augmentation, job.config.strength].append(position)
    for members in together.values():
        if expired():
            return
        table = tables(max((jobs[i].config for i in members), key=lambda config: config.views))
        tasks = [HeadTask(config=jobs[i].config, rows=jobs[i].train, stop=jobs[i].until) for i in members]
        for done, heads in train_in_turn(table, n_classes, tasks, seed=seed, advance=advance, expired=expired):
            for number, task in enumerate(done):
                yield members[task], heads.only(number)


def fit(
    jobs: Sequence[Job],
    tables: Tables,
    n_classes: int,
    *,
    seed: int,
    advance: Callable[[float], None] = lambda _: None,
    expired: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[int, np.ndarray]]:
    """Train a head for each job and predict its test photos in their clean view; ``expired`` as for :func:`trained`.

    Yields:
        (position of the job, probabilities float32 (its test photos, n_classes)).
    """
    for position, head in trained(jobs, tables, n_classes, seed=seed, advance=advance, expired=expired):
        job = jobs[position]
        yield position, head.probabilities(tables(job.config).features[job.test, 0])[0]


def course(
    config: TrainingConfig,
    rows: Sequence[np.ndarray],
    stops: Sequence[int],
    tables: Tables,
    n_classes: int,
    *,
    seed: int,
) -> Iterator[tuple[int, int, np.ndarray]]:
    """What a head says of all photos, in their clean view, at several points of its training.

    Args:
        rows: bool, shape (n,) each: the photos to train on, once for each training.
        stops: Epochs after which to look, at most ``config.epochs``.

    Yields:
        (position in ``rows``, position in ``stops``, probabilities float32 (n, n_classes)).
    """
    table = tables(config)
    tasks = [HeadTask(config=config, rows=train, stop=stop) for train in rows for stop in stops]
    heads = train_heads(table, n_classes, tasks, seed=seed)
    for number in range(len(tasks)):
        yield *divmod(number, len(stops)), heads.only(number).probabilities(table.features[:, 0])[0]


def fit_final(config: TrainingConfig, tables: Tables, rows: np.ndarray, n_classes: int, *, seed: int) -> Heads:
    """One head, trained on the photos of ``rows``, bool of shape (n,)."""
    return train_heads(tables(config), n_classes, [HeadTask(config=config, rows=rows)], seed=seed)


def joined(
    heads: Sequence[Heads], parts: Sequence[Sequence[Part]], width: Callable[[Part], int]
) -> tuple[list[Part], np.ndarray]:
    """Heads on features of different backbones, as heads on the features of all of those backbones side by side.

    Args:
        heads: One head each, kernels float32, shape (1, d, k).
        parts: The backbones whose features each head acts on, in order.
        width: Backbone -> number of its features.

    Returns:
        Each backbone once, and kernels float32, shape (heads, d of all, k): zero where features are not the head's own.
    """
    every = list(dict.fromkeys(part for own in parts for part in own))
    starts = dict(zip(every, np.cumsum([0, *map(width, every)]), strict=False))
    kernels = np.zeros((len(heads), sum(map(width, every)), heads[0].kernels.shape[2]), np.float32)
    for kernel, head, own in zip(kernels, heads, parts, strict=True):
        at = 0
        for part in own:
            kernel[starts[part] : starts[part] + width(part)] = head.kernels[0, at : at + width(part)]
            at += width(part)
    return every, kernels
