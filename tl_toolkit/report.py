"""Pages from the records of finished runs: of one run, of all runs, of two side by side.

Neither TensorFlow nor the photos are needed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tl_toolkit.core.command import ended

COMPARISON = Path("comparison.html")


def main(arguments: list[str] | None = None) -> int:
    """Run the command and give its exit code."""
    made = argparse.ArgumentParser(prog="python -m tl_toolkit.report", description=__doc__)
    # One of them, and only one: argparse ends with code 2 and says so otherwise.
    what = made.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "run", type=Path, nargs="?", help="write this run's page again, such as reports/slash/20260101-120000"
    )
    what.add_argument(
        "--index", type=Path, metavar="FOLDER", help="write index.html into FOLDER: all runs below it, such as reports/"
    )
    what.add_argument(
        "--compare", type=Path, nargs=2, metavar=("RUN_A", "RUN_B"), help="write a page with two runs side by side"
    )
    made.add_argument("--out", type=Path, metavar="FILE", help=f"the page of --compare (default: {COMPARISON})")
    given = made.parse_args(arguments)
    if given.out is not None and given.compare is None:
        made.error("argument --out: only --compare takes it; other pages go into the folder that they are of")

    def command() -> None:
        from tl_toolkit import pipeline
        from tl_toolkit.core.console import output

        if given.compare is not None:
            page = pipeline.compare_runs(given.compare[0], given.compare[1], given.out or COMPARISON)
        elif given.index is not None:
            page = pipeline.index(given.index)
        else:
            page = pipeline.report(given.run)
        output.print(str(page), markup=False)

    return ended(command)


if __name__ == "__main__":
    sys.exit(main())
