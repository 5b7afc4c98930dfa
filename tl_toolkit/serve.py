"""``python -m tl_toolkit.serve MODEL_OR_RUN``: a local web page and a JSON endpoint that classify photos."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tl_toolkit.core.command import at_least, ended, share


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(prog="python -m tl_toolkit.serve", description=__doc__)
    made.add_argument(
        "model", type=Path, metavar="MODEL_OR_RUN", help="a model file, a run, or such as reports/slash/best"
    )
    made.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen at (default: 127.0.0.1, this machine alone); nobody is asked for a password",
    )
    made.add_argument(
        "--port", type=port, default=8000, metavar="N", help="0 for any that is free (default: 8000), at most 65535"
    )
    made.add_argument("--max-megabytes", type=at_least(1), default=20, metavar="N", help="largest upload (default: 20)")
    made.add_argument(
        "--threshold", type=share, default=0.0, metavar="P", help="answer 'unsure' below this probability (default: 0)"
    )
    return made


def port(text: str) -> int:
    """What argparse turns ``--port`` into."""
    value = int(text)
    if not 0 <= value <= 65535:
        raise argparse.ArgumentTypeError(f"must be within 0..65535, got {text}")
    return value


def main(arguments: list[str] | None = None) -> int:
    """Run the command and give its exit code."""
    given = parser().parse_args(arguments)

    def command() -> None:
        from tl_toolkit import pipeline

        pipeline.serve(
            pipeline.ServeOptions(
                model=given.model,
                host=given.host,
                port=given.port,
                max_bytes=given.max_megabytes * 1_000_000,
                threshold=given.threshold,
            )
        )

    return ended(command)


if __name__ == "__main__":
    sys.exit(main())
