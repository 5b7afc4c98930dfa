"""Feature tables by settings, from the bank, each made once a run."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from rich.progress import Progress

from tl_toolkit.backbones.features import FeatureBank, ViewSource
from tl_toolkit.core.errors import TimeUpError
from tl_toolkit.core.records import FeatureTable
from tl_toolkit.core.runtime import tensorflow
from tl_toolkit.core.settings import TrainingConfig


class FeatureTables:
    """Settings -> the features that they train on.

    Args:
        bank: Where features are remembered.
        labels: int64, shape (n,).
        source: Settings -> the photos in the views that they train on.
        display: Shows what is computed.

    Attributes:
        seconds: What making tables has taken so far.
    """

    def __init__(
        self,
        bank: FeatureBank,
        labels: np.ndarray,
        source: Callable[[TrainingConfig], ViewSource],
        display: Progress,
    ) -> None:
        self._bank, self._labels, self._source, self._display = bank, labels, source, display
        self._tables: dict[tuple[str, str, float], FeatureTable] = {}
        self.seconds = 0.0

    def __call__(self, config: TrainingConfig, *, expired: Callable[[], bool] = lambda: False) -> FeatureTable:
        """The features that ``config`` trains on, with at least as many views as it asks for.

        Args:
            config: Settings.
            expired: Whether time is up; asked after every view that is computed, from any thread.

        Raises:
            TimeUpError: time was up before all were there. Those that were are in the bank.
        """
        key = (config.backbone, config.augmentation, config.strength)
        known = self._tables.get(key)
        if known is None or known.features.shape[1] < config.views:
            begun = time.monotonic()
            try:
                known = self._tables[key] = self._make(config, expired)
            finally:
                self.seconds += time.monotonic() - begun
        return known

    def forget(self) -> None:
        """Hold no table any longer: one that is asked for again is made again from the bank."""
        self._tables.clear()

    def _make(self, config: TrainingConfig, expired: Callable[[], bool]) -> FeatureTable:
        source = self._source(config)
        what = f"{config.backbone}, {config.augmentation}" + (f" {config.strength}" if config.strength else "")
        missing = self._bank.missing(config.backbone, source)
        task = self._display.add_task(f"Features: {what}", total=missing, visible=missing > 0)

        def advance(done: int) -> None:
            self._display.advance(task, done)
            if expired():
                raise TimeUpError

        try:
            table = self._bank.features(config.backbone, source, advance)
        finally:
            self._display.remove_task(task)
        # TensorFlow's copy is the one that is kept: memory of NumPy's it would copy again for each program.
        tf = tensorflow()
        with tf.device("CPU"):
            tensor = tf.constant(table)
        features = np.frombuffer(memoryview(tensor), np.float32).reshape(table.shape)
        return FeatureTable(features=features, labels=self._labels, tensor=tensor)
