"""``python -m tl_toolkit.search DATASET``: the best classifier for a folder of photos, and how good it is."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tl_toolkit.core.command import ended
from tl_toolkit.core.records import METRICS

if TYPE_CHECKING:
    from tl_toolkit.pipeline import Outcome


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(prog="python -m tl_toolkit.search", description=__doc__)
    made.add_argument("dataset", help="slash, slash_sample, or a folder that holds one folder of photos per class")
    made.add_argument("--data-dir", type=Path, metavar="DIR", help="where the data set is, if not in a usual place")
    made.add_argument("--no-sample", action="store_true", help="stop where the Slash photos cannot be had")
    made.add_argument("--space", metavar="NAME|FILE", help="search space (default: the data set's, else slash)")
    made.add_argument("--engine", default="optuna", help="what proposes settings (default: optuna)")
    made.add_argument("--trials", type=_at_least(1), metavar="N", help="trials of each search (default: the space's)")
    made.add_argument(
        "--timeout", type=_at_least(1, float), metavar="SECONDS", help="start no more trials after this time"
    )
    made.add_argument("--seed", type=_at_least(0), default=0, help="of folds, views, batches and search (default: 0)")
    made.add_argument("--metric", choices=METRICS, help="what the search optimises (default: the space's)")
    made.add_argument("--ensemble", type=_at_least(1), default=5, metavar="N", help="best trials averaged (default: 5)")
    made.add_argument("--folds", type=_at_least(2), default=5, metavar="N", help="outer folds: they score (default: 5)")
    made.add_argument("--inner-folds", type=_at_least(2), default=5, metavar="N", help="they choose (default: 5)")
    made.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="default: reports")
    made.add_argument("--smoke", action="store_true", help="everything small: shows that it works, in a minute")
    return made


def _at_least(least: int, kind: Callable[[str], float] = int) -> Callable[[str], Any]:
    """What argparse turns an option's text into: a number of that kind, and not below ``least``."""

    def number(text: str) -> float:
        value = kind(text)
        if not value >= least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {text}")
        return value

    return number


def main(arguments: list[str] | None = None) -> int:
    """Run the command and give its exit code."""
    given = parser().parse_args(arguments)

    def command() -> None:
        from tl_toolkit import pipeline

        options = vars(given)
        options["allow_sample"] = not options.pop("no_sample")
        words = sys.argv[1:] if arguments is None else arguments
        options["command"] = shlex.join(["python", "-m", "tl_toolkit.search", *words])
        tell(pipeline.search(pipeline.SearchOptions(**options)))

    return ended(command)


def tell(outcome: Outcome) -> None:
    """The last lines on the terminal: the score, where the report is, and how to use the model."""
    from rich.text import Text

    from tl_toolkit.core.console import output

    run, folder = outcome.run, outcome.folder
    metrics = run["evaluation"]["metrics"]
    if run["dataset"]["is_sample"]:
        output.print(Text("DRAWN SAMPLE PICTURES, NOT PHOTOS: no figure below is about Slash.", style="bold red"))
    for name in ("accuracy", "macro_f1", "weighted_f1"):
        figure = metrics[name]
        output.print(f"{name:12} {figure['value']:.3f}  (95 % interval {figure['low']:.3f} to {figure['high']:.3f})")
    output.print(Text(f"Report: {folder / 'index.html'}"))
    output.print(Text("Use the model:"))
    model = str(folder / "model" / "model.keras")
    load = f"model = keras.saving.load_model({model!r})"
    output.print(Text(f"  import keras, numpy; from PIL import Image, ImageOps; {load}"))
    output.print(Text('  photo = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB")'))
    output.print(Text("  photo.thumbnail((512, 512)); print(model(numpy.asarray(photo)[None]))"))


if __name__ == "__main__":
    sys.exit(main())
