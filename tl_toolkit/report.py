"""``python -m tl_toolkit.report RUN``: write a run's page again from its records, without TensorFlow and photos."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tl_toolkit.core.command import ended


def main(arguments: list[str] | None = None) -> int:
    """Run the command and give its exit code."""
    made = argparse.ArgumentParser(prog="python -m tl_toolkit.report", description=__doc__)
    made.add_argument("run", type=Path, help="a run folder, such as reports/slash/20260101-120000")
    given = made.parse_args(arguments)

    def command() -> None:
        from tl_toolkit import pipeline
        from tl_toolkit.core.console import output

        output.print(str(pipeline.report(given.run)), markup=False)

    return ended(command)


if __name__ == "__main__":
    sys.exit(main())
