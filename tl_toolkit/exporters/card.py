"""``model_card.md``: what a model file is, what it takes and gives, and how it was checked; from a run's records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CONTRACT = (
    "uint8 RGB photos, upright, shape (n, height, width, 3), of any size, n at least 1; resizing and normalisation are "
    "inside. Probabilities of the classes in the order of labels.txt, float32 (n, classes), come out."
)
"""What every format takes and gives."""

LARGE_PHOTOS = (
    "A photo above 512 px, such as one of 4,000, goes in as it is: the graph shrinks its longest side to 512 px by an "
    "antialiased bilinear filter, as training did, and then resizes it bilinearly as all others. Whoever shrinks "
    "photos to 512 px before saves time and changes little."
)


def text(run: Mapping[str, Any], weights: Mapping[str, str]) -> str:
    """The card as Markdown.

    Args:
        run: The content of ``run.json``, with ``exports``.
        weights: Backbone -> licence of its weights.
    """
    data, metrics = run["dataset"], run["evaluation"]["metrics"]
    lines = [
        f"# Classifier of {_plain(data['name'])}",
        "",
        f"Run {run['run_id']}, made by `{run['command']}`." if run["command"] else f"Run {run['run_id']}.",
        "",
        *(["**Made from drawn pictures, not photos.**", ""] if data["is_sample"] else []),
        "## Classes",
        "",
        *(f"- {_plain(name)}: {data['class_counts'][name]}" for name in data["class_names"]),
        "",
        "## Score",
        "",
        *(
            f"- {name}: {figure['value']:.3f} (95 % interval {figure['low']:.3f} to {figure['high']:.3f})"
            for name, figure in metrics.items()
            if name in ("accuracy", "macro_f1", "weighted_f1")
        ),
        "",
        f"Measured on {run.get('training', run['splits'])['n_scored']} photos that "
        "took no part in choosing or training what predicted them; see the report.",
        "",
        "## Input and output",
        "",
        CONTRACT,
        "",
        LARGE_PHOTOS,
        "",
        "The SavedModel's signature `serve_jpeg` takes the content of files: JPEG, which it sets upright by EXIF "
        "orientation, and, if upright, PNG, the first frame of a GIF, and uncompressed BMP of 24 or 32 bits.",
        "",
        "## Files",
        "",
        "Each was run on photos at original size (at 512 px, once 400 megapixels were reached), in its own runtime and "
        "a process of its own, and compared with the pipeline. Accuracy lost is how many fewer of these photos the "
        "file tells right than the pipeline: a difference alone, for the model may have been trained on them. "
        "Milliseconds are of one photo at a time, on the machine that wrote the file.",
        "",
        "| format | file | MB | largest difference | same class | accuracy lost | photos | ms |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(one) for one in run["exports"]),
        "",
        *(f"- {one['format']} FAILED: {one['error']}" for one in run["exports"] if one["error"]),
        "",
        "## Data and licences",
        "",
        f"- Data: {data['source']} Licence: {data['licence']}",
        *(f"- Weights of {name}: {licence}" for name, licence in weights.items()),
        "",
    ]
    return "\n".join(lines)


def _row(one: Mapping[str, Any]) -> str:
    if one["max_difference"] is None:
        return f"| {one['format']} | {one['path']} | | failed | | | | |"
    # Runs of older releases do not say it.
    lost = one.get("accuracy_loss")
    said = [f"{one['max_difference']:.1e}", f"{one['agreement']:.1%}", "" if lost is None else f"{lost:+.1%}"]
    said += [f"{one['checked']}", f"{one['milliseconds']:.0f}"]
    return f"| {one['format']} | {one['path']} | {one['size'] / 1e6:.1f} | {' | '.join(said)} |"


def _plain(name: str) -> str:
    """A name as Markdown shows it; a class may be called anything that a folder can be called."""
    return "".join(f"\\{c}" if c in r"\`*_{}[]<>()#+-.!|" else c for c in " ".join(name.split()))
