"""What the search found: how scores rose, which settings matter, and whether choosing flattered them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from tl_toolkit.core.saved import SavedRun
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.sections.document import Section
from tl_toolkit.sections.search_figures import draw


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SearchRecord:
    """The trials of all searches of a run.

    Attributes:
        metric: What was optimised; ``sign`` is -1 where less is better.
        settings: The hyperparameters that vary, with the values of all t scored trials: floats, or strings.
        scores: float64, shape (t,), on the inner folds.
        studies: Name of each trial's search, length t.
        importances: (hyperparameter, importance, its deviation), falling; see :func:`importances`.
        explained: Out-of-bag R2 of the model behind the importances.
        reference, winner: Settings.
        inner: Mean inner score of the outer folds' single winners, None where some have none; ``outer`` is what their
            averages scored.
        saved: Share of the epochs that pruning saved.
        official: Whether an official test set takes the place of the outer folds.
        fold_scores: title -> score on each outer fold.
        seed_scores: Accuracy of the folds' single winners, trained with other seeds; empty where it was not measured.
    """

    metric: str
    sign: int
    settings: Mapping[str, np.ndarray]
    scores: np.ndarray
    studies: tuple[str, ...]
    importances: tuple[tuple[str, float, float], ...]
    explained: float
    reference: Mapping[str, Any]
    winner: Mapping[str, Any]
    inner: float | None
    outer: float | None
    saved: float
    official: bool
    fold_scores: Mapping[str, tuple[float, ...]]
    seed_scores: tuple[float, ...]

    @property
    def final(self) -> np.ndarray:
        """bool, shape (t,): the trials of the search over all photos, which chose the exported model."""
        return np.array(self.studies) == "final"

    @property
    def relative(self) -> np.ndarray:
        """float64, shape (t,): scores less the median of their search, so that searches on other photos compare."""
        studies = np.array(self.studies)
        medians = {study: np.median(self.scores[studies == study]) for study in set(self.studies)}
        return self.scores - np.array([medians[study] for study in self.studies])


def compute(saved: SavedRun) -> SearchRecord | None:
    """From the trials; None where nothing was searched, too few came to their end, or none of the last search did."""
    search = saved.run.get("search")
    # A pruned trial was scored at fewer epochs than the others: the two do not compare.
    trials = [trial for trial in saved.trials if trial["score"] and trial["state"] == "complete"]
    if not search or len(trials) < 2 or all(trial["study"] != "final" for trial in trials):
        return None
    columns = {}
    for field in fields(TrainingConfig):
        values = [trial[field.name] for trial in trials]
        if len(set(values)) > 1:
            columns[field.name] = _numbers(values)
    scores = np.array([float(trial["score"]) for trial in trials])
    sign = -1 if search["metric"] == "log_loss" else 1
    studies = tuple(trial["study"] for trial in trials)
    record = SearchRecord(
        metric=search["metric"],
        sign=sign,
        settings=columns,
        scores=scores,
        studies=studies,
        importances=(),
        explained=float("nan"),
        reference=search["reference"]["settings"],
        winner=search["best"],
        inner=search["outer_winners_inner_score"],
        saved=_saved(saved.trials),
        official=bool(saved.run["splits"].get("official_test_set")),
        outer=saved.run["evaluation"]["metrics"].get(search["metric"], {}).get("value"),
        fold_scores={
            "this model": tuple(saved.run["evaluation"]["fold_metrics"]["accuracy"]),
            "reference settings": tuple(search["reference"]["fold_metrics"]["accuracy"]),
        },
        seed_scores=tuple(saved.analysis["learning_curve"]["accuracy"][-1])
        if "learning_curve" in saved.analysis
        else (),
    )
    return _with_importances(record) if len(trials) >= 20 and columns else record


def _numbers(values: list[str]) -> np.ndarray:
    try:
        return np.array([float(value) for value in values])
    except ValueError:
        return np.array(values)


def _saved(trials: Sequence[Mapping[str, str]]) -> float:
    """Share of the epochs that pruned trials were not trained for, of those that all would have been trained for."""
    spared = sum(int(t["epochs"]) - int(t["trained_epochs"]) for t in trials if t["state"] == "pruned")
    return spared / max(1, sum(int(t["epochs"] if t["state"] == "pruned" else t["trained_epochs"]) for t in trials))


def _with_importances(record: SearchRecord) -> SearchRecord:
    """How much worse a model of the scores gets when one hyperparameter is shuffled.

    A random forest learns the score, less its search's median, from the settings; its permutation importances
    (Breiman 2001) are measured on the trials themselves. Unlike fANOVA it takes conditional hyperparameters as they
    come. Where the forest explains little of the scores out of bag, the importances mean little, so that is shown.
    """
    from dataclasses import replace

    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    table = np.stack(
        [
            column if column.dtype.kind == "f" else np.unique(column, return_inverse=True)[1]
            for column in record.settings.values()
        ],
        1,
    )
    # Diverged or hopeless trials would be all that the forest learns.
    target = np.maximum(record.sign * record.relative, np.quantile(record.sign * record.relative, 0.1))
    forest = RandomForestRegressor(n_estimators=150, min_samples_leaf=3, oob_score=True, random_state=0)
    forest.fit(table, target)
    found = permutation_importance(forest, table, target, n_repeats=5, random_state=0)
    rows = zip(record.settings, found.importances_mean, found.importances_std, strict=True)
    return replace(
        record,
        importances=tuple(sorted(((n, float(m), float(s)) for n, m, s in rows), key=lambda row: -row[1])),
        explained=float(forest.oob_score_),
    )


SECTION = Section(title="What the search found", compute=compute, draw=draw)
