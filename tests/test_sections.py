"""The report: every section's record and drawing, on a finished run and on records made for the purpose."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SmokeRun

from tl_toolkit import report
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.saved import SavedRun, load_run
from tl_toolkit.sections import REGISTRY, page
from tl_toolkit.sections.confusion import compute as confusion_of
from tl_toolkit.sections.headline import verdict
from tl_toolkit.sections.search import compute as search_of
from tl_toolkit.sections.training import judge


@pytest.fixture(scope="module")
def saved(smoke_run: SmokeRun) -> SavedRun:
    return load_run(smoke_run.folder)


@pytest.mark.parametrize("name", REGISTRY.names())
def test_a_section_has_a_record_and_describes_its_figures(name: str, saved: SavedRun) -> None:
    section = REGISTRY.get(name)
    record = section.compute(saved)
    assert record is not None
    for figure in section.draw(record).values():
        assert figure.startswith("<svg ")
        assert re.search(r'aria-label="[^"]{20,}"', figure)
        assert 'color="#010203"' not in figure


def test_the_page_holds_every_section_in_order(smoke_run: SmokeRun) -> None:
    html = (smoke_run.folder / "index.html").read_text()
    found = re.findall(r'<h2 id="(\w+)">', html)
    assert found == REGISTRY.names()
    assert html.count("<svg role") >= 10


def test_the_page_is_the_same_again_without_tensorflow_and_without_the_photos(
    smoke_run: SmokeRun, tmp_path: Path
) -> None:
    folder = shutil.copytree(smoke_run.folder, tmp_path / "run")
    before = (folder / "index.html").read_bytes()
    (folder / "index.html").unlink()
    script = (
        "import sys; sys.modules['tensorflow'] = None; sys.modules['keras'] = None\n"
        f"from tl_toolkit.report import main; sys.exit(main([{str(folder)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert (folder / "index.html").read_bytes() == before


def test_a_run_without_analysis_says_what_is_not_there(smoke_run: SmokeRun, tmp_path: Path) -> None:
    folder = shutil.copytree(smoke_run.folder, tmp_path / "run")
    (folder / "analysis.json").unlink()
    shutil.rmtree(folder / "pictures")
    html = page.build(folder).read_text()
    assert "This run kept no records for: The mistakes" in html
    assert "<img" not in html


@pytest.mark.parametrize("damage", ["not json", "{}", '{"dataset": {"class_names": ["other"]}}'])
def test_damaged_records_are_said_in_one_line(
    smoke_run: SmokeRun, tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(smoke_run.folder, tmp_path / "run")
    (folder / "run.json").write_text(damage)
    with pytest.raises(UserError):
        load_run(folder)
    assert report.main([str(folder)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def renamed(saved: SavedRun, old: str, new: str) -> SavedRun:
    """The same run, with a class of another name."""

    def change(value: Any) -> Any:
        if isinstance(value, dict):
            return {change(key): change(item) for key, item in value.items()}
        if isinstance(value, list):
            return [change(item) for item in value]
        return new if value == old else value

    return replace(saved, run=change(saved.run), analysis=change(saved.analysis))


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "$x_1$ & \\frac{a}", '"><img src=x onerror=alert(1)>'])
def test_names_are_shown_as_text(saved: SavedRun, name: str) -> None:
    html = page.render(renamed(saved, "Games", name))
    body = html[: html.rindex("<script>")]
    assert "<script" not in body
    assert "onerror=alert(1)>" not in body.replace("&gt;", "")
    assert name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;") in body


def test_confused_pairs_are_the_most_frequent_first(saved: SavedRun) -> None:
    labels = np.array([0] * 5 + [1] * 5 + [2] * 5)
    predicted = np.array([0, 1, 1, 1, 2, 1, 1, 1, 1, 0, 2, 2, 2, 2, 2])
    counts = np.zeros((3, 3), int)
    np.add.at(counts, (labels, predicted), 1)
    run = {**saved.run, "evaluation": {**saved.run["evaluation"], "confusion": counts.tolist()}}
    made = replace(
        saved, run=run, labels=labels, probabilities=np.eye(3)[predicted], paths=tuple(f"{i}.jpg" for i in range(15))
    )
    pairs = confusion_of(made).pairs
    assert [(pair.count, pair.true, pair.predicted) for pair in pairs] == [
        (3, saved.class_names[0], saved.class_names[1]),
        (1, saved.class_names[0], saved.class_names[2]),
        (1, saved.class_names[1], saved.class_names[0]),
    ]
    assert pairs[0].share == 0.6


def test_verdicts_say_what_the_test_says() -> None:
    def comparison(value: float, p: float) -> dict[str, Any]:
        figure = {"value": value, "low": value - 0.02, "high": value + 0.02}
        return {"differences": {"accuracy": figure}, "p_value": p, "better": 3, "worse": 1}

    assert verdict("X", comparison(0.01, 0.4)).startswith("No significant difference to X")
    assert verdict("X", comparison(0.2, 0.01)).startswith("Significantly better than X")
    assert verdict("X", comparison(-0.2, 0.01)).startswith("Significantly WORSE than X")


@pytest.mark.parametrize(
    ("held_out", "seen", "unseen", "beginning"),
    [
        ([1.0, 0.5, 0.8], 0.99, 0.8, "It over-fits: the held-out loss is lowest after 2 epochs"),
        ([1.0, 0.6, 0.5], 0.99, 0.8, "It knows its training photos better"),
        ([1.0, 0.6, 0.5], 0.84, 0.82, "No sign of over-fitting"),
    ],
)
def test_curves_are_judged(held_out: list[float], seen: float, unseen: float, beginning: str) -> None:
    loss = np.array([[[1.0, 0.4, 0.1]], [held_out]])
    accuracy = np.array([[[0.3, 0.6, seen]], [[0.3, 0.5, unseen]]])
    assert judge((1, 2, 3), loss, accuracy, 0.0).startswith(beginning)


@pytest.mark.parametrize(
    ("scored", "beginning"), [(0.8, "It knows its training photos better"), (0.9, "No sign of over-fitting")]
)
def test_where_nothing_was_held_out_the_score_is_what_training_is_compared_with(scored: float, beginning: str) -> None:
    said = judge((1, 2), np.array([[[1.0, 0.4]]]), np.array([[[0.3, 0.92]]]), scored)
    assert said.startswith(beginning)
    assert f"{scored:.3f} of those scored" in said


def test_what_decides_the_score_is_found_important(saved: SavedRun) -> None:
    random = np.random.default_rng(0)
    [first, *_] = saved.trials
    trials = []
    for number in range(60):
        rate, decay = 10 ** random.uniform(-4, -1), 10 ** random.uniform(-5, -2)
        trials.append(
            {
                **first,
                "study": "final" if number % 2 else "outer-0",
                "number": str(number),
                "optimizer": "sgd",
                "learning_rate": repr(rate),
                "momentum": repr(random.uniform(0, 0.95)),
                "weight_decay": repr(decay),
                "score": repr(float(1 - (np.log10(rate) + 2) ** 2 / 10 + random.normal() / 100)),
            }
        )
    record = search_of(replace(saved, trials=trials))
    assert record is not None
    assert record.importances[0][0] == "learning_rate"
    assert record.importances[0][1] > 3 * record.importances[1][1]
    assert record.explained > 0.5
    figures = REGISTRY.get("search").draw(record)
    assert set(figures) == {"history", "spread", "importances", "parallel", "landscape"}


def test_a_search_of_one_trial_has_no_history_to_tell(saved: SavedRun) -> None:
    assert search_of(replace(saved, trials=saved.trials[:1])) is None


def test_analysis_agrees_with_the_predictions(saved: SavedRun) -> None:
    wrong = np.flatnonzero(saved.probabilities.argmax(1) != saved.labels)
    shown = saved.analysis["mistakes"]
    assert set(shown) <= set(wrong.tolist())
    assert len(shown) == min(60, len(wrong))
    confidence = saved.probabilities.max(1)[shown]
    assert (np.diff(confidence) <= 1e-6).all()
    for index in shown:
        assert saved.picture(index)
        assert saved.picture(index, "cam")
    accuracy = (saved.probabilities.argmax(1) == saved.labels).mean()
    assert saved.analysis["calibration"]["coverage"][0]["accuracy"] == pytest.approx(accuracy)
    assert json.dumps(saved.analysis)


def test_pruned_trials_are_counted_and_not_compared_with_whole_ones(saved: SavedRun) -> None:
    whole = search_of(saved)
    assert whole is not None
    assert whole.saved == 0
    trials = [*saved.trials]
    trials[1] = {**trials[1], "state": "pruned", "score": "1.0", "trained_epochs": "0"}
    pruned = search_of(replace(saved, trials=trials))
    assert pruned is not None
    assert len(pruned.scores) == len(whole.scores) - 1
    assert pruned.saved == pytest.approx(int(trials[1]["epochs"]) / sum(int(trial["epochs"]) for trial in trials))


@pytest.mark.parametrize("stopped", ["finished", "timeout", "interrupted", "exhausted"])
def test_a_search_may_end_in_any_way(stopped: str, saved: SavedRun) -> None:
    run = {**saved.run, "search": {**saved.run["search"], "stopped": stopped, "n_pruned": 3}}
    assert "3 pruned on their way" in page.render(replace(saved, run=run))


def test_a_chance_too_small_for_a_float_is_not_called_zero() -> None:
    figures = {"differences": {"accuracy": {"value": 0.7, "low": 0.6, "high": 0.8}}, "better": 7577, "worse": 112}
    assert verdict("guessing", {**figures, "p_value": 0.0}).endswith("p < 1e-100).")
    assert verdict("guessing", {**figures, "p_value": 0.00123}).endswith("p = 0.0012).")


def test_searches_that_were_cut_short_of_a_trial_are_told_of(saved: SavedRun) -> None:
    studies = {trial["study"] for trial in saved.trials}
    assert len(studies) > 2

    def cut(study: str) -> SavedRun:
        """As if time had been up before a trial of this study was complete."""
        others = [trial for trial in saved.trials if trial["study"] != study]
        reference = {**next(trial for trial in saved.trials if trial["study"] == study), "state": "cut", "score": ""}
        search = {**saved.run["search"], "outer_winners_inner_score": None}
        if study == "final":
            search = {**saved.run["search"], "best_inner_score": None}
        return replace(saved, trials=[*others, reference], run={**saved.run, "search": search})

    said = f"Time was up before 1 of the {len(studies)} searches had a complete trial"
    assert said not in page.render(saved)
    whole = page.render(cut("outer-0"))
    assert said in whole
    assert ">What the search found<" in whole
    assert "What choosing flattered" not in whole
    last = page.render(cut("final"))
    assert said in last
    assert ">What the search found<" not in last
    assert "This model has the reference settings" in last
    assert "best trial of the last search" not in last
