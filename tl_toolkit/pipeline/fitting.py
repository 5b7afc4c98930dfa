"""Who trains what: heads on frozen features, and whole networks, behind one function for the protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rich.progress import Progress

from tl_toolkit.augmentation import policy_version
from tl_toolkit.backbones import fine_tuning
from tl_toolkit.backbones.features import FeatureBank, resolve
from tl_toolkit.backbones.tables import FeatureTables
from tl_toolkit.core.errors import TimeUpError
from tl_toolkit.core.files import cache_folder
from tl_toolkit.core.settings import FINE_TUNED, FROZEN, TrainingConfig
from tl_toolkit.evaluation.nested import Job
from tl_toolkit.heads.fitting import fit as fit_heads
from tl_toolkit.heads.fitting import fit_final
from tl_toolkit.networks import REGISTRY as NETWORKS
from tl_toolkit.pipeline.data import Prepared, views_of
from tl_toolkit.training.checkpoints import Predictions, Scratch
from tl_toolkit.training.fitting import Trainer
from tl_toolkit.training.inputs import ViewPixels

_SEEN = 5000
"""Training photos that a network takes its first weights from, at most."""


def tables_of(prepared: Prepared, bank: FeatureBank, display: Progress, seed: int) -> FeatureTables:
    """The features of these photos, in views of this seed; what is computed is shown on ``display``."""
    return FeatureTables(bank, prepared.dataset.labels, lambda config: views_of(prepared, config, seed), display)


def trainer_of(
    prepared: Prepared,
    seed: int,
    tables: FeatureTables,
    *,
    head: TrainingConfig = fine_tuning.HEAD,
    precision: Any = "auto",
    scratch: Path | None = None,
) -> Trainer:
    """What trains whole networks on these photos.

    Args:
        seed: Of views, initial weights, batches and dropout.
        tables: Features, for the heads that fine-tuning begins with.
        head: How these are trained, on features of the backbone that is fine-tuned.
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
            made = [*(backbone.version for backbone, _ in resolve(config.backbone)), head]
        else:
            made = [NETWORKS.get(config.network).version]
        pixels_of = ", ".join(filter(None, (policy_version(config.augmentation), prepared.photos.decoding)))
        return f"{prepared.audit.fingerprint}, views {seed} of {pixels_of}, network {made}"

    def begin(model: Any, config: TrainingConfig, rows: np.ndarray) -> None:
        if config.network == FINE_TUNED:
            fitted = fit_final(replace(head, backbone=config.backbone), tables, rows, n_classes, seed=seed)
            # Of tens of thousands of photos they take more than the network.
            tables.forget()
            model.get_layer("head").set_weights([fitted.kernels[0], fitted.biases[0]])
            return
        network = NETWORKS.get(config.network)
        if network.begin:
            # Evenly: photos of folders come class by class.
            every = np.flatnonzero(rows)
            images = every[:: -(-len(every) // _SEEN)]
            network.begin(model, pixels(config, network.image_size, images, np.zeros_like(images)))

    dataset, n_classes = prepared.dataset, len(prepared.dataset.class_names)
    pixels = ViewPixels(
        lambda config: views_of(prepared, config, seed).pixels,
        len(dataset),
        together=lambda config: views_of(prepared, config, seed).together,
    )
    return Trainer(
        build,
        pixels,
        dataset.labels,
        n_classes,
        seed=seed,
        fingerprint=fingerprint,
        begin=begin,
        precision=precision,
        scratch=Scratch(scratch) if scratch else None,
        kept=Predictions(cache_folder() / "trainings"),
    )


class Fitter(Protocol):
    """A :data:`~tl_toolkit.evaluation.nested.Fit` that yields nothing more once ``expired`` says that time is up.

    ``heads`` is called with what is done of the jobs that are heads: numbers of them, and shares of such.
    """

    def __call__(
        self,
        jobs: Sequence[Job],
        *,
        heads: Callable[[float], None] = lambda _: None,
        expired: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[int, np.ndarray]]: ...


def fitter(
    tables: FeatureTables,
    trainer: Trainer,
    n_classes: int,
    *,
    seed: int,
    epochs: Callable[[int], None] = lambda _: None,
) -> Fitter:
    """A :class:`Fitter` for any settings: heads are trained together, networks one by one.

    Args:
        epochs: Called with the number of epochs of networks that are done, for progress.
    """

    def fit(
        jobs: Sequence[Job],
        *,
        heads: Callable[[float], None] = lambda _: None,
        expired: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[int, np.ndarray]]:
        frozen = [i for i, job in enumerate(jobs) if job.config.network == FROZEN]
        own = partial(tables, expired=expired)
        try:
            for position, probabilities in fit_heads(
                [jobs[i] for i in frozen], own, n_classes, seed=seed, advance=heads, expired=expired
            ):
                yield frozen[position], probabilities
        except TimeUpError:
            return
        whole = [i for i, job in enumerate(jobs) if job.config.network != FROZEN]
        for position, probabilities in trainer.fit([jobs[i] for i in whole], advance=epochs, expired=expired):
            yield whole[position], probabilities

    return fit


def fitted_with(
    prepared: Prepared, bank: FeatureBank, display: Progress, seed: int, scratch: Path
) -> tuple[FeatureTables, Trainer, Fitter]:
    """The tables that heads train on, what trains networks, and both behind one :func:`fitter`, shown on ``display``.

    Args:
        seed: Of views, initial weights, batches and dropout.
        scratch: Folder for trainings that are looked at on their way.
    """
    tables = tables_of(prepared, bank, display, seed)
    trainer = trainer_of(prepared, seed, tables, scratch=scratch)
    task = display.add_task("Epochs of networks", total=None, visible=False)
    fit = fitter(
        tables,
        trainer,
        len(prepared.dataset.class_names),
        seed=seed,
        epochs=lambda done: display.update(task, advance=done, visible=True),
    )
    return tables, trainer, fit
