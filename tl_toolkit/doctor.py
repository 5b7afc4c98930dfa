"""``python -m tl_toolkit.doctor``: versions, machine, folders, data and weights; what is missing, and what to do."""

from __future__ import annotations

import argparse
import sys

from tl_toolkit.core.command import ended
from tl_toolkit.core.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Run the command and give its exit code: 2 where something is missing that the main job needs."""
    argparse.ArgumentParser(prog="python -m tl_toolkit.doctor", description=__doc__).parse_args(arguments)

    def command() -> None:
        from tl_toolkit import pipeline
        from tl_toolkit.core.console import output

        findings = pipeline.diagnose()
        for finding in findings:
            state = "ok" if finding.ok else "MISSING"
            output.print(f"{state:8}{finding.what:31}{finding.found}", markup=False)
        missing = [finding.what for finding in findings if not finding.ok and finding.needed]
        if missing:
            raise UserError(f"Missing: {', '.join(missing)}; the lines above say what to do.")

    return ended(command)


if __name__ == "__main__":
    sys.exit(main())
