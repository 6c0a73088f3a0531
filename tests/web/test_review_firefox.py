"""The review page in the system's Firefox."""

from collections.abc import Iterator

import numpy as np
import pytest

from firefox import FirefoxPage, firefox
from review_server import open_session
from service import Served


@pytest.fixture(scope="module")
def browser() -> Iterator[FirefoxPage]:
    with firefox() as page:
        page.resize(1200, 800)
        yield page


@pytest.fixture
def page(review: Served, browser: FirefoxPage) -> Iterator[FirefoxPage]:
    browser.errors.clear()
    browser.goto(review.address)
    shown(browser, 0)
    yield browser
    assert browser.errors == []


def shown(page: FirefoxPage, place: int) -> None:
    page.wait_for(
        f"window.limner?.now?.place === {place} && performance.now() - limner.now.shown > 210"
    )


def saved(page: FirefoxPage) -> None:
    page.wait_for("limner.unsaved === 0")


def on_screen(page: FirefoxPage, *points: tuple[float, float]) -> list[tuple[float, float]]:
    box = page.evaluate("document.getElementById('stage').getBoundingClientRect().toJSON()")
    scale, left, top, ratio = page.evaluate(
        "[limner.view.scale, limner.view.x, limner.view.y, devicePixelRatio]"
    )
    return [
        (box["x"] + (left + x * scale) / ratio, box["y"] + (top + y * scale) / ratio)
        for x, y in points
    ]


def mask_in(page: FirefoxPage) -> np.ndarray:
    height, width = page.evaluate("[limner.now.mask.height, limner.now.mask.width]")
    values = page.evaluate("[...limner.now.mask.data]")
    return np.array(values, np.uint8).reshape(height, width)


def clear(page: FirefoxPage) -> None:
    page.evaluate("limner.tools.size(200)")
    page.drag(on_screen(page, (48, 40), (50, 40)), "right")
    page.evaluate("limner.tools.size(4)")


def test_what_is_painted_is_what_the_server_has(page: FirefoxPage, review: Served) -> None:
    clear(page)
    page.drag(on_screen(page, (10.5, 10.5), (40.5, 10.5), (40.5, 30.5)))
    drawn = mask_in(page)
    assert drawn[10, 20] == 1 and drawn[25, 40] == 1 and drawn[20, 20] == 0
    page.press("Control", "z")
    assert not mask_in(page).any()
    page.press("Control", "y")
    saved(page)
    answer = review.client.get("/api/tasks/0/mask")
    assert (np.frombuffer(answer.content, np.uint8).reshape(drawn.shape) == drawn).all()


def test_keys_decide_and_lead_to_the_next(page: FirefoxPage, review: Served) -> None:
    page.press("a")
    shown(page, 1)
    page.press("r")
    page.press("2")
    shown(page, 2)
    saved(page)
    assert page.evaluate("limner.letters") == "ar...."
    assert review.client.get("/api/tasks/1").json()["reason"] == "wrong class"


def test_polygons_the_wheel_and_zoom(page: FirefoxPage) -> None:
    clear(page)
    page.press("p")
    for point in ((10, 10), (50, 10), (50, 40)):
        page.drag(on_screen(page, point))
    page.press("Enter")
    assert mask_in(page)[15, 45] == 1
    ((x, y),) = on_screen(page, (30, 30))
    page.press("Escape")
    page.wheel(x, y, 200)
    page.wait_for("limner.tools.radius < 3.9")
    scale = page.evaluate("limner.view.scale")
    page.press("+")
    assert page.evaluate("limner.view.scale") > scale


def test_a_lasso_a_note_and_what_is_uncertain(page: FirefoxPage, folder: object) -> None:
    page.press("l")
    for point in ((10, 10), (50, 12), (50, 40)):
        page.drag(on_screen(page, point))
    page.press("Enter")
    page.press("m")
    page.wait_for("limner.view.heat?.width === limner.now.mask.width")
    page.press("n")
    page.press(*"clear")
    page.press("Control", "Enter")
    page.wait_for("document.getElementById('note-count').textContent === ' (1)'")
    session = open_session(folder)  # type: ignore[arg-type]
    assert [note.text for note in session.store.notes(session.tasks[0].key)] == ["clear"]
