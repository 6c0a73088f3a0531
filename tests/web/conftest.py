import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from browser import chromium
from review_page import SIZE, shown, watched
from service import Served, Start


@pytest.fixture
def folder(predicted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(predicted, tmp_path / "predictions"))


@pytest.fixture
def review(folder: Path, start: Start) -> Served:
    return start(folder, "--no-open", "--reviewer", "mira", verb="review")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def page(review: Served, browser: Browser) -> Iterator[Page]:
    with browser.new_context(viewport=SIZE) as context:
        opened = watched(context.new_page())
        opened.goto(review.address)
        shown(opened, 0)
        yield opened
        assert opened.wrong == []  # type: ignore[attr-defined]
