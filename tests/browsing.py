"""A browser for the tests that look at the real app, and what must be true of every page."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable",
            "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",     # where a Mac has them, off its PATH
            "/Applications/Chromium.app/Contents/MacOS/Chromium")
PATIENCE = 120_000      # milliseconds that an expectation may take on a busy machine
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium or Chrome, without a window, with a profile of each of WIDTHS; phones prefer dark pages."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.fail("No Chromium or Chrome was found. Install one. Debian:  sudo apt-get install chromium   "
                    "Ubuntu:  sudo snap install chromium   macOS:  brew install --cask google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        for kind, (width, height) in WIDTHS.items():
            browser.new_context(viewport={"width": width, "height": height},
                                color_scheme="dark" if kind == "phone" else "light")
        yield browser


@contextmanager
def visiting(browser: Browser, address: str, kind: str = "desktop") -> Iterator[Page]:
    """A fresh visit; afterwards the console must be clean and the page not too wide.

    Visits share what the browser has loaded, since most of a visit's time goes there, and nothing that the page stores.
    """
    page, faults = browser.contexts[[*WIDTHS].index(kind)].new_page(), []
    page.set_default_timeout(PATIENCE)
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda asked: faults.append(asked.url) if foreign(asked.url, address) else None)
    page.goto(address)
    yield page
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[kind][0]
    page.evaluate("localStorage.clear()")
    page.close()
    assert faults == []


def foreign(url: str, address: str) -> bool:
    """Whether a request leaves the app."""
    return not url.startswith((address, "data:", "blob:"))


def choose(page: Page, label: str | re.Pattern, exact: bool = False) -> None:
    """Check a radio button by its label with the keyboard; a click misses it while the page moves."""
    button = page.get_by_label(label, exact=exact)
    expect(button).to_be_visible()
    button.press("Space")
    expect(button).to_be_checked()


def downloaded(page: Page, button: str, to: Path) -> Path:
    """What a button hands over, saved in a folder under the name it suggests."""
    with page.expect_download() as arriving:
        page.locator(button).click()
    path = to / arriving.value.suggested_filename
    arriving.value.save_as(path)
    return path
