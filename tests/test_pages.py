"""The leaderboard of all runs, and two runs side by side: from saved records alone."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from conftest import SmokeRun

from tl_toolkit import pipeline, report
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.runs import plain
from tl_toolkit.core.saved import load_run
from tl_toolkit.evaluation.comparison import compare
from tl_toolkit.evaluation.metrics import evaluate
from tl_toolkit.sections import leaderboard, side_by_side

EVIL = "<script>alert(1)</script>"
NAMES = ["Beauty", EVIL, "Home"]
N = 60

SETTINGS = {"backbone": "efficientnet_lite0", "optimizer": "sgd", "learning_rate": 0.01}
Make = Callable[..., Path]


def groups_of(n: int = N) -> np.ndarray:
    """Photos in pairs of near duplicates."""
    return np.arange(n) // 2


def predictions(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities that are right on most photos; rounded as the table rounds them."""
    random = np.random.default_rng(seed)
    labels = np.arange(N) % len(NAMES)
    logits = 2.0 * np.eye(len(NAMES))[labels] + random.normal(size=(N, len(NAMES)))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return labels, probabilities.round(6)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes a finished run into ``reports/<dataset>/<name>`` of the test's folder."""

    def made(name: str, *, seed: int = 1, dataset: str = "photos", fingerprint: str = "f" * 64, **more: Any) -> Path:
        folder = tmp_path / "reports" / dataset / name
        folder.mkdir(parents=True)
        labels, probabilities = predictions(seed)
        folds = groups_of() % 3
        scored = evaluate("x", labels, probabilities, groups_of(), folds, NAMES, resamples=50)
        per_class = {c: {"support": scored.support[c], **plain(scored.per_class[c])} for c in NAMES}
        run = {
            "schema_version": 1,
            "command": "python -m tl_toolkit.search photos",
            "smoke": False,
            "seed": 0,
            "dataset": {
                "name": dataset,
                "is_sample": False,
                "n_images": N,
                "n_groups": N // 2,
                "class_names": NAMES,
                "fingerprint": fingerprint,
            },
            "splits": {"n_outer": 3, "n_inner": 2},
            "evaluation": {
                "metrics": plain(scored.metrics),
                "per_class": per_class,
                "confusion": scored.confusion.tolist(),
            },
            "search": {
                "engine": "optuna",
                "space": "default",
                "space_sha256": "a" * 64,
                "metric": "macro_f1",
                "n_trials": 16,
                "n_failed": 0,
                "trials_per_study": 4,
                "stopped": "finished",
                "seconds": 9.6,
                "trials_per_minute": 100.0,
                "best": SETTINGS,
                "members": {"final": [0, 1]},
                "outer_winners": {f"outer-{i}": SETTINGS for i in range(3)},
                "outer_winners_inner_score": 0.8,
            },
            "features": {"computed": 3, "reused": 4},
            "model": {"size": 1_000_000},
            "timing": {"total_seconds": 12.5},
            "peak_memory_bytes": 2**30,
            "environment": {
                "python": "3.11.7",
                "platform": "Linux",
                "machine": "x86_64",
                "cores": 2,
                "libraries": {"numpy": "2.4.6", "tensorflow": None},
            },
        }
        for place, value in more.items():
            *way, last = place.split("__")
            target: Any = run
            for key in way:
                target = target[key]
            target[last] = value
        paths = [f"{NAMES[c][:4]}/{i:02d}.jpg" for i, c in enumerate(labels)]
        write(folder, run, {"paths": paths, "groups": groups_of().tolist()})
        with (folder / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "fold", "label", "predicted", *(f"p_{c}" for c in NAMES)])
            for i, row in enumerate(probabilities):
                writer.writerow([paths[i], folds[i], NAMES[labels[i]], NAMES[int(row.argmax())], *row])
        (folder / "trials.csv").write_text("study,number\nfinal,0\n")
        (folder / "index.html").write_text("the page of the run")
        return folder

    return made


def write(folder: Path, run: dict[str, Any], audit: dict[str, Any]) -> None:
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    (folder / "audit.json").write_text(json.dumps(audit), encoding="utf-8")


def change_predictions(folder: Path, change: Callable[[list[dict[str, str]]], list[dict[str, str]]]) -> None:
    path = folder / "predictions.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = change(list(csv.DictReader(file)))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


class Seen(HTMLParser):
    """The text, the links and the elements of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[dict[str, str | None]] = []
        self.feed(html)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append(dict(attrs))
        if tag == "a":
            self.links.append(dict(attrs)["href"] or "")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] not in ("style", "script"):
            self.words.append(data)


class TestLeaderboard:
    def test_every_link_leads_to_the_page_of_a_run(self, make: Make, tmp_path: Path) -> None:
        made = {make("20260102-030405"), make("50 % #1 ?x=y&z"), make("Ünï:cødé", dataset="other")}
        page = pipeline.index(tmp_path / "reports")
        links = [link for link in Seen(page.read_text()).links if not link.startswith("#")]
        assert page == tmp_path / "reports" / "index.html"
        assert {(page.parent / unquote(link)).parent for link in links} == made
        assert not [link for link in links if set(link) & set(" #?:&<>\"'") or link.startswith("/")]

    def test_the_figures_are_those_of_the_runs(self, make: Make, tmp_path: Path) -> None:
        folders = {make(f"20260102-03040{seed}", seed=seed) for seed in range(4)}
        board = leaderboard.compute(tmp_path / "reports")
        [table] = board.tables
        assert [entry.metrics["accuracy"].value for entry in table.entries] == sorted(
            (load_run(folder).run["evaluation"]["metrics"]["accuracy"]["value"] for folder in folders), reverse=True
        )
        text = Seen(leaderboard.draw(board)).text
        for entry in table.entries:
            for metric in leaderboard.METRICS:
                figure = entry.metrics[metric]
                assert f"{figure.value:.3f} {figure.low:.3f} to {figure.high:.3f}" in text
        assert "may be compared only within one table" in text

    def test_runs_of_other_data_are_in_other_tables(self, make: Make, tmp_path: Path) -> None:
        make("a"), make("b"), make("c", fingerprint="e" * 64), make("d", dataset="other")
        make("e", smoke=True), make("f", dataset="drawn", dataset__is_sample=True, fingerprint="d" * 64)
        board = leaderboard.compute(tmp_path / "reports")
        assert [[entry.name for entry in table.entries] for table in board.tables] == [
            ["other/d"],
            ["photos/c"],
            ["photos/a", "photos/b"],
            ["photos/e"],
            ["drawn/f"],
        ]
        seen = Seen(leaderboard.draw(board))
        sections = [at["data-class"] for tag, at in zip(seen.tags, seen.attributes, strict=True) if tag == "section"]
        options = [at["value"] for tag, at in zip(seen.tags, seen.attributes, strict=True) if tag == "option"]
        assert sections == ["other", "photos", "photos", "photos", "drawn"]
        assert options == ["", "drawn", "other", "photos"]
        assert seen.tags.count("table") == 5

    def test_drawn_pictures_smoke_runs_and_early_ends_are_marked(self, make: Make, tmp_path: Path) -> None:
        make("a", search__n_failed=3)
        plainly = Seen(pipeline.index(tmp_path / "reports").read_text()).text
        assert "3 failed" in plainly
        assert not re.search("smoke|drawn|ended early", plainly)
        make("b", smoke=True, search__stopped="timeout"), make("c", dataset__is_sample=True)
        text = Seen(pipeline.index(tmp_path / "reports").read_text()).text
        assert "smoke run " in text
        assert "Drawn sample pictures, not photos" in text
        assert "search ended early: timeout" in text

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("{", "run.json is not JSON"),
            ("[]", "no schema_version"),
            ('{"name": "somebody else\'s"}', "no schema_version"),
            ('{"schema_version": 99}', "got 99"),
            ('{"schema_version": 1}', "lacks dataset.name"),
            (b"\xff\xfe", "run.json is not JSON"),
            (None, "it was not finished"),
        ],
    )
    def test_what_is_no_run_is_listed_with_the_reason(
        self, make: Make, tmp_path: Path, content: str | bytes | None, reason: str
    ) -> None:
        make("good")
        bad = make("bad <b>")
        if content is None:
            (bad / "run.json").unlink()
        else:
            (bad / "run.json").write_bytes(content.encode() if isinstance(content, str) else content)
        (tmp_path / "reports" / "photos" / "foreign").mkdir()
        (tmp_path / "reports" / "empty").mkdir()
        board = leaderboard.compute(tmp_path / "reports")
        assert [one.name for one in board.refused] == ["empty", "photos/bad <b>", "photos/foreign"]
        assert reason in board.refused[1].reason
        text = Seen(leaderboard.draw(board)).text
        assert "photos/bad <b>" in text
        assert board.refused[1].reason in text

    @pytest.mark.parametrize(
        ("place", "value", "reason"),
        [
            ("smoke", "yes", "smoke must be of type bool"),
            ("search__n_trials", True, "search.n_trials must be of type int"),
            ("timing__total_seconds", float("nan"), "timing.total_seconds must be of type float"),
            ("evaluation__metrics__accuracy", {"value": 0.9, "low": 0.95, "high": 1.0}, "low <= value <= high"),
        ],
    )
    def test_records_that_cannot_be_are_refused(
        self, make: Make, tmp_path: Path, place: str, value: Any, reason: str
    ) -> None:
        make("good"), make("bad", **{place: value})
        [refused] = leaderboard.compute(tmp_path / "reports").refused
        assert reason in refused.reason

    def test_runs_right_below_the_folder_are_found(self, make: Make) -> None:
        folder = make("20260102-030405")
        (folder.parent / "20260103-000000" / "model").mkdir(parents=True)
        (folder.parent / "20260103-000000" / "study.log").touch()
        board = leaderboard.compute(folder.parent)
        assert [entry.name for table in board.tables for entry in table.entries] == ["20260102-030405"]
        assert [one.name for one in board.refused] == ["20260103-000000"]

    def test_the_date_is_that_of_the_folder_name_or_of_the_file(self, make: Make, tmp_path: Path) -> None:
        make("20260102-030405-2"), make("20261399-000000")
        entries = {e.name: e for table in leaderboard.compute(tmp_path / "reports").tables for e in table.entries}
        named, other = entries["photos/20260102-030405-2"], entries["photos/20261399-000000"]
        assert (named.when.isoformat(), named.when_from_file) == ("2026-01-02T03:04:05", False)
        assert other.when_from_file

    def test_a_run_without_a_page_has_no_link(self, make: Make, tmp_path: Path) -> None:
        (make("a") / "index.html").unlink()
        seen = Seen(pipeline.index(tmp_path / "reports").read_text())
        assert "photos/a no page yet" in seen.text
        assert all(link.startswith("#") for link in seen.links)

    def test_a_folder_without_runs_is_refused_in_one_line(
        self, make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "nothing").mkdir()
        for folder in (tmp_path / "nothing", tmp_path / "missing"):
            code, said = report.main(["--index", str(folder)]), capsys.readouterr()
            assert (code, said.out, said.err.count("\n")) == (2, "", 1)
            assert str(folder) in said.err
        assert not list((tmp_path / "nothing").iterdir())
        run = make("a")
        with pytest.raises(UserError, match="is a run"):
            pipeline.index(run)
        assert (run / "index.html").read_text() == "the page of the run"

    def test_names_are_data(self, make: Make, tmp_path: Path) -> None:
        make(EVIL.replace("/", "_"), dataset__name=EVIL, search__engine=EVIL)
        html = pipeline.index(tmp_path / "reports").read_text()
        assert Seen(html).tags.count("script") == 1
        assert EVIL in Seen(html).text


class TestSideBySide:
    def test_the_test_is_that_of_the_saved_probabilities(self, make: Make) -> None:
        a, b = make("a", seed=1), make("b", seed=2)
        comparison, why_not = pipeline.reporting.paired(load_run(a), load_run(b))
        folds = groups_of() % 3
        first, second = (evaluate("x", *predictions(seed), groups_of(), folds, NAMES) for seed in (1, 2))
        expected = compare(first, second, groups_of())
        assert comparison is not None
        assert why_not == ()
        assert (comparison.better, comparison.worse, comparison.p_value) == (
            expected.better,
            expected.worse,
            expected.p_value,
        )
        assert plain(comparison.differences) == plain(expected.differences)

    def test_the_page_shows_the_test_and_who_was_right(self, make: Make, tmp_path: Path) -> None:
        a, b = make("a", seed=1), make("b", seed=2, search__best={**SETTINGS, "optimizer": "adam"})
        page = pipeline.compare_runs(a, b, tmp_path / "page.html")
        seen = Seen(page.read_text())
        comparison, _ = pipeline.reporting.paired(load_run(a), load_run(b))
        assert comparison is not None
        assert f"p = {comparison.p_value:.3g}" in seen.text
        assert f"Only A is right: {comparison.better} photo" in seen.text
        assert f"Only B is right: {comparison.worse} photo" in seen.text
        labels, (one, other) = predictions(1)[0], [predictions(seed)[1].argmax(1) for seed in (1, 2)]
        for i in np.flatnonzero((one == labels) != (other == labels)):
            assert f"/{i:02d}.jpg" in seen.text
        assert "optimizer sgd adam differs" in seen.text
        assert "learning_rate 0.01 0.01 same" in seen.text
        assert [unquote(link) for link in seen.links if not link.startswith("#")] == [
            "reports/photos/a/index.html",
            "reports/photos/b/index.html",
        ]

    def test_a_run_is_no_better_than_itself(self, make: Make, tmp_path: Path) -> None:
        a = make("a")
        text = Seen(pipeline.compare_runs(a, a, tmp_path / "page.html").read_text()).text
        assert "Both are the same run" in text
        assert "p = 1)" in text
        assert "do not tell which run is better" in text
        assert "Only A is right: 0 photos" in text

    def test_near_duplicates_may_be_numbered_otherwise(self, make: Make) -> None:
        a, b = make("a", seed=1), make("b", seed=2)
        audit = json.loads((b / "audit.json").read_text())
        audit["groups"] = [100 - number for number in audit["groups"]]
        audit = {key: values[::-1] for key, values in audit.items()}
        (b / "audit.json").write_text(json.dumps(audit))
        assert pipeline.reporting.paired(load_run(a), load_run(b))[0] is not None

    @pytest.mark.parametrize("case", ["data", "order", "paths", "folds", "groups", "audit", "nan"])
    def test_where_nothing_can_be_paired_the_page_says_why(self, make: Make, tmp_path: Path, case: str) -> None:
        a = make("a", seed=1)
        b = make("b", seed=2, fingerprint=("e" if case == "data" else "f") * 64)
        said = {
            "data": "of different data",
            "order": "in another order",
            "paths": "by other paths",
            "folds": f"{N} of {N} photos were left out",
            "groups": "count as near duplicates",
            "audit": "audit.json of run B",
            "nan": "not finite",
        }[case]
        if case == "order":
            change_predictions(b, lambda rows: rows[::-1])
        if case == "paths":
            change_predictions(b, lambda rows: [{**row, "path": f"x/{row['path']}"} for row in rows])
        if case == "folds":
            change_predictions(b, lambda rows: [{**row, "fold": str((int(row["fold"]) + 1) % 3)} for row in rows])
        if case == "groups":
            audit = json.loads((b / "audit.json").read_text())
            (b / "audit.json").write_text(json.dumps({**audit, "groups": list(range(N))}))
        if case == "audit":
            (b / "audit.json").unlink()
        if case == "nan":
            change_predictions(b, lambda rows: [{**rows[0], "p_Home": "nan"}, *rows[1:]])
        text = Seen(pipeline.compare_runs(a, b, tmp_path / "page.html").read_text()).text
        assert "No paired test is made" in text
        assert said in text
        assert "McNemar" not in text
        # Photos are listed wherever the same path is the same photo.
        assert ("Only A is right" in text) == (case not in ("data", "paths"))
        assert ("must not be compared" in text) == (case == "data")

    def test_figures_of_other_data_are_not_subtracted(self, make: Make) -> None:
        saved = load_run(make("a")), load_run(make("b", seed=2, fingerprint="e" * 64))
        record = side_by_side.compute(*saved, Path(), comparison=None, why_not=("other data",))
        assert {row.difference for row in (*record.metrics, *record.classes)} == {None}

    def test_thumbnails_are_those_of_the_photos(self, make: Make, tmp_path: Path) -> None:
        a, b = make("a", seed=1), make("b", seed=2)
        labels, (one, other) = predictions(1)[0], [predictions(seed)[1].argmax(1) for seed in (1, 2)]
        index = int(np.flatnonzero((one == labels) != (other == labels))[0])
        (b / "pictures").mkdir()
        (b / "pictures" / f"{index:05d}.webp").write_bytes(b"picture")
        html = pipeline.compare_runs(a, b, tmp_path / "page.html").read_text()
        assert html.count("<img") == 1
        card = html[html.index("<img") :]
        assert card.startswith('<img class="shot" src="data:image/webp;base64,cGljdHVyZQ=="')
        assert f"/{index:02d}.jpg" in card[: card.index("</b>")]

    def test_records_that_contradict_each_other_are_pointed_out(self, make: Make, tmp_path: Path) -> None:
        a, b = make("a"), make("b", seed=2, evaluation__confusion=[[20, 0, 0], [0, 20, 0], [0, 0, 20]])
        text = Seen(pipeline.compare_runs(a, b, tmp_path / "page.html").read_text()).text
        assert "records of run B contradict" in text
        assert "records of run A" not in text

    def test_names_are_data(self, make: Make, tmp_path: Path) -> None:
        a, b = make("a", seed=1, search__engine=EVIL), make("b", seed=2, environment__libraries={EVIL: EVIL})
        html = pipeline.compare_runs(a, b, tmp_path / "page.html").read_text()
        assert Seen(html).tags.count("script") == 1
        assert f"is {EVIL}" in Seen(html).text

    @pytest.mark.parametrize("harm", ["no run", "missing column", "no rows", "missing key"])
    def test_damaged_records_are_named_in_one_line(self, make: Make, tmp_path: Path, harm: str) -> None:
        a, b = make("a"), make("b")
        if harm == "no run":
            (b / "predictions.csv").unlink()
        if harm == "missing column":
            change_predictions(b, lambda rows: [{"path": row["path"]} for row in rows])
        if harm == "no rows":
            (b / "predictions.csv").write_text((b / "predictions.csv").read_text().splitlines()[0] + "\n")
        if harm == "missing key":
            run = json.loads((b / "run.json").read_text())
            del run["environment"]
            (b / "run.json").write_text(json.dumps(run))
        with pytest.raises(UserError, match="b") as raised:
            pipeline.compare_runs(a, b, tmp_path / "page.html")
        assert "\n" not in str(raised.value)
        assert not (tmp_path / "page.html").exists()

    def test_a_page_that_cannot_be_a_file_is_refused(self, make: Make, tmp_path: Path) -> None:
        a = make("a")
        (tmp_path / "file").touch()
        for out in (tmp_path, tmp_path / "file" / "page.html"):
            with pytest.raises(UserError, match="--out"):
                pipeline.compare_runs(a, a, out)


class TestCommand:
    @pytest.mark.parametrize(
        "words",
        [
            [],
            ["run", "--index", "reports"],
            ["run", "--compare", "a", "b"],
            ["--index", "reports", "--compare", "a", "b"],
            ["--compare", "a"],
            ["run", "--out", "page.html"],
            ["--index", "reports", "--out", "page.html"],
        ],
    )
    def test_exactly_one_job_is_named(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            report.main(words)
        assert ended.value.code == 2
        assert "error:" in capsys.readouterr().err

    def test_the_page_goes_where_it_is_asked_for(
        self, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        a, b = str(make("a")), str(make("b", seed=2))
        monkeypatch.chdir(tmp_path)
        assert report.main(["--compare", a, b]) == 0
        assert report.main(["--compare", a, b, "--out", "new/folder/page.html"]) == 0
        assert report.main(["--index", "reports"]) == 0
        assert capsys.readouterr().out.split() == ["comparison.html", "new/folder/page.html", "reports/index.html"]
        assert "../../reports/photos/a/index.html" in Path("new/folder/page.html").read_text()
        assert 'href="reports/photos/a/index.html"' in Path("comparison.html").read_text()

    def test_neither_tensorflow_nor_photos_are_needed(self, make: Make, tmp_path: Path) -> None:
        a, b = make("a"), make("b", seed=2)
        script = (
            "import sys; from tl_toolkit import report\n"
            f"assert report.main(['--index', {str(a.parent)!r}]) == 0\n"
            "assert 'scipy' not in sys.modules and 'matplotlib' not in sys.modules\n"
            f"assert report.main(['--compare', {str(a)!r}, {str(b)!r}]) == 0\n"
            "assert not {'tensorflow', 'keras', 'optuna', 'albumentations'} & set(sys.modules)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
        )
        assert done.returncode == 0, done.stderr

    def test_a_real_run_has_what_the_pages_need(self, smoke_run: SmokeRun, tmp_path: Path) -> None:
        for name in ("a", "b"):
            shutil.copytree(smoke_run.folder, tmp_path / "pictures" / name)
        board = leaderboard.compute(tmp_path)
        assert board.refused == ()
        assert [len(table.entries) for table in board.tables] == [2]
        folders = [tmp_path / "pictures" / name for name in ("a", "b")]
        text = Seen(pipeline.compare_runs(folders[0], folders[1], tmp_path / "page.html").read_text()).text
        assert "exact McNemar test: p = 1" in text
        assert "contradict" not in text
        assert text.count("is a smoke run") == 2
