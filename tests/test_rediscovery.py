"""The rediscovery: its arithmetic on tables small enough to check by hand, and the whole of it on drawn pictures."""

from __future__ import annotations

import copy
import csv
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tl_toolkit import pipeline, rediscover
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.records import Evaluation, Interval
from tl_toolkit.core.searches import SearchResult, SearchSpace, Trial
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.engines.spaces import find_space, load_space
from tl_toolkit.evaluation import rediscovery as judging
from tl_toolkit.evaluation.comparison import compare
from tl_toolkit.evaluation.landscape import LEARNING_RATES, MOMENTA, landscape_grid
from tl_toolkit.evaluation.metrics import evaluate
from tl_toolkit.pipeline import rediscovering
from tl_toolkit.sections import rediscovery as page
from tl_toolkit.sections import rediscovery_figures as figures


def found(scores: Sequence[float | None], metric: str = "accuracy", pruned: Sequence[int] = ()) -> SearchResult:
    """A search over all photos whose trials scored so; None failed."""
    trials = [
        Trial(
            study="final",
            number=number,
            config=TrainingConfig(epochs=10),
            score=value,
            fold_scores=(),
            seconds=1.0,
            trained_epochs=3 if number in pruned else 10,
            state="pruned" if number in pruned else "failed" if value is None else "complete",
        )
        for number, value in enumerate(scores)
    ]
    # In any order: the number counts.
    return SearchResult(trials=tuple(reversed(trials)), metric=metric, stopped="finished", seconds=1.0)


def predictions(seed: int, right: float, n: int = 120, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Labels that are the same for all seeds, and probabilities of which about ``right`` are right."""
    labels = np.random.default_rng(0).integers(0, k, n)
    random = np.random.default_rng(seed)
    said = np.where(random.random(n) < right, labels, (labels + 1) % k)
    return labels, (0.1 + 0.7 * np.eye(k)[said]).astype(np.float32)


def evaluation(seed: int, right: float, groups: np.ndarray) -> Evaluation:
    labels, probabilities = predictions(seed, right)
    return evaluate(f"seed {seed}", labels, probabilities, groups, labels, ("a", "b", "c"), resamples=50)


AIM = judging.Target(study="final", score=0.80, standard_error=0.02, near=0.78, blind=0.3)


def test_trials_are_counted_until_the_best_so_far_is_within_one_standard_error() -> None:
    course = judging.course(found([0.5, None, 0.7, 0.78, 0.6, 0.9]), AIM)
    assert course.trials_to_reach == 4  # the failed one counts, the bound itself is near
    assert course.best_so_far == (0.5, 0.5, 0.7, 0.78, 0.78, 0.9)
    assert (course.near, course.winner.number) == (2, 5)


def test_a_search_that_never_comes_near_is_told_as_never() -> None:
    course = judging.course(found([None, 0.5, 0.779]), AIM)
    assert course.trials_to_reach is None
    assert course.best_so_far == (None, 0.5, 0.779)


def test_a_pruned_trial_takes_its_turn_and_is_not_near() -> None:
    course = judging.course(found([0.5, 0.95, 0.81], pruned=[1]), AIM)
    assert (course.trials_to_reach, course.near, course.best_so_far) == (3, 1, (0.5, 0.5, 0.81))


def test_of_a_loss_less_is_near() -> None:
    aim = judging.target("final", "log_loss", 0.40, 0.05, 1.2)
    assert aim.near == pytest.approx(0.45)
    course = judging.course(found([0.9, 0.46, 0.44, 0.3], metric="log_loss"), aim)
    assert (course.trials_to_reach, course.near) == (3, 2)
    assert course.best_so_far == (0.9, 0.46, 0.44, 0.3)
    assert judging.target("final", "accuracy", 0.8, 0.05, 0.3).near == pytest.approx(0.75)


def test_a_target_that_diverged_is_refused() -> None:
    with pytest.raises(ValueError, match="finite score of the reference"):
        judging.target("final", "accuracy", math.nan, 0.1, 0.3)


@pytest.mark.parametrize(
    ("counts", "median"),
    [([3, 1, 8], 3), ([1, 2, 3, 4], 2.5), ([3, None, 1], 3), ([None, 1, None], None), ([2, None], None)],
)
def test_never_is_more_than_any_number_in_a_median(counts: list[int | None], median: float | None) -> None:
    assert judging.median_to_reach(counts) == median


def test_pruning_saves_the_epochs_that_it_cut_off() -> None:
    spent = judging.effort(found([0.5, 0.6, None, 0.7], pruned=[0, 1]).trials, 9.0)
    assert (spent.trials, spent.pruned, spent.failed) == (4, 2, 1)
    assert (spent.epochs, spent.full_epochs, spent.seconds) == (3 + 3 + 10 + 10, 40, 9.0)


def test_the_standard_error_of_accuracy_is_that_of_a_share() -> None:
    labels, probabilities = predictions(1, 0.8, n=400)
    share = float((probabilities.argmax(1) == labels).mean())
    error = judging.standard_error("accuracy", labels, probabilities, np.arange(400))
    assert error == pytest.approx(math.sqrt(share * (1 - share) / 400), rel=0.06)


def test_twins_make_the_standard_error_larger() -> None:
    labels, probabilities = (np.repeat(part, 4, axis=0) for part in predictions(1, 0.8, n=100))
    alone = judging.standard_error("weighted_f1", labels, probabilities, np.arange(400))
    grouped = judging.standard_error("weighted_f1", labels, probabilities, np.repeat(np.arange(100), 4))
    assert grouped == pytest.approx(2 * alone, rel=0.12)  # 4 copies say no more than one


def test_the_standard_error_of_a_mean_loss_is_that_of_a_mean() -> None:
    labels, probabilities = predictions(1, 0.8, n=400)
    losses = -np.log(probabilities[np.arange(400), labels])
    error = judging.standard_error("log_loss", labels, probabilities, np.arange(400))
    assert error == pytest.approx(losses.std() / 20, rel=0.06)


def test_the_mean_difference_of_one_seed_is_the_paired_comparison() -> None:
    groups = np.arange(120) // 2
    one, reference = evaluation(1, 0.9, groups), evaluation(2, 0.7, groups)
    assert judging.mean_differences([one], reference, groups) == compare(one, reference, groups).differences


def test_the_mean_difference_of_seeds_is_the_mean_of_their_differences() -> None:
    groups = np.arange(120)
    several, reference = [evaluation(seed, 0.85, groups) for seed in (1, 3, 4)], evaluation(2, 0.7, groups)
    single = [compare(one, reference, groups).differences for one in several]
    for name, difference in judging.mean_differences(several, reference, groups).items():
        assert difference.value == pytest.approx(np.mean([one[name].value for one in single]))
        width = difference.high - difference.low
        assert width < max(one[name].high - one[name].low for one in single)  # their luck partly cancels


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.01, 0.05, "better"), (-0.02, 0.03, "within noise"), (-0.05, -0.01, "worse"), (0.0, 0.04, "within noise")],
)
def test_a_verdict_needs_the_whole_interval_on_one_side(low: float, high: float, verdict: str) -> None:
    assert judging.verdict(Interval(value=(low + high) / 2, low=low, high=high)) == verdict


@pytest.fixture(scope="module")
def head_space() -> SearchSpace:
    return load_space(find_space("slash_head"))


def test_the_landscape_is_the_reference_but_for_two_settings(head_space: SearchSpace) -> None:
    grid = landscape_grid(head_space)
    assert len(grid) == LEARNING_RATES * len(MOMENTA)
    assert grid.count(head_space.reference) == 1
    assert all(
        replace(one, learning_rate=0.01, momentum=0.7) == head_space.reference and one.momentum in MOMENTA
        for one in grid
    )
    assert min(one.learning_rate for one in grid) == pytest.approx(1e-4)
    assert max(one.learning_rate for one in grid) == pytest.approx(1.0)


def test_the_landscape_holds_a_reference_from_beside_the_grid(head_space: SearchSpace) -> None:
    odd = replace(head_space, reference=replace(head_space.reference, learning_rate=0.02, momentum=0.66))
    grid = landscape_grid(odd)
    assert len(grid) == (LEARNING_RATES + 1) * (len(MOMENTA) + 1)
    assert grid.count(odd.reference) == 1


def test_without_sgd_there_is_no_landscape(head_space: SearchSpace) -> None:
    adam = replace(head_space, reference=TrainingConfig(optimizer="adam"))
    assert landscape_grid(adam) == []


def test_equal_effective_rates_are_straight_lines() -> None:
    rates, momenta = np.array([0.1, 0.05, 0.01]), np.array([0.0, 0.5, 0.9])  # all of effective rate 0.1
    assert np.allclose(np.log10(rates) + figures.height(momenta), -1)


# --- the whole of it -------------------------------------------------------------------------------------------------


def options(pictures: Path, space: Path, out: Path, **other: Any) -> pipeline.RediscoveryOptions:
    given = {"engines": ("optuna",), "smoke": True, "trials": 3, **other}
    return pipeline.RediscoveryOptions(dataset=str(pictures), space=str(space), out=out, command="rediscover", **given)


def trials_of(found: pipeline.Rediscovery) -> list[dict[str, str]]:
    with (found.page.parent / "trials.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_trial_is_in_the_table_and_none_is_the_reference(rediscovered: pipeline.Rediscovery) -> None:
    trials = trials_of(rediscovered)
    assert len(trials) == 2 * 4 * 3  # seeds, studies, trials
    assert {trial["engine"] for trial in trials} == {"optuna"}
    assert {trial["seed"] for trial in trials} == {"0", "100"}
    shown = {(trial["optimizer"], float(trial["learning_rate"]), float(trial["momentum"])) for trial in trials}
    assert ("sgd", 0.01, 0.7) not in shown  # blind
    assert len(shown) == len(trials)  # no study repeats another


def test_the_record_agrees_with_the_table(rediscovered: pipeline.Rediscovery) -> None:
    record = json.loads((rediscovered.page.parent / "rediscovery.json").read_text(encoding="utf-8"))
    assert record == rediscovered.record
    targets = record["reference"]["targets"]
    assert list(targets) == record["splits"]["studies"] == ["outer-0", "outer-1", "outer-2", "final"]
    for search in record["searches"]:
        for course in search["courses"]:
            scores = [
                float(trial["score"])
                for trial in trials_of(rediscovered)
                if (int(trial["seed"]), trial["study"]) == (search["seed"], course["study"])
            ]
            assert course["best_so_far"] == np.maximum.accumulate(scores).tolist()
            near = [count for count, score in enumerate(scores, 1) if score >= targets[course["study"]]["near"]]
            assert course["trials_to_reach"] == (near[0] if near else None)
    [engine] = record["engines"]
    assert engine["seeds"] == [0, 100]
    single = [search["comparison"]["differences"]["macro_f1"]["value"] for search in record["searches"]]
    assert engine["differences"]["macro_f1"]["value"] == pytest.approx(np.mean(single))


def test_the_landscape_holds_the_reference_with_its_own_score(rediscovered: pipeline.Rediscovery) -> None:
    cells = {(cell["learning_rate"], cell["momentum"]): cell["score"] for cell in rediscovered.record["landscape"]}
    assert len(cells) == len(rediscovered.record["landscape"])
    assert cells[0.01, 0.7] == pytest.approx(rediscovered.record["reference"]["targets"]["final"]["score"])


def test_the_page_shows_every_figure(rediscovered: pipeline.Rediscovery) -> None:
    text = rediscovered.page.read_text(encoding="utf-8")
    assert text.count('<svg role="img"') == 4
    assert page.answer(rediscovered.record) in text
    assert page.build(rediscovered.page.parent).read_text(encoding="utf-8") == text


def test_the_answer_tells_the_worst_first_and_leaves_no_engine_out(rediscovered: pipeline.Rediscovery) -> None:
    [engine] = rediscovered.record["engines"]
    engines = [
        engine | {"engine": name, "verdict": verdict}
        for name, verdict in (("a", "better"), ("b", "worse"), ("c", "within noise"), ("d", "worse"))
    ]
    said = page.answer(rediscovered.record | {"engines": engines})
    assert said == "Settings found blind, against SGD 0.01 / 0.7: worse (b and d); within noise (c); better (a)."
    alone = [engine | {"verdict": None, "median": median} for median in (2, None)]
    assert (
        page.answer(rediscovered.record | {"engines": alone[:1]})
        == "Blind searches come near SGD 0.01 / 0.7 with optuna."
    )
    assert page.answer(rediscovered.record | {"engines": alone[1:]}) == "No engine comes near SGD 0.01 / 0.7."
    assert page.answer(rediscovered.record | {"engines": []}) == "No search was finished."


def test_a_reference_that_is_as_good_as_guessing_is_called_so(rediscovered: pipeline.Rediscovery) -> None:
    record = copy.deepcopy(rediscovered.record)
    for target in record["reference"]["targets"].values():
        assert 0 < target["blind"] < target["score"]
        target["blind"] = target["score"] - 0.9 * target["standard_error"]
    assert page.answer(record).endswith("matching it proves little.")
    assert "matching it" not in page.answer(rediscovered.record)


def test_a_page_of_searches_of_unequal_length_and_of_diverged_cells_is_whole(
    rediscovered: pipeline.Rediscovery,
) -> None:
    record = copy.deepcopy(rediscovered.record)
    record["searches"][0]["courses"][-1]["best_so_far"] = [None, 0.5]
    record["landscape"][0]["score"] = None
    text = page.render(record)
    assert text.count('<svg role="img"') == 4
    assert "diverged" in text
    assert "nan" not in re.sub(r"<style>.*?</style>", "", text, flags=re.DOTALL)


def test_the_same_seed_finds_the_same(
    rediscovered: pipeline.Rediscovery, pictures: Path, quick_space: Path, tmp_path: Path
) -> None:
    again = pipeline.rediscover(options(pictures, quick_space, tmp_path))
    for part in ("reference", "landscape"):
        assert again.record[part] == rediscovered.record[part]
    same = [{**trial, "seconds": ""} for trial in trials_of(again)]
    assert same == [{**trial, "seconds": ""} for trial in trials_of(rediscovered)]


def test_fewer_studies_are_compared_on_their_own_folds(pictures: Path, quick_space: Path, tmp_path: Path) -> None:
    done = pipeline.rediscover(options(pictures, quick_space, tmp_path, studies=1, seeds=1, landscape=False))
    one = done.record
    assert {search["courses"][-1]["study"] for search in one["searches"]} == {"outer-0"}
    page = done.page.read_text(encoding="utf-8")
    assert "The searches inside outer fold 0" in page
    assert "In one outer fold a blind search" in page
    assert one["splits"]["studies"] == ["outer-0"]
    assert 0 < one["splits"]["compared"] < one["dataset"]["n_photos"] / 2
    assert one["landscape"] == []
    assert one["engines"][0]["verdict"] in ("better", "within noise", "worse")


def test_ctrl_c_keeps_the_searches_that_are_done(
    pictures: Path, quick_space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    real = rediscovering.ENGINES.get("optuna")

    def interrupted(*given: Any, **named: Any) -> Any:
        calls.append(named["seed"])
        if len(calls) > 1:
            raise KeyboardInterrupt
        return real(*given, **named)

    monkeypatch.setattr(rediscovering.ENGINES, "get", lambda _name: interrupted)
    kept = pipeline.rediscover(options(pictures, quick_space, tmp_path, studies=0, landscape=False))
    assert calls == [0, 100]
    assert (kept.record["stopped"], [one["seed"] for one in kept.record["searches"]]) == ("interrupted", [0])
    assert kept.record["engines"][0]["verdict"] is None  # no outer fold was searched
    assert "Interrupted" in kept.page.read_text(encoding="utf-8")


def test_ctrl_c_before_anything_is_done_leaves_nothing(
    pictures: Path, quick_space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_given: Any, **_named: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(rediscovering.ENGINES, "get", lambda _name: interrupted)
    with pytest.raises(KeyboardInterrupt):
        pipeline.rediscover(options(pictures, quick_space, tmp_path, studies=0, landscape=False))
    assert list((tmp_path / "pictures" / "rediscovery").iterdir()) == []


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"engines": ("optna",)}, "optuna"),
        ({"engines": ()}, "At least one engine"),
        ({"studies": 9}, "more than the 3 outer folds"),
    ],
)
def test_mistakes_are_told_in_a_line(
    pictures: Path, quick_space: Path, tmp_path: Path, other: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said) as raised:
        pipeline.rediscover(options(pictures, quick_space, tmp_path, **other))
    assert "\n" not in str(raised.value)


def test_the_terminal_ends_with_what_each_engine_found(
    rediscovered: pipeline.Rediscovery, capsys: pytest.CaptureFixture[str]
) -> None:
    rediscover.tell(rediscovered)
    said = capsys.readouterr().out
    assert "optuna" in said
    assert rediscovered.record["engines"][0]["verdict"].split()[0] in said
    assert str(rediscovered.page) in said.replace("\n", "")


def test_engines_are_named_with_commas() -> None:
    given = rediscover.parser().parse_args(["slash", "--engines", "a, b,a", "--no-landscape"])
    assert (given.engines, given.no_landscape, given.seeds) == (("a", "b"), True, 5)
