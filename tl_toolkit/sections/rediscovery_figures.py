"""Figures of a rediscovery, each from its record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tl_toolkit.sections.figures import SERIES, canvas, svg

_REFERENCE = SERIES[3]
_COLOURS = tuple(colour for colour in SERIES if colour != _REFERENCE)
_MARKERS = "oDs^v"
"""Of engines, beside their colours."""

_EDGE = "#ffffff"
"""Around what lies on the heat map, whose colours are the same in light and in dark."""


def sign(record: Mapping[str, Any]) -> int:
    """-1 where less is better."""
    return -1 if record["space"]["metric"] == "log_loss" else 1


def draw(record: Mapping[str, Any]) -> dict[str, Any]:
    """All figures that the record has enough for."""
    made = {}
    if any(cell["score"] is not None for cell in record["landscape"]):
        made["landscape"] = landscape(record)
        made["collapse"] = collapse(record)
    if record["searches"]:
        made["courses"] = courses(record)
    if record["reference"]["metrics"] and record["searches"] and record["splits"]["compared"]:
        made["differences"] = differences(record)
    return made


def _engines(record: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Name, colour and marker of each engine."""
    for number, engine in enumerate(record["engines"]):
        yield engine["engine"], _COLOURS[number % len(_COLOURS)], _MARKERS[number % len(_MARKERS)]


def _target(record: Mapping[str, Any]) -> dict[str, Any]:
    return record["reference"]["targets"][record["splits"]["studies"][-1]]


def grid(record: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Learning rates (r,), momenta (m,), both rising, and scores (m, r) of the landscape; NaN where there is none."""
    cells = record["landscape"]
    rates = np.unique([cell["learning_rate"] for cell in cells])
    momenta = np.unique([cell["momentum"] for cell in cells])
    scores = np.full((len(momenta), len(rates)), np.nan)
    for cell in cells:
        if cell["score"] is not None:
            row, column = np.searchsorted(momenta, cell["momentum"]), np.searchsorted(rates, cell["learning_rate"])
            scores[row, column] = cell["score"]
    return rates, momenta, scores


def height(momentum: Any) -> Any:
    """Where a momentum is drawn: on this scale, beside log10 of the learning rate, equal effective rates
    learning_rate / (1 - momentum) are straight lines."""
    return -np.log10(1 - np.asarray(momentum))


def _edges(middles: np.ndarray) -> np.ndarray:
    """Borders of cells, half-way between neighbours, shape (n + 1,)."""
    if len(middles) == 1:
        return np.array([middles[0] - 0.5, middles[0] + 0.5])
    between = (middles[1:] + middles[:-1]) / 2
    return np.array([2 * middles[0] - between[0], *between, 2 * middles[-1] - between[-1]])


def landscape(record: Mapping[str, Any]) -> Any:
    """Heat map of the score over learning rate and momentum; what is near the reference is dotted."""
    rates, momenta, scores = grid(record)
    metric, better = record["space"]["metric"], sign(record)
    across, up = np.log10(rates), height(momenta)
    reference = record["reference"]["settings"]
    with canvas(7, 5.2) as (figure, axes):
        # Settings that learn nothing would take all the colours.
        low, high = np.nanquantile(scores, [0.25, 1] if better > 0 else [0, 0.75])
        x, y = _edges(across), _edges(up)
        drawn = axes.pcolormesh(
            x, y, scores, cmap="viridis" if better > 0 else "viridis_r", vmin=low, vmax=high, rasterized=False
        )
        figure.colorbar(drawn, ax=axes, label=f"{metric}, inner folds", extend="min" if better > 0 else "max")
        # The line of effective rate e is where log10(rate) + height = log10(e).
        for power in range(int(np.ceil(x[0] + y[0])), int(np.floor(x[-1] + y[-1])) + 1):
            ends = np.array([max(x[0], power - y[-1]), min(x[-1], power - y[0])])
            axes.plot(ends, power - ends, color=_EDGE, linewidth=0.9, alpha=0.9)
            axes.annotate(
                f"{10.0**power:g}",
                (ends[0], power - ends[0]),
                xytext=(3, -2),
                textcoords="offset points",
                color=_EDGE,
                fontsize=9,
                va="top",
                path_effects=_outlined(),
            )
        near = better * scores >= better * _target(record)["near"]
        rows, columns = np.nonzero(near)
        axes.scatter(across[columns], up[rows], s=9, color=_EDGE, edgecolors="#000000", linewidths=0.4, label="near it")
        out_x: list[float] = []
        out_y: list[float] = []
        for name, colour, marker in _engines(record):
            at = [
                (winner["learning_rate"], winner["momentum"])
                for search in record["searches"]
                if search["engine"] == name
                for winner in (course["winner"]["config"] for course in search["courses"])
                if winner["optimizer"] == "sgd"
            ]
            if at:
                points = np.array(at)
                # A space may reach beyond the grid: no winner is to be cut off.
                for places, limits in ((np.log10(points[:, 0]), out_x), (height(points[:, 1]), out_y)):
                    limits += [float(places.min()) - 0.05, float(places.max()) + 0.05]
                axes.scatter(
                    np.log10(points[:, 0]),
                    height(points[:, 1]),
                    marker=marker,
                    s=46,
                    color=colour,
                    edgecolors=_EDGE,
                    linewidths=0.9,
                    label=f"winners of {name}",
                    zorder=3,
                )
        axes.scatter(
            np.log10(reference["learning_rate"]),
            height(reference["momentum"]),
            marker="X",
            s=190,
            color=_REFERENCE,
            edgecolors=_EDGE,
            label=f"reference {reference['learning_rate']:g} / {reference['momentum']:g}",
            zorder=4,
        )
        powers = range(int(np.ceil(x[0])), int(np.floor(x[-1])) + 1)
        axes.set_xticks(list(powers), [f"{10.0**power:g}" for power in powers])
        axes.set_yticks(up, [f"{momentum:g}" for momentum in momenta])
        axes.set(
            xlabel="learning rate",
            ylabel="momentum",
            xlim=(min([x[0], *out_x]), max([x[-1], *out_x])),
            ylim=(min([y[0], *out_y]), max([y[-1], *out_y])),
        )
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        best = np.unravel_index(np.nanargmax(better * scores), scores.shape)
        return svg(
            figure,
            f"{metric} of SGD by learning rate and momentum. Best of the grid: {scores[best]:.3f} at learning rate "
            f"{rates[best[1]]:.3g}, momentum {momenta[best[0]]:g}; {int(near.sum())} of {scores.size} cells are within "
            "one standard error of the reference or better. White lines are of equal learning rate / (1 - momentum).",
        )


def _outlined() -> list[Any]:
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2, foreground="#000000")]


def collapse(record: Mapping[str, Any]) -> Any:
    """The landscape's scores against the effective rate, one line for each momentum."""
    import seaborn

    rates, momenta, scores = grid(record)
    better, target = sign(record), _target(record)
    reference = record["reference"]["settings"]
    # All of a luminance that both the light and the dark page contrast with.
    colours = seaborn.husl_palette(len(momenta), s=0.9, l=0.55)
    with canvas(7, 3.6) as (figure, axes):
        for momentum, colour, row in zip(momenta, colours, scores, strict=True):
            axes.plot(rates / (1 - momentum), row, marker="o", markersize=4, color=colour, label=f"{momentum:g}")
        axes.axhspan(*sorted((target["near"], 2 * target["score"] - target["near"])), color="0.5", alpha=0.25)
        axes.scatter(
            reference["learning_rate"] / (1 - reference["momentum"]),
            target["score"],
            marker="X",
            s=150,
            color=_REFERENCE,
            edgecolors=_EDGE,
            zorder=4,
        )
        low, high = np.nanmin(scores), np.nanmax(scores)
        # From the middle on: settings that learn nothing would press all others into a line.
        ends = (
            (np.nanmedian(scores) - 0.5 * (high - np.nanmedian(scores)), high)
            if better > 0
            else (low, np.nanmedian(scores))
        )
        margin = 0.08 * (ends[1] - ends[0]) + 1e-3
        axes.set(
            xscale="log",
            xlabel="effective rate: learning rate / (1 - momentum)",
            ylabel=f"{record['space']['metric']}, inner folds",
            ylim=(ends[0] - margin, ends[1] + margin),
        )
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter("")
        axes.legend(title="momentum", loc="center left", bbox_to_anchor=(1, 0.5))
        return svg(figure, "The same scores against learning rate / (1 - momentum), a line for each momentum")


def _best_so_far(searches: Sequence[Sequence[float | None]]) -> np.ndarray:
    """float64, shape (searches, most trials of one): an engine that ran out of new settings stays at its best; NaN
    before the first score."""
    longest = max(map(len, searches))
    lines = [[*one, *[one[-1]] * (longest - len(one))] for one in searches]
    return np.array(lines, dtype=float)


def courses(record: Mapping[str, Any]) -> Any:
    """Best score so far of the last study's searches, by number of trials."""
    target, better = _target(record), sign(record)
    said = []
    with canvas(7, 3.8) as (figure, axes):
        shown = [target["near"], target["score"], target["blind"]]
        for name, colour, _marker in _engines(record):
            lines = _best_so_far(
                [one["courses"][-1]["best_so_far"] for one in record["searches"] if one["engine"] == name]
            )
            trials = np.arange(1, lines.shape[1] + 1)
            for line in lines:
                axes.step(trials, line, where="post", color=colour, alpha=0.55, linewidth=1)
            # As a search without a score yet: as bad as can be.
            middle = better * np.median(np.where(np.isnan(lines), -np.inf, better * lines), axis=0)
            middle[~np.isfinite(middle)] = np.nan
            axes.step(
                trials, middle, where="post", color=colour, linewidth=2.6, label=f"{name}, median of {len(lines)}"
            )
            shown += [value for value in middle[1:] if np.isfinite(value)]
            said.append(f"{name} ends at a median of {middle[-1]:.3f}")
        axes.axhline(target["score"], color=_REFERENCE, linestyle="--", label="reference")
        axes.axhline(target["blind"], color="0.5", linestyle=":", label="always the largest class")
        axes.axhspan(
            *sorted((target["near"], 2 * target["score"] - target["near"])),
            color="0.5",
            alpha=0.25,
            label="one standard error",
        )
        low, high = min(shown), max(shown)
        margin = 0.1 * (high - low) + 1e-3
        axes.set(
            xlabel="trials",
            xlim=(1, None),
            ylabel=f"best {record['space']['metric']} so far",
            ylim=(low - margin, high + margin) if better > 0 else (high + margin, low - margin),
        )
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
        return svg(
            figure,
            f"Best score so far over the trials of each search; {'; '.join(said)}; the reference has "
            f"{target['score']:.3f} with a standard error of {target['standard_error']:.3f}",
        )


def differences(record: Mapping[str, Any]) -> Any:
    """Paired differences of the winners to the reference on the outer folds, of each seed and over the seeds."""
    decides = record["decides"]
    rows: list[tuple[str, dict[str, float], str, float]] = []
    for name, colour, _marker in _engines(record):
        rows += [
            (f"{name}, seed {search['seed']}", search["comparison"]["differences"][decides], colour, 1.4)
            for search in record["searches"]
            if search["engine"] == name
        ]
        mean = next(engine for engine in record["engines"] if engine["engine"] == name)["differences"][decides]
        rows.append((f"{name}, mean", mean, colour, 3.2))
    with canvas(7, 1.1 + 0.3 * len(rows)) as (figure, axes):
        for at, (_, one, colour, width) in enumerate(rows):
            axes.plot([one["low"], one["high"]], [at, at], color=colour, linewidth=width)
            axes.plot(one["value"], at, "D" if width > 2 else "o", color=colour, markersize=8 if width > 2 else 6)
        axes.axvline(0, color="0.5", linestyle="--", linewidth=1.2)
        axes.set_yticks(range(len(rows)), [name for name, *_ in rows])
        axes.invert_yaxis()
        axes.set(xlabel=f"{decides}, winner less reference (95 % interval)")
        return svg(
            figure,
            "; ".join(
                f"{name}: {one['value']:+.3f} ({one['low']:+.3f} to {one['high']:+.3f})" for name, one, *_ in rows
            ),
        )
