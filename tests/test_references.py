"""What ``latest`` and ``best`` mean, in a folder of runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import SmokeRun

from tl_toolkit import report
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.references import run_folder


def add_run(runs: Path, name: str, score: float, **changes: Any) -> Path:
    """A folder with as much of a ``run.json`` as tells runs apart."""
    figure = {"value": score, "low": score, "high": score}
    run = {
        "schema_version": 1,
        "smoke": changes.get("smoke", False),
        "dataset": {
            "is_sample": changes.get("is_sample", False),
            "fingerprint": changes.get("fingerprint", "a"),
            "n_images": 100,
        },
        "splits": {"n_scored": 100},
        "evaluation": {"metrics": {changes.get("metric", "accuracy"): figure}},
    }
    # As `train` leaves them: all photos have a fold, whether it was trained without it or not.
    if "n_trained_scored" in changes:
        run["training"] = {"n_scored": changes["n_trained_scored"]}
    else:
        run["search"] = {"metric": changes.get("metric", "accuracy")}
    folder = runs / name
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(run))
    return folder


def test_latest_is_the_one_that_began_last(tmp_path: Path) -> None:
    later = add_run(tmp_path, "20260102-120000", 0.5)
    add_run(tmp_path, "20260101-120000", 0.9)  # written last
    (tmp_path / "20260103-120000").mkdir()  # not finished
    assert run_folder(tmp_path / "latest") == later


def test_best_is_the_one_with_the_highest_score_and_of_equal_ones_the_later(tmp_path: Path) -> None:
    add_run(tmp_path, "20260101-120000", 0.9)
    best = add_run(tmp_path, "20260102-120000", 0.9)
    add_run(tmp_path, "20260103-120000", 0.5)
    assert run_folder(tmp_path / "best") == best


def test_of_log_losses_the_lowest_is_best(tmp_path: Path) -> None:
    best = add_run(tmp_path, "20260101-120000", 0.3, metric="log_loss")
    add_run(tmp_path, "20260102-120000", 0.9, metric="log_loss")
    assert run_folder(tmp_path / "best") == best


@pytest.mark.parametrize(
    "other",
    [{"smoke": True}, {"is_sample": True}, {"fingerprint": "b"}, {"n_trained_scored": 20}],
    ids=["smoke", "drawn", "other-photos", "one-fold"],
)
def test_best_is_not_found_among_what_cannot_be_compared(tmp_path: Path, other: dict[str, Any]) -> None:
    best = add_run(tmp_path, "20260102-120000", 0.5)
    add_run(tmp_path, "20260101-120000", 0.9, **other)
    assert run_folder(tmp_path / "best") == best


def test_smoke_runs_count_where_there_are_no_others(tmp_path: Path) -> None:
    smoke = add_run(tmp_path, "20260102-120000", 0.5, smoke=True)
    assert run_folder(tmp_path / "latest") == run_folder(tmp_path / "best") == smoke
    real = add_run(tmp_path, "20260101-120000", 0.4)
    assert run_folder(tmp_path / "latest") == run_folder(tmp_path / "best") == real


def test_what_is_called_so_is_meant_itself(tmp_path: Path) -> None:
    add_run(tmp_path, "20260101-120000", 0.5)
    named = add_run(tmp_path, "latest", 0.1)
    assert run_folder(tmp_path / "latest") == named
    assert run_folder(tmp_path / "20260101-120000") == tmp_path / "20260101-120000"


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_without_a_finished_run_there_is_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "run.json").write_text(content)
    with pytest.raises(UserError, match="holds no finished run"):
        run_folder(tmp_path / "best")


def test_a_report_is_written_of_the_latest(smoke_run: SmokeRun, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    run = tmp_path / "20260101-120000"
    shutil.copytree(smoke_run.folder, run, ignore=shutil.ignore_patterns("model", "index.html"))
    assert report.main([str(tmp_path / "latest")]) == 0
    assert capsys.readouterr().out.strip() == str(run / "index.html")
    assert (run / "index.html").exists()
