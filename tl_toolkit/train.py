"""``python -m tl_toolkit.train DATASET``: train a network, from scratch or from a pretrained backbone, and score it."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

from tl_toolkit.core.command import THUMBNAILS, at_least, dataset_options, dataset_parser, ended, export_option, tell
from tl_toolkit.core.settings import CLASS_WEIGHTS, OPTIMIZERS, SCHEDULES, TrainingConfig

_CHOICES = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "class_weight": CLASS_WEIGHTS}
_KINDS: dict[type, Callable[[str], Any]] = {int: int, float: float, str: str}


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = dataset_parser("train", __doc__)
    what = made.add_mutually_exclusive_group(required=True)
    what.add_argument("--network", metavar="NAME", help="network to train from scratch, such as slash_cnn")
    what.add_argument("--backbone", metavar="NAME", help="pretrained backbone to fine-tune, such as efficientnet_lite0")
    what.add_argument(
        "--fine-tune",
        type=Path,
        metavar="RUN",
        help="search whose best head, and the backbone below it, training begins with (official test sets)",
    )
    made.add_argument("--seed", type=at_least(0), default=0, help="of folds, views, weights and batches (default: 0)")
    made.add_argument("--folds", type=at_least(2), default=5, metavar="N", help="parts of the data (default: 5)")
    made.add_argument(
        "--cross-validate",
        action="store_true",
        help="score all folds, and train the model on all photos (default: hold the first fold out)",
    )
    made.add_argument(
        "--timeout", type=at_least(1, float), metavar="SECONDS", help="begin no more epochs after this time"
    )
    made.add_argument("--resume", type=Path, metavar="RUN", help="go on with a run that was interrupted")
    made.add_argument(
        "--precision",
        choices=("auto", "float32", "mixed_bfloat16"),
        default="auto",
        help="auto: mixed where the hardware multiplies bfloat16 (default)",
    )
    export_option(made)
    made.add_argument("--keep-thumbnails", action="store_true", help=THUMBNAILS)
    made.add_argument("--smoke", action="store_true", help="two epochs on a few photos: shows that it works")
    settings = made.add_argument_group("settings", "defaults: those of the network, or of fine-tuning")
    helps = _helps()
    for name, kind in get_type_hints(TrainingConfig).items():
        if name in ("network", "backbone"):
            continue
        option = f"--{name.replace('_', '-')}"
        if kind is bool:
            settings.add_argument(option, action=argparse.BooleanOptionalAction, default=None, help=helps[name])
        elif name in _CHOICES:
            settings.add_argument(option, choices=_CHOICES[name], help=helps[name])
        else:
            settings.add_argument(option, type=_KINDS[kind], metavar=kind.__name__.upper(), help=helps[name])
    return made


def _helps() -> dict[str, str]:
    """What the docstring of the settings says of each, for ``--help``."""
    found = re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", inspect.getdoc(TrainingConfig) or "", re.MULTILINE)
    told = {name: " ".join(text.split()).replace("``", "").replace("%", "%%") for name, text in found}
    return {name: told.get(name, "") for name in get_type_hints(TrainingConfig)}


def main(arguments: list[str] | None = None) -> int:
    """Run the command and give its exit code."""
    options = dataset_options(parser(), arguments)
    fields = get_type_hints(TrainingConfig).keys() - {"network", "backbone"}
    given = {name: options.pop(name) for name in fields}
    options["settings"] = {name: value for name, value in given.items() if value is not None}

    def command() -> None:
        from tl_toolkit import pipeline

        outcome = pipeline.train(pipeline.TrainOptions(**options))
        tell(outcome.run, outcome.folder)

    return ended(command)


if __name__ == "__main__":
    sys.exit(main())
