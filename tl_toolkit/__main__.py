"""``tl-toolkit COMMAND ...``, the same as ``python -m tl_toolkit.COMMAND ...``."""

from __future__ import annotations

import importlib
import sys

COMMANDS = (
    "explore",
    "search",
    "train",
    "predict",
    "evaluate",
    "export",
    "serve",
    "rediscover",
    "report",
    "leaks",
    "doctor",
)


def main() -> int:
    """Hand over to the command that is named first."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in COMMANDS:
        return importlib.import_module(f"tl_toolkit.{name}").main(sys.argv[2:])
    print(f"usage: tl-toolkit {{{','.join(COMMANDS)}}} ...", file=sys.stderr)
    return 0 if name in ("-h", "--help") else 2


if __name__ == "__main__":
    sys.exit(main())
