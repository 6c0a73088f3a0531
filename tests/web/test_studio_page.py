"""The whole circle in a browser, through kills of its server."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from limner.data.synthetic import write_images, write_synthetic
from review_page import SIZE, brush, clear, drag, mask_in, saved, shown, watched
from service import Served, Start
from waiting import free_port, wait_until

PHONE = {"width": 390, "height": 844}
SLOW = 300_000
"""Milliseconds that a step may take on a busy machine."""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """What people have: images with masks, and new images."""
    folder = tmp_path / "home" / "data"
    folder.mkdir(parents=True)
    write_synthetic(folder / "lesions", count=24, size_px=64, seed=1)
    write_images(folder / "new-lesions", count=5, size_px=64, seed=2)
    return folder


class Desk:
    """A person at the page, and the server behind it, which may be killed."""

    def __init__(self, start: Start, browser: Browser, home: Path) -> None:
        self._start, self._home, self._port = start, home, free_port()
        self.served = self.begin()
        self.page = watched(browser.new_context(viewport=SIZE).new_page())
        self.page.goto(self.served.address)
        self.clicks = 0

    def begin(self) -> Served:
        return self._start("--no-open", "--port", self._port, verb="studio", HOME=str(self._home))

    def kill(self) -> None:
        """End the server at once, and start another one in its place."""
        os.kill(self.served.process.pid, signal.SIGKILL)
        self.served.process.wait(30)
        self.served = self.begin()

    def click(self, words: str) -> None:
        self.page.get_by_role("button", name=words, exact=True).click()
        self.clicks += 1

    def wait(self, step: str, state: str) -> None:
        card = self.page.locator(f"#step-{step}")
        expect(card).to_have_attribute("data-state", state, timeout=SLOW)


@pytest.fixture
def desk(start: Start, browser: Browser, work: Path) -> Desk:
    return Desk(start, browser, work.parent)


def open_folder(desk: Desk, *names: str) -> None:
    desk.click("Open a folder …")
    for name in names:
        desk.click(name)
    expect(desk.page.get_by_label("path")).to_have_value(re.compile(f"{names[-1]}$"))
    desk.click("Use this folder")


def test_from_a_folder_to_the_next_model(desk: Desk, work: Path) -> None:
    page = desk.page
    open_folder(desk, "data", "lesions")
    desk.wait("check", "next")
    desk.click("Check images and masks")
    desk.wait("check", "done")
    expect(page.frame_locator("#step-check iframe").locator("h1")).to_contain_text("lesions")
    for step in ("images", "masks"):
        page.locator(f"#step-{step} > summary").click()
        expect(page.locator(f"#step-{step} img")).to_have_count(12)
    train(desk, work)
    desk.click("Score it on test images")
    desk.wait("report", "done")
    expect(page.frame_locator("#step-report iframe").locator("h1")).to_be_visible()
    desk.click("Predict masks in new-lesions")
    desk.wait("predict", "done")
    expect(page.locator("#step-predict .pictures li")).to_have_count(5)
    look_at_masks(desk)
    drop_images(desk, work)
    correct_masks(desk)
    page.locator("#step-next > summary").click()
    desk.click("Train the next model with 2 reviewed masks of new-lesions-masks")
    receipt = work / "runs" / "lesions-2" / "receipt.json"
    wait_until(receipt.is_file)
    made = json.loads(receipt.read_text())
    assert made["data"] == str(work / "lesions-2") and "continues" in made
    expect(page.locator("#step-train table").last).to_contain_text("lesions-2")
    desk.click("Stop")
    # Else it would train on beside the other tests
    expect(page.locator(".work")).to_contain_text("was stopped", timeout=SLOW)
    assert page.wrong == []  # type: ignore[attr-defined]


def train(desk: Desk, work: Path) -> None:
    """Train through a kill of the server, a stop and a resume."""
    page, output = desk.page, desk.page.locator(".work pre")
    page.get_by_label("Minutes").fill("0.3")
    desk.click("Train")
    desk.wait("train", "running")
    expect(output).to_contain_text("epoch", timeout=SLOW)
    desk.kill()
    expect(page.locator(".work .bad")).to_be_hidden(timeout=SLOW)
    expect(page.locator("#step-train svg.curve")).to_be_visible()
    expect(page.locator("#step-train .plan")).to_contain_text("px")
    desk.click("Stop")
    expect(page.locator(".work")).to_contain_text("was stopped", timeout=SLOW)
    desk.click("Resume")
    desk.wait("train", "running")
    desk.wait("train", "done")
    receipt = json.loads((work / "runs" / "lesions" / "receipt.json").read_text())
    assert len(receipt["sittings"]) == 2
    # While the server was gone the browser said so
    page.wrong.clear()  # type: ignore[attr-defined]


def drop_images(desk: Desk, work: Path) -> None:
    """Choose new images, and one file that is none; then let one be broken."""
    page = desk.page
    files = [*sorted((work / "new-lesions").iterdir())[:2], work / "notes.txt"]
    files[-1].write_text("no image")
    page.set_input_files("#new-files", files)
    expect(page.locator("#notice")).to_contain_text("notes.txt is no image that limner reads")
    masks = work / "new-images-masks"
    wait_until(lambda: (masks / "overview.jpg").is_file())
    assert len(list(masks.glob("*.png"))) == 2
    (work / "new-images" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    desk.click("Predict masks in new-images")
    expect(page.locator(".work pre")).to_contain_text("not predicted:", timeout=SLOW)
    # The refusal of the text file
    page.wrong.clear()  # type: ignore[attr-defined]


def look_at_masks(desk: Desk) -> None:
    """Open a mask, and move the threshold."""
    page = desk.page
    page.locator("#step-predict .picture").first.click()
    dialog = page.locator("dialog.viewer")
    expect(dialog.locator("output")).to_have_text("as the model chose")
    dialog.locator("input[type=range]").fill("1")
    expect(dialog.locator("output")).to_contain_text("0.01: ")
    low = float(dialog.locator("output").inner_text().split()[1])
    dialog.locator("input[type=range]").fill("99")
    expect(dialog.locator("output")).to_contain_text("0.99: ")
    assert float(dialog.locator("output").inner_text().split()[1]) <= low
    name = dialog.locator("h2").inner_text()
    # The arrows are the slider's while it has the focus
    dialog.get_by_role("button", name="Next →").click()
    expect(dialog.locator("h2")).not_to_have_text(name)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def correct_masks(desk: Desk) -> None:
    """Accept a mask and correct another one, with the server killed in between."""
    page = desk.page
    page.get_by_role("link", name="Review “new-lesions-masks”").click()
    shown(page, 0)
    # Else a model that took all for lesion would leave nothing to draw
    clear(page)
    brush(page, 6)
    drag(page, (5, 5), (30, 30))
    saved(page)
    drawn = mask_in(page)
    assert 0 < (drawn > 0).mean() < 0.5
    desk.kill()
    page.reload()
    shown(page, 0)
    assert np.array_equal(mask_in(page), drawn)
    page.keyboard.press("a")
    shown(page, 1)
    page.keyboard.press("a")
    shown(page, 2)
    saved(page)
    page.wrong.clear()  # type: ignore[attr-defined]
    page.go_back()
    desk.wait("review", "next")
    summary = page.locator("#step-review .summary")
    expect(summary).to_contain_text("1 corrected, 0 rejected, 3 left")


def test_images_without_masks_are_drawn_in(start: Start, browser: Browser, work: Path) -> None:
    desk = Desk(start, browser, work.parent)
    page = desk.page
    open_folder(desk, "data", "new-lesions")
    desk.wait("masks", "next")
    page.get_by_role("link", name="Draw masks").click()
    page.fill("#names", "lesion")
    page.click("button[type=submit]")
    for place in range(5):
        shown(page, place)
        brush(page, 12)
        drag(page, (30, 30), (34, 34))
        page.keyboard.press("a")
    expect(page.locator("#done")).to_be_visible()
    saved(page)
    page.go_back()
    desk.click("Make a dataset of 5 masks")
    desk.wait("masks", "done")
    assert (work / "new-lesions-2" / "dataset.csv").is_file()
    assert page.wrong == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("colours", ["dark", "light"])
def test_the_page_fits_a_telephone_and_works_by_keyboard(
    start: Start, browser: Browser, work: Path, colours: str
) -> None:
    served = start("--no-open", verb="studio", HOME=str(work.parent))
    id = served.client.post("/api/projects", json={"folder": str(work / "lesions")}).json()["id"]
    look: dict[str, Any] = {"viewport": PHONE, "color_scheme": colours}
    with browser.new_context(**look) as context:
        page = watched(context.new_page())
        page.goto(served.address)
        expect(page.get_by_role("link", name="lesions")).to_be_visible()
        assert_fits(page)
        page.goto(f"{served.address}#{id}")
        page.reload()
        expect(page.locator("#step-check")).to_have_attribute("data-state", "next")
        for step in ("images", "masks", "train", "report", "predict", "review", "next"):
            page.locator(f"#step-{step} > summary").focus()
            page.keyboard.press("Enter")
            expect(page.locator(f"#step-{step}")).to_have_attribute("open", "")
        assert_fits(page)
        assert page.wrong == []  # type: ignore[attr-defined]


def assert_fits(page: Page) -> None:
    """Nothing is wider than the screen."""
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
