"""Who trains what: heads on frozen features, and whole networks, behind one function for the protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from tl_toolkit.augmentation import policy_version
from tl_toolkit.backbones import fine_tuning
from tl_toolkit.backbones.features import FeatureBank, resolve
from tl_toolkit.backbones.tables import FeatureTables
from tl_toolkit.core.files import cache_folder
from tl_toolkit.core.settings import FINE_TUNED, FROZEN, TrainingConfig
from tl_toolkit.evaluation.nested import Fit, Job
from tl_toolkit.heads.fitting import fit as fit_heads
from tl_toolkit.networks import REGISTRY as NETWORKS
from tl_toolkit.pipeline.data import Prepared, views_of
from tl_toolkit.training.checkpoints import Predictions, Scratch
from tl_toolkit.training.fitting import Trainer
from tl_toolkit.training.inputs import ViewPixels


def trainer_of(prepared: Prepared, seed: int, *, precision: Any = "auto", scratch: Path | None = None) -> Trainer:
    """What trains whole networks on these photos.

    Args:
        seed: Of views, initial weights, batches and dropout.
        precision: ``auto``, ``float32`` or ``mixed_bfloat16``.
        scratch: Folder for trainings that are looked at on their way.
    """

    def build(config: TrainingConfig, n_classes: int) -> tuple[Any, int]:
        if config.network == FINE_TUNED:
            return fine_tuning.build(config, n_classes)
        network = NETWORKS.get(config.network)
        return network.build(n_classes, config), network.image_size

    def fingerprint(config: TrainingConfig) -> str:
        if config.network == FINE_TUNED:
            made = [backbone.version for backbone, _ in resolve(config.backbone)]
        else:
            made = [NETWORKS.get(config.network).version]
        return f"{prepared.audit.fingerprint}, views {seed} of {policy_version(config.augmentation)}, network {made}"

    dataset = prepared.dataset
    return Trainer(
        build,
        ViewPixels(lambda config: views_of(prepared, config, seed).pixels, len(dataset)),
        dataset.labels,
        len(dataset.class_names),
        seed=seed,
        fingerprint=fingerprint,
        precision=precision,
        scratch=Scratch(scratch) if scratch else None,
        kept=Predictions(cache_folder() / "trainings"),
    )


def fitter(
    tables: FeatureTables,
    trainer: Trainer,
    n_classes: int,
    *,
    seed: int,
    epochs: Callable[[int], None] = lambda _: None,
) -> Fit:
    """A :data:`~tl_toolkit.evaluation.nested.Fit` for any settings: heads are trained together, networks one by one.

    Args:
        epochs: Called with the number of epochs of networks that are done, for progress.
    """

    def fit(jobs: Sequence[Job]) -> Iterator[tuple[int, np.ndarray]]:
        frozen = [i for i, job in enumerate(jobs) if job.config.network == FROZEN]
        for position, probabilities in fit_heads([jobs[i] for i in frozen], tables, n_classes, seed=seed):
            yield frozen[position], probabilities
        whole = [i for i, job in enumerate(jobs) if job.config.network != FROZEN]
        for position, probabilities in trainer.fit([jobs[i] for i in whole], advance=epochs):
            yield whole[position], probabilities

    return fit


def fitted_with(
    prepared: Prepared, bank: FeatureBank, display: Progress, seed: int, scratch: Path
) -> tuple[FeatureTables, Trainer, Fit]:
    """The tables that heads train on, what trains networks, and both behind one :func:`fitter`, shown on ``display``.

    Args:
        seed: Of views, initial weights, batches and dropout.
        scratch: Folder for trainings that are looked at on their way.
    """
    tables = FeatureTables(bank, prepared.dataset.labels, lambda config: views_of(prepared, config, seed), display)
    trainer = trainer_of(prepared, seed, scratch=scratch)
    task = display.add_task("Epochs of networks", total=None, visible=False)
    fit = fitter(
        tables,
        trainer,
        len(prepared.dataset.class_names),
        seed=seed,
        epochs=lambda done: display.update(task, advance=done, visible=True),
    )
    return tables, trainer, fit
