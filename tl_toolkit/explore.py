"""``python -m tl_toolkit.explore DATASET``: what is in a folder of photos, and what is wrong with it, as a page."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from tl_toolkit.core.command import at_least, dataset_options, dataset_parser, ended

if TYPE_CHECKING:
    from tl_toolkit.pipeline import Exploration

_FEW = 5


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = dataset_parser("explore", __doc__)
    made.add_argument("--seed", type=at_least(0), default=0, help="of folds, batches and map (default: 0)")
    made.add_argument(
        "--folds",
        type=at_least(2),
        default=5,
        metavar="N",
        help="parts of the data: each is predicted by training on the others (default: 5)",
    )
    made.add_argument("--smoke", action="store_true", help="at most 12 photos a class: shows that it works")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command and give its exit code."""
    options = dataset_options(parser(), arguments)

    def command() -> None:
        from tl_toolkit import pipeline

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
