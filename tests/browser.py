"""A real browser for tests of pages: Chromium as the system has it, driven by Playwright; nothing is downloaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

MISSING = (
    f"no browser on the PATH ({', '.join(NAMES)}), so nothing looks at the pages: `apt-get install chromium` lets "
    "these tests run; skipping them is fine but in CI, or where TL_TOOLKIT_BROWSER=required says that they must run"
)

PHONE, DESKTOP = (390, 844), (1440, 900)


def find_chromium() -> str:
    """The browser's path; where there is none, the test is skipped, or fails where a browser was promised."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    _stop_without_browser()


def _stop_without_browser() -> NoReturn:
    if os.environ.get("CI", "").lower() == "true" or os.environ.get("TL_TOOLKIT_BROWSER") == "required":
        pytest.fail(MISSING, pytrace=False)
    pytest.skip(MISSING)


@contextmanager
def started(chromium: str) -> Iterator[Browser]:
    """A headless browser that runs until the block ends, with a camera that films a test picture."""
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    # No sandbox: it cannot be had as root, and the pages are our own files.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, chromium_sandbox=False, args=camera)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """A page that is open, and what it did while it was.

    Attributes:
        requests: Addresses that it asked for, its own among them.
        complaints: Errors in the console and in scripts, and dialogs that opened.
    """

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@contextmanager
def visit(
    browser: Browser,
    path: Path,
    size: tuple[int, int] = DESKTOP,
    scheme: Any = "light",
    *,
    unfold: bool = True,
    bypass_csp: bool = False,
) -> Iterator[Visit]:
    """Open a page in a window of its own.

    Args:
        browser: One that is :func:`started`.
        path: The HTML file.
        size: Of the window, px.
        scheme: ``light`` or ``dark``.
        unfold: Open every ``<details>``, so that nothing escapes what is checked.
        bypass_csp: Let scripts in that the page's Content-Security-Policy forbids; for axe alone.
    """
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        bypass_csp=bypass_csp,
        service_workers="block",
    )
    try:
        visited = Visit(context.new_page())
        page = visited.page

        def dialog(opened: Any) -> None:
            visited.complaints.append(f"dialog: {opened.message}")
            opened.dismiss()

        context.on("request", lambda request: visited.requests.append(request.url))
        page.on("console", lambda said: visited.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: visited.complaints.append(str(error)))
        page.on("dialog", dialog)
        page.goto(path.as_uri())
        if unfold:
            page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true; })")
        yield visited
    finally:
        context.close()


def too_wide(page: Page) -> list[str]:
    """What sticks out of the window on the right and is not inside something that scrolls by itself; empty is good.

    Drawings are taken as a whole: what is inside an ``<svg>`` is clipped by it.
    """
    return page.evaluate("""() => {
        const scrolls = (one) => one && one !== document.documentElement && one !== document.body &&
            (getComputedStyle(one).overflowX !== "visible" || scrolls(one.parentElement));
        const found = [];
        const look = (right, holder, what) => {
            if (right > innerWidth + 1 && !scrolls(holder)) found.push(`${what.slice(0, 120)} ends at ${right} px`);
        };
        for (const one of document.querySelectorAll("body *:not(svg *)"))
            look(one.getBoundingClientRect().right, one.parentElement, one.outerHTML);
        // Text can leave the box of its element: a long word that may not be broken does.
        const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        const range = document.createRange();
        while (texts.nextNode()) {
            if (texts.currentNode.parentElement.closest("svg")) continue;
            range.selectNodeContents(texts.currentNode);
            look(range.getBoundingClientRect().right, texts.currentNode.parentElement, texts.currentNode.data);
        }
        const width = document.documentElement.scrollWidth;
        if (width > innerWidth) found.push(`the page is ${width} px wide, its window ${innerWidth} px`);
        return found;
    }""")


def axe_violations(page: Page) -> list[str]:
    """What axe-core finds against WCAG 2 A and AA, of serious or critical impact; one line an element."""
    found = Axe().run(
        page, options={"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa"]}, "resultTypes": ["violations"]}
    )
    return [
        f"{rule['id']} ({rule['impact']}): {' '.join(map(str, node['target']))}: {node['html'][:160]}: "
        f"{node['failureSummary']}"
        for rule in found.response["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]
