"""The main job as a user runs it: what it leaves, how it ends, and what it says when it cannot go on."""

from __future__ import annotations

import csv
import html
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from conftest import CLASSES, SCHEMA, SmokeRun, rows_of, run_of

from tl_toolkit import doctor, pipeline, predict, report, search
from tl_toolkit.__main__ import COMMANDS
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.evaluation.metrics import score


class TestWhatARunLeaves:
    def test_every_file(self, smoke_run: SmokeRun) -> None:
        names = {path.relative_to(smoke_run.folder).as_posix() for path in smoke_run.folder.rglob("*")}
        pictures = {name for name in names if name.startswith("pictures/")}
        assert pictures
        assert all(name.endswith(".webp") for name in pictures)
        assert {name for name in pictures if "-train" in name} == {f"pictures/{i:05d}-train.webp" for i in range(30)}
        assert names - pictures == {
            "analysis.json",
            "pictures",
            "index.html",
            "run.json",
            "trials.csv",
            "predictions.csv",
            "audit.json",
            "splits.json",
            "training.npz",
            "study.log",
            "model",
            "model/model.keras",
            "model/example_predict_keras.py",
            "model/expected.json",
            "model/labels.txt",
            "model/model_card.md",
        }

    def test_run_json_keeps_to_its_schema(self, smoke_run: SmokeRun) -> None:
        jsonschema.Draft202012Validator.check_schema(SCHEMA)
        jsonschema.validate(run_of(smoke_run.folder), SCHEMA)

    def test_the_run_knows_where_its_photos_are_and_what_is_passed_on_does_not(
        self, smoke_run: SmokeRun, pictures: Path
    ) -> None:
        assert run_of(smoke_run.folder)["dataset"]["argument"] == str(pictures)
        for name in ("index.html", "model/model_card.md"):
            assert str(pictures) not in (smoke_run.folder / name).read_text()

    def test_the_schema_lists_every_setting(self) -> None:
        fields = set(TrainingConfig.__dataclass_fields__)
        assert set(SCHEMA["$defs"]["settings"]["properties"]) == fields

    def test_the_schema_refuses_what_it_should(self, smoke_run: SmokeRun) -> None:
        run = run_of(smoke_run.folder)
        del run["evaluation"]["metrics"]["macro_f1"]
        with pytest.raises(jsonschema.ValidationError, match="macro_f1"):
            jsonschema.validate(run, SCHEMA)

    def test_the_figures_are_those_of_the_predictions(self, smoke_run: SmokeRun) -> None:
        run = run_of(smoke_run.folder)
        rows = rows_of(smoke_run.folder / "predictions.csv")
        labels = np.array([CLASSES.index(row["label"]) for row in rows])
        probabilities = np.array([[float(row[f"p_{name}"]) for name in CLASSES] for row in rows])
        assert len(rows) == run["dataset"]["n_images"] == 30
        np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-4)
        for metric in ("accuracy", "macro_f1", "weighted_f1"):
            figure = run["evaluation"]["metrics"][metric]
            assert figure["value"] == pytest.approx(score(metric, labels, probabilities))
            assert figure["low"] <= figure["value"] <= figure["high"]

    def test_each_photo_was_predicted_in_its_fold_of_the_manifest(self, smoke_run: SmokeRun) -> None:
        splits = json.loads((smoke_run.folder / "splits.json").read_text())
        fold_of = dict(zip(splits["paths"], splits["outer"], strict=True))
        rows = rows_of(smoke_run.folder / "predictions.csv")
        assert {row["path"]: int(row["fold"]) for row in rows} == fold_of

    def test_every_trial_with_every_fold(self, smoke_run: SmokeRun) -> None:
        run, rows = run_of(smoke_run.folder), rows_of(smoke_run.folder / "trials.csv")
        assert len(rows) == run["search"]["n_trials"] == 4 * (run["splits"]["n_outer"] + 1)
        assert all(row[f"fold_{i}"] for row in rows for i in range(run["splits"]["n_inner"]))
        for row in rows:
            if row["number"] == "0":
                assert (row["optimizer"], row["learning_rate"], row["momentum"]) == ("sgd", "0.01", "0.7")
        best = max(
            (row for row in rows if row["study"] == "final"), key=lambda row: (float(row["score"]), -int(row["number"]))
        )
        settings = run["search"]["best"]
        assert {name: str(value) for name, value in settings.items()} == {name: best[name] for name in settings}

    def test_the_study_opens_in_optuna(self, smoke_run: SmokeRun) -> None:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
        from optuna.study import load_study

        storage = JournalStorage(JournalFileBackend(str(smoke_run.folder / "study.log")))
        study = load_study(study_name="final", storage=storage)
        assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 4
        assert study.best_value == run_of(smoke_run.folder)["search"]["best_inner_score"]
        assert len(study.trials[0].user_attrs["fold_scores"]) == 2

    def test_the_terminal_ends_with_a_line_that_works_as_it_stands(
        self,
        smoke_run: SmokeRun,
        tmp_path: Path,
        pictures: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        *lines, last = smoke_run.finished.stdout.splitlines()
        assert any(line.startswith("accuracy") for line in lines)
        assert lines[-1] == f"Report: {smoke_run.folder / 'index.html'}"
        shutil.copy(next((pictures / "Games").iterdir()), tmp_path / "photo.jpg")
        said, python, option, module, *words = shlex.split(last)
        assert (said, option, module) == ("Predict:", "-m", "tl_toolkit.predict")
        assert Path(shutil.which(python) or "").absolute() == Path(sys.executable)
        monkeypatch.chdir(tmp_path)
        assert predict.main(words) == 0
        [row] = csv.DictReader(capsys.readouterr().out.splitlines())
        assert row["path"] == "photo.jpg"
        assert row["label"] in CLASSES

    def test_the_lines_in_the_report_work_without_this_package(
        self, smoke_run: SmokeRun, tmp_path: Path, pictures: Path
    ) -> None:
        shutil.copytree(smoke_run.folder / "model", tmp_path / "model")
        shutil.copy(next((pictures / "Games").iterdir()), tmp_path / "photo.jpg")
        [lines] = re.findall("<pre>(import keras.*?)</pre>", (smoke_run.folder / "index.html").read_text(), re.DOTALL)
        script = f"import sys; sys.modules['tl_toolkit'] = None\n{html.unescape(lines)}"
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "probabilities" in done.stdout
        assert any(name in done.stdout for name in CLASSES)

    def test_nothing_but_ours_on_the_terminal(self, smoke_run: SmokeRun) -> None:
        known = (
            "Looking",
            "Reading",
            "Searching",
            "Exported",
            "Noting",
            "Scoring",
            "Training",
            "Writing",
            "Warning: ",
            "30 photos",
        )
        strange = [line for line in smoke_run.finished.stderr.splitlines() if not line.startswith(known)]
        assert strange == []


def quick(pictures: Path, quick_space: Path, out: Path, **more: Any) -> dict[str, Any]:
    options = {"dataset": str(pictures), "space": str(quick_space), "out": out, "folds": 3, "inner_folds": 2}
    options |= {"baseline": "none", **more}
    return pipeline.search(pipeline.SearchOptions(**options)).run


@pytest.mark.usefixtures("measured_here")
def test_ctrl_c_after_scoring_costs_the_analysis_only(
    pictures: Path,
    quick_space: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tl_toolkit.pipeline.searching.analyse", interrupted)
    run = quick(pictures, quick_space, tmp_path, trials=2)
    [folder] = (tmp_path / "pictures").iterdir()
    assert run_of(folder) == run
    assert not (folder / "pictures").exists()  # without --keep-thumbnails, those of the analysis alone
    assert "This run kept no records for: The mistakes" in (folder / "index.html").read_text()
    assert "Interrupted: the report goes without the analysis." in capsys.readouterr().err


@pytest.mark.usefixtures("scored_only")
def test_the_same_seed_gives_the_same_result_and_no_feature_is_computed_twice(
    pictures: Path, quick_space: Path, tmp_path: Path
) -> None:
    first, again, other = (
        quick(pictures, quick_space, tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert again["features"]["computed"] == 0
    assert again["features"]["reused"] > 0
    assert first["evaluation"] == again["evaluation"]
    assert first["search"]["outer_winners"] == again["search"]["outer_winners"]
    [a, b] = (rows_of(next((tmp_path / name / "pictures").iterdir()) / "trials.csv") for name in ("a", "b"))
    assert [{**row, "seconds": ""} for row in a] == [{**row, "seconds": ""} for row in b]
    assert first["search"]["outer_winners"] != other["search"]["outer_winners"]


@pytest.mark.usefixtures("scored_only")
def test_timeout_ends_with_the_best_so_far(
    pictures: Path, quick_space: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = quick(pictures, quick_space, tmp_path, trials=500, timeout=1.0, baseline="full")
    assert run["search"]["stopped"] == "timeout"
    assert 4 <= run["search"]["n_trials"] < 2000
    said = capsys.readouterr().err
    assert "ended early (timeout)" in said
    assert "without the network from scratch" in said
    jsonschema.validate(run, SCHEMA)


def test_ctrl_c_ends_with_the_best_so_far(pictures: Path, quick_space: Path, tmp_path: Path) -> None:
    words = ["search", str(pictures), "--space", str(quick_space), "--trials", "5000", "--baseline", "none"]
    words += ["--out", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", f"tl_toolkit.{words[0]}", *words[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    study_log = "pictures/*/study.log"
    deadline = time.monotonic() + 200
    # More than the reference has been told: Ctrl-C comes in the middle of the search.
    while time.monotonic() < deadline and process.poll() is None:
        if any(path.read_text().count("fold_scores") > 12 for path in tmp_path.glob(study_log)):
            break
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=200)
    assert process.returncode == 0, stderr
    assert "ended early (interrupted)" in stderr
    assert "accuracy" in stdout
    [folder] = (tmp_path / "pictures").iterdir()
    run = run_of(folder)
    assert run["search"]["stopped"] == "interrupted"
    assert '"state":0' not in (folder / "study.log").read_text()[-500:]


@pytest.mark.usefixtures("scored_only")
def test_a_diverged_trial_is_shown_as_failed(pictures: Path, tmp_path: Path) -> None:
    space = tmp_path / "wild.yaml"
    space.write_text(
        "metric: log_loss\ntrials: 3\nparameters: {learning_rate: {low: 1e30, high: 1e36, log: true}}\n"
        "fixed: {epochs: 5, weight_decay: 0.5}\nreference: {learning_rate: 0.01, momentum: 0.7}\n"
    )
    run = quick(pictures, space, tmp_path)
    assert run["search"]["n_failed"] == 8
    assert run["search"]["best"]["learning_rate"] == 0.01
    rows = rows_of(next((tmp_path / "pictures").iterdir()) / "trials.csv")
    assert {row["error"] for row in rows if row["state"] == "failed"} == {
        "training diverged: probabilities are not finite"
    }


def test_the_page_says_that_it_is_of_a_smoke_run_and_asks_nobody_for_anything(smoke_run: SmokeRun) -> None:
    page = (smoke_run.folder / "index.html").read_text()
    assert "A smoke run" in page
    assert not re.search(r"""(src|href)=["'](https?:)?//|url\((https?:)?//|@import""", page)


def test_help_answers_at_once_and_without_tensorflow() -> None:
    for name in COMMANDS:
        script = (
            "import runpy, sys; sys.argv = ['command', '--help']\n"
            f"try: runpy.run_module('tl_toolkit.{name}', run_name='__main__')\n"
            "except SystemExit as e: code = e.code\n"
            "heavy = {'tensorflow', 'keras', 'optuna', 'albumentations', 'sklearn'} & set(sys.modules)\n"
            "sys.exit(str(heavy) if heavy or code else 0)"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
        assert "usage:" in done.stdout


def test_the_report_is_made_again_without_tensorflow_and_photos(smoke_run: SmokeRun) -> None:
    index = smoke_run.folder / "index.html"
    before = index.read_text()
    index.unlink()
    script = (
        "import sys\nfor name in ('tensorflow', 'keras', 'ai_edge_litert'): sys.modules[name] = None\n"
        f"from tl_toolkit import report; sys.exit(report.main([{str(smoke_run.folder)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert index.read_text() == before


def test_a_report_of_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(tmp_path)]) == 2
    assert "holds no finished run" in capsys.readouterr().err


def test_the_doctor_says_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main([]) == 0
    said = capsys.readouterr().out
    for word in ("tensorflow", "cores", "memory", "accelerators", "cache", "Slash photos", "efficientnet_lite2"):
        assert word in said


@pytest.mark.usefixtures("scored_only")
def test_the_sample_stands_in_only_where_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("TL_TOOLKIT_DATA", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("TL_TOOLKIT_SLASH_URL", "http://127.0.0.1:9")  # nobody answers there
    assert search.main(["slash", "--no-sample"]) == 2
    assert "Could not download" in capsys.readouterr().err
    space = tmp_path / "tiny.yaml"
    space.write_text(
        "metric: macro_f1\ntrials: 1\nparameters: {learning_rate: {low: 1e-3, high: 1e-2}}\nreference: {epochs: 3}\n"
    )
    assert search.main(["slash", "--smoke", "--space", str(space), "--out", str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "DRAWN PICTURES" in said.err
    assert "no figure below is about Slash" in said.out
    [folder] = (tmp_path / "slash_sample").iterdir()
    assert run_of(folder)["dataset"] | {"is_sample": True, "name": "slash_sample"} == run_of(folder)["dataset"]
    assert "drawn sample pictures, not photos" in (folder / "index.html").read_text()


@pytest.mark.real_photos
@pytest.mark.skipif("TL_TOOLKIT_DATA" not in os.environ, reason="TL_TOOLKIT_DATA names no folder of real photos")
def test_the_real_photos_have_sensible_groups() -> None:
    from tl_toolkit.backbones.features import FeatureBank
    from tl_toolkit.core.files import cache_folder
    from tl_toolkit.core.runs import Stopwatch

    options, watch = pipeline.SearchOptions(dataset="slash"), Stopwatch()
    dataset = pipeline.find_data(options, watch)
    prepared = pipeline.prepare(options, dataset, FeatureBank(cache_folder() / "features"), watch)
    assert prepared.dataset.counts.tolist() == [85, 23, 22, 127, 11, 81, 25, 53]
    assert 395 <= len(np.unique(prepared.audit.groups)) <= 415
    assert max(np.bincount(prepared.audit.groups)) <= 6  # no chain has swallowed the data set
    assert prepared.splits.n_outer == 5
