"""What the user asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """What the user asked for: the options of ``python -m tl_toolkit.search``, and the command line itself."""

    dataset: str
    data_dir: Path | None = None
    allow_sample: bool = True
    space: str | None = None
    engine: str = "optuna"
    trials: int | None = None
    timeout: float | None = None
    seed: int = 0
    metric: str | None = None
    ensemble: int = 5
    folds: int = 5
    inner_folds: int = 5
    out: Path = Path("reports")
    smoke: bool = False
    command: str = ""
