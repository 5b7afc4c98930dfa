"""``python -m tl_toolkit.evaluate MODEL_OR_RUN FOLDER``: how good a model is on new labelled photos, as a page."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tl_toolkit.core.command import ended

if TYPE_CHECKING:
    from tl_toolkit.pipeline import FolderEvaluation


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog="python -m tl_toolkit.evaluate",
        description=__doc__,
        epilog="Exit code: 0 where there is a score, whatever it is; with --fail 1 where photos leak or the score lies "
        "below what the run promised; 2 for what you can mend.",
    )
    made.add_argument(
        "model", metavar="MODEL_OR_RUN", help="an exported model file, a run, or such as reports/slash/best"
    )
    made.add_argument("folder", type=Path, metavar="FOLDER", help="holds one folder of photos per class of the model")
    made.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="default: reports")
    made.add_argument(
        "--ignore-unknown", action="store_true", help="leave out photos of classes that the model does not know"
    )
    made.add_argument(
        "--fail",
        action="store_true",
        help="end with exit code 1 where photos leak or the score is below what was promised, for scripts",
    )
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command and give its exit code."""
    made = parser()
    given = made.parse_args(arguments)
    failed = False

    def command() -> None:
        nonlocal failed
        from tl_toolkit import pipeline

        found = pipeline.evaluate_folder(
            pipeline.EvaluateOptions(
                model=given.model,
                folder=given.folder,
                ignore_unknown=given.ignore_unknown,
                out=given.out,
                command=shlex.join([*made.prog.split(), *(sys.argv[1:] if arguments is None else arguments)]),
            )
        )
        tell(found)
        leaks, promise = found.record["leaks"], found.record["promise"]
        failed = bool(leaks and leaks["leaking"]) or bool(promise and promise["verdict"] == "below")

    code = ended(command)
    return 1 if given.fail and failed else code


def tell(found: FolderEvaluation) -> None:
    """The last lines on the terminal: the score, the promise, leaks, drift, and where the page is."""
    from rich.text import Text

    from tl_toolkit.core.console import output

    record = found.record
    if record["dataset"]["is_sample"]:
        output.print(Text("A MODEL OF DRAWN SAMPLE PICTURES: no figure below is about Slash.", style="bold red"))
    for name in ("accuracy", "macro_f1", "weighted_f1"):
        figure = record["evaluation"]["metrics"][name]
        output.print(f"{name:12} {figure['value']:.3f}  (95 % interval {figure['low']:.3f} to {figure['high']:.3f})")
    if record["quarantined"]:
        output.print(f"Unreadable, so not scored: {len(record['quarantined'])}")
    for what, text in found.verdicts.items():
        output.print(Text(f"{what}: {text}"))
    output.print(Text(f"Page: {found.page}"))


if __name__ == "__main__":
    sys.exit(main())
