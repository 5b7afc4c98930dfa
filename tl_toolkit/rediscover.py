"""``python -m tl_toolkit.rediscover DATASET``: do blind searches find settings as good as SGD 0.01 / 0.7?"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from tl_toolkit.core.command import at_least, dataset_options, dataset_parser, ended, search_options

if TYPE_CHECKING:
    from tl_toolkit.pipeline import Rediscovery


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = dataset_parser("rediscover", __doc__)
    made.add_argument("--space", metavar="NAME|FILE", help="search space (default: slash_head)")
    made.add_argument(
        "--engines",
        type=lambda text: tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip())),
        default=("optuna", "keras-tuner"),
        metavar="A,B",
        help="what proposes settings (default: optuna,keras-tuner)",
    )
    made.add_argument("--seeds", type=at_least(1), default=5, metavar="N", help="searches of each engine (default: 5)")
    made.add_argument(
        "--studies",
        type=at_least(0),
        metavar="N",
        help="only the first N outer folds have a search, and winners are compared on these; 0: no fold, all photos "
        "together only (default: all folds, and all photos together)",
    )
    made.add_argument("--no-landscape", action="store_true", help="no grid of learning rate and momentum")
    made.add_argument("--seed", type=at_least(0), default=0, help="of folds, views and batches; of searches the first")
    search_options(made)
    made.add_argument("--smoke", action="store_true", help="everything small: shows that it works")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command and give its exit code."""
    options = dataset_options(parser(), arguments)
    options["landscape"] = not options.pop("no_landscape")

    def command() -> None:
        from tl_toolkit import pipeline

        tell(pipeline.rediscover(pipeline.RediscoveryOptions(**options)))

    return ended(command)


def tell(found: Rediscovery) -> None:
    """The last lines on the terminal: what the searches of each engine come to, and where the page is."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from tl_toolkit.core.console import output

    record = found.record
    if record["dataset"]["is_sample"]:
        output.print(Text("DRAWN SAMPLE PICTURES, NOT PHOTOS: no figure below is about Slash.", style="bold red"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in (
        "engine",
        "seeds",
        "median trials to reach",
        f"{record['decides']}, winner less reference",
        "verdict",
    ):
        table.add_column(title, overflow="fold")
    for engine in record["engines"]:
        median, count = engine["median"], engine["trials_to_reach"]
        reached = sum(one is not None for one in count)
        row = [
            engine["engine"],
            str(len(engine["seeds"])),
            f"{'never' if median is None else f'{median:g}'} ({reached} of {len(count)} seeds)",
        ]
        if engine["verdict"]:
            one = engine["differences"][record["decides"]]
            row += [f"{one['value']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}]", engine["verdict"]]
        table.add_row(*map(Text, row))
    output.print(table)
    settings = record["reference"]["settings"]
    output.print(
        f"Reached: within one standard error of {settings['optimizer'].upper()} {settings['learning_rate']:g}"
        + (f" / {settings['momentum']:g}" if settings["optimizer"] == "sgd" else "")
        + f", or better, in the search {record['splits']['where']}, of {record['space']['trials']} trials"
    )
    output.print(Text(f"Page: {found.page}"))


if __name__ == "__main__":
    sys.exit(main())
