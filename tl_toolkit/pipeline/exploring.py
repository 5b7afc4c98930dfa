"""What is in a data set and what is wrong with it, before any search: audit, appearance, map, suspicious labels.

data -> audit -> splits -> appearance -> features -> out-of-fold probabilities -> suspects and map -> page
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tl_toolkit.backbones.features import FeatureBank
from tl_toolkit.core.console import progress
from tl_toolkit.core.files import cache_folder, write_json
from tl_toolkit.core.runs import Stopwatch
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.core.thumbnails import PICTURES, keep_picture
from tl_toolkit.datasets import appearance as looks
from tl_toolkit.datasets import audit as auditing
from tl_toolkit.evaluation import nested
from tl_toolkit.evaluation.label_issues import class_thresholds, find_label_issues
from tl_toolkit.heads.fitting import fit as fit_heads
from tl_toolkit.pipeline.data import Prepared, find_data, prepare
from tl_toolkit.pipeline.fitting import tables_of
from tl_toolkit.pipeline.options import SearchOptions
from tl_toolkit.sections import exploration

SETTINGS = TrainingConfig(momentum=0.7)
"""What predicts each photo from the others: the reference settings, for this is no search; on the features that near
duplicates were found by."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exploration:
    """Where the page is, and the content of its ``exploration.json``."""

    page: Path
    record: dict[str, Any]


def explore(options: SearchOptions) -> Exploration:
    """Look at a data set: from its name to ``<out>/<dataset>/exploration/index.html``.

    What an earlier exploration left there is replaced.

    Raises:
        UserError: something that the user can mend, such as a class of too few photos to predict each from the others.
    """
    watch = Stopwatch()
    # The outer folds do it: nothing is chosen here, and so nothing needs inner ones.
    options = replace(options, inner_folds=2)
    # Each photo is predicted from the others, those of an official test set like all.
    dataset = replace(find_data(options, watch), test=None)
    bank = FeatureBank(cache_folder() / "features")
    prepared = prepare(options, dataset, bank, watch)
    dataset, audit, splits = prepared.dataset, prepared.audit, prepared.splits

    settings = replace(SETTINGS, backbone=auditing.backbone_for(audit))
    with watch.step("appearance", "Measuring brightness and sharpness"), progress() as display:
        task = display.add_task("Measuring photos", total=len(dataset))
        appearance = looks.measure(prepared.photos, lambda: display.advance(task))
    with watch.step("suspects", "Predicting each photo from the others"), progress() as display:
        tables = tables_of(prepared, bank, display, options.seed)
        fit = partial(fit_heads, tables=tables, n_classes=len(dataset.class_names), seed=options.seed)
        probabilities = nested.outer_predictions(fit, [[settings]] * splits.n_outer, splits)
    with watch.step("map", "Drawing the map of features"):
        features = tables(settings).features[:, 0]
        drawn = exploration.mapped(features, dataset.labels, seed=options.seed)
    record = exploration.exploration_record(
        dataset=dataset,
        audit=audit,
        brightness=appearance.brightness,
        sharpness=appearance.sharpness,
        unusual=looks.unusual(appearance),
        issues=find_label_issues(dataset.labels, probabilities),
        thresholds=class_thresholds(dataset.labels, probabilities),
        probabilities=probabilities,
        n_folds=splits.n_outer,
        settings=settings,
        drawn=drawn,
        command=options.command,
        seed=options.seed,
        smoke=options.smoke,
        seconds=watch.total(),
    )
    with watch.step("page", "Writing the page"):
        folder = options.out / dataset.name / "exploration"
        _keep_pictures(folder, prepared, record)
        write_json(folder / "exploration.json", record)
        page = exploration.build(folder)
    return Exploration(page=page, record=record)


def _keep_pictures(folder: Path, prepared: Prepared, record: dict[str, Any]) -> None:
    """Thumbnails of all photos that the page shows, so that it can be written again without the photos."""
    # Those of an earlier exploration may be of other photos under the same numbers.
    shutil.rmtree(folder / PICTURES, ignore_errors=True)
    for index in exploration.pictured(record):
        keep_picture(folder, index, prepared.photos[index])
    for index in record["map"]["indices"]:
        keep_picture(folder, index, prepared.photos[index], "map", side=64, quality=60)
