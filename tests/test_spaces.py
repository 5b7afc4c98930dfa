"""Search spaces: what is read, and that every mistake is told with its line."""

from __future__ import annotations

import hashlib
import os
import random
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import OF_NETWORKS

from tl_toolkit.core.errors import UnknownNameError, UserError
from tl_toolkit.core.searches import Pruning, SearchSpace
from tl_toolkit.core.settings import TrainingConfig
from tl_toolkit.engines.configuring import config_from, most_epochs
from tl_toolkit.engines.spaces import find_space, load_space, space_for

GOOD = """\
metric: macro_f1
trials: 7
parameters:
  momentum: {low: 0.0, high: 0.9, step: 0.3, when: {optimizer: [sgd]}}
  optimizer: {choices: [sgd, adam]}
  augmentation: {choices: [none, light]}
  strength: {choices: [0.5, 1], when: {augmentation: [light]}}
  learning_rate: {low: 1e-4, high: 1E-1, log: true}
  epochs: {low: 10, high: 30, step: 10}
fixed:
  views: 4
reference:
  learning_rate: 0.01
"""


def load(folder: Path, text: str | bytes) -> SearchSpace:
    path = folder / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_space(path)


def drawn(space: SearchSpace, rng: random.Random) -> dict[str, Any]:
    """Values as an engine would propose them."""
    values: dict[str, Any] = {}
    for parameter in space.parameters:
        if parameter.applies(values):
            options = parameter.choices or (parameter.low, parameter.high)
            values[parameter.name] = rng.choice(options)
    return values


def test_a_good_space_is_read_whole(tmp_path: Path) -> None:
    space = load(tmp_path, GOOD)
    found = {parameter.name: parameter for parameter in space.parameters}
    assert (space.name, space.metric, space.trials, space.direction) == ("mine", "macro_f1", 7, "maximize")
    assert space.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()
    assert (found["learning_rate"].low, found["learning_rate"].high, found["learning_rate"].log) == (1e-4, 0.1, True)
    assert (found["epochs"].kind, found["epochs"].low, found["epochs"].step) == ("int", 10, 10)
    assert found["momentum"].when == {"optimizer": ("sgd",)}
    assert found["augmentation"].choices == ("none", "light")
    assert [type(choice) for choice in found["strength"].choices] == [float, float]
    assert space.reference == TrainingConfig(learning_rate=0.01)


def test_parameters_come_after_those_they_depend_on(tmp_path: Path) -> None:
    names = [parameter.name for parameter in load(tmp_path, GOOD).parameters]
    assert names == ["optimizer", "momentum", "augmentation", "strength", "learning_rate", "epochs"]


def test_trials_run_whole_and_on_all_folds_unless_the_space_says_otherwise(tmp_path: Path) -> None:
    space = load(tmp_path, GOOD)
    assert (space.pruning, space.scored_folds) == (None, None)
    space = load(tmp_path, GOOD + "pruning: {first: 2}\nscored_folds: 1\n")
    assert (space.pruning, space.scored_folds) == (Pruning(first=2, factor=3), 1)
    assert load(tmp_path, GOOD + "pruning: {factor: 2, first: 29}\n").pruning == Pruning(first=29, factor=2)


@pytest.mark.parametrize(
    ("epochs", "most"),
    [
        ("  epochs: {low: 10, high: 30, step: 10}\n", 30),
        ("  epochs: {choices: [60, 10]}\n", 60),
        ("  epochs: {choices: [60, 10], when: {optimizer: [sgd]}}\n", 60),
        ("  epochs: {choices: [5], when: {optimizer: [sgd]}}\n", 30),  # adam has the default
        ("", 30),
        ("fixed: {epochs: 8}\n", 8),
    ],
)
def test_the_longest_training_is_known(tmp_path: Path, epochs: str, most: int) -> None:
    text = GOOD.replace("fixed:\n  views: 4\n", "").replace("  epochs: {low: 10, high: 30, step: 10}\n", epochs)
    assert most_epochs(load(tmp_path, text)) == most


WHEN_CYCLE = """\
  schedule: {choices: [constant, cosine], when: {class_weight: [none]}}
  class_weight: {choices: [none, balanced], when: {schedule: [cosine]}}
fixed:"""


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("trials: 7", "trials: [7", 3, "not valid YAML"),
        ("trials: 7", "trials: 7\n---\na: 1", 3, "not valid YAML"),
        ("trials: 7", "trials: 7 \x07", 2, "'\\x07'"),
        ("trials: 7", "trials: 0", 2, "trials >= 1 must hold, got trials=0"),
        ("trials: 7", "trials: 7.5", 2, "trials must be a whole number, got '7.5'"),
        ("trials: 7\n", "", 1, "'trials' is missing"),
        ("trials: 7", "trails: 7", 2, "Unknown key 'trails'. Did you mean 'trials'?"),
        ("trials: 7", "trials: 7\ntrials: 8", 3, "trials must be given once"),
        ("trials: 7", "? [a]\n: 7", 2, "Unknown key 'a list'"),
        ("trials: 7", "trials: 7\nscored_folds: 0", 3, "scored_folds >= 1 must hold, got scored_folds=0"),
        ("trials: 7", "trials: 7\nscored_folds: all", 3, "scored_folds must be a whole number, got 'all'"),
        ("trials: 7", "trials: 7\npruning: 3", 3, "pruning must be a mapping (name: value), got '3'"),
        ("trials: 7", "trials: 7\npruning:\n  factor: 3", 4, "'first' is missing"),
        ("trials: 7", "trials: 7\npruning: {frist: 3}", 3, "Unknown option 'frist'. Did you mean 'first'?"),
        ("trials: 7", "trials: 7\npruning: {first: 0}", 3, "first >= 1 must hold, got first=0"),
        ("trials: 7", "trials: 7\npruning:\n  first: 3\n  factor: 1", 5, "factor >= 2 must hold, got factor=1"),
        ("trials: 7", "trials: 7\npruning: {first: 3.5}", 3, "first must be a whole number, got '3.5'"),
        ("trials: 7", "trials: 7\npruning:\n  first: 30", 4, "first < 30, the most epochs that the space proposes,"),
        ("macro_f1", "makro_f1", 1, "Unknown metric 'makro_f1'. Did you mean 'macro_f1'?"),
        ("macro_f1", "null", 1, "metric must be a string (in quotes if need be), got 'null'"),
        ("  momentum:", "  momemtum:", 4, "Unknown field 'momemtum'. Did you mean 'momentum'?"),
        ("low: 0.0, high: 0.9", "low: 2, high: 1", 4, "low <= high must hold, got low=2.0, high=1.0 for momentum"),
        ("low: 0.0, high: 0.9", "low: 0.0, high: 1.2", 4, "0 <= momentum < 1 must hold, got momentum=1.2"),
        ("low: 0.0, high: 0.9", "low: 0.0", 4, "momentum must have choices, or low and high, got low, step, when"),
        ("step: 0.3", "step: 0", 4, "step > 0 must hold, got step=0.0"),
        ("step: 0.3", "step: 0.4", 4, "must lead from low=0.0 to high=0.9"),
        ("step: 0.3", "step: 7e-300", 4, "must lead from low=0.0 to high=0.9"),
        ("step: 0.3", "stepp: 0.3", 4, "Unknown option 'stepp'. Did you mean 'step'?"),
        ("step: 0.3", "log: true", 4, "low > 0 must hold with log, got low=0.0"),
        ("log: true", "log: true, step: 1e-4", 8, "learning_rate must not have both log and step"),
        ("log: true", "log: 1", 8, "log of learning_rate must be true or false, got '1'"),
        ("low: 1e-4", "low: fast", 8, "low of learning_rate must be a finite number, got 'fast'"),
        ("low: 1e-4", "low: '1e-4'", 8, "low of learning_rate must be a finite number"),
        ("low: 1e-4", "low: true", 8, "low of learning_rate must be a finite number, got 'true'"),
        ("high: 1E-1", "high: 1e999", 8, "high of learning_rate must be a finite number, got '1e999'"),
        ("high: 1E-1", "high: .inf", 8, "high of learning_rate must be a finite number, got '.inf'"),
        ("low: 1e-4", "low: 0", 8, "low > 0 must hold with log"),
        ("low: 10,", "low: 10.5,", 9, "low of epochs must be a whole number, got '10.5'"),
        ("low: 10,", "low: 010,", 9, "low of epochs must be a whole number, got '010'"),
        ("step: 10", "choices: [1]", 9, "epochs must have either choices or a range, got choices and low, high"),
        ("{choices: [sgd, adam]}", "{low: 0.1, high: 0.2}", 5, "optimizer must have choices, for it is no number"),
        ("{choices: [sgd, adam]}", "{choices: []}", 5, "choices of optimizer must not be empty"),
        ("{choices: [sgd, adam]}", "{choices: sgd}", 5, "choices of optimizer must be a list, got 'sgd'"),
        ("{choices: [sgd, adam]}", "[sgd, adam]", 5, "optimizer must be a mapping (name: value), got a list"),
        ("{choices: [sgd, adam]}", "{choices: [sgd, sgd]}", 5, "must differ from one another, got 'sgd' twice"),
        ("{choices: [sgd, adam]}", "{choices: [sgd,\n  rmsprop]}", 6, "got optimizer='rmsprop'"),
        (
            "{choices: [sgd, adam]}",
            "{choices: [sgd, 3]}",
            5,
            "choices of optimizer must be a string (in quotes if need be), got '3'",
        ),
        ("{choices: [sgd, adam]}", "{choices: [sgd, !x adam]}", 5, "choices of optimizer must be a string"),
        (
            "[none, light]}",
            "[null, light]}",
            6,
            "choices of augmentation must be a string (in quotes if need be), got 'null'",
        ),
        (
            "[none, light]}",
            "[no, light]}",
            6,
            "choices of augmentation must be a string (in quotes if need be), got 'no'",
        ),
        ("[0.5, 1]", "[0.5, yes]", 7, "choices of strength must be a finite number, got 'yes'"),
        ("[0.5, 1]", "[0.5, 1.5]", 7, "0 <= strength <= 1 must hold, got strength=1.5"),
        ("{augmentation: [light]}", "{augmentatoin: [light]}", 7, "Did you mean 'augmentation'?"),
        (
            "{augmentation: [light]}",
            "{augmentation: [havey]}",
            7,
            "strength depends on augmentation in ['havey'], never chosen from ('none', 'light')",
        ),
        ("{augmentation: [light]}", "{schedule: [cosine]}", 7, "must depend on parameters with choices, got schedule"),
        ("when: {augmentation: [light]}", "when: {\n  augmentation: [heavy]}", 8, "never chosen from"),
        ("{augmentation: [light]}", "{epochs: [10]}", 7, "must depend on parameters with choices, got epochs"),
        ("{augmentation: [light]}", "{augmentation: light}", 7, "when augmentation of strength must be a list"),
        (", when: {augmentation: [light]}", "", 7, "augmentation none has views=1 and strength=0 must hold"),
        (", when: {optimizer: [sgd]}", "", 4, "momentum and nesterov belong to sgd must hold"),
        ("fixed:", WHEN_CYCLE, 10, "got schedule -> class_weight -> schedule"),
        (
            "fixed:",
            "  nesterov: {choices: [true], when: {optimizer: [adam], schedule: [cosine]}}\n"
            "  schedule: {choices: [constant, cosine], when: {optimizer: [sgd]}}\nfixed:",
            10,
            "nesterov can never exist",
        ),
        ("views: 4", "epochs: 4", 9, "epochs must not be in both fixed and parameters"),
        ("views: 4", "views: 0", 11, "views >= 1 must hold, got views=0"),
        ("views: 4", "nesterov: 1", 11, "nesterov must be true or false, got '1'"),
        ("  views: 4\n", "", 10, "fixed must be a mapping (name: value), got nothing"),
        ("views: 4", "nesterov: true", 5, "momentum and nesterov belong to sgd must hold"),
        ("reference:\n  learning_rate: 0.01\n", "", 1, "'reference' is missing"),
        ("  learning_rate: 0.01", "  learning_rate: 0", 13, "learning_rate > 0 must hold, got learning_rate=0.0"),
        ("  learning_rate: 0.01", "  learning_rat: 0.1", 13, "Did you mean 'learning_rate'?"),
        ("  learning_rate: 0.01", "  views: 2", 13, "reference: augmentation none has views=1"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, old: str, new: str, line: int, said: str) -> None:
    assert GOOD.count(old) >= 1
    # ``fixed:`` and the like may recur; the first one is meant.
    with pytest.raises(UserError) as caught:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert str(caught.value).startswith(f"mine.yaml:{line}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "mine.yaml:1: the file is empty"),
        (b"# nothing\n", "mine.yaml:1: the file is empty"),
        (b"metric: macro_f1\ntrials: \xff\n", "mine.yaml:2: the file must be UTF-8 text"),
        (b"- a\n", "mine.yaml:1: a search space must be a mapping"),
        (b"[" * 5000, "mine.yaml:1: not a search space: nested too deeply"),
        (b"metric: log_loss\ntrials: 1\nparameters: {}\nreference: {}\n", "mine.yaml:3: parameters must name"),
    ],
)
def test_a_file_that_is_no_space(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(UserError) as caught:
        load(tmp_path, content)
    assert str(caught.value).startswith(said)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        load_space(tmp_path / "absent.yaml")
    with pytest.raises(UserError, match="directory"):
        load_space(tmp_path)
    locked = tmp_path / "locked.yaml"
    locked.write_text(GOOD)
    locked.chmod(0)
    if not os.access(locked, os.R_OK):
        with pytest.raises(UserError, match="Permission denied"):
            load_space(locked)


def test_settings_are_values_then_fixed_then_defaults(tmp_path: Path) -> None:
    space = load(tmp_path, GOOD)
    values: dict[str, Any] = {
        "optimizer": "sgd",
        "momentum": 0.3,
        "augmentation": "light",
        "strength": 0.5,
        "learning_rate": 0.02,
    }
    assert config_from(space, values) == TrainingConfig(**values, views=4)
    assert config_from(space, {}) == TrainingConfig()


def test_without_augmentation_fixed_strength_and_views_are_neutral(tmp_path: Path) -> None:
    space = replace(load(tmp_path, GOOD), fixed={"views": 4, "strength": 0.5})
    config = config_from(space, {"augmentation": "none"})
    assert (config.strength, config.views) == (0.0, 1)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"optimizer": "adam", "momentum": 0.3}, "momentum exists only when"),
        ({"momentum": 0.3}, "momentum exists only when"),
        ({"views": 2}, "only searched parameters have values, got views=2"),
        ({"dropuot": 0.1}, "only searched parameters have values"),
    ],
)
def test_values_that_do_not_belong_are_refused(tmp_path: Path, values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        config_from(load(tmp_path, GOOD), values)


def test_spaces_are_found_by_path_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "slash").mkdir()  # a folder of photos of that name must not hide the space
    mine = tmp_path / "mine.yaml"
    mine.write_text(GOOD)
    assert find_space("mine.yaml") == Path("mine.yaml")
    assert find_space(str(mine)) == mine
    assert find_space("slash").name == "slash.yaml"
    with pytest.raises(UnknownNameError, match=r"Unknown search space 'slahs'\. Did you mean 'slash'"):
        find_space("slahs")


def test_a_data_set_without_a_space_gets_the_general_one() -> None:
    assert space_for("slash") == find_space("slash")
    assert space_for("my_holiday_photos") == find_space("slash")
    assert space_for("../slash") == find_space("slash")


def test_every_parameter_of_every_shipped_space_names_a_field_and_every_proposal_is_accepted() -> None:
    known = {field.name for field in fields(TrainingConfig)}
    for path in sorted(find_space("slash").parent.glob("*.yaml")):
        space = load_space(path)
        assert {parameter.name for parameter in space.parameters} <= known
        assert space.fixed.keys() <= known
        rng = random.Random(0)
        for _ in range(500):
            config_from(space, drawn(space, rng))


def test_the_slash_space() -> None:
    space = load_space(find_space("slash"))
    assert space.name == "slash"
    assert space.metric == "weighted_f1"
    assert space.reference == TrainingConfig(
        backbone="efficientnet_lite0", optimizer="sgd", learning_rate=0.01, momentum=0.7, epochs=30, batch_size=64
    )
    assert {parameter.name for parameter in space.parameters} | space.fixed.keys() | OF_NETWORKS == {
        field.name for field in fields(TrainingConfig)
    }
