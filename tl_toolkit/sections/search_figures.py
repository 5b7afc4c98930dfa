"""Figures of the section on the search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tl_toolkit.sections.figures import SERIES, canvas, svg

if TYPE_CHECKING:
    from tl_toolkit.sections.search import SearchRecord

_FEWEST = 8
"""Trials without which a landscape would be a few dots."""


def draw(record: SearchRecord) -> Mapping[str, Any]:
    """All figures that the record has enough for."""
    made = {"history": _history(record), "spread": _spread(record)}
    if record.importances:
        made["importances"] = _importances(record)
    if len(record.settings) > 1 and record.final.sum() > 1:
        made["parallel"] = _parallel(record)
    landscape = _landscape(record)
    return made if landscape is None else {**made, "landscape": landscape}


def _history(record: SearchRecord) -> Any:
    import seaborn

    scores = record.scores[record.final]
    best = record.sign * np.maximum.accumulate(record.sign * scores)
    with canvas(7, 3.2) as (figure, axes):
        seaborn.scatterplot(x=np.arange(len(scores)), y=scores, ax=axes, s=22, label="trial")
        axes.step(np.arange(len(scores)), best, where="post", label="best so far", color=SERIES[1])
        # A diverged trial would squeeze all others into a line.
        low, high = np.quantile(scores, [0.1, 1]) if record.sign > 0 else np.quantile(scores, [0, 0.9])
        margin = 0.1 * (high - low) + 1e-3
        axes.set(xlabel="trial", ylabel=f"{record.metric}, inner folds", ylim=(low - margin, high + margin))
        axes.legend()
        return svg(
            figure,
            f"{record.metric} of {len(scores)} trials of the last search in their order; the best so far goes from "
            f"{best[0]:.3f} to {best[-1]:.3f}. The worst tenth may lie outside the picture.",
        )


def _importances(record: SearchRecord) -> Any:
    import seaborn

    names = [name for name, _, _ in record.importances]
    values = [value for _, value, _ in record.importances]
    with canvas(6, 0.8 + 0.32 * len(names)) as (figure, axes):
        seaborn.barplot(x=values, y=names, ax=axes, color=SERIES[0])
        axes.errorbar(
            values, range(len(names)), xerr=[s for _, _, s in record.importances], fmt="none", ecolor="0.5", capsize=2
        )
        axes.set(xlabel="permutation importance (R2 lost)")
        said = ", ".join(f"{name} {value:.2f}" for name, value, _ in record.importances)
        return svg(figure, f"Importance of each setting: {said}")


def _parallel(record: SearchRecord) -> Any:
    import matplotlib

    mask = record.final
    scores = record.sign * record.scores[mask]
    places = []
    for name, column in record.settings.items():
        values = column[mask]
        if values.dtype.kind == "f":
            shown = np.log10(values) if _logarithmic(name, values) else values
            span = shown.max() - shown.min()
            places.append((shown - shown.min()) / span if span else np.full(len(values), 0.5))
        else:
            kinds, which = np.unique(values, return_inverse=True)
            places.append(which / max(1, len(kinds) - 1))
    # Ranks: a few hopeless trials would else take all the colours.
    ranks = scores.argsort().argsort() / max(1, len(scores) - 1)
    colours = matplotlib.colormaps["viridis"](ranks)
    with canvas(max(7, 1.1 * len(places)), 3.8) as (figure, axes):
        for trial in np.argsort(scores):
            top = ranks[trial] > 0.9
            axes.plot(
                [place[trial] for place in places],
                color=colours[trial],
                linewidth=2 if top else 0.8,
                alpha=1 if top else 0.5,
            )
        for at, (name, column) in enumerate(record.settings.items()):
            values = column[mask]
            numeric = values.dtype.kind == "f"
            ends = (f"{values.min():.3g}", f"{values.max():.3g}") if numeric else (min(values), max(values))
            axes.text(at, -0.05, ends[0], ha="center", va="top", fontsize=8)
            axes.text(at, 1.04, ends[1], ha="center", va="bottom", fontsize=8)
            axes.axvline(at, color="0.6", linewidth=0.8, zorder=0)
            axes.text(at, -0.16, name, ha="right", va="top", rotation=30, fontsize=10)
        axes.set(ylim=(-0.02, 1.02))
        axes.axis("off")
        return svg(
            figure,
            "Parallel coordinates of the last search's trials: "
            f"{', '.join(record.settings)}; brighter lines scored better, the best tenth is drawn thick",
        )


def _landscape(record: SearchRecord) -> Any:
    """Learning rate against momentum of all SGD trials; None where there are too few."""
    settings = record.settings
    if not {"learning_rate", "momentum"} <= set(settings):
        return None
    sgd = settings["optimizer"] == "sgd" if "optimizer" in settings else np.ones(len(record.scores), bool)
    if sgd.sum() < _FEWEST or record.reference["optimizer"] != "sgd":
        return None
    rate, momentum, score = settings["learning_rate"][sgd], settings["momentum"][sgd], record.relative[sgd]
    with canvas(7, 4.4) as (figure, axes):
        grid_rate = np.geomspace(rate.min() / 1.3, rate.max() * 1.3, 100)
        grid_momentum = np.linspace(0, min(0.99, max(momentum.max() + 0.03, 0.95)), 100)
        effective = grid_rate[None] / (1 - grid_momentum[:, None])
        lines = axes.contour(grid_rate, grid_momentum, np.log10(effective), levels=8, colors="0.6", linewidths=0.8)
        axes.clabel(lines, fmt=lambda level: f"{10**level:.2g}", fontsize=8)
        bounds = np.quantile(score, [0.1, 0.98])
        dots = axes.scatter(rate, momentum, c=score, cmap="viridis", vmin=bounds[0], vmax=bounds[1], s=34)
        figure.colorbar(dots, ax=axes, label=f"{record.metric} less the median of its search")
        marks = [("reference", record.reference, "X", SERIES[3])]
        if record.winner["optimizer"] == "sgd":
            marks.append(("winner", record.winner, "*", SERIES[1]))
        for title, config, marker, colour in marks:
            axes.scatter(
                config["learning_rate"],
                config["momentum"],
                marker=marker,
                s=190,
                color=colour,
                edgecolors="white",
                label=title,
                zorder=3,
            )
        axes.set(xscale="log", xlabel="learning rate", ylabel="momentum")
        # The usual labels of such an axis are formulas, and formulas are switched off.
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter("")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.14), ncols=2)
        return svg(
            figure,
            f"{int(sgd.sum())} SGD trials by learning rate and momentum, coloured by score; lines are of equal "
            "learning rate / (1 - momentum); the reference and, if it uses SGD, the winner are marked",
        )


def _spread(record: SearchRecord) -> Any:
    import seaborn

    rows = dict(record.fold_scores)
    titles = list(rows) if record.official else [f"{title}, by outer fold" for title in rows]
    values = list(rows.values())
    if record.seed_scores:
        titles.append("single winners, by seed (all folds)")
        values.append(record.seed_scores)
    with canvas(7, 0.9 + 0.45 * len(titles)) as (figure, axes):
        seaborn.stripplot(
            x=np.concatenate([np.asarray(v) for v in values]),
            y=np.repeat(titles, [len(v) for v in values]),
            hue=np.repeat(titles, [len(v) for v in values]),
            palette=list(SERIES[: len(titles)]),
            legend=False,
            # Jitter is drawn by chance, and the same record is to give the same page.
            jitter=False,
            size=7,
            alpha=0.8,
            ax=axes,
        )
        axes.set(xlabel="accuracy", ylabel="")
        said = "; ".join(f"{t}: {', '.join(f'{x:.3f}' for x in v)}" for t, v in zip(titles, values, strict=True))
        return svg(figure, f"Spread of accuracy. {said}")


def _logarithmic(name: str, values: np.ndarray) -> bool:
    return name in ("learning_rate", "weight_decay") and bool((values > 0).all())
