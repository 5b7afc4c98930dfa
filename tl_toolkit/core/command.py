"""What commands share: options of a data set, numbers as options, and how they end."""

from __future__ import annotations

import argparse
import errno
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tl_toolkit.core import console
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.searches import METRICS

THUMBNAILS = "keep small pictures of training photos with the run, to show those that are like a new one"
"""What ``--keep-thumbnails`` does."""

_USERS_TO_MEND = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG}


def at_least(least: int, kind: Callable[[str], float] = int) -> Callable[[str], Any]:
    """What argparse turns an option's text into: a number of that kind, and not below ``least``."""

    def number(text: str) -> float:
        value = kind(text)
        if not value >= least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {text}")
        return value

    return number


def share(text: str) -> float:
    """What argparse turns an option's text into: a number within 0..1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be within 0..1, got {text}")
    return value


def dataset_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser of the command ``name``, with the options of everything that begins with a data set."""
    made = argparse.ArgumentParser(prog=f"python -m tl_toolkit.{name}", description=description)
    made.add_argument(
        "dataset", help="slash, slash_sample, cifar10, or a folder that holds one folder of photos per class"
    )
    made.add_argument("--data-dir", type=Path, metavar="DIR", help="where the data set is, if not in a usual place")
    made.add_argument("--no-sample", action="store_true", help="stop where the Slash photos cannot be had")
    made.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="default: reports")
    return made


def export_option(made: argparse.ArgumentParser) -> None:
    """Add the option of everything that makes a model."""
    made.add_argument(
        "--export",
        nargs="+",
        default=["keras"],
        metavar="NAME",
        help="formats of the model besides keras: saved_model, onnx, litert, litert_int8, openvino, or all",
    )


def search_options(made: argparse.ArgumentParser) -> None:
    """Add the options of everything that searches a space."""
    made.add_argument("--trials", type=at_least(1), metavar="N", help="trials of each search (default: the space's)")
    made.add_argument("--metric", choices=METRICS, help="what a search optimises (default: the space's)")
    made.add_argument("--folds", type=at_least(2), default=5, metavar="N", help="outer folds: they score (default: 5)")
    made.add_argument("--inner-folds", type=at_least(2), default=5, metavar="N", help="they choose (default: 5)")


def dataset_options(parser: argparse.ArgumentParser, arguments: list[str] | None) -> dict[str, Any]:
    """What the user gave to a :func:`dataset_parser`, by option of the pipeline, and the command line itself."""
    options = vars(parser.parse_args(arguments))
    if "export" in options:
        options["export"] = tuple(options["export"])
    options["allow_sample"] = not options.pop("no_sample")
    options["command"] = shlex.join([*parser.prog.split(), *(sys.argv[1:] if arguments is None else arguments)])
    return options


def ended(command: Callable[[], None]) -> int:
    """Run a command and give its exit code: 2 for what the user can mend, 130 for Ctrl-C; our own defects raise."""
    try:
        command()
    except UserError as error:
        console.error(str(error))
        return 2
    except OSError as error:
        if error.errno not in _USERS_TO_MEND:
            raise
        where = f" ({error.filename})" if error.filename else ""
        console.error(f"{error.strerror}{where}: make room or grant permission, then run again.")
        return 2
    except KeyboardInterrupt as interrupt:
        console.error(str(interrupt) or "Interrupted. What was computed stays in the cache; run again to go on.")
        return 130
    return 0


def tell(run: Mapping[str, Any], folder: Path) -> None:
    """The last lines on the terminal: the score, where the report is, and how to predict with the model."""
    from rich.text import Text

    output = console.output
    metrics = run["evaluation"]["metrics"]
    if run["dataset"]["is_sample"]:
        output.print(Text("DRAWN SAMPLE PICTURES, NOT PHOTOS: no figure below is about Slash.", style="bold red"))
    for name in ("accuracy", "macro_f1", "weighted_f1"):
        figure = metrics[name]
        output.print(f"{name:12} {figure['value']:.3f}  (95 % interval {figure['low']:.3f} to {figure['high']:.3f})")
    baseline, leaking = run.get("baseline"), run.get("leaking")
    if baseline and "metrics" in baseline:
        count = baseline["settings"]["epochs"]
        epochs = "" if baseline["mode"] == "full" else f", {count} epoch{'s' * (count > 1)}"
        reached = baseline["metrics"]["accuracy"]["value"]
        output.print(f"For comparison: {baseline['network']} from scratch{epochs}: accuracy {reached:.3f}")
    if leaking:
        claimed = leaking["metrics"]["accuracy"]["value"]
        output.print(
            Text(f"LEAKING, not a score: the original protocol would claim accuracy {claimed:.3f}", style="bold red")
        )
    output.print(Text(f"Report: {folder / 'index.html'}"))
    output.print(Text(f"Predict: {this_python()} -m tl_toolkit.predict {shlex.quote(str(folder))} photo.jpg"))


def this_python() -> str:
    """What to type for the Python that runs: ``python`` where that means it, else where it is, seen from here."""
    # Not where links lead: environments are told apart by the place of their link. An embedded Python has no place.
    if not sys.executable or shutil.which("python") == sys.executable:
        return "python"
    here = os.path.relpath(sys.executable)
    return shlex.quote(sys.executable if here.startswith(os.pardir) or os.sep not in here else here)
