"""The settings of one training: the network's own, or those of fine-tuning, and what the user gave."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tl_toolkit.augmentation import REGISTRY as AUGMENTATIONS
from tl_toolkit.backbones import fine_tuning
from tl_toolkit.backbones.features import resolve
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.settings import FROZEN, TrainingConfig
from tl_toolkit.networks import REGISTRY as NETWORKS
from tl_toolkit.pipeline.data import Prepared
from tl_toolkit.pipeline.options import TrainOptions

_RATES = {"sgd": 1e-2, "adam": 1e-3, "adamw": 1e-3}


_MANY = 5000
"""Photos from which on fine-tuning starts from the settings for many."""


def settings_of(options: TrainOptions, n: int, head: TrainingConfig = fine_tuning.HEAD) -> TrainingConfig:
    """The settings that the user gave, on top of the network's own, or of those for fine-tuning ``n`` photos.

    Args:
        head: That of the search to go on from, whose backbone is fine-tuned.

    Raises:
        UserError: settings that cannot be.
    """
    if options.network:
        config = NETWORKS.get(options.network).reference
    elif backbone := options.backbone or (head.backbone if options.fine_tune else None):
        if len(resolve(backbone)) > 1:
            raise UserError(f"Only one backbone can be fine-tuned at a time, got {backbone}.")
        config = replace(fine_tuning.MANY if n >= _MANY else fine_tuning.REFERENCE, backbone=backbone)
    else:
        raise UserError(
            "Name a --network to train from scratch, a --backbone to fine-tune, or a search to --fine-tune."
        )
    AUGMENTATIONS.get(options.settings.get("augmentation", config.augmentation))
    given = dict(options.settings)
    if given.get("augmentation") == "none":
        given = {"strength": 0.0, "views": 1, **given}
    chosen = given.get("optimizer", config.optimizer)
    if chosen != config.optimizer and "learning_rate" not in given:
        # Keras' own defaults; pretrained weights bear a tenth of them.
        given["learning_rate"] = _RATES[chosen] * (1.0 if options.network else 0.1)
    if given.get("optimizer", "sgd") != "sgd":
        given = {"momentum": 0.0, "nesterov": False, "bias_rate": 1.0, **given}
    if given.get("optimizer") == "adam":
        given = {"weight_decay": 0.0, **given}
    if options.smoke:
        given["epochs"] = min(2, given.get("epochs", config.epochs))
    try:
        return replace(config, **given)
    except ValueError as error:
        raise UserError(f"These settings cannot be: {error}.") from error


def begun_with(folder: Path) -> dict[str, Any]:
    """What an interrupted training was begun with: its ``training.json``.

    Raises:
        UserError: there is none, or nothing is left to do.
    """
    if (folder / "run.json").exists() and not list((folder / "trainings").glob("*/checkpoint.npz")):
        raise UserError(f"{folder} is a finished run: there is nothing to resume.")
    try:
        begun: dict[str, Any] = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise UserError(f"{folder} holds no interrupted training (training.json).") from error
    return begun


@dataclass(frozen=True, slots=True, kw_only=True)
class BestHead:
    """Of a search.

    Attributes:
        folder: That of the search.
        config: How the head is trained.
        fingerprint: Of the photos and labels that it was found on.
        official: Whether the search held an official test set out.
    """

    folder: Path
    config: TrainingConfig
    fingerprint: str
    official: bool


def best_head(folder: Path) -> BestHead:
    """The best head of a search.

    Raises:
        UserError: the folder is not that of a search of heads.
    """
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        head = BestHead(
            folder=folder,
            config=TrainingConfig(**run["search"]["best"]),
            fingerprint=run["dataset"]["fingerprint"],
            official=run["splits"]["official_test_set"],
        )
    except (OSError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder} is not a finished search: there is no head in it to begin with.") from error
    if head.config.network != FROZEN:
        raise UserError(f"The search in {folder} was of {head.config.network}: name a search of heads on a backbone.")
    return head


def require_blind(head: BestHead, prepared: Prepared) -> None:
    """Refuse a search that has seen the photos which are held out now.

    The fingerprint of photos and labels does not tell which of them the search held out: its ``splits.json`` does.

    Raises:
        UserError: it was on other photos, or chose its head by some of those that are held out now.
    """
    folder = head.folder
    if head.fingerprint != prepared.audit.fingerprint:
        raise UserError(f"The search in {folder} was on other photos: run it again on these.")
    if not prepared.splits.official:
        raise UserError(
            f"The search in {folder} chose its head by the photos that are held out here, as {prepared.dataset.name} "
            "has no official test set: name the --backbone instead."
        )
    if not head.official:
        raise UserError(
            f"The search in {folder} chose its head by all photos, those of the official test set among them: run it "
            "again, or name the --backbone instead."
        )
    try:
        splits = json.loads((folder / "splits.json").read_text(encoding="utf-8"))
        blind = {path for path, fold in zip(splits["paths"], splits["outer"], strict=True) if fold >= 0}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder} does not tell which photos its search held out (splits.json): run it again, or name the "
            "--backbone instead."
        ) from error
    if blind != {prepared.dataset.paths[i] for i in np.flatnonzero(prepared.splits.scored)}:
        raise UserError(
            f"The search in {folder} held out other photos than the official test set of now: run it again, or name "
            "the --backbone instead."
        )
