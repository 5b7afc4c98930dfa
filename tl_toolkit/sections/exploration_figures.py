"""Figures of an exploration, each from its record; sizes in inches are such that letters stay legible on a phone."""

from __future__ import annotations

from typing import Any

import numpy as np

from tl_toolkit.sections.figures import SERIES, canvas, svg

COLOURS = (*SERIES, "#b3519c", "#23878f")
"""Of up to 8 classes; each with a contrast of at least 3 : 1 to both the light and the dark page, as in SERIES."""

SHAPES = 8
"""Marks that the page's template draws, so that classes are told apart without their colours, too."""

_NAMED = 40
"""Most classes whose names fit beside bars; the page's table names all."""

_WIDTH, _HEIGHT = 4.6, 3.2

_BARS: dict[str, Any] = {"color": SERIES[0], "alpha": 1, "linewidth": 0, "shrink": 0.9}
"""Of histograms: opaque, for contrast, and apart without lines, which would be of one colour in light and in dark."""


def marks(n_classes: int) -> list[dict[str, Any]]:
    """Colour and shape (0 .. SHAPES - 1) of each class on the map.

    More than 8 classes take hues around the circle, all of the luminance that both the light and the dark page
    contrast with by 3 : 1 (WCAG 1.4.11): neighbouring classes are alike in colour, and unlike in shape.
    """
    import seaborn

    many = n_classes > len(COLOURS)
    colours = seaborn.husl_palette(n_classes, s=0.9, l=0.55).as_hex() if many else COLOURS
    return [{"colour": colours[c], "shape": c % SHAPES} for c in range(n_classes)]


def points(record: dict[str, Any]) -> dict[str, Any]:
    """Where the map's photos are drawn, in a box of ``width`` 600 and of ``height``, with marks of ``size``."""
    drawn = record["map"]
    suspects = {issue["index"] for issue in record["suspects"]["issues"]}
    size = 5.0 if len(drawn["indices"]) <= 500 else 4.0
    width, margin = 600, 12
    across, tall = max(drawn["x"]), max(drawn["y"])
    # Directions mean nothing on such a map, so a flat or narrow one may be stretched to be of use on a phone.
    height = float(np.clip(tall / max(across, 1e-9), 0.65, 1.2)) * width
    right, down = (width - 2 * margin) / max(across, 1e-9), (height - 2 * margin) / max(tall, 1e-9)
    return {
        "width": width,
        "height": round(height, 1),
        "size": size,
        "photos": [
            {
                "index": index,
                "x": round(margin + x * right, 1),
                "y": round(margin + y * down, 1),
                "suspect": index in suspects,
            }
            for index, x, y in zip(drawn["indices"], drawn["x"], drawn["y"], strict=True)
        ],
    }


def distribution(record: dict[str, Any]) -> Any:
    """Bars of the photos of each class, the largest first."""
    import seaborn

    names, counts = record["dataset"]["class_names"], record["dataset"]["class_counts"]
    order = sorted(range(len(names)), key=lambda c: -counts[c])
    values = [counts[c] for c in order]
    said = f"Photos of each class, from {values[0]} ({names[order[0]]}) to {values[-1]} ({names[order[-1]]})"
    if len(names) > _NAMED:
        with canvas(_WIDTH, _HEIGHT) as (figure, axes):
            axes.bar(np.arange(1, len(names) + 1), values, width=1.0, color=SERIES[0])
            axes.set(xlabel="classes, the largest first", ylabel="photos")
            return svg(figure, said)
    with canvas(_WIDTH, 0.9 + 0.3 * len(names)) as (figure, axes):
        # By position and not by name: names that are shortened may meet.
        seaborn.barplot(x=values, y=np.arange(len(names)), orient="h", color=SERIES[0], saturation=1, ax=axes)
        axes.set_yticks(range(len(names)), [_short(names[c]) for c in order])
        axes.bar_label(axes.containers[0], padding=3)
        axes.margins(x=0.12)
        axes.set(xlabel="photos", ylabel="")
        return svg(figure, said)


def sizes(record: dict[str, Any]) -> Any:
    """Width and height of the photos, a mark for each size."""
    import seaborn

    pairs = np.array([(photo["width"], photo["height"]) for photo in record["photos"]])
    unique, counts = np.unique(pairs, axis=0, return_counts=True)
    most = unique[counts.argmax()]
    with canvas(_WIDTH, _HEIGHT) as (figure, axes):
        seaborn.scatterplot(
            x=unique[:, 0], y=unique[:, 1], s=18 + 160 * counts / counts.max(), alpha=0.6, linewidth=0, ax=axes
        )
        axes.set(xlabel="width, px", ylabel="height, px", xlim=(0, None), ylim=(0, None))
        return svg(
            figure,
            f"Width and height of the photos: {len(unique)} sizes, most often {most[0]} by {most[1]} px "
            f"({counts.max()} photos)",
        )


def ratios(record: dict[str, Any]) -> Any:
    """Histogram of width : height, in equal steps of its logarithm."""
    import seaborn

    values = np.array([photo["width"] / photo["height"] for photo in record["photos"]])
    upright, wide = int((values < 0.995).sum()), int((values > 1.005).sum())
    with canvas(_WIDTH, _HEIGHT) as (figure, axes):
        seaborn.histplot(np.log2(values), bins=_bins(np.log2(values), 0.1), **_BARS, ax=axes)
        low, high = axes.get_xlim()
        named = {"1:4": 0.25, "1:2": 0.5, "3:4": 0.75, "1:1": 1, "4:3": 4 / 3, "2:1": 2, "4:1": 4}
        inside = {name: np.log2(ratio) for name, ratio in named.items() if low <= np.log2(ratio) <= high}
        axes.set_xticks(list(inside.values()), list(inside))
        axes.set(xlabel="width : height", ylabel="photos")
        return svg(
            figure,
            f"Aspect ratios: {upright} photos upright, {len(values) - upright - wide} square, {wide} wide",
        )


def brightness(record: dict[str, Any]) -> Any:
    """Histogram of the mean luma, with the limits of what is usual where they are in sight."""
    import seaborn

    values = [photo["brightness"] for photo in record["photos"]]
    limits = [record["unusual"][what] for what in ("darkest", "brightest")]
    with canvas(_WIDTH, _HEIGHT) as (figure, axes):
        seaborn.histplot(values, bins=np.arange(0, 257, 8), **_BARS, ax=axes)
        for limit in limits:
            if 0 <= limit <= 255:
                axes.axvline(limit, color=SERIES[3], linestyle="--")
        axes.set(xlabel="mean luma, 0 black to 255 white", ylabel="photos", xlim=(0, 256))
        return svg(figure, f"Brightness of the photos, from {min(values):.0f} to {max(values):.0f} of 255")


def sharpness(record: dict[str, Any]) -> Any:
    """Histogram of the variance of the Laplacian, on a logarithmic axis, with the limit of what is usual."""
    import seaborn

    values = np.array([photo["sharpness"] for photo in record["photos"]])
    shown = np.log10(1 + values)
    limit = record["unusual"]["blurriest"]
    with canvas(_WIDTH, _HEIGHT) as (figure, axes):
        seaborn.histplot(shown, bins=_bins(shown, 0.1), **_BARS, ax=axes)
        if limit > 0:
            axes.axvline(np.log10(1 + limit), color=SERIES[3], linestyle="--")
        low, high = axes.get_xlim()
        ticks = [power for power in range(6) if low <= power <= high]
        axes.set_xticks(ticks, [f"{10**power:,}" for power in ticks])
        axes.set(xlabel="sharpness: variance of the Laplacian", ylabel="photos")
        return svg(figure, f"Sharpness of the photos, from {values.min():.0f} to {values.max():.0f}")


def _bins(values: np.ndarray, step: float) -> np.ndarray:
    """Edges of bins of a width of ``step``, wider where they would be more than 60; one has its middle at 0."""
    step = max(step, float(np.ptp(values)) / 60)
    return (np.arange(np.floor(values.min() / step), np.ceil(values.max() / step) + 2) - 0.5) * step


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:23]}…"
