"""``python -m tl_toolkit.search DATASET``: the best classifier for a folder of photos, and how good it is."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tl_toolkit.core.command import ended

METRICS = ("accuracy", "macro_f1", "weighted_f1", "log_loss")


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(prog="python -m tl_toolkit.search", description=__doc__)
    made.add_argument("dataset", help="slash, slash_sample, or a folder that holds one folder of photos per class")
    made.add_argument("--data-dir", type=Path, metavar="DIR", help="where the data set is, if not in a usual place")
    made.add_argument("--no-sample", action="store_true", help="stop where the Slash photos cannot be had")
    made.add_argument("--space", metavar="NAME|FILE", help="search space (default: the data set's, else slash)")
    made.add_argument("--engine", default="optuna", help="what proposes settings (default: optuna)")
    made.add_argument("--trials", type=_positive, metavar="N", help="trials of each search (default: the space's)")
    made.add_argument("--timeout", type=float, metavar="SECONDS", help="start no more trials after this time")
    made.add_argument("--seed", type=int, default=0, help="of folds, views, batches and search (default: 0)")
    made.add_argument("--metric", choices=METRICS, help="what the search optimises (default: the space's)")
    made.add_argument("--folds", type=_positive, default=5, metavar="N", help="outer folds: they score (default: 5)")
    made.add_argument("--inner-folds", type=_positive, default=5, metavar="N", help="they choose (default: 5)")
    made.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="default: reports")
    made.add_argument("--smoke", action="store_true", help="everything small: shows that it works, in a minute")
    return made


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def main(arguments: list[str] | None = None) -> int:
    """Run the command and give its exit code."""
    given = parser().parse_args(arguments)

    def command() -> None:
        from tl_toolkit import pipeline

        options = vars(given)
        options["allow_sample"] = not options.pop("no_sample")
        tell(pipeline.search(pipeline.SearchOptions(**options)))

    return ended(command)


def tell(outcome) -> None:  # type: ignore[no-untyped-def]
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
    output.print(Text("  import keras, numpy; from PIL import Image"))
    output.print(Text(f'  model = keras.saving.load_model({model!r}); photo = Image.open("photo.jpg").convert("RGB")'))
    output.print(Text("  photo.thumbnail((512, 512)); print(model(numpy.asarray(photo)[None]))"))


if __name__ == "__main__":
    sys.exit(main())
