"""``python -m tl_toolkit.explore DATASET``: what is in a folder of photos, and what is wrong with it, as a page."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tl_toolkit.core.command import ended

if TYPE_CHECKING:
    from tl_toolkit.pipeline import Exploration

_FEW = 5


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(prog="python -m tl_toolkit.explore", description=__doc__)
    made.add_argument("dataset", help="slash, slash_sample, or a folder that holds one folder of photos per class")
    made.add_argument("--data-dir", type=Path, metavar="DIR", help="where the data set is, if not in a usual place")
    made.add_argument("--no-sample", action="store_true", help="stop where the Slash photos cannot be had")
    made.add_argument("--seed", type=_at_least(0), default=0, help="of folds, batches and map (default: 0)")
    made.add_argument(
        "--folds",
        type=_at_least(2),
        default=5,
        metavar="N",
        help="parts of the data: each is predicted by training on the others (default: 5)",
    )
    made.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="default: reports")
    made.add_argument("--smoke", action="store_true", help="at most 12 photos a class: shows that it works")
    return made


def _at_least(least: int) -> Callable[[str], int]:
    """What argparse turns an option's text into: a whole number, and not below ``least``."""

    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {text}")
        return value

    return number


def main(arguments: list[str] | None = None) -> int:
    """Run the command and give its exit code."""
    given = parser().parse_args(arguments)

    def command() -> None:
        from tl_toolkit import pipeline

        options = vars(given)
        options["allow_sample"] = not options.pop("no_sample")
        words = sys.argv[1:] if arguments is None else arguments
        options["command"] = shlex.join(["python", "-m", "tl_toolkit.explore", *words])
        tell(pipeline.explore(pipeline.SearchOptions(**options)))

    return ended(command)


def tell(found: Exploration) -> None:
    """The last lines on the terminal: what there is, what to look at first, and where the page is."""
    from rich.text import Text

    from tl_toolkit.core.console import output

    record = found.record
    dataset, suspects, twins, unusual = (record[name] for name in ("dataset", "suspects", "duplicates", "unusual"))
    names, photos = dataset["class_names"], record["photos"]
    if dataset["is_sample"]:
        output.print(Text("DRAWN SAMPLE PICTURES, NOT PHOTOS: nothing below is about Slash.", style="bold red"))
    width = max(map(len, names))
    for name, count in zip(names, dataset["class_counts"], strict=True):
        output.print(Text(f"{name:{width}} {count:6}"))
    output.print(
        f"{len(photos)} photos in {len(names)} classes, {dataset['n_groups']} without near duplicates; "
        f"{len(record['quarantined'])} unreadable files"
    )
    output.print(
        f"Duplicates: {len(twins['exact'])} groups of identical files, {len(twins['near'])} of near duplicates, "
        f"{len(twins['conflicts'])} whose labels disagree"
    )
    output.print(
        f"Unusual: {len(unusual['dark'])} dark, {len(unusual['bright'])} bright, {len(unusual['blurred'])} blurred"
    )
    issues = suspects["issues"]
    output.print(f"Probably mislabelled: {len(issues)}" + (", the likeliest first:" if issues else ""))
    for issue in issues[:_FEW]:
        output.print(Text(f"  {photos[issue['index']]['path']}: looks like {names[issue['suggested']]}"))
    output.print(Text(f"Page: {found.page}"))


if __name__ == "__main__":
    sys.exit(main())
