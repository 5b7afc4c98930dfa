"""Whether blind searches find settings as good as the reference: landscape, searches of each engine, comparison.

data -> audit -> splits -> features -> reference -> landscape -> blind searches -> winners on the outer folds -> page
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tl_toolkit.backbones.features import FeatureBank
from tl_toolkit.core.console import progress, warn
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import cache_folder, write_json, write_text
from tl_toolkit.core.records import Dataset
from tl_toolkit.core.runs import Stopwatch, new_run_folder
from tl_toolkit.core.searches import SearchSpace
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.engines import REGISTRY as ENGINES
from tl_toolkit.evaluation.landscape import landscape_grid
from tl_toolkit.pipeline.data import find_data, prepare
from tl_toolkit.pipeline.fitting import fitted_with
from tl_toolkit.pipeline.judging import BATCH, Blind, Judge
from tl_toolkit.pipeline.options import SpaceOptions
from tl_toolkit.pipeline.searching import chosen_space
from tl_toolkit.sections import rediscovery as page

SPACE = "slash_head"

SEED_STEP = 100
"""Between the seeds of one engine: it may give study i its seed + i, and no two studies shall share one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RediscoveryOptions(SpaceOptions):
    """What the user asked for: the options of ``python -m tl_toolkit.rediscover``.

    Attributes:
        engines: Names, each searched blind.
        seeds: Searches of each engine.
        studies: Outer folds, the first ones, that have a search inside, and nothing else has; 0 for a search over all
            photos alone. None for all of these.
        landscape: Whether to score SGD over a grid of learning rate and momentum.
    """

    engines: tuple[str, ...] = ("optuna", "keras-tuner")
    seeds: int = 5
    studies: int | None = None
    landscape: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rediscovery:
    """Where the page is, and the content of its ``rediscovery.json``."""

    page: Path
    record: dict[str, Any]


def rediscover(options: RediscoveryOptions) -> Rediscovery:
    """From the name of a data set to ``<out>/<dataset>/rediscovery/<date>-<time>/index.html``.

    Ctrl-C ends it with what is finished: the cells of the landscape, and the searches whose winners were compared.

    Raises:
        UserError: something that the user can mend. An unfinished folder is removed; what the bank holds stays.
        KeyboardInterrupt: Ctrl-C while there is nothing to report yet; likewise.
    """
    watch = Stopwatch()
    if not options.engines:
        raise UserError(f"At least one engine must be named: {', '.join(ENGINES.names())}.")
    engines = {name: ENGINES.get(name) for name in options.engines}
    dataset = find_data(options, watch)
    space = chosen_space(replace(options, space=options.space or SPACE), dataset)
    folder = new_run_folder(options.out / dataset.name / "rediscovery")
    try:
        return _rediscover(options, dataset, space, engines, folder, watch)
    except (UserError, OSError, KeyboardInterrupt):
        if not (folder / "rediscovery.json").exists():
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _rediscover(
    options: RediscoveryOptions,
    dataset: Dataset,
    space: SearchSpace,
    engines: dict[str, Any],
    folder: Path,
    watch: Stopwatch,
) -> Rediscovery:
    bank = FeatureBank(cache_folder() / "features")
    prepared = prepare(options, dataset, bank, watch)
    dataset, splits = prepared.dataset, prepared.splits
    if options.studies is not None and options.studies > splits.n_outer:
        raise UserError(
            f"--studies {options.studies} asks for more than the {splits.n_outer} outer folds that there are."
        )
    seeds = min(options.seeds, 2) if options.smoke else options.seeds
    stopped = "finished"
    cells: list[tuple[TrainingConfig, float | None]] = []
    blind: list[Blind] = []
    with progress() as display:
        _, _, fit = fitted_with(prepared, bank, display, options.seed, folder / "unfinished")
        judge = Judge(space, prepared, fit, studies=options.studies, resamples=200 if options.smoke else 2000)
        with watch.step("reference", "Scoring the reference settings"):
            targets, reference = judge.reference()
        grid = landscape_grid(space, smoke=options.smoke) if options.landscape else []
        total = len(grid) + len(engines) * seeds * len(judge.studies) * space.trials
        task = display.add_task("Trials", total=total)

        def advance(done: int) -> None:
            display.advance(task, done)

        try:
            if grid:
                with watch.step("landscape", f"Scoring {len(grid)} pairs of learning rate and momentum"):
                    for cell in judge.landscape(grid):
                        cells.append(cell)
                        advance(1)
            for number in range(seeds):
                # Seed by seed, so that engines are even when Ctrl-C ends it.
                for name, engine in engines.items():
                    seed = options.seed + SEED_STEP * number
                    with watch.step(f"search {name}", f"Searching blind: {name}, seed {seed}"):
                        storage = folder / f"{name}-seed{seed}.log"
                        try:
                            blind.append(judge.searched(name, engine, seed, storage, targets, reference, advance))
                        except UserError as error:
                            # The other searches are worth their time all the same.
                            warn(f"The search of {name} with seed {seed} counts for nothing: {error}")
        except KeyboardInterrupt:
            if not blind and not cells:
                raise
            stopped = "interrupted"
            warn(f"Interrupted: the page is about {len(blind)} of {len(engines) * seeds} searches.")
    shutil.rmtree(folder / "unfinished", ignore_errors=True)
    if not blind and not cells:
        raise UserError("No search came to an end: see the warnings above.")
    with watch.step("page", "Writing the page"):
        record = page.rediscovery_record(
            dataset=dataset,
            audit=prepared.audit,
            splits=splits,
            space=space,
            studies=judge.studies,
            compared=int(judge.scored.sum()),
            decides=judge.decides,
            batch=BATCH,
            targets=targets,
            reference=reference,
            landscape=cells,
            searches=[one.search for one in blind],
            engines=judge.summaries(blind, reference),
            command=options.command,
            seed=options.seed,
            smoke=options.smoke,
            stopped=stopped,
            steps=watch.steps,
            seconds=watch.total(),
        )
        write_text(folder / "trials.csv", page.table([(one.search, one.trials) for one in blind]))
        write_json(folder / "rediscovery.json", record)
        written = page.build(folder)
    return Rediscovery(page=written, record=record)
