"""``python -m tl_toolkit.export RUN --format NAME ...``: write the model of a finished run in further formats."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tl_toolkit.core.command import ended


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog="python -m tl_toolkit.export",
        description=__doc__,
        epilog="Each file is run on photos of its run in its own runtime, and must say what the pipeline said. "
        "Exit code: 0 where all formats passed, 1 where one did not, 2 for what you can mend.",
    )
    made.add_argument("run", type=Path, metavar="RUN", help="folder of a run, such as reports/slash/20260101-120000")
    made.add_argument(
        "--format",
        nargs="+",
        required=True,
        metavar="NAME",
        help="keras, saved_model, onnx, litert, litert_int8, openvino, or all",
    )
    made.add_argument("--data-dir", type=Path, metavar="DIR", help="where the run's data set is by now")
    made.add_argument("--photos", type=Path, metavar="FOLDER", help="the folder that holds its class folders, instead")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command and give its exit code."""
    given = parser().parse_args(arguments)
    failed = 0

    def command() -> None:
        nonlocal failed
        from tl_toolkit import pipeline
        from tl_toolkit.core.console import output
        from tl_toolkit.core.references import run_folder

        # Once, for what is latest may change meanwhile.
        folder = run_folder(given.run)
        made = pipeline.export(
            pipeline.ExportOptions(
                run=folder, formats=tuple(given.format), data_dir=given.data_dir, photos=given.photos
            )
        )
        for one in made:
            failed += one.error is not None
            result = "FAILED" if one.size is None else f"{one.size / 1e6:.1f} MB, up to {one.max_difference:.1e} apart"
            output.print(f"{folder / 'model' / one.path}: {result}", markup=False)

    return ended(command) or int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
