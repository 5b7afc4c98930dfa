"""The model that a search is for: its settings, trained on all photos, and exported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.progress import Progress

from tl_toolkit.backbones.features import resolve
from tl_toolkit.backbones.tables import FeatureTables
from tl_toolkit.core.records import ExportedModel
from tl_toolkit.core.settings import FROZEN, TrainingConfig
from tl_toolkit.evaluation.nested import Job
from tl_toolkit.exporters.classifiers import classifier_of_heads, classifier_of_networks
from tl_toolkit.heads.fitting import joined, trained
from tl_toolkit.pipeline.data import Prepared
from tl_toolkit.pipeline.exporting import export_model, spread
from tl_toolkit.pipeline.options import SearchOptions
from tl_toolkit.training.fitting import Trainer


def export_final(
    folder: Path,
    tables: FeatureTables,
    trainer: Trainer,
    prepared: Prepared,
    members: Sequence[TrainingConfig],
    options: SearchOptions,
    display: Progress,
) -> list[ExportedModel]:
    """Train the final settings, write the model files, and check them on photos of every class.

    It is trained on all photos, but for those of an official test set.
    """
    dataset, rows = prepared.dataset, prepared.splits.final
    checked = spread(dataset.labels, prepared.splits.scored)
    if members[0].network != FROZEN:
        some = np.isin(np.arange(len(dataset)), checked)
        task = display.add_task("Epochs of the final model", total=sum(config.epochs for config in members))
        networks = [
            trainer.model(trainer.train(config, rows, advance=lambda n: display.advance(task, n))) for config in members
        ]
        said = [trainer.exact(network, config, some) for network, config in zip(networks, members, strict=True)]
        classifier = classifier_of_networks(networks, dataset.class_names)
    else:
        task = display.add_task("Heads of the final model", total=len(members))
        jobs = [Job(config=config, train=rows, test=np.zeros_like(rows)) for config in members]
        fitted = dict(
            trained(
                jobs, tables, len(dataset.class_names), seed=options.seed, advance=lambda n: display.advance(task, n)
            )
        )
        heads = [fitted[position] for position in range(len(jobs))]
        said = [
            head.probabilities(tables(config).features[checked, 0])[0]
            for head, config in zip(heads, members, strict=True)
        ]
        parts, kernels = joined(heads, [resolve(c.backbone) for c in members], lambda part: part[0].n_features)
        classifier = classifier_of_heads(
            [(backbone.connect, side) for backbone, side in parts],
            kernels,
            np.concatenate([head.biases for head in heads]),
            dataset.class_names,
        )
    display.remove_task(task)
    return export_model(folder, classifier, prepared, checked, np.mean(said, axis=0), rows, options.export)
