"""A headless browser, for pages that people are to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.inputs import missing

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For one module only: Playwright's event loop runs in this thread for as long, and no other (QMP's) can run meanwhile."""
    if not CHROMIUM.exists():
        missing("Debian's chromium", "apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(QUIET))
        yield browser
        browser.close()


def violations(page: Page) -> list[tuple[str, str, list[str]]]:
    """What axe-core holds against a page: rule, impact, the first few places. Landmarks and headings, by which a screen reader
    finds its way, are moderate to axe-core, and count; only what is minor does not.
    """
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [(v["id"], v["impact"], [str(n["target"]) for n in v["nodes"]][:3]) for v in found if v["impact"] != "minor"]
