"""What helps to draw and to see on the review page, and what keeps from deciding by accident."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from limner.labels import VOID
from review_page import (
    SIZE,
    brush,
    clear,
    drag,
    mask_in,
    on_screen,
    saved,
    shown,
    watched,
)
from review_server import open_session
from service import Served, Start

NAMES = (
    *("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence"),
    *("car", "pedestrian", "bicyclist"),
)
PRESS = """(key) => document.getElementById('stage').dispatchEvent(
    new KeyboardEvent('keydown', { bubbles: true, cancelable: true, ...key }))"""


@pytest.fixture
def street(tmp_path: Path, start: Start, browser: Browser) -> Iterator[Page]:
    """Two masks of eleven classes without a background, on a laptop's screen."""
    mask = (np.indices((60, 90)).sum(0) // 14 % 11 + 1).astype(np.uint8)
    for name in ("a", "b"):
        for kind, pixels in (("images", np.repeat(mask[..., None] * 20, 3, 2)), ("masks", mask)):
            (tmp_path / "street" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "street" / kind / f"{name}.png")
    lines = [f"{place + 1} {name}" for place, name in enumerate(NAMES)]
    (tmp_path / "street" / "classes.txt").write_text("\n".join(lines))
    served = start(tmp_path / "street", "--no-open", "--reviewer", "mira", verb="review")
    yield from opened(browser, served, {"width": 1366, "height": 657})


def opened(
    browser: Browser, served: Served, viewport: dict[str, int] | None = None
) -> Iterator[Page]:
    with browser.new_context(viewport=viewport or SIZE) as context:  # type: ignore[arg-type]
        page = watched(context.new_page())
        page.goto(served.address)
        shown(page, 0)
        yield page
        assert page.wrong == []  # type: ignore[attr-defined]


def letters(page: Page) -> str:
    return str(page.evaluate("limner.letters"))


def click(page: Page, x: float, y: float) -> None:
    page.mouse.click(*on_screen(page, x, y))


def test_nothing_is_decided_while_corners_are_set(page: Page) -> None:
    page.keyboard.press("p")
    for point in ((5, 5), (30, 5)):
        click(page, *point)
    page.keyboard.press("Enter")
    expect(page.locator("#notice-text")).to_contain_text("at least three corners")
    page.keyboard.press("a")
    assert letters(page) == "......" and page.evaluate("limner.now.place") == 0


def test_the_last_corner_is_taken_back_before_any_stroke(page: Page) -> None:
    clear(page)
    drag(page, (20, 20), (40, 20))
    before = mask_in(page)
    page.keyboard.press("p")
    for x, y in ((5, 5), (30, 5), (30, 30), (50, 30)):
        click(page, x, y)
    page.keyboard.press("Control+z")
    page.keyboard.press("Backspace")
    assert page.evaluate("limner.tools.points.length") == 2
    assert (mask_in(page) == before).all()
    for _ in range(2):
        page.keyboard.press("Backspace")
    page.keyboard.press("Control+z")
    assert not (mask_in(page) == before).all()


def test_a_corner_can_be_moved_and_a_click_on_the_first_closes(page: Page) -> None:
    clear(page)
    page.keyboard.press("p")
    for x, y in ((10, 10), (40, 10), (40, 30)):
        click(page, x, y)
    drag(page, (40, 30), (40, 50))
    click(page, 10, 10)
    mask = mask_in(page)
    assert mask[40, 38] == 1 and mask[12, 11] == 0 and mask[15, 30] == 1
    assert page.evaluate("limner.tools.points.length") == 0


@pytest.mark.parametrize("twice", ["key", "click"])
def test_what_was_not_seen_is_not_decided(page: Page, twice: str) -> None:
    page.evaluate("limner.now.next")
    if twice == "key":
        page.keyboard.press("a")
        page.keyboard.press("a")
    else:
        page.dblclick("#accept")
    shown(page, 1)
    saved(page)
    assert letters(page).count("a") == 1


def test_the_wheel_counts_by_distance(page: Page) -> None:
    brush(page, 12)
    page.mouse.move(*on_screen(page, 25, 25))
    for _ in range(30):
        page.mouse.wheel(0, 2)
    page.wait_for_function("() => limner.tools.radius < 11.5")
    page.wait_for_timeout(100)
    assert page.evaluate("limner.tools.radius") == pytest.approx(
        12 * np.exp(-60 * 0.0012), rel=0.01
    )


@pytest.mark.parametrize(
    ("key", "done"),
    [
        ({"key": "ф", "code": "KeyA"}, "() => limner.letters[0] === 'a'"),
        ({"key": "п", "code": "KeyG"}, "() => limner.tools.mode === 'grow'"),
        (
            {"key": "[", "code": "Digit8", "ctrlKey": True, "altKey": True},
            "() => limner.tools.radius < 12",
        ),
        ({"key": "ü", "code": "BracketLeft"}, "() => limner.tools.radius < 12"),
        ({"key": "х", "code": "BracketLeft"}, "() => limner.tools.radius < 12"),
        ({"key": "à", "code": "Digit0"}, "() => limner.view.fitted"),
    ],
)
def test_keys_are_found_on_other_layouts(page: Page, key: dict[str, object], done: str) -> None:
    brush(page, 12)
    page.keyboard.press("+")
    page.evaluate(PRESS, key)
    page.wait_for_function(done)


def test_eleven_classes_have_colours_keys_and_a_filter(street: Page) -> None:
    colours = street.eval_on_selector_all(
        "#classes i", "all => all.map((one) => one.style.background)"
    )
    assert len(set(colours)) == len(colours) == len(NAMES) + 1
    box = street.locator("#accept").bounding_box()
    assert box is not None and box["y"] + box["height"] <= 657
    street.keyboard.press("4")
    chosen = street.locator("#classes [aria-checked=true]")
    expect(chosen).to_contain_text("road")
    # AZERTY gives signs without Shift
    street.evaluate(PRESS, {"key": "&", "code": "Digit1"})
    expect(chosen).to_contain_text("sky")
    street.fill("#class-filter", "bi")
    (text,) = street.locator("#classes button:visible").all_inner_texts()
    assert text.split() == ["bicyclist", "1"]
    street.press("#class-filter", "Enter")
    expect(chosen).to_contain_text("bicyclist")
    assert street.locator("#classes button:visible").count() == len(NAMES) + 1


def test_without_a_background_nothing_is_erased_and_that_is_said(street: Page) -> None:
    before = mask_in(street)
    drag(street, (10, 10), (40, 10), button="right")
    expect(street.locator("#notice-text")).to_contain_text("no background")
    assert (mask_in(street) == before).all()
    street.click("[data-act=eraser]")
    assert street.get_attribute("[data-act=eraser]", "aria-pressed") == "false"


def test_protection_keeps_what_other_classes_have(street: Page) -> None:
    before = mask_in(street)
    street.keyboard.press("x")
    brush(street, 30)
    drag(street, (10, 30), (80, 30))
    assert (mask_in(street) == before).all()
    street.keyboard.press("x")
    drag(street, (10, 30), (80, 30))
    assert not (mask_in(street) == before).all()


def test_a_bucket_fills_what_is_connected(page: Page) -> None:
    clear(page)
    drag(page, (10, 10), (60, 10), (60, 40), (10, 40), (10, 10))
    page.keyboard.press("b")
    click(page, 30, 25)
    mask = mask_in(page)
    assert mask[25, 30] == 1 and mask[50, 90] == 0
    page.keyboard.press("z")
    assert mask_in(page)[25, 30] == 0


def test_a_lasso_follows_an_edge(tmp_path: Path, start: Start, browser: Browser) -> None:
    """Three clicks near the border of a bright square give the square."""
    image = np.full((80, 100), 60, np.uint8)
    image[20:60, 30:70] = 190
    (tmp_path / "photos").mkdir()
    Image.fromarray(image).save(tmp_path / "photos" / "a.png")
    served = start(
        tmp_path / "photos", "--classes", "square", "--no-open", "--reviewer", "m", verb="review"
    )
    for page in opened(browser, served):
        page.keyboard.press("l")
        for x, y in ((30, 20), (69.5, 20.5), (69.5, 59.5), (30.5, 59.5)):
            click(page, x, y)
        page.keyboard.press("Enter")
        drawn, truth = mask_in(page) == 1, image > 100
        assert 2 * (drawn & truth).sum() / (drawn.sum() + truth.sum()) > 0.95


def test_a_part_can_be_left_undecided(page: Page, folder: Path) -> None:
    page.get_by_role("radio", name="not sure").click()
    brush(page, 8)
    drag(page, (20, 20), (60, 20))
    assert mask_in(page)[20, 40] == VOID
    page.keyboard.press("Enter")
    shown(page, 1)
    saved(page)
    session = open_session(folder)
    assert session.mask(session.tasks[0])[0][20, 40] == VOID


def test_the_mask_of_the_image_before_is_copied(street: Page) -> None:
    brush(street, 6)
    drag(street, (20, 20), (70, 40))
    drawn = mask_in(street)
    street.keyboard.press("j")
    shown(street, 1)
    assert not (mask_in(street) == drawn).all()
    street.keyboard.press("v")
    street.wait_for_function("() => limner.now.mask.past.length === 1")
    assert (mask_in(street) == drawn).all()
    street.keyboard.press("z")
    assert not (mask_in(street) == drawn).all()


def test_the_mask_before_is_shown_while_a_key_is_held(page: Page) -> None:
    before = page.evaluate("limner.view.mask.data.reduce((a, b) => a + b)")
    clear(page)
    brush(page, 10)
    drag(page, (5, 5), (60, 5))
    now = page.evaluate("limner.view.mask.data.reduce((a, b) => a + b)")
    page.keyboard.down("d")
    page.wait_for_function("() => limner.view.mask !== limner.now.mask")
    assert page.evaluate("limner.view.mask.data.reduce((a, b) => a + b)") == before != now
    page.keyboard.up("d")
    page.wait_for_function("() => limner.view.mask === limner.now.mask")


def test_the_map_of_uncertainty_is_shown(page: Page) -> None:
    page.keyboard.press("m")
    page.wait_for_function("() => limner.view.heat?.width === limner.now.mask.width")
    page.keyboard.press("m")
    page.wait_for_function("() => limner.view.heat === null")


def test_notes_are_written_and_read(page: Page, folder: Path) -> None:
    page.keyboard.press("n")
    page.fill("#note-text", "is this one lesion or two?")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#note-count")).to_have_text(" (1)")
    assert letters(page) == "......"
    session = open_session(folder)
    (note,) = session.store.notes(session.tasks[0].key)
    assert (note.reviewer, note.text) == ("mira", "is this one lesion or two?")
    page.keyboard.press("n")
    expect(page.locator("#note-list")).to_contain_text("is this one lesion or two?")
    page.keyboard.press("Escape")
    expect(page.locator("#notes")).to_be_hidden()


def test_the_numbers_of_each_reviewer_are_shown(page: Page) -> None:
    page.keyboard.press("a")
    shown(page, 1)
    saved(page)
    page.click("#counts")
    expect(page.locator("#people-table tbody tr")).to_have_text(["mira1000–"])


def test_deep_values_are_shown_as_they_are_set(
    tmp_path: Path, start: Start, browser: Browser
) -> None:
    values = np.zeros((60, 80), np.uint16)
    values[:30, :40], values[30:, 40:] = 1000, 60_000
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / "photos" / f"{name}.tif", values)
    served = start(
        tmp_path / "photos", "--classes", "cell", "--no-open", "--reviewer", "m", verb="review"
    )
    grey = """() => {
      const { x, y, scale } = limner.view;
      const context = document.getElementById('picture').getContext('2d');
      return context.getImageData(x + 20 * scale, y + 15 * scale, 1, 1).data[0];
    }"""
    for page in opened(browser, served):
        assert page.evaluate(grey) < 10
        page.click("#display summary")
        expect(page.locator("#high")).to_have_attribute("max", "60000")
        page.evaluate(
            "() => { const high = document.getElementById('high'); high.value = 2000;"
            " high.dispatchEvent(new Event('input')); }"
        )
        page.wait_for_function(f"() => Math.abs(({grey})() - 127) < 6")
        page.keyboard.press("j")
        shown(page, 1)
        page.wait_for_function(f"() => Math.abs(({grey})() - 127) < 6")
        page.click("[data-act=plain]")
        page.wait_for_function(f"() => ({grey})() < 10")


def test_the_strip_keeps_the_image_in_view_on_a_telephone(review: Served, browser: Browser) -> None:
    for page in opened(browser, review, {"width": 390, "height": 844}):
        for place in (1, 2, 3, 4, 5):
            page.keyboard.press("j")
            shown(page, place)
            box = page.locator("#strip [aria-current=true]").bounding_box()
            assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= 390


def test_an_image_larger_than_the_page_holds_comes_in_tiles(
    tmp_path: Path, start: Start, browser: Browser
) -> None:
    """Strokes are exact, at a zoom at which a pixel of the screen is many of the image."""
    height, width = 8100, 8000
    image = np.full((height, width), 40, np.uint8)
    image[4000:4400, 3000:5000] = 220
    (tmp_path / "photos").mkdir()
    tifffile.imwrite(tmp_path / "photos" / "a.tif", image, tile=(512, 512), compression="deflate")
    served = start(
        tmp_path / "photos", "--classes", "bar", "--no-open", "--reviewer", "m", verb="review"
    )
    grey = """([ix, iy]) => {
      const { x, y, scale } = limner.view;
      const context = document.getElementById('picture').getContext('2d');
      return context.getImageData(x + ix * scale, y + iy * scale, 1, 1).data[0];
    }"""
    for page in opened(browser, served):
        page.wait_for_function("() => !limner.now.filling")
        page.wait_for_function(f"() => Math.abs(({grey})([4000, 4200]) - 220) < 8")
        page.wait_for_function(f"() => Math.abs(({grey})([1000, 1000]) - 40) < 8")
        brush(page, 200)
        drag(page, (3000.5, 4200.5), (5000.5, 4200.5))
        saved(page)
        page.evaluate("limner.view.zoom(40, 300, 300)")
        brush(page, 3)
        drag(page, *page.evaluate("[limner.view.at(100, 100), limner.view.at(260, 100)]"))
        saved(page)
        sums = page.evaluate(
            "[limner.now.mask.data.reduce((a, b) => a + b), limner.now.mask.data.length]"
        )
    session = open_session(tmp_path / "photos")
    mask = session.mask(session.tasks[0])[0]
    assert mask.shape == (height, width) and [int(mask.sum()), mask.size] == sums
    assert mask[4200, 4000] == 1 and mask[4200, 2790] == 0 and mask[3990, 4000] == 0


def test_a_click_draws_the_border_that_the_model_has_there(
    predicted_discs: Path, start: Start, browser: Browser
) -> None:
    """The uncertainty falls with the distance from the border of a disc of 20 px."""
    served = start(predicted_discs, "--no-open", "--reviewer", "m", verb="review")
    y, x = np.mgrid[:90, :90] - 45
    for page in opened(browser, served):
        page.keyboard.press("t")
        click(page, 45.5 + 28, 45.5)
        page.wait_for_function("() => limner.now.mask.past.length === 1")
        grown = mask_in(page) == 1
        assert grown[45, 45 + 27] and not grown[45, 45 + 30]
        # Near the click alone
        assert not grown[45, 45 - 24] and grown[x**2 + y**2 < 19**2].all()
        page.mouse.click(*on_screen(page, 45.5, 45.5 - 12), button="right")
        page.wait_for_function("() => limner.now.mask.past.length === 2")
        cut = mask_in(page) == 1
        assert not cut[45 - 14, 45] and cut[45, 45] and cut[45 + 15, 45]


def test_a_click_corrects_nothing_without_a_model(street: Page) -> None:
    street.keyboard.press("t")
    click(street, 5, 5)
    expect(street.locator("#notice-text")).to_contain_text("no map of uncertainty")
    street.wrong.clear()  # type: ignore[attr-defined]


@pytest.fixture
def predicted_discs(predicted: Path, tmp_path: Path) -> Path:
    """A folder of predictions with one image, whose mask and map are exact."""
    folder = Path(shutil.copytree(predicted, tmp_path / "discs"))
    y, x = np.mgrid[:90, :90] - 45
    distance = np.hypot(x, y)
    record = json.loads((folder / "predictions.json").read_text())
    (first, *_) = record["predictions"]
    image = tmp_path / "disc.png"
    Image.fromarray((distance < 20).astype(np.uint8) * 255).save(image)
    first |= {"image": str(image), "image_sha256": None}
    record["predictions"] = [first]
    (folder / "predictions.json").write_text(json.dumps(record))
    Image.fromarray((distance < 20).astype(np.uint8) * 255).save(folder / first["mask"])
    uncertain = 255 - 8 * np.minimum(np.abs(distance - 20), 30)
    Image.fromarray(uncertain.astype(np.uint8)).save(folder / first["uncertainty"])
    return folder
