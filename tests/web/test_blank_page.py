"""From a folder of images to a model, in a browser."""

import re
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from command_line import TINY_TRAINING, run_limner
from limner.data.synthetic import draw_lesion
from review_page import SIZE, brush, drag, mask_in, saved, shown, watched
from service import Start, problem


def write_photos(folder: Path, count: int) -> list[np.ndarray]:
    """Draw images, and return where the lesions are."""
    folder.mkdir()
    truths = []
    for index in range(count):
        image, mask = draw_lesion(11, index, 64)[:2]
        Image.fromarray(image).save(folder / f"p{index}.png")
        truths.append(np.asarray(mask) > 0)
    return truths


def trace(page: Page, truth: np.ndarray) -> None:
    """Paint a mask row by row, as a patient hand would."""
    brush(page, 1.5)
    for row in range(1, len(truth) - 1, 2):
        columns = np.flatnonzero(truth[row - 1 : row + 2].all(axis=0))
        if len(columns) > 2:
            drag(page, (columns[0] + 1.5, row + 0.5), (columns[-1] - 0.5, row + 0.5))


def test_a_folder_of_images_becomes_a_model(tmp_path: Path, start: Start, browser: Browser) -> None:
    truths = write_photos(tmp_path / "photos", 9)
    served = start(tmp_path / "photos", "--no-open", "--reviewer", "anna", verb="review")
    with browser.new_context(viewport=SIZE) as context:
        page = watched(context.new_page())
        page.goto(served.address)
        expect(page.locator("p").first).to_contain_text("9 images and no masks")
        page.fill("#names", "lesion")
        page.click("button[type=submit]")
        for place in range(6):
            shown(page, place)
            truth = truths[int(re.findall(r"\d+", page.inner_text("#name"))[0])]
            trace(page, truth)
            drawn = mask_in(page) == 1
            assert 2 * (drawn & truth).sum() / (drawn.sum() + truth.sum()) > 0.85
            page.keyboard.press("a")
        shown(page, 6)
        saved(page)
        assert page.wrong == []  # type: ignore[attr-defined]
    assert served.stop() == 0
    said = (tmp_path / "output-0.txt").read_text()
    assert "anna corrected p0.png" in said and "6 corrected, 0 rejected, 3 left" in said
    assert "has 6 samples" in run_limner("merge", tmp_path / "photos", "-o", tmp_path / "set")
    settings = [part for setting in TINY_TRAINING for part in ("--set", setting)]
    run_limner("train", tmp_path / "set", "--out", tmp_path / "run", *settings)
    output = run_limner(
        *("predict", tmp_path / "run", tmp_path / "photos"),
        *("--except", tmp_path / "set", "-o", tmp_path / "rest"),
    )
    assert "3 masks" in output
    again = start(tmp_path / "rest", "--no-open", "--reviewer", "anna", verb="review")
    assert again.client.get("/api/review").json()["progress"]["left"] == 3


def test_an_empty_mask_is_accepted_only_on_purpose(
    tmp_path: Path, start: Start, browser: Browser
) -> None:
    write_photos(tmp_path / "photos", 2)
    served = start(
        tmp_path / "photos", "--classes", "lesion", "--no-open", "--reviewer", "a", verb="review"
    )
    with browser.new_context(viewport=SIZE) as context:
        page = watched(context.new_page())
        page.goto(served.address)
        shown(page, 0)
        page.keyboard.press("a")
        expect(page.locator("#notice-text")).to_contain_text("Nothing is drawn here")
        assert page.evaluate("limner.letters") == ".."
        page.keyboard.press("a")
        shown(page, 1)
        saved(page)
        assert page.evaluate("limner.letters") == "a."


def test_names_that_will_not_do_are_answered_on_the_page(
    tmp_path: Path, start: Start, browser: Browser
) -> None:
    write_photos(tmp_path / "photos", 1)
    served = start(tmp_path / "photos", "--no-open", "--reviewer", "a", verb="review")
    with browser.new_context(viewport=SIZE) as context:
        page = context.new_page()
        page.goto(served.address)
        page.fill("#names", "lesion, lesion")
        page.click("button[type=submit]")
        expect(page.locator("#status")).to_contain_text("a class is there twice")
    assert not (tmp_path / "photos" / "review").exists()
    refused = served.client.post("/api/classes", json={"names": []})
    assert refused.status_code == 422 and "no name" in problem(refused)
    assert served.client.get("/api/review").status_code == 404
