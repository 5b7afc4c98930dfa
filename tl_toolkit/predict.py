"""``python -m tl_toolkit.predict MODEL_OR_RUN PATHS...``: what a model says of photos, one line a photo."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tl_toolkit.core.command import at_least, ended, share


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog="python -m tl_toolkit.predict",
        description=__doc__,
        epilog="Results go to standard output, all else to standard error. Exit code: 0; 1 where a photo could not be "
        "read (it has a line that says why); 2 for what you can mend.",
    )
    made.add_argument(
        "model",
        type=Path,
        metavar="MODEL_OR_RUN",
        help="a model file, a run folder, or such as reports/slash/latest, best",
    )
    made.add_argument(
        "paths",
        nargs="+",
        metavar="PATHS",
        help="photos, folders (with all in them), globs in quotes, such as 'photos/**/*.jpg', or - for a list on "
        "standard input: one path a line, or each ended by a zero byte",
    )
    made.add_argument(
        "--format",
        choices=("table", "csv", "jsonl"),
        help="default: a table on a terminal, else what the suffix of --out says (.csv, .jsonl, .txt), else csv",
    )
    made.add_argument(
        "--top-k", type=at_least(1), default=1, metavar="K", help="tell the K most probable classes (default: 1)"
    )
    made.add_argument(
        "--threshold",
        type=share,
        default=0.0,
        metavar="P",
        help="answer 'unsure' below this probability, 0..1 (default: 0)",
    )
    made.add_argument("--out", type=Path, metavar="FILE", help="write the results into this file, whole")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command and give its exit code."""
    given = parser().parse_args(arguments)
    broken = 0

    def command() -> None:
        nonlocal broken
        from tl_toolkit import pipeline

        options = pipeline.PredictOptions(
            model=given.model,
            words=tuple(given.paths),
            layout=given.format,
            top_k=given.top_k,
            threshold=given.threshold,
            out=given.out,
        )
        try:
            broken = pipeline.predict(options).broken
        except BrokenPipeError:
            # Who reads has had enough, as `head` has: no mistake. Python must not write the rest when it ends, either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt as interrupt:
            raise KeyboardInterrupt(str(interrupt) or "Interrupted.") from interrupt

    return ended(command) or (1 if broken else 0)


if __name__ == "__main__":
    sys.exit(main())
