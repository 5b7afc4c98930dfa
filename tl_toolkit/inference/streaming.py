"""Many photos through one model: read by threads while the model runs, in order, in bounded memory."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np

from tl_toolkit.core.errors import BrokenImageError

Model = Callable[[np.ndarray], np.ndarray]
"""Photos uint8 RGB, shape (n, height, width, 3) -> probabilities float32, shape (n, k)."""

WINDOW = 64
"""Photos that are looked at together, so that those of equal size can share a batch. Two windows and a batch are in
memory: 126 MB where photos have 512 x 512 px."""

BATCH = 32
"""Most photos of a batch."""

T = TypeVar("T")


def streamed(
    items: Iterable[T], read: Callable[[T], np.ndarray], model: Model
) -> Generator[tuple[T, np.ndarray | Exception]]:
    """What a model says of each item, in their order.

    Args:
        items: Taken as they are needed.
        read: Item -> photo, uint8 RGB, shape (height, width, 3); called by several threads.
        model: Called by the thread that iterates, with photos of one size at a time.

    Yields:
        The item, and its probabilities, float32, shape (k,); or the ``BrokenImageError`` or ``OSError`` with which it
        could not be read. Any other error is raised.
    """
    source = iter(items)
    waiting: deque[tuple[T, Future[np.ndarray]]] = deque()
    pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="photos")

    def begin(count: int) -> None:
        waiting.extend((item, pool.submit(read, item)) for item in islice(source, count))

    try:
        begin(WINDOW)
        while waiting:
            window = [waiting.popleft() for _ in range(min(WINDOW, len(waiting)))]
            answers: list[np.ndarray | Exception] = [_result(future) for _, future in window]
            begin(WINDOW)
            for batch in of_one_size(answers):
                said = model(np.stack([photo for _, photo in batch]))
                for (i, _), probabilities in zip(batch, said, strict=True):
                    answers[i] = probabilities
            yield from zip((item for item, _ in window), answers, strict=True)
    finally:
        # Also where nobody wants the rest, or after Ctrl-C: what has not begun never will.
        pool.shutdown(wait=True, cancel_futures=True)


def _result(future: Future[np.ndarray]) -> np.ndarray | Exception:
    try:
        return future.result()
    except (BrokenImageError, OSError) as error:
        return error


def of_one_size(photos: list[np.ndarray | Exception]) -> list[list[tuple[int, np.ndarray]]]:
    """Indices of photos, with the photos, that can be stacked; at most :data:`BATCH` together."""
    sizes: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = {}
    for i, photo in enumerate(photos):
        if isinstance(photo, np.ndarray):
            sizes.setdefault(photo.shape, []).append((i, photo))
    return [same[at : at + BATCH] for same in sizes.values() for at in range(0, len(same), BATCH)]
