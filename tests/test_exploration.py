"""The exploration as a user runs it, on pictures with planted mistakes; and what it is made of."""

from __future__ import annotations

import copy
import io
import itertools
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import STRANGE, Explored
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from tl_toolkit import explore
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.thumbnails import thumbnail
from tl_toolkit.datasets import appearance
from tl_toolkit.datasets.appearance import Appearance, measure, unusual
from tl_toolkit.datasets.photos import Photos
from tl_toolkit.datasets.sample import draw
from tl_toolkit.evaluation.label_issues import class_thresholds, find_label_issues
from tl_toolkit.sections import exploration
from tl_toolkit.sections.exploration_figures import COLOURS, SHAPES, marks


class Elements(HTMLParser):
    """What a browser makes of a page: elements with their attributes, the text outside of scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


class TestTheCommand:
    def test_a_planted_wrong_label_is_the_first_suspect(self, explored: Explored) -> None:
        first = explored.record["suspects"]["issues"][0]
        names = explored.record["dataset"]["class_names"]
        assert first["index"] == explored.position("Nutrition/wrong.jpg")
        assert (names[first["label"]], names[first["suggested"]]) == ("Nutrition", "Fashion")
        assert "Nutrition/wrong.jpg: looks like Fashion" in explored.finished.stdout

    def test_a_planted_duplicate_is_shown_with_its_pictures(self, explored: Explored) -> None:
        twins = [explored.position("Fashion/02.jpg"), explored.position("Fashion/again.jpg")]
        assert twins in explored.record["duplicates"]["exact"]
        shown = {image["alt"] for image in Elements(explored.page).of("img")}
        assert {"Fashion: Fashion/02.jpg", "Fashion: Fashion/again.jpg"} <= shown

    def test_a_broken_file_is_listed(self, explored: Explored) -> None:
        assert [one["path"] for one in explored.record["quarantined"]] == ["Fashion/broken.jpg"]
        assert "Fashion/broken.jpg" in Elements(explored.page).text
        assert "1 unreadable files" in explored.finished.stdout

    def test_the_terminal_ends_with_counts_and_the_page(self, explored: Explored) -> None:
        lines = explored.finished.stdout.splitlines()
        assert [line.split() for line in lines[:3]] == [[STRANGE, "8"], ["Fashion", "9"], ["Nutrition", "9"]]
        assert lines[-1] == f"Page: {explored.folder / 'index.html'}"

    def test_every_photo_is_on_the_map_with_its_picture(self, explored: Explored) -> None:
        assert explored.record["map"]["indices"] == list(range(26))
        points = [use for use in Elements(explored.page).of("use") if "data-picture" in use]
        assert len(points) == 26
        assert all(str(point["data-picture"]).startswith("data:image/webp;base64,") for point in points)
        assert [point["tabindex"] for point in points] == ["0", *["-1"] * 25]

    def test_every_picture_has_a_text(self, explored: Explored) -> None:
        elements = Elements(explored.page)
        assert all(image["alt"] for image in elements.of("img") if image["src"] != "data:,")
        assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in elements.of("svg"))

    def test_the_page_asks_nobody_for_anything(self, explored: Explored) -> None:
        addresses = [
            str(attributes[name])
            for _, attributes in Elements(explored.page).found
            for name in ("src", "href", "xlink:href")
            if name in attributes
        ]
        assert {re.sub(r"[:;].*|(?<=#).*", "", address) for address in addresses} <= {"data", "#"}

    def test_a_smoke_run_says_so(self, explored: Explored) -> None:
        assert "A smoke run" in explored.page

    def test_the_page_is_written_again_from_its_records(self, explored: Explored) -> None:
        assert exploration.build(explored.folder).read_text() == explored.page


class TestNamesAreData:
    def test_in_the_page_of_the_command(self, explored: Explored) -> None:
        elements = Elements(explored.page)
        assert STRANGE in elements.text
        # One of the base page and one of the map.
        assert len(elements.of("script")) == 2

    def test_a_class_that_would_be_a_script(self, explored: Explored) -> None:
        record = copy.deepcopy(explored.record)
        name = "<script>alert(1)</script>"
        record["dataset"]["class_names"][0] = name
        record["photos"][0]["path"] = f'{name}/"><img src=x onerror=alert(1)>.jpg'
        record["dataset"]["name"] = name
        record["quarantined"][0]["reason"] = name
        elements = Elements(exploration.render(record, explored.folder))
        assert len(elements.of("script")) == 2
        assert not any("onerror" in attributes for _, attributes in elements.found)
        assert elements.text.count(name) > 5

    def test_dollars_are_no_formula(self, explored: Explored) -> None:
        record = copy.deepcopy(explored.record)
        record["dataset"]["class_names"][0] = "$10 to $20_"
        assert "$10 to $20_" in exploration.render(record, explored.folder)


def many_classes(record: dict[str, Any], n_classes: int) -> dict[str, Any]:
    """A record of the same photos, repeated for many classes."""
    made = copy.deepcopy(record)
    names = [f"class {c}" for c in range(n_classes)]
    photos = [{**record["photos"][c % 8], "label": c, "predicted": c, "group": c} for c in range(n_classes)]
    at = np.linspace(0, 1, n_classes).tolist()
    made["dataset"] |= {"class_names": names, "class_counts": [1] * n_classes}
    made["photos"], made["samples"] = photos, [[c] for c in range(n_classes)]
    made["map"] |= {"indices": list(range(n_classes)), "x": at, "y": at}
    made["duplicates"] = {"exact": [], "near": [], "conflicts": [[c, c + 1] for c in range(0, n_classes - 1, 2)]}
    made["suspects"]["issues"], made["quarantined"] = [], []
    made["unusual"] |= {"dark": [], "bright": [], "blurred": []}
    return made


def test_a_hundred_classes_and_missing_pictures(explored: Explored, tmp_path: Path) -> None:
    page = exploration.render(many_classes(explored.record, 100), tmp_path)
    text = " ".join(Elements(page).text.split())
    assert "no picture" in text
    assert "Groups whose labels disagree: 50" in text
    assert "10 more groups are in exploration.json" in text
    assert "None: no photo is taken for another class" in text


def test_a_class_too_small_for_folds_is_said(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "few"
    for name in ("Beauty", "Home"):
        shutil.copytree(pictures / name, root / name)
    for path in sorted((root / "Home").iterdir())[3:]:
        path.unlink()
    assert explore.main([str(root), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "'Home'" in said
    assert "--folds 3" in said
    assert not (tmp_path / "out").exists()


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        explore.main(["--help"])
    said = capsys.readouterr().out
    for option in ("--data-dir", "--no-sample", "--seed", "--folds", "--out", "--smoke"):
        assert option in said


@pytest.mark.parametrize("bad", [["--seed", "-1"], ["--folds", "1"], ["--seed", "x"]])
def test_numbers_out_of_range_are_refused(bad: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        explore.main(["slash", *bad])
    assert bad[0] in capsys.readouterr().err


def test_no_exploration_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no exploration"):
        exploration.build(tmp_path)


@pytest.mark.real_photos
@pytest.mark.skipif(
    not (Path(os.environ.get("TL_TOOLKIT_DATA", "-")) / "slash").is_dir(), reason="no real photos in $TL_TOOLKIT_DATA"
)
def test_thumbnails_of_real_photos_are_small() -> None:
    paths = sorted((Path(os.environ["TL_TOOLKIT_DATA"]) / "slash").rglob("*.jpg"))[::40]
    photos = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    assert np.mean([len(thumbnail(photo)) for photo in photos]) < 6000


class TestLabelIssues:
    # Thresholds: class 0 (0.9 + 0.8 + 0.1) / 3 = 0.6; class 1 (0.7 + 0.9 + 0.35) / 3 = 0.65.
    LABELS = np.array([0, 0, 0, 1, 1, 1])
    PROBABILITIES = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.1, 0.9], [0.65, 0.35]])

    def test_the_example_by_hand(self) -> None:
        np.testing.assert_allclose(class_thresholds(self.LABELS, self.PROBABILITIES), [0.6, 0.65])
        first, second = find_label_issues(self.LABELS, self.PROBABILITIES)
        assert (first.index, first.label, first.suggested) == (2, 0, 1)
        assert (second.index, second.label, second.suggested) == (5, 1, 0)
        assert first.self_confidence == pytest.approx(0.1)
        assert (first.margin, second.margin) == (pytest.approx(-0.8), pytest.approx(-0.3))

    def test_what_no_class_is_confident_of_is_no_issue(self) -> None:
        probabilities = self.PROBABILITIES.copy()
        probabilities[5] = [0.55, 0.45]  # below 0.6, though the other class is likelier
        assert [issue.index for issue in find_label_issues(self.LABELS, probabilities)] == [2]

    def test_what_is_still_likeliest_of_its_label_is_no_issue(self) -> None:
        # Class 1 reaches its low threshold where class 0 misses its high one, and is less likely all the same.
        labels = np.array([0, 0, 0, 1, 1])
        probabilities = np.array([[0.99, 0.01], [0.99, 0.01], [0.6, 0.4], [0.65, 0.35], [0.7, 0.3]])
        assert [issue.index for issue in find_label_issues(labels, probabilities)] == []

    def test_a_class_without_photos_suggests_nothing(self) -> None:
        labels = np.array([0, 1, 0, 1])
        probabilities = np.array([[0.4, 0.1, 0.5], [0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.9, 0.1, 0.0]])
        assert class_thresholds(labels, probabilities)[2] == np.inf
        assert [(i.index, i.suggested) for i in find_label_issues(labels, probabilities)] == [(3, 0)]

    @given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 60), k=st.integers(2, 6))
    @settings(max_examples=60, deadline=None)
    def test_issues_are_ranked_and_contradict_their_labels(self, seed: int, n: int, k: int) -> None:
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, k, n)
        probabilities = rng.dirichlet(np.full(k, 0.5), n).astype(np.float32)
        issues = find_label_issues(labels, probabilities)
        thresholds = class_thresholds(labels, probabilities)
        assert [i.margin for i in issues] == sorted(i.margin for i in issues)
        assert len({i.index for i in issues}) == len(issues)
        for issue in issues:
            row = probabilities[issue.index].astype(np.float64)
            assert issue.label == labels[issue.index] != issue.suggested
            assert row[issue.suggested] >= thresholds[issue.suggested]
            assert issue.margin == pytest.approx(row[issue.label] - np.delete(row, issue.label).max())
            assert issue.margin < 0
        order = rng.permutation(n)
        again = find_label_issues(labels[order], probabilities[order])
        assert {int(order[i.index]) for i in again} == {i.index for i in issues}

    @pytest.mark.parametrize(
        ("labels", "probabilities"),
        [
            ([0, 1], [[0.5, 0.5]]),
            ([0, 2], [[0.5, 0.5], [0.5, 0.5]]),
            ([-1, 0], [[0.5, 0.5], [0.5, 0.5]]),
            ([0.0, 1.0], [[0.5, 0.5], [0.5, 0.5]]),
            ([0, 1], [[0.5, float("nan")], [0.5, 0.5]]),
            ([0, 1], [[1.5, -0.5], [0.5, 0.5]]),
            ([0], [[1.0]]),
        ],
    )
    def test_what_cannot_be_is_refused(self, labels: list[Any], probabilities: list[list[float]]) -> None:
        with pytest.raises(ValueError, match=r"labels|probabilities"):
            find_label_issues(np.array(labels), np.array(probabilities))


def even(level: int, side: int = 40) -> np.ndarray:
    return np.full((side, side, 3), level, np.uint8)


class TestAppearance:
    @pytest.mark.parametrize("level", [0, 90, 255])
    def test_an_even_picture_is_as_bright_as_its_level_and_not_sharp(self, level: int) -> None:
        assert appearance.brightness(even(level)) == level
        assert appearance.sharpness(even(level)) == 0

    def test_green_is_brighter_than_blue(self) -> None:
        green, blue = even(0), even(0)
        green[..., 1] = blue[..., 2] = 255
        assert appearance.brightness(green) == pytest.approx(0.587 * 255, abs=1)
        assert appearance.brightness(blue) == pytest.approx(0.114 * 255, abs=1)

    def test_blur_makes_less_sharp(self) -> None:
        picture = draw("Home", 1)
        found = [
            appearance.sharpness(np.asarray(picture.filter(ImageFilter.GaussianBlur(radius))))
            for radius in (0, 1, 3, 6)
        ]
        assert found == sorted(found, reverse=True)
        assert found[0] > 3 * found[2]

    def test_large_photos_are_measured_at_one_size(self) -> None:
        picture = draw("Home", 2).convert("RGB")
        sides = [picture.resize((side, side), Image.Resampling.LANCZOS) for side in (512, 1024)]
        small, large = (appearance.sharpness(np.asarray(one)) for one in sides)
        assert small == pytest.approx(large, rel=0.2)

    def test_photos_are_measured_in_their_order(self, tmp_path: Path) -> None:
        levels = [200, 10, 90]
        for level in levels:
            Image.fromarray(even(level)).save(tmp_path / f"{level}.png")
        steps: list[None] = []
        measured = measure(Photos(tmp_path, tuple(f"{level}.png" for level in levels)), lambda: steps.append(None))
        np.testing.assert_array_equal(measured.brightness, levels)
        assert len(steps) == 3

    def test_what_stands_out_is_found_the_most_unusual_first(self) -> None:
        rng = np.random.default_rng(0)
        light, detail = rng.normal(120, 20, 200).clip(80, 160), np.exp(rng.normal(6, 0.5, 200)).clip(200, 900)
        light[[7, 9]], light[20], detail[[30, 31]] = [15, 5], 250, [3, 6]
        found = unusual(Appearance(brightness=light, sharpness=detail))
        assert (found.dark, found.bright, found.blurred) == ((9, 7), (20,), (30, 31))
        assert found.darkest < 80 < 160 < found.brightest
        assert 6 < found.blurriest < 200

    def test_equal_photos_are_not_unusual(self) -> None:
        light, detail = np.full(50, 128.0), np.full(50, 400.0)
        light[3], detail[4] = 131, 380
        found = unusual(Appearance(brightness=light, sharpness=detail))
        assert (found.dark, found.bright, found.blurred) == ((), (), ())


class TestMap:
    def test_it_is_the_same_for_the_same_seed(self) -> None:
        rng = np.random.default_rng(0)
        features, labels = rng.normal(size=(40, 80)).astype(np.float32), np.arange(40) % 4
        first, second = (exploration.mapped(features, labels, seed=3) for _ in range(2))
        assert first == second
        assert min(first["x"]) == min(first["y"]) == 0
        assert max(*first["x"], *first["y"]) == 1

    def test_alike_photos_are_neighbours(self) -> None:
        rng = np.random.default_rng(0)
        labels = np.repeat(np.arange(3), 20)
        features = (rng.normal(size=(60, 80)) + 30 * rng.normal(size=(3, 80))[labels]).astype(np.float32)
        drawn = exploration.mapped(features, labels, seed=0)
        at = np.stack([drawn["x"], drawn["y"]], 1)
        distance = np.linalg.norm(at[:, None] - at[None], axis=2) + 9 * np.eye(60)
        assert (labels[distance.argmin(1)] == labels).all()

    def test_few_photos_that_are_all_the_same(self) -> None:
        drawn = exploration.mapped(np.ones((6, 5), np.float32), np.arange(6) % 2, seed=0)
        assert np.isfinite([*drawn["x"], *drawn["y"]]).all()

    @given(seed=st.integers(0, 1000), most=st.integers(4, 120))
    @settings(max_examples=40, deadline=None)
    def test_a_part_of_the_photos_has_of_each_class_its_share(self, seed: int, most: int) -> None:
        labels = np.repeat([0, 1, 2, 3], [60, 30, 9, 1])
        chosen = exploration.stratified(labels, most, seed=seed)
        assert len(chosen) == min(most, 100) == len(set(chosen.tolist()))
        counts = np.bincount(labels[chosen], minlength=4)
        assert (counts >= 1).all()
        assert np.abs(counts - most * np.array([0.6, 0.3, 0.09, 0.01])).max() <= 3 or most > 100

    @pytest.mark.parametrize("n_classes", [2, 8, 12, 100])
    def test_neighbouring_classes_differ_in_mark_and_all_contrast_with_the_page(self, n_classes: int) -> None:
        made = marks(n_classes)
        assert len({(mark["colour"], mark["shape"]) for mark in made}) == n_classes
        assert all(a["shape"] != b["shape"] for a, b in itertools.pairwise(made))
        for page in ("#ffffff", "#12161c"):
            assert min(contrast(mark["colour"], page) for mark in made) >= 3

    def test_there_is_a_colour_for_every_shape(self) -> None:
        assert len(COLOURS) == SHAPES


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours, as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        return float(
            np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
        )

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_samples_are_distinct_and_of_their_class() -> None:
    labels, groups = np.repeat([0, 1], [20, 3]), np.concatenate([np.arange(20), [50, 50, 51]])
    many, few = exploration.samples(labels, groups, 2, seed=0)
    assert len(many) == 12 == len(set(many))
    assert len(few) == 2
    assert all(labels[many] == 0)
    assert set(groups[few]) == {50, 51}


class TestThumbnails:
    @pytest.mark.parametrize(
        ("shape", "side", "size"), [((300, 200), 160, (107, 160)), ((20, 40), 160, (40, 20)), ((2, 900), 64, (64, 1))]
    )
    def test_they_keep_the_shape_and_are_not_enlarged(
        self, shape: tuple[int, int], side: int, size: tuple[int, int]
    ) -> None:
        photo = np.zeros((*shape, 3), np.uint8)
        photo.setflags(write=False)
        with Image.open(io.BytesIO(thumbnail(photo, side))) as image:
            assert (image.format, image.size) == ("WEBP", size)

    def test_they_show_the_photo(self) -> None:
        photo = np.asarray(draw("Home", 1).convert("RGB"))
        with Image.open(io.BytesIO(thumbnail(photo))) as image:
            small = Image.fromarray(photo)
            small.thumbnail((160, 160))
            assert np.abs(np.asarray(image, float) - np.asarray(small, float)).mean() < 8

    @pytest.mark.parametrize("bad", [{"side": 0}, {"quality": 101}, {"photo": np.zeros((4, 4), np.uint8)}])
    def test_what_cannot_be_is_refused(self, bad: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="must hold"):
            thumbnail(**{"photo": even(3), **bad})
