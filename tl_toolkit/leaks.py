"""``python -m tl_toolkit.leaks TRAIN TEST``: which photos of a test set are in a training set, as a page."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tl_toolkit.core.command import ended

if TYPE_CHECKING:
    from tl_toolkit.pipeline import LeakCheck

_FEW = 5


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog="python -m tl_toolkit.leaks",
        description=__doc__,
        epilog="Exit code: 0 where the question was answered, whatever the answer; with --fail 1 where photos leak; "
        "2 for what you can mend.",
    )
    which = "slash, slash_sample, or a folder of photos, in class folders or not"
    made.add_argument("train", metavar="TRAIN", help=f"the training set: {which}")
    made.add_argument("test", metavar="TEST", help="the test set, likewise")
    made.add_argument("--data-dir", type=Path, metavar="DIR", help="where Slash is, if not in a usual place")
    made.add_argument("--no-sample", action="store_true", help="stop where the Slash photos cannot be had")
    made.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="default: reports")
    made.add_argument(
        "--no-embeddings",
        action="store_true",
        help="compare hashes only: quicker, but mirrored and cropped photos are not found",
    )
    made.add_argument("--fail", action="store_true", help="end with exit code 1 where photos leak, for scripts")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command and give its exit code."""
    made = parser()
    given = made.parse_args(arguments)
    leaking = 0

    def command() -> None:
        nonlocal leaking
        from tl_toolkit import pipeline

        found = pipeline.find_leaks(
            pipeline.LeakOptions(
                train=given.train,
                test=given.test,
                data_dir=given.data_dir,
                allow_sample=not given.no_sample,
                embeddings=not given.no_embeddings,
                out=given.out,
                command=shlex.join([*made.prog.split(), *(sys.argv[1:] if arguments is None else arguments)]),
            )
        )
        tell(found)
        leaking = found.record["leaking"]

    code = ended(command)
    return 1 if given.fail and leaking else code


def tell(found: LeakCheck) -> None:
    """The last lines on the terminal: the answer, some of the photos, and where the page is."""
    from rich.text import Text

    from tl_toolkit.core.console import output

    record = found.record
    if any(record[side]["is_sample"] for side in ("train", "test")):
        output.print(Text("DRAWN SAMPLE PICTURES, NOT PHOTOS: nothing below is about Slash.", style="bold red"))
    for pair in record["pairs"][:_FEW]:
        output.print(Text(f"  {pair['test']}: {pair['kind']}, {pair['train']}"))
    if len(record["pairs"]) > _FEW:
        output.print(f"  and {len(record['pairs']) - _FEW} more pairs")
    if record["labels"]:
        output.print(f"Test photos whose twins carry another label: {record['labels']['disagreeing']}")
    unreadable = {side: len(record[side]["quarantined"]) for side in ("test", "train")}
    if any(unreadable.values()):
        output.print(f"Unreadable, so not compared: {unreadable['test']} of test, {unreadable['train']} of training")
    output.print(found.verdict)
    output.print(Text(f"Page: {found.page}"))


if __name__ == "__main__":
    sys.exit(main())
