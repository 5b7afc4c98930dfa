"""One training from pixels to a scored, exported model: what ``python -m tl_toolkit.train`` does."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.backbones import fine_tuning
from tl_toolkit.backbones.features import FeatureBank, resolve
from tl_toolkit.core.console import note, progress, warn
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import cache_folder, write_json, write_text
from tl_toolkit.core.records import Evaluation, ExportedModel
from tl_toolkit.core.references import run_folder
from tl_toolkit.core.runs import PeakMemory, Stopwatch, new_run_folder, plain
from tl_toolkit.core.settings import FINE_TUNED, TrainingConfig
from tl_toolkit.evaluation.curves import epochs_to_look
from tl_toolkit.evaluation.explanations import explainer_of
from tl_toolkit.evaluation.metrics import evaluate
from tl_toolkit.exporters.classifiers import classifier_of_networks
from tl_toolkit.pipeline.analysing import keep_pictures, largest_class, of_predictions, without_twins
from tl_toolkit.pipeline.data import Prepared, find_data, prepare
from tl_toolkit.pipeline.explaining import keep_overlays
from tl_toolkit.pipeline.exporting import export_model, exporters_of, finish, spread
from tl_toolkit.pipeline.fitting import tables_of, trainer_of
from tl_toolkit.pipeline.keeping import keep_training
from tl_toolkit.pipeline.options import TrainOptions
from tl_toolkit.pipeline.searching import Outcome
from tl_toolkit.pipeline.training_settings import begun_with, best_head, require_blind, settings_of
from tl_toolkit.sections import record
from tl_toolkit.training.courses import Trained
from tl_toolkit.training.fitting import Trainer
from tl_toolkit.training.precision import dtype_policy


def train(options: TrainOptions) -> Outcome:
    """Train, score on photos that took no part, export, report.

    With ``cross_validate`` each outer fold is scored by a training of its own, and the exported model is trained on all
    photos; without, the first outer fold is held out, and the exported model is the one that was scored on it.

    Raises:
        UserError: something that the user can mend.
        KeyboardInterrupt: Ctrl-C; the folder keeps checkpoints, and ``resume`` goes on from them.
    """
    watch = Stopwatch()
    if options.fine_tune:
        options = replace(options, fine_tune=run_folder(options.fine_tune))
    found = best_head(options.fine_tune) if options.fine_tune else None
    head = found.config if found else fine_tuning.HEAD
    # Mistakes are told before photos are looked for.
    settings_of(options, 0, head)
    exporters_of(options.export)
    begun = begun_with(options.resume) if options.resume else None
    dataset = find_data(options, watch)
    config = settings_of(options, len(dataset), head)
    if "optimizer" in options.settings and "learning_rate" not in options.settings:
        note(f"Learning rate of {config.optimizer}: {config.learning_rate:g}")
    if options.cross_validate and dataset.test is not None:
        raise UserError(f"{dataset.name} has an official test set: leave --cross-validate out.")
    bank = FeatureBank(cache_folder() / "features")
    prepared = prepare(options, dataset, bank, watch)
    if found:
        require_blind(found, prepared)
    folder = _folder(options, config, head, prepared, begun)
    try:
        return Outcome(folder=folder, run=_train(options, config, head, prepared, bank, folder, watch))
    except KeyboardInterrupt as interrupt:
        # With a run.json, only the page can be missing, or checkpoints that are of no more use.
        how = f"to go on, run the same command with --resume {folder}"
        if (folder / "run.json").exists():
            how = f"the result is kept; for its page run python -m tl_toolkit.report {folder}"
        raise KeyboardInterrupt(f"Interrupted: {how}") from interrupt


def _train(
    options: TrainOptions,
    config: TrainingConfig,
    head: TrainingConfig,
    prepared: Prepared,
    bank: FeatureBank,
    folder: Path,
    watch: Stopwatch,
) -> dict[str, Any]:
    memory = PeakMemory()
    display = progress()
    tables = tables_of(prepared, bank, display, options.seed)
    trainer = trainer_of(prepared, options.seed, tables, head=head, precision=options.precision)
    outer = prepared.splits.outer
    end = watch.started + options.timeout if options.timeout else float("inf")

    tests = [outer == fold for fold in range(prepared.splits.n_outer if options.cross_validate else 1)]
    plans = [(f"fold-{fold}", ~test, test) for fold, test in enumerate(tests)]
    if options.cross_validate:
        plans.append(("final", np.ones(len(outer), bool), None))
    times = f"{len(plans)} times, the last on all photos" if options.cross_validate else "once"
    done: list[Trained] = []
    said = np.zeros((len(outer), len(prepared.dataset.class_names)), np.float32)
    with (
        watch.step("training", f"Training {options.network or config.backbone}: {times}"),
        display,
    ):
        for number, (name, rows, test) in enumerate(plans):
            # Each training has its share of what is left: the last must not be the one that is cut.
            now = time.monotonic()
            deadline = now + max(0.0, end - now) / (len(plans) - number)
            task = display.add_task(f"Epochs of {name}", total=config.epochs)
            trained = trainer.train(
                config,
                rows,
                # An official test set is looked at once, at the end.
                watched=None if prepared.splits.official else test,
                folder=folder / "trainings" / name,
                logs=folder / "tensorboard" / name,
                deadline=deadline,
                advance=lambda n, task=task: display.advance(task, n),  # type: ignore[misc]
            )
            display.remove_task(task)
            if trained.stopped == "diverged":
                raise UserError(f"Training diverged after {len(trained.curves)} epochs: lower --learning-rate.")
            done.append(trained)
            if test is not None:
                said[test] = trainer.probabilities(trained, test)
    cut = {
        name: len(trained.curves)
        for (name, _, _), trained in zip(plans, done, strict=True)
        if trained.stopped == "deadline"
    }
    if cut:
        epochs = ", ".join(f"{name} after {count}" for name, count in cut.items())
        warn(f"Cut short by the timeout, of {config.epochs} epochs: {epochs}. To go on: --resume {folder}")

    keep_training(folder, prepared, plans[-1][1], watch, thumbnails=options.keep_thumbnails)
    scored = np.any(tests, axis=0)
    part = prepared.dataset.select(np.flatnonzero(scored))
    with watch.step("evaluation", f"Scoring {int(scored.sum())} photos that took no part in training"):
        best = evaluate(
            "held-out photos",
            part.labels,
            said[scored],
            prepared.audit.groups[scored],
            outer[scored],
            part.class_names,
            resamples=200 if options.smoke else 2000,
        )
    with watch.step("export", "Exporting the model"):
        exports = _export(folder, trainer, done[-1], prepared, tests, options.export)
    with watch.step("analysis", "Looking into the result: calibration, mistakes"):
        _analyse(folder, trainer, prepared, tests, best, done, config, smoke=options.smoke)
    with watch.step("report", "Writing the report"):
        write_text(folder / "predictions.csv", record.predictions_table(part, outer[scored], best))
        run = record.training_record(
            dataset=prepared.dataset,
            audit=prepared.audit,
            splits=prepared.splits,
            seed=options.seed,
            evaluation=best,
            without_twins=without_twins(best, prepared, resamples=200 if options.smoke else 2000),
            exports=exports,
            run_id=folder.name,
            asked=options.asked,
            steps=watch.steps,
            total_seconds=watch.total(),
            peak_memory=memory.bytes(),
            computed=bank.computed,
            reused=bank.reused,
            command=options.command,
            smoke=options.smoke,
            training={
                "settings": asdict(config),
                "head": asdict(head) if config.network == FINE_TUNED else None,
                "protocol": "cross-validation" if options.cross_validate else "holdout",
                "n_scored": int(scored.sum()),
                "precision": dtype_policy(options.precision, config.network),  # type: ignore[arg-type]
                "trainings": [
                    {
                        "name": name,
                        "epochs": len(trained.curves),
                        "kept_epoch": trained.kept_epoch,
                        "stopped": trained.stopped,
                        "seconds": sum(trained.curves.seconds),
                    }
                    for (name, _, _), trained in zip(plans, done, strict=True)
                ],
            },
        )
        finish(folder, run)
    if not cut:
        # 130 MB each for slash_cnn, and of no more use.
        for checkpoint in (folder / "trainings").glob("*/checkpoint.npz"):
            checkpoint.unlink()
    return run


def _folder(
    options: TrainOptions,
    config: TrainingConfig,
    head: TrainingConfig,
    prepared: Prepared,
    begun: dict[str, Any] | None,
) -> Path:
    """A new run folder, or that of ``options.resume``, whose settings, photos and folds must be those of ``begun``."""
    identity = plain(
        {
            "settings": asdict(config),
            "head": asdict(head) if config.network == FINE_TUNED else None,
            "seed": options.seed,
            "cross_validate": options.cross_validate,
            "fingerprint": prepared.audit.fingerprint,
            "outer": prepared.splits.outer,
        }
    )
    if options.resume is None or begun is None:
        folder = new_run_folder(options.out / prepared.dataset.name)
        write_json(folder / "audit.json", plain(prepared.audit))
        write_json(folder / "splits.json", {"paths": list(prepared.dataset.paths), **plain(prepared.splits)})
        write_json(folder / "training.json", identity)
        note(f"Checkpoints, curves and TensorBoard logs: {folder}")
        return folder
    other = [name for name in identity if begun.get(name) != identity[name]]
    if other:
        raise UserError(f"{options.resume} was begun with other {', '.join(other)}: run the same command as then.")
    return options.resume


def _export(
    folder: Path,
    trainer: Trainer,
    trained: Trained,
    prepared: Prepared,
    tests: list[np.ndarray],
    formats: Sequence[str],
) -> list[ExportedModel]:
    """Write the model files, and check them on photos of every class that were scored."""
    labels = prepared.dataset.labels
    checked = spread(labels, np.any(tests, axis=0))
    network = trainer.model(trained)
    said = trainer.exact(network, trained.config, np.isin(np.arange(len(labels)), checked))
    rows = np.ones(len(labels), bool) if len(tests) > 1 else ~tests[0]
    classifier = classifier_of_networks([network], prepared.dataset.class_names)
    return export_model(folder, classifier, prepared, checked, said, rows, formats)


def _analyse(
    folder: Path,
    trainer: Trainer,
    prepared: Prepared,
    tests: list[np.ndarray],
    best: Evaluation,
    done: list[Trained],
    config: TrainingConfig,
    *,
    smoke: bool,
) -> None:
    """Write ``analysis.json`` and pictures of the photos that the report shows."""
    rows = np.flatnonzero(np.any(tests, axis=0))
    outer, groups = prepared.splits.outer, prepared.audit.groups[rows]
    largest = largest_class(prepared.dataset.labels, outer)[rows]
    part = prepared.dataset.select(rows)
    found: dict[str, Any] = of_predictions(best, part, largest, outer[rows], groups, resamples=100 if smoke else 2000)
    first = done[0]
    looks = epochs_to_look(len(first.curves))
    at = [epoch - 1 for epoch in looks]
    found["curves"] = {
        "epochs": looks,
        **{
            name: [[values[i] for i in at]] if values else []
            for name, values in (
                ("train_loss", first.curves.loss),
                ("train_accuracy", first.curves.accuracy),
                ("validation_loss", first.curves.val_loss),
                ("validation_accuracy", first.curves.val_accuracy),
            )
        },
    }
    if config.network == FINE_TUNED:
        found["weights"] = {backbone.name: backbone.licence for backbone, _ in resolve(config.backbone)}
    found["twins"] = keep_pictures(folder, lambda index: prepared.photos[index], prepared.audit, found, rows)
    # Where the very network looked that made the mistake: in a cross-validation, that of the photo's fold.
    for test, trained in zip(tests, done, strict=False):
        if len(own := found["mistakes"][test[rows[found["mistakes"]]]]):
            looked = explainer_of(classifier_of_networks([trainer.model(trained)], part.class_names))
            if looked:
                found["one_view"] = looked.one_view
                said = best.probabilities.argmax(1)
                keep_overlays(folder, lambda index: prepared.photos[int(rows[index])], looked, own, said)
    write_json(folder / "analysis.json", plain(found))
