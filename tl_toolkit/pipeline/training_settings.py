"""The settings of one training: the network's own, or those of fine-tuning, and what the user gave."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

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


def best_head(folder: Path) -> tuple[TrainingConfig, str]:
    """The settings of the best head of a search, and the fingerprint of the photos that it was found on.

    Raises:
        UserError: the folder is not that of a search of heads.
    """
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        head, fingerprint = TrainingConfig(**run["search"]["best"]), run["dataset"]["fingerprint"]
    except (OSError, json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{folder} is not a finished search: there is no head in it to begin with.") from error
    if head.network != FROZEN:
        raise UserError(f"The search in {folder} was of {head.network}: name a search of heads on a backbone.")
    return head, fingerprint


def require_blind(folder: Path, fingerprint: str, prepared: Prepared) -> None:
    """Refuse a search, on photos of this fingerprint, that has seen those which are held out now."""
    if fingerprint != prepared.audit.fingerprint:
        raise UserError(f"The search in {folder} was on other photos: run it again on these.")
    if not prepared.splits.official:
        raise UserError(
            f"The search in {folder} chose its head by the photos that are held out here, as {prepared.dataset.name} "
            "has no official test set: name the --backbone instead."
        )
