"""``python -m tl_toolkit.search DATASET``: the best classifier for a folder of photos, and how good it is."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from tl_toolkit.core.command import at_least, dataset_options, dataset_parser, ended
from tl_toolkit.core.records import METRICS

if TYPE_CHECKING:
    from tl_toolkit.pipeline import Outcome


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = dataset_parser("search", __doc__)
    made.add_argument("--space", metavar="NAME|FILE", help="search space (default: the data set's, else slash)")
    made.add_argument("--engine", default="optuna", help="what proposes settings (default: optuna)")
    made.add_argument("--trials", type=at_least(1), metavar="N", help="trials of each search (default: the space's)")
    made.add_argument(
        "--timeout", type=at_least(1, float), metavar="SECONDS", help="start no more trials after this time"
    )
    made.add_argument("--seed", type=at_least(0), default=0, help="of folds, views, batches and search (default: 0)")
    made.add_argument("--metric", choices=METRICS, help="what the search optimises (default: the space's)")
    made.add_argument("--ensemble", type=at_least(1), default=5, metavar="N", help="best trials averaged (default: 5)")
    made.add_argument("--folds", type=at_least(2), default=5, metavar="N", help="outer folds: they score (default: 5)")
    made.add_argument("--inner-folds", type=at_least(2), default=5, metavar="N", help="they choose (default: 5)")
    made.add_argument("--smoke", action="store_true", help="everything small: shows that it works, in a minute")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command and give its exit code."""
    options = dataset_options(parser(), arguments)

    def command() -> None:
        from tl_toolkit import pipeline

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
