"""What the user asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tl_toolkit.core.files import expanded
from tl_toolkit.datasets.load import named_path


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """What every job on a data set asks: where it is, how it is split, and where the result goes.

    Attributes:
        keep_thumbnails: Keep small pictures of the photos that the model is trained on in the run folder.
        export: Formats of the model file, of jobs that make one.
    """

    dataset: str
    data_dir: Path | None = None
    allow_sample: bool = True
    seed: int = 0
    folds: int = 5
    inner_folds: int = 5
    out: Path = Path("reports")
    smoke: bool = False
    keep_thumbnails: bool = False
    command: str = ""
    export: tuple[str, ...] = ("keras",)

    @property
    def asked(self) -> dict[str, str | None]:
        """How the data set was named, to find it again: paths are absolute, as that may be from another folder."""
        path = named_path(self.dataset)
        return {
            "argument": str(path.absolute()) if path else self.dataset,
            "data_dir": str(expanded(self.data_dir).absolute()) if self.data_dir else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceOptions(DataOptions):
    """What every search of a space asks; None for what the space says.

    Attributes:
        space: Name or file; None for that of the data set.
    """

    space: str | None = None
    trials: int | None = None
    metric: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions(SpaceOptions):
    """The options of ``python -m tl_toolkit.search``, and the command line itself.

    Attributes:
        timeout: Seconds after the start of the job, data and features included, at which the search ends, in the middle
            of a trial if need be; features that fine-tuning begins with are waited for. Where it has no complete one,
            the reference settings stand in. Scoring, export and report come after it; the baseline and the original
            protocol are then left out.
        ensemble: Trials that are averaged; None for what suits the space.
        baseline: ``none``, ``quick`` or ``full``.
        protocol: ``nested``; or ``original``, which shows beside it what the first Slash classifier would have claimed.
    """

    engine: str = "optuna"
    timeout: float | None = None
    ensemble: int | None = None
    baseline: str = "quick"
    protocol: str = "nested"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions(DataOptions):
    """The options of ``python -m tl_toolkit.train``, and the command line itself.

    Attributes:
        network: Name of a network from scratch; None to fine-tune ``backbone``.
        backbone: Name of a backbone, whose weights are where training begins.
        fine_tune: Folder of a search whose best head training begins with, on its backbone.
        settings: Fields of :class:`~tl_toolkit.core.settings.TrainingConfig` that the user gave.
        cross_validate: Score all outer folds instead of one, and train the exported model on all photos.
        timeout: Seconds after which no more epochs begin.
        resume: Folder of a run that was interrupted.
        precision: ``auto``, ``float32`` or ``mixed_bfloat16``.
    """

    inner_folds: int = 0
    network: str | None = None
    backbone: str | None = None
    fine_tune: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    cross_validate: bool = False
    timeout: float | None = None
    resume: Path | None = None
    precision: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """The options of ``python -m tl_toolkit.export``.

    Attributes:
        run: Folder of a finished run.
        formats: Names of exporters, or ``all``.
        data_dir: Where the data set of the run is by now; None for where it was.
        photos: The folder that the paths of the run's photos begin in, instead.
    """

    run: Path
    formats: tuple[str, ...]
    data_dir: Path | None = None
    photos: Path | None = None
