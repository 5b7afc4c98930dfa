"""The pages as people meet them: in a browser, on a phone and a desk, in light and dark, by keyboard and on paper."""

from __future__ import annotations

import csv
import json
import re
import runpy
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browser import DESKTOP, PHONE, Visit, axe_violations, find_chromium, too_wide, visit
from conftest import CLASSES, Explored, SmokeRun
from PIL import Image
from playwright.sync_api import Browser, Locator, Page

from tl_toolkit import pipeline
from tl_toolkit.datasets.sample import draw
from tl_toolkit.sections import page as report
from tl_toolkit.sections.document import environment

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "bench_report.py"

SCRIPT = "<script>alert(1)</script>"
RIGHT_TO_LEFT = "משחקים \N{MIDDLE DOT} ألعاب"
BREAKS_OUT = f"\"'><img src=x onerror=alert(2)> $x$ {{{{ 7 * 7 }}}} {'Long' * 12}"
HOSTILE = dict(zip(CLASSES, (SCRIPT, RIGHT_TO_LEFT, BREAKS_OUT), strict=True))


@dataclass(frozen=True)
class Kind:
    """A kind of page.

    Attributes:
        name: In the names of tests.
        fixture: The fixture that gives the page's path.
        sortable: Whether it has tables that sort.
        filters: Whether it has lists that can be filtered.
    """

    name: str
    fixture: str
    sortable: bool
    filters: bool


KINDS = [
    Kind("parts", "parts_page", sortable=True, filters=True),
    Kind("report", "report_page", sortable=True, filters=True),
    Kind("report-of-hostile-names", "hostile_page", sortable=True, filters=True),
    Kind("exploration", "exploration_page", sortable=True, filters=True),
    Kind("leaks", "leaks_page", sortable=True, filters=True),
    Kind("evaluation", "evaluation_page", sortable=True, filters=True),
    Kind("leaderboard", "leaderboard_page", sortable=True, filters=True),
    Kind("comparison", "comparison_page", sortable=True, filters=False),
    Kind("rediscovery", "rediscovery_page", sortable=True, filters=False),
]
"""Every page of this list goes through every test below that takes a ``kind``."""


@pytest.fixture(scope="session")
def report_page(smoke_run: SmokeRun) -> Path:
    """The report of a run, as the run left it."""
    return smoke_run.folder / "index.html"


@pytest.fixture(scope="session")
def hostile_page(smoke_run: SmokeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the same run, had its classes been called what nobody should call a class."""
    folder = tmp_path_factory.mktemp("hostile") / "run"
    renamed_run(smoke_run.folder, folder, HOSTILE)
    return report.build(folder)


@pytest.fixture(scope="session")
def exploration_page(explored: Explored) -> Path:
    return explored.folder / "index.html"


@pytest.fixture(scope="session")
def rediscovery_page(rediscovered: pipeline.Rediscovery) -> Path:
    return rediscovered.page


@pytest.fixture(scope="session")
def leaks_page(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of photos, of which some are in the training set, as they are or in half their size."""
    folder = tmp_path_factory.mktemp("leaks")
    for name in ("Games", "Home"):
        (folder / "test" / name).mkdir(parents=True)
        draw(name, 11).save(folder / "test" / name / "new.jpg")
        shutil.copy(pictures / name / "01.jpg", folder / "test" / name / f"{'long' * 20}.jpg")
    with Image.open(pictures / "Home" / "02.jpg") as photo:
        photo.resize((photo.width // 2, photo.height // 2)).save(folder / "test" / "Games" / "small.jpg")
    options = pipeline.LeakOptions(
        train=str(pictures), test=str(folder / "test"), embeddings=False, out=folder / "reports"
    )
    return pipeline.find_leaks(options).page


@pytest.fixture(scope="session")
def evaluation_page(smoke_run: SmokeRun, leaks_page: Path) -> Path:
    """The model of the run on photos of which some were trained on, and some carry another class."""
    root = leaks_page.parents[3]
    wrong = root / "test" / "Beauty"
    wrong.mkdir()
    for number in (11, 12):
        draw("Home", number).save(wrong / f"{'long' * 20}{number}.jpg")
    options = pipeline.EvaluateOptions(model=str(smoke_run.folder), folder=root / "test", out=root / "evaluated")
    return pipeline.evaluate_folder(options).page


@pytest.fixture(scope="session")
def reports(smoke_run: SmokeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three runs: the one that there is, and two of another data set whose names are hostile."""
    folder = tmp_path_factory.mktemp("several") / "reports"
    renamed_run(smoke_run.folder, folder / "pictures" / "20260101-120000", {})
    for name, factor in (("20260102-120000", 1.0), ("20260103-120000", 0.9)):
        renamed_run(smoke_run.folder, folder / "hostile" / name, HOSTILE)
        record = folder / "hostile" / name / "run.json"
        run = json.loads(record.read_text(encoding="utf-8"))
        run["dataset"] |= {"name": SCRIPT, "fingerprint": "hostile"}
        for figure in run["evaluation"]["metrics"].values():
            figure |= {bound: factor * value for bound, value in figure.items()}
        record.write_text(json.dumps(run), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def leaderboard_page(reports: Path) -> Path:
    return pipeline.index(reports)


@pytest.fixture(scope="session")
def comparison_page(reports: Path) -> Path:
    first, second = sorted((reports / "hostile").iterdir())
    return pipeline.compare_runs(first, second, reports / "comparison.html")


@pytest.fixture(scope="session")
def large_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of 100 classes and 10,000 photos, from made-up records."""
    make_run = runpy.run_path(str(BENCHMARK))["make_run"]
    return report.build(make_run(tmp_path_factory.mktemp("large") / "made-up-records"))


@pytest.fixture(scope="session")
def parts_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of each part that the shared style and script know, so that they are tested whatever the pages use."""
    path = tmp_path_factory.mktemp("parts") / "index.html"
    path.write_text(environment().from_string(PARTS).render(), encoding="utf-8")
    return path


PARTS = """
{% extends "base.html.j2" %}
{% block title %}Parts{% endblock %}
{% block content %}
<nav aria-label="Contents"><ul><li><a href="#tables">Tables</a></li><li><a href="#lists">Lists</a></li></ul></nav>
<h1>Parts</h1>
<p class="warning">A warning.</p>
<p>Text with <code>code</code>, <span class="good">good</span>, <span class="bad">bad</span>.
<span class="soft">Soft.</span></p>
<div class="tiles"><div class="tile"><b>0.902</b>accuracy <span class="soft">0.862 to 0.921</span></div></div>
<h2 id="tables">Tables</h2>
<div class="wide"><table class="sortable">
<thead><tr><th>class</th><th class="n">photos</th><th class="n">share</th><th></th></tr></thead>
<tbody>
<tr><th scope="row">beta</th><td class="n">9</td><td class="n" data-value="0.5">50.0 %</td><td>x</td></tr>
<tr><th scope="row">Alpha</th><td class="n">10</td><td class="n" data-value="0.091">9.1 %</td><td>x</td></tr>
<tr><th scope="row">ägypten</th><td class="n">-1.5</td><td class="n" data-value="1e-3">0.1 %</td><td>x</td></tr>
<tr><th scope="row">zebra</th><td class="n">100</td><td class="n" data-value="1">100.0 %</td><td>x</td></tr>
</tbody></table></div>
<h2 id="lists">Lists</h2>
<p class="controls"><label for="choice">Class</label>
<select id="choice" data-filter="cards"><option value="">all</option><option>one</option><option>two words</option>
</select>
<span id="cards-count" role="status"></span></p>
<ul class="cards" id="cards">
<li class="card" data-class="one">first</li><li class="card" data-class="two words">second</li>
<li class="card" data-class="one">third</li>
</ul>
<details><summary>More</summary><p>Folded text</p></details>
<pre>{{ "one long line " * 20 }}</pre>
<div class="side"><figure><figcaption>Left</figcaption></figure><figure><figcaption>Right</figcaption></figure></div>
{% endblock %}
"""


@pytest.fixture(scope="module", params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture(scope="module")
def path(browser: Browser, kind: Kind, request: pytest.FixtureRequest) -> Path:
    """The page of ``kind``. The browser comes first: without one no run need be made."""
    return request.getfixturevalue(kind.fixture)


@pytest.fixture(scope="module")
def opened(browser: Browser, path: Path) -> Iterator[Visit]:
    """One visit for all tests that look at a page on a desk; each leaves all rows and items to be seen."""
    with visit(browser, path) as visited:
        yield visited


@pytest.fixture(scope="module")
def printed(browser: Browser, path: Path) -> Iterator[Visit]:
    """A page as it goes to paper: A4 is 210 mm, less 10 mm of margin on each side, at 96 px an inch."""
    with visit(browser, path, (718, 1046), unfold=False) as visited:
        visited.page.emulate_media(media="print")
        yield visited


def renamed_run(source: Path, target: Path, names: dict[str, str]) -> None:
    """Copy a run folder without its model, with other class names in every record, file paths included."""

    def renamed(text: str) -> str:
        for old, new in names.items():
            if text == old:
                return new
            if text == f"p_{old}":
                return f"p_{new}"
            if text.startswith(f"{old}/"):
                # A folder's name can be anything but this.
                return new.replace("/", "_") + text.removeprefix(old)
        return text

    def everywhere(value: Any) -> Any:
        if isinstance(value, dict):
            return {renamed(key): everywhere(item) for key, item in value.items()}
        if isinstance(value, list):
            return [everywhere(item) for item in value]
        return renamed(value) if isinstance(value, str) else value

    shutil.copytree(source, target, ignore=shutil.ignore_patterns("model", "index.html", "study.log"))
    for file in target.glob("*.json"):
        file.write_text(json.dumps(everywhere(json.loads(file.read_text(encoding="utf-8")))), encoding="utf-8")
    for file in target.glob("*.csv"):
        with file.open(encoding="utf-8", newline="") as opened:
            rows = everywhere(list(csv.reader(opened)))
        with file.open("w", encoding="utf-8", newline="") as opened:
            csv.writer(opened).writerows(rows)


class TestWithoutBrowser:
    """What happens where none is installed; these run everywhere."""

    @pytest.fixture(autouse=True)
    def nowhere(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CI", raising=False)
        monkeypatch.delenv("TL_TOOLKIT_BROWSER", raising=False)

    def test_tests_are_skipped_with_a_reason_that_helps(self) -> None:
        with pytest.raises(pytest.skip.Exception, match="apt-get install chromium"):
            find_chromium()

    @pytest.mark.parametrize(("variable", "value"), [("CI", "true"), ("TL_TOOLKIT_BROWSER", "required")])
    def test_tests_fail_where_a_browser_was_promised(
        self, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, value)
        with pytest.raises(pytest.fail.Exception, match="apt-get install chromium"):
            find_chromium()


class TestChecks:
    """A page with every fault is caught at each: a check that finds nothing anywhere says nothing."""

    @pytest.fixture(scope="class")
    def faulty(self, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visit]:
        path = tmp_path_factory.mktemp("faulty") / "faulty.html"
        path.write_text(FAULTY, encoding="utf-8")
        with visit(browser, path, PHONE) as visited:
            visited.page.wait_for_load_state("networkidle")
            yield visited

    def test_width_is_seen(self, faulty: Visit) -> None:
        found = too_wide(faulty.page)
        assert len(found) == 3
        assert "wide box" in found[0]
        assert "wideword" in found[1]
        assert "the page is" in found[2]

    def test_axe_sees_faults(self, faulty: Visit) -> None:
        assert {line.split()[0] for line in axe_violations(faulty.page)} >= {"color-contrast", "image-alt"}

    def test_requests_and_errors_are_seen(self, faulty: Visit) -> None:
        assert [url for url in faulty.requests if url.endswith("/beside.png")]
        for complaint in ("thrown", "said", "dialog: opened"):
            assert any(complaint in one for one in faulty.complaints), faulty.complaints


FAULTY = f"""<!doctype html><html lang="en"><title>Faulty</title><body><main><h1>Faulty</h1>
<div style="width: 900px">wide box</div>
<p>{"wideword" * 20}</p>
<p style="color: #ccc; background: #fff">faint</p><img src="beside.png">
<script>console.error("said"); alert("opened"); throw new Error("thrown");</script></main></body></html>"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
class TestEverywhere:
    def test_page_fits_follows_the_scheme_and_is_accessible(
        self, browser: Browser, path: Path, size: tuple[int, int], scheme: str
    ) -> None:
        with visit(browser, path, size, scheme, bypass_csp=True) as visited:
            assert too_wide(visited.page) == []
            paper = visited.page.evaluate("getComputedStyle(document.body).backgroundColor")
            ink = visited.page.evaluate("getComputedStyle(document.body).color")
            assert (brightness(paper) > brightness(ink)) == (scheme == "light"), (paper, ink)
            assert axe_violations(visited.page) == []


def brightness(color: str) -> int:
    """Sum of the parts of a colour as browsers compute it, such as ``rgb(18, 22, 28)``."""
    red, green, blue = re.findall(r"\d+", color)[:3]
    return int(red) + int(green) + int(blue)


class TestAlone:
    """A page is one file: it can be mailed, and it tells nobody that it was opened."""

    def test_asks_for_nothing_but_itself(self, opened: Visit, path: Path) -> None:
        opened.page.mouse.wheel(0, 100_000)
        opened.page.wait_for_load_state("networkidle")
        assert [url for url in opened.requests if url != path.as_uri() and not url.startswith("data:")] == []
        assert path.as_uri() in opened.requests

    def test_has_no_errors(self, opened: Visit) -> None:
        opened.page.wait_for_load_state("networkidle")
        assert opened.complaints == []

    def test_links_within_it_lead_somewhere(self, opened: Visit) -> None:
        links = opened.page.evaluate("""() => [...document.querySelectorAll('a[href^="#"]')]
            .filter((link) => link.hash && !document.getElementById(decodeURIComponent(link.hash.slice(1))))
            .map((link) => link.hash)""")
        assert links == []


class TestWithoutSight:
    def test_pictures_decode_and_have_a_text(self, opened: Visit) -> None:
        # Lazy pictures are fetched first: those below the window would never be decoded.
        broken = opened.page.evaluate("""() => Promise.all([...document.images].map((image) => {
            if (!image.checkVisibility()) return null;  // filled when it is shown
            image.loading = "eager";
            return image.decode().then(() => null, () => image.outerHTML.slice(0, 200));
        }))""")
        assert [image for image in broken if image] == []
        assert opened.page.locator("img:not([alt])").count() == 0

    def test_figures_have_a_label(self, opened: Visit) -> None:
        labels = opened.page.evaluate("""() => [...document.querySelectorAll('svg[role="img"]')]
            .map((drawing) => drawing.getAttribute("aria-label"))""")
        assert [label for label in labels if not (label or "").strip()] == []

    def test_drawings_are_figures_or_ornament(self, opened: Visit) -> None:
        lost = opened.page.evaluate("""() => [...document.querySelectorAll("svg")]
            .filter((drawing) => !drawing.closest('[role][aria-label], [aria-hidden="true"]'))
            .map((drawing) => drawing.outerHTML.slice(0, 200))""")
        assert lost == []


class TestSorting:
    def test_pages_have_it_where_they_should(self, opened: Visit, kind: Kind) -> None:
        assert (opened.page.locator("table.sortable").count() > 0) == kind.sortable

    def test_every_header_button_sorts(self, opened: Visit, kind: Kind) -> None:
        numeric = 0
        for table in opened.page.locator("table.sortable").all():
            before = sorted(table.locator("tbody tr").all_inner_texts())
            for column, cell in enumerate(table.locator("thead tr").first.locator("th, td").all()):
                if not cell.locator("button").count():
                    assert not cell.inner_text().strip(), "every header with a text sorts"
                    continue
                for wanted in ("ascending", "descending"):
                    cell.locator("button").click()
                    assert cell.get_attribute("aria-sort") == wanted
                    assert table.locator("[aria-sort]").count() == 1
                    keys = keys_of(table, column)
                    assert keys == in_order(opened.page, keys, numbers="n" in classes(cell), wanted=wanted)
                numeric += "n" in classes(cell) and len(set(keys_of(table, column))) > 1
            assert sorted(table.locator("tbody tr").all_inner_texts()) == before, "no row was lost or torn"
        assert bool(numeric) == kind.sortable, "a page that sorts has a column of numbers to show it"

    @pytest.mark.parametrize("key", ["Enter", "Space"])
    def test_keyboard_sorts(self, opened: Visit, kind: Kind, key: str) -> None:
        assert (opened.page.locator("table.sortable").count() > 0) == kind.sortable
        for table in opened.page.locator("table.sortable").all():
            cell = table.locator("thead th:has(button)").nth(1)
            # From the button before it by Tab: it can be reached without a mouse.
            table.locator("thead th:has(button)").nth(0).locator("button").focus()
            opened.page.keyboard.press("Tab")
            assert cell.locator("button").evaluate("(button) => button === document.activeElement")
            for wanted in ("ascending", "descending"):
                opened.page.keyboard.press(key)
                assert cell.get_attribute("aria-sort") == wanted
                assert cell.locator("button").evaluate("(button) => button === document.activeElement")


def classes(cell: Locator) -> list[str]:
    return (cell.get_attribute("class") or "").split()


def keys_of(table: Locator, column: int) -> list[str]:
    """What the rows are sorted by, from top to bottom."""
    return table.evaluate(
        """(table, column) => [...table.tBodies[0].rows].map((row) => row.cells[column])
        .map((cell) => cell.dataset.value ?? cell.textContent.trim())""",
        column,
    )


def in_order(page: Page, keys: list[str], *, numbers: bool, wanted: str) -> list[str]:
    """The keys as they should be sorted: as numbers, or as the browser's language sorts words."""
    if not numbers:
        ordered = page.evaluate("(keys) => [...keys].sort((a, b) => a.localeCompare(b))", keys)
        return ordered if wanted == "ascending" else ordered[::-1]
    found = [re.match(r"[-+]?[\d.]+(e[-+]?\d+)?", key) for key in keys]
    assert all(found), f"a column of numbers holds {keys}"
    values = [float(one[0]) for one in found if one]
    # Keys that are equal as numbers keep their order, both ways.
    order = sorted(range(len(keys)), key=values.__getitem__, reverse=wanted == "descending")
    return [keys[i] for i in order]


class TestFiltering:
    def test_pages_have_it_where_they_should(self, opened: Visit, kind: Kind) -> None:
        assert (opened.page.locator("select[data-filter]").count() > 0) == kind.filters

    def test_choice_shows_its_own_and_hides_the_rest(self, opened: Visit, kind: Kind) -> None:
        hid = False
        for select in opened.page.locator("select[data-filter]").all():
            name = select.get_attribute("data-filter") or ""
            items = opened.page.evaluate(
                "(id) => [...document.getElementById(id).children].map((item) => item.dataset.class)", name
            )
            values = select.locator("option").evaluate_all("(options) => options.map((option) => option.value)")
            assert values[0] == "", "the first choice is all"
            assert set(items) <= set(values), "every item can be chosen"
            for value in [*values[1:], ""]:
                select.select_option(value)
                shown = opened.page.evaluate(
                    """(id) => [...document.getElementById(id).children]
                    .filter((item) => item.checkVisibility()).map((item) => item.dataset.class)""",
                    name,
                )
                assert shown == [item for item in items if value in ("", item)]
                said = opened.page.locator(f'[id="{name}-count"]')
                if said.count():
                    assert said.inner_text() == f"{len(shown)} shown"
                hid |= len(shown) < len(items)
        assert hid == kind.filters, "a page that filters has something to hide"


class TestHostileNames:
    """Names of classes and files are data: whatever they hold is shown, and none of it is run."""

    @pytest.fixture(scope="class")
    def hostile(self, browser: Browser, hostile_page: Path) -> Iterator[Visit]:
        with visit(browser, hostile_page) as visited:
            yield visited

    @pytest.mark.parametrize("name", HOSTILE.values(), ids=["script", "right-to-left", "breaks-out"])
    def test_names_are_shown_as_they_are(self, hostile: Visit, name: str) -> None:
        shown = hostile.page.locator("main th", has_text=name)
        assert shown.count() > 0
        assert shown.first.is_visible()

    def test_nothing_of_them_is_run(self, hostile: Visit, report_page: Path, browser: Browser) -> None:
        hostile.page.wait_for_load_state("networkidle")
        assert hostile.complaints == []
        assert hostile.page.locator("img[src=x]").count() == 0
        with visit(browser, report_page) as plain:
            assert hostile.page.locator("script").count() == plain.page.locator("script").count()

    def test_old_names_are_gone(self, hostile: Visit) -> None:
        """Else the records were not renamed as a whole, and the tests above saw less than there is."""
        text = hostile.page.locator("body").inner_text()
        assert [name for name in CLASSES if re.search(rf"\b{name}\b", text)] == []


class TestOnPaper:
    def test_pdf_can_be_made(self, printed: Visit) -> None:
        pdf = printed.page.pdf(format="A4")
        assert pdf.startswith(b"%PDF-")
        assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 1
        # An empty sheet is about 1 kB: fonts and text are in it.
        assert len(pdf) > 5_000

    def test_nothing_is_wider_than_the_sheet(self, printed: Visit) -> None:
        assert too_wide(printed.page) == []

    def test_folded_text_is_printed(self, printed: Visit) -> None:
        # Two frames later, for what is folded is laid out when a frame is drawn.
        lost = printed.page.evaluate("""async () => {
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            return [...document.querySelectorAll("details > :not(summary)")]
                .filter((one) => one.textContent.trim() && !one.checkVisibility({contentVisibilityAuto: true}))
                .map((one) => one.outerHTML.slice(0, 120));
        }""")
        assert lost == []


class TestLargeRun:
    def test_page_can_be_mailed(self, large_page: Path) -> None:
        assert large_page.stat().st_size < 15e6

    @pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
    def test_page_opens_and_fits(self, browser: Browser, large_page: Path, size: tuple[int, int]) -> None:
        with visit(browser, large_page, size) as visited:
            assert too_wide(visited.page) == []
            assert visited.complaints == []
