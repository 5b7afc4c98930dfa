"""How good the model is: its scores with intervals, against what it should beat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tl_toolkit.core.saved import SavedRun
from tl_toolkit.sections.document import Section

SIGNIFICANT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """Something to compare with, scored on the same photos, or on some of them where its title says so.

    Attributes:
        title: What it is.
        metrics: name -> figure with ``value``, ``low`` and ``high``.
        verdict: The paired test in one sentence; empty for the model itself.
        warning: Why the figures are none to go by; empty for honest ones.
    """

    title: str
    metrics: Mapping[str, Mapping[str, float]]
    verdict: str = ""
    warning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """How good the model is.

    Attributes:
        rows: Of the first table, the model itself first.
        n_members: Trials that the model averages.
        n_cut: Searches that had no complete trial when time was up, so that the reference stands in.
    """

    rows: tuple[Rival, ...]
    n_members: int
    n_cut: int


def verdict(title: str, comparison: Mapping[str, Any]) -> str:
    """A paired comparison in words."""
    difference = comparison["differences"]["accuracy"]
    better = difference["value"] > 0
    p = comparison["p_value"]
    # Smaller ones than a float can hold are told of as 0.
    chance = f"p = {p:.2g}" if p >= 1e-100 else "p < 1e-100"
    if p >= SIGNIFICANT:
        said = f"No significant difference to {title}"
    else:
        said = f"Significantly {'better' if better else 'WORSE'} than {title}"
    return (
        f"{said}: accuracy {difference['value']:+.3f} (95 % interval {difference['low']:+.3f} to "
        f"{difference['high']:+.3f}); right where the other is wrong {comparison['better']} times, wrong where it is "
        f"right {comparison['worse']} times (exact McNemar test, {chance})."
    )


def compute(saved: SavedRun) -> Headline:
    """The model, and what it is compared with, as far as that was computed."""
    run = saved.run
    rows = [Rival(title="this model", metrics=run["evaluation"]["metrics"])]
    twins = run.get("without_twins")
    if twins and twins["metrics"] and twins["left_out"]:
        title = f"this model, without the {twins['left_out']} that have near duplicates in training"
        rows.append(Rival(title=title, metrics=twins["metrics"]))
    if "search" in run:
        rows.append(
            Rival(
                title="reference settings",
                metrics=run["search"]["reference"]["metrics"],
                verdict=verdict("the reference settings", run["comparison"]),
            )
        )
    baseline, leaking = run.get("baseline"), run.get("leaking")
    if baseline and "metrics" in baseline:
        title = f"{baseline['network']} from scratch{_how_long(baseline)}"
        rows.append(Rival(title=title, metrics=baseline["metrics"], verdict=verdict(title, baseline["comparison"])))
    largest = saved.analysis.get("largest_class")
    if largest:
        rows.append(
            Rival(
                title=f"always the largest class ({largest['class']})",
                metrics=largest["metrics"],
                verdict=verdict("always guessing the largest class", largest["comparison"]),
            )
        )
    if leaking:
        title = f"{leaking['network']} by the original protocol{_how_long(leaking)}, on {leaking['n_scored']} of them"
        rows.append(Rival(title=title, metrics=leaking["metrics"], warning=leaking["warning"]))
    return Headline(
        rows=tuple(rows),
        n_members=len(run["search"]["members"]["final"]) if "search" in run else 1,
        n_cut=sum(trial["state"] == "cut" for trial in saved.trials),
    )


def _how_long(trained: Mapping[str, Any]) -> str:
    """A quick training must not be taken for a whole one."""
    epochs = trained["settings"]["epochs"]
    return "" if trained["mode"] == "full" else f", {epochs} epoch{'s' * (epochs > 1)} only"


SECTION = Section(title="How good is it?", compute=compute)
