"""``python -m tl_toolkit.search DATASET``: the best classifier for a folder of photos, and how good it is."""

from __future__ import annotations

import argparse
import sys

from tl_toolkit.core.command import (
    THUMBNAILS,
    at_least,
    dataset_options,
    dataset_parser,
    ended,
    export_option,
    search_options,
    tell,
)


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = dataset_parser("search", __doc__)
    made.add_argument("--space", metavar="NAME|FILE", help="search space (default: the data set's, else slash)")
    made.add_argument(
        "--engine",
        default="optuna",
        metavar="NAME",
        help="what proposes settings: optuna, keras-tuner, keras-tuner-hyperband, keras-tuner-random (default: optuna)",
    )
    made.add_argument(
        "--timeout",
        type=at_least(1, float),
        metavar="SECONDS",
        help="end the search this long after the start, with what it has; scoring, export and report come after it",
    )
    made.add_argument("--seed", type=at_least(0), default=0, help="of folds, views, batches and search (default: 0)")
    search_options(made)
    made.add_argument(
        "--ensemble",
        type=at_least(1),
        metavar="N",
        help="best trials averaged (default: 5; 1 where networks are trained)",
    )
    made.add_argument(
        "--baseline",
        choices=("none", "quick", "full"),
        default="quick",
        help="train a network from scratch on the same folds: slash_cnn, or cifar_cnn on photos of at most 32 px; "
        "quick: about two minutes, left out where an epoch takes longer; full: to its end (default: quick)",
    )
    made.add_argument(
        "--protocol",
        choices=("nested", "original"),
        default="nested",
        help="original: show beside the honest score what training on the scored photos would have claimed",
    )
    export_option(made)
    made.add_argument("--keep-thumbnails", action="store_true", help=THUMBNAILS)
    made.add_argument("--smoke", action="store_true", help="everything small: shows that it works, in a minute")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command and give its exit code."""
    options = dataset_options(parser(), arguments)

    def command() -> None:
        from tl_toolkit import pipeline

        outcome = pipeline.search(pipeline.SearchOptions(**options))
        tell(outcome.run, outcome.folder)

    return ended(command)


if __name__ == "__main__":
    sys.exit(main())
