"""A network from scratch on the same outer folds, which pretrained backbones must beat; and what a leak makes of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from rich.progress import Progress

from tl_toolkit.core.console import note, warn
from tl_toolkit.core.files import cache_folder, written_whole
from tl_toolkit.core.records import Evaluation
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.evaluation.comparison import compare
from tl_toolkit.evaluation.metrics import evaluate
from tl_toolkit.networks import REGISTRY as NETWORKS
from tl_toolkit.pipeline.data import Prepared
from tl_toolkit.sections.record import evaluated
from tl_toolkit.training.fitting import Trainer

SMALL = 32
"""Photos of at most so many pixels a side are the business of ``cifar_cnn``, larger ones that of ``slash_cnn``."""

QUICK_PASSES = {"slash_cnn": 10_000, "cifar_cnn": 150_000}
"""Photos that the quick baseline of each network trains on, over all folds and epochs: about two minutes on two cores;
those of ``cifar_cnn`` on cores with AVX-512, longer on others."""

LEAKS = (
    "LEAKING, shown only as a warning: trained on all photos, scored on a fifth of the same photos, "
    "with the epoch chosen by that score"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A training that leaks on purpose, which :class:`~tl_toolkit.evaluation.nested.Job` would refuse."""

    config: TrainingConfig
    train: np.ndarray
    test: np.ndarray
    until: int


def baseline_settings(mode: str, prepared: Prepared, *, smoke: bool) -> TrainingConfig | None:
    """The reference settings of the network, cut to the budget of ``mode``; None where that is less than an epoch.

    Args:
        mode: ``quick``, at most :data:`QUICK_PASSES` photos through the network, or ``full``, to its own end.
    """
    largest = max(prepared.audit.widths.max(), prepared.audit.heights.max())
    network = "cifar_cnn" if largest <= SMALL else "slash_cnn"
    config: TrainingConfig = NETWORKS.get(network).reference
    if mode == "full" and not smoke:
        return config
    per_epoch = sum(int((prepared.splits.outer != fold).sum()) for fold in range(prepared.splits.n_outer))
    epochs = 1 if smoke else min(config.epochs, QUICK_PASSES[network] // per_epoch)
    return replace(config, epochs=epochs) if epochs else None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OuterTrainings:
    """One network trained inside each outer fold.

    Attributes:
        probabilities: float32, shape (n, k); zero for photos that are not scored, NaN where training diverged.
        epochs: Trained in each fold.
        seconds: Of all trainings, whenever they were made.
        reused: Folds that the cache had.
    """

    probabilities: np.ndarray
    epochs: tuple[int, ...]
    seconds: float
    reused: int


def outer_trainings(config: TrainingConfig, prepared: Prepared, trainer: Trainer, display: Progress) -> OuterTrainings:
    """Train a network inside each outer fold, and predict what the fold scores.

    Each fold's predictions are kept in the cache: a second run on the same data does not train them again, and one that
    was killed goes on.
    """
    dataset, outer = prepared.dataset, prepared.splits.outer
    probabilities = np.zeros((len(dataset), len(dataset.class_names)), np.float32)
    epochs, seconds, reused = [], [], 0
    task = display.add_task(f"{config.network} (epochs)", total=config.epochs * prepared.splits.n_outer)
    for fold in range(prepared.splits.n_outer):
        test = outer == fold
        folder = cache_folder() / "baselines" / trainer.identity(config, ~test)[:24]
        done = folder / "done.npz"
        if done.exists():
            with np.load(done) as kept:
                probabilities[test], losses, took = kept["probabilities"], kept["epochs"], kept["seconds"]
            reused += 1
            display.advance(task, config.epochs)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            trained = trainer.train(config, ~test, folder=folder, advance=lambda n: display.advance(task, n))
            probabilities[test] = trainer.probabilities(trained, test)
            losses, took = len(trained.curves), sum(trained.curves.seconds)
            with written_whole(done) as file:
                np.savez(file, probabilities=probabilities[test], epochs=losses, seconds=took)
            (folder / "checkpoint.npz").unlink(missing_ok=True)
        epochs.append(int(losses))
        seconds.append(float(took))
    display.remove_task(task)
    return OuterTrainings(probabilities=probabilities, epochs=tuple(epochs), seconds=sum(seconds), reused=reused)


def baseline(
    mode: str, prepared: Prepared, trainer: Trainer, best: Evaluation, *, smoke: bool, resamples: int, display: Progress
) -> dict[str, Any] | None:
    """Train the network with the reference settings inside each outer fold, and compare.

    Args:
        best: Predictions of the run that the baseline is compared with.

    Returns:
        The ``baseline`` of ``run.json``; None where the budget does not allow one epoch.
    """
    dataset, outer = prepared.dataset, prepared.splits.outer
    config = baseline_settings(mode, prepared, smoke=smoke)
    if config is None:
        note(f"No quick baseline: one epoch on these {len(dataset)} photos exceeds its budget; use --baseline full.")
        return None
    made = outer_trainings(config, prepared, trainer, display)
    probabilities = made.probabilities
    about = {
        "network": config.network,
        "mode": mode,
        "settings": asdict(config),
        "epochs": made.epochs,
        "seconds": made.seconds,
        "folds_reused": made.reused,
    }
    rows = np.flatnonzero(prepared.splits.scored)
    groups = prepared.audit.groups[rows]
    if not np.isfinite(probabilities[rows]).all():
        warn(f"The baseline {config.network} diverged: the report goes without its score.")
        return {**about, "error": "training diverged: probabilities are not finite"}
    scored = evaluate(
        f"{config.network} from scratch",
        dataset.labels[rows],
        probabilities[rows],
        groups,
        outer[rows],
        dataset.class_names,
        resamples=resamples,
    )
    return {
        **about,
        **evaluated(scored),
        "comparison": compare(best, scored, groups, resamples=resamples),
    }


def original_protocol(
    mode: str, prepared: Prepared, trainer: Trainer, *, smoke: bool, resamples: int, display: Progress
) -> dict[str, Any] | None:
    """What the first Slash classifier reported: training on all photos, "validation" on a fifth of the same photos, and
    the best epoch by that. It measures memory, not skill; it is here to be seen beside the honest figure.

    Returns:
        The ``leaking`` of ``run.json``; None where the budget does not allow one epoch.
    """
    dataset, outer = prepared.dataset, prepared.splits.outer
    config = baseline_settings(mode, prepared, smoke=smoke)
    if config is None:
        warn("The original protocol is left out: an epoch exceeds its quick budget; use --baseline full.")
        return None
    if prepared.splits.official:
        warn("The original protocol leaks on purpose, which an official test set does not allow: it is left out.")
        return None
    everything, fifth = np.ones(len(dataset), bool), outer == 0
    task = display.add_task("Original protocol, which leaks (epochs)", total=2 * config.epochs)
    trained = trainer.train(config, everything, watched=fifth, advance=lambda n: display.advance(task, n))
    accuracies = trained.curves.val_accuracy
    if not accuracies:
        display.remove_task(task)
        warn("The training by the original protocol diverged: the report goes without its score.")
        return None
    chosen = int(np.argmax(accuracies)) + 1
    # Once more up to that epoch: the training itself keeps nothing that watched photos choose.
    job = _Known(config=replace(config, patience=0), train=everything, test=fifth, until=chosen)
    [(_, probabilities)] = trainer.fit([job], advance=lambda n: display.advance(task, n))
    display.remove_task(task)
    scored = evaluate(
        "original protocol",
        dataset.labels[fifth],
        probabilities,
        prepared.audit.groups[fifth],
        np.zeros(int(fifth.sum()), np.int64),
        dataset.class_names,
        resamples=resamples,
    )
    return {
        "warning": LEAKS,
        "network": config.network,
        "mode": mode,
        "settings": asdict(config),
        "epochs": len(trained.curves),
        "chosen_epoch": chosen,
        "n_scored": int(fifth.sum()),
        "seconds": sum(trained.curves.seconds),
        **evaluated(scored),
    }
