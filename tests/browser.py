"""A real browser for the tests."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, expect, sync_playwright

# For a busy machine; nothing is measured by it
expect.set_options(timeout=60_000)


BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first one takes two thirds of the time of the second."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Headless Chromium: the system's, where there is one, else Playwright's own."""
    installed = next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=installed, args=["--no-sandbox"], timeout=120_000
        )
        yield browser
        browser.close()
