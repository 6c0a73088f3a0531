"""Conflicts between a page, its server and other people.

Each can be settled, and nothing is written that was not seen.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from limner.review.events import EntryState
from limner.review.queue import order_tasks
from limner.review.sources import read_predictions
from review_page import SIZE, brush, drag, mask_in, on_screen, saved, shown, watched
from review_server import ANNA, BEN, draw, open_session
from service import Served, Start

HOLD = """() => {
  const { fetch } = window;
  window.held = [];
  window.fetch = async (path, options) => {
    if (options?.method === 'PUT') await new Promise((go) => window.held.push(go));
    return fetch(path, options);
  };
}"""
"""Keeps back what is sent until the test lets it go."""


@contextmanager
def opened(served: Served, browser: Browser, query: str = "") -> Iterator[Page]:
    with browser.new_context(viewport=SIZE) as context:
        page = watched(context.new_page())
        page.goto(served.address + query)
        shown(page, 0)
        yield page


def paint(page: Page, y: float = 30) -> None:
    """A stroke that changes something, whatever is there."""
    brush(page, 5)
    drag(page, (30, y), (50, y), button="right" if mask_in(page)[int(y), 40] else "left")


def somebody_draws(folder: Path, place: int, reviewer: str = "ben", rows: int = 5) -> EntryState:
    session = open_session(folder)
    task = session.tasks[place]
    mask = session.mask(task)[0].copy()
    mask[:rows] ^= 1
    return draw(session, task, mask, reviewer)


def test_an_image_that_is_changed_while_it_is_shown_is_looked_at_again(
    page: Page, folder: Path
) -> None:
    (folder / page.evaluate("limner.now.task.key")).touch()
    page.keyboard.press("a")
    expect(page.locator("body")).to_contain_text("was changed since it was shown")
    assert open_session(folder).status_codes() == "......"
    page.locator("#strip button").first.click()
    shown(page, 0)
    page.keyboard.press("a")
    page.wait_for_function("() => limner.letters[0] === 'a'")
    page.wrong.clear()  # type: ignore[attr-defined]  # the 410


def test_what_is_sent_holds_nothing_of_a_stroke_that_is_taken_back(
    page: Page, folder: Path
) -> None:
    page.evaluate(HOLD)
    paint(page, 20)
    page.wait_for_function("() => window.held.length === 1")
    paint(page, 40)
    before = mask_in(page)
    page.mouse.move(*on_screen(page, 60, 10))
    page.mouse.down(button="right" if before[10, 60] else "left")
    page.mouse.move(*on_screen(page, 70, 10), steps=3)
    assert (mask_in(page) != before).any()
    page.evaluate("window.held.shift()()")
    page.wait_for_function("() => window.held.length === 1")
    # Sent while the third is drawn
    page.evaluate("window.held.shift()()")
    saved(page)
    page.keyboard.press("Escape")
    page.mouse.up()
    assert (mask_in(page) == before).all()
    session = open_session(folder)
    assert (session.mask(session.tasks[0])[0] == before).all()


def test_the_other_turn_of_an_image_is_for_somebody_else(
    folder: Path, start: Start, browser: Browser
) -> None:
    with opened(
        start(folder, "--no-open", "--reviewer", "mira", "--twice", "1", verb="review"), browser
    ) as page:
        paint(page)
        saved(page)
        page.keyboard.press("j")
        shown(page, 1)
        expect(page.locator("#notice")).to_contain_text(
            "You looked at this image in its other turn"
        )
        before = mask_in(page)
        paint(page)
        page.keyboard.press("a")
        assert (mask_in(page) == before).all() and page.evaluate("limner.now.place") == 1
        page.keyboard.press("k")
        shown(page, 0)
        expect(page.locator("#notice")).to_be_hidden()
        page.keyboard.press("a")
        page.wait_for_function("() => limner.now.place > 1")
        saved(page)
        assert page.wrong == []  # type: ignore[attr-defined]


def test_strokes_that_are_refused_for_good_can_be_forgotten(page: Page, folder: Path) -> None:
    """Something that cannot be made right by asking again: here the tiles are spoilt on their
    way.
    """
    page.evaluate("""() => {
      const { fetch } = window;
      window.fetch = (path, options) => {
        const spoil = options?.method === 'PUT' && !window.mended;
        return fetch(path, spoil ? { ...options, body: 'spoilt' } : options);
      };
    }""")
    before = mask_in(page)
    paint(page)
    expect(page.locator("#notice")).to_contain_text("not deflated")
    page.keyboard.press("j")
    shown(page, 1)
    expect(page.locator("#notice-yes")).to_have_text("Go back to it")
    page.click("#notice-yes")
    shown(page, 0)
    expect(page.locator("#notice-yes")).to_have_text("Try again")
    page.click("#notice-yes")
    expect(page.locator("#notice")).to_contain_text("not deflated")
    page.click("#notice-no")
    page.wait_for_function("() => limner.now && !limner.now.saver.stopped && limner.unsaved === 0")
    assert (mask_in(page) == before).all()
    page.evaluate("window.mended = true")
    paint(page)
    saved(page)
    assert open_session(folder).status_codes() == "d....."
    assert [text for text in page.wrong if "422" not in text] == []  # type: ignore[attr-defined]
    page.wrong.clear()  # type: ignore[attr-defined]


def test_the_choice_after_a_late_stroke_is_not_hidden_by_who_is_there(
    folder: Path, tmp_path: Path, start: Start, browser: Browser
) -> None:
    (tmp_path / "reviewers.toml").write_text(f'anna = "{ANNA}"\nben = "{BEN}"\n')
    served = start(folder, "--reviewers", tmp_path / "reviewers.toml", verb="review")
    with opened(served, browser, f"?token={ANNA}") as page:
        somebody_draws(folder, 0)
        paint(page)
        expect(page.locator("#notice")).to_contain_text("ben changed this mask")
        his = {
            "Authorization": f"Bearer {BEN}",
            "If-Match": served.client.get(
                "/api/tasks/0/mask", headers={"Authorization": f"Bearer {BEN}"}
            ).headers["etag"],
        }
        assert (
            served.client.post("/api/tasks/0/lease", json={"over": True}, headers=his).json()[
                "owner"
            ]
            is None
        )
        page.keyboard.press("j")
        shown(page, 1)
        page.keyboard.press("k")
        shown(page, 0)
        page.wait_for_function("() => limner.now.owner === 'ben'")
        expect(page.locator("#notice-yes")).to_have_text("Keep mine")
        page.click("#notice-yes")
        expect(page.locator("#notice")).to_contain_text("ben is at this image")
        saved(page)
        session = open_session(folder)
        assert (session.mask(session.tasks[0])[0] == mask_in(page)).all()
        page.click("#notice-yes")
        expect(page.locator("#notice")).to_be_hidden()


def test_a_late_stroke_on_an_image_that_was_left_is_told(page: Page, folder: Path) -> None:
    somebody_draws(folder, 0)
    page.evaluate(HOLD)
    paint(page)
    page.keyboard.press("j")
    shown(page, 1)
    page.wait_for_function("() => window.held.length === 1")
    page.evaluate("window.held.shift()()")
    expect(page.locator("#notice")).to_contain_text("ben changed this mask")
    page.click("#notice-yes")
    shown(page, 0)
    page.click("#notice-no")
    page.wait_for_function("() => limner.now?.saver.version === 1 && limner.unsaved === 0")
    session = open_session(folder)
    assert (mask_in(page) == session.mask(session.tasks[0])[0]).all()
    expect(page.locator("#saved")).to_have_text("saved")
    page.wrong.clear()  # type: ignore[attr-defined]  # the 412


def test_a_page_of_another_order_says_so_and_writes_nothing(
    folder: Path, start: Start, browser: Browser
) -> None:
    served = start(folder, "--no-open", "--reviewer", "mira", verb="review")
    port = served.address.rsplit(":", 1)[1].strip("/")
    with opened(served, browser) as page:
        assert served.stop() == 0
        start(
            folder,
            "--no-open",
            "--reviewer",
            "mira",
            "--order",
            "random",
            "--port",
            port,
            verb="review",
        )
        key = page.evaluate("limner.now.task.key")
        paint(page)
        mine = mask_in(page)
        expect(page.locator("#notice")).to_contain_text("Another review")
        page.keyboard.press("a")
        page.keyboard.press("j")
        assert open_session(folder).status_codes() == "......"
        page.click("#notice-yes")
        page.wait_for_function(
            "() => window.limner?.now && document.getElementById('notice-yes').textContent "
            "!== 'Load it'"
        )
        for _ in range(6):
            if page.evaluate("limner.now.task.key") == key:
                break
            place = page.evaluate("limner.now.place")
            page.keyboard.press("j")
            page.wait_for_function(f"() => limner.now.place !== {place}")
        expect(page.locator("#notice")).to_contain_text("put back")
        saved(page)
        session = open_session(folder)
        task = next(task for task in session.tasks if task.key == key)
        assert (mask_in(page) == mine).all() and (session.mask(task)[0] == mine).all()


def test_a_verdict_that_came_too_late_asks_what_shall_count(page: Page, folder: Path) -> None:
    paint(page)
    saved(page)
    somebody_draws(folder, 0)
    page.keyboard.press("a")
    shown(page, 1)
    expect(page.locator("#notice")).to_contain_text("ben changed this mask")
    page.click("#notice-yes")
    shown(page, 0)
    # In which the answer of the lease comes
    page.wait_for_timeout(500)
    expect(page.locator("#notice-yes")).to_have_text("Keep mine")
    mine = mask_in(page)
    page.click("#notice-yes")
    saved(page)
    page.keyboard.press("a")
    saved(page)
    session = open_session(folder)
    assert (session.mask(session.tasks[0])[0] == mine).all() and session.status_codes()[0] == "m"
    page.wrong.clear()  # type: ignore[attr-defined]  # the 412


def test_past_an_image_that_is_gone_one_goes_on_from_there(
    folder: Path, start: Start, browser: Browser
) -> None:
    gone = order_tasks(read_predictions(folder).entries)[2].entry.image
    record = folder / "predictions.json"
    record.write_text(record.read_text().replace(gone, str(folder / "gone.jpg")))
    with opened(start(folder, "--no-open", "--reviewer", "mira", verb="review"), browser) as page:
        page.click("#strip [data-place='1']")
        shown(page, 1)
        page.keyboard.press("j")
        expect(page.locator("#notice")).to_contain_text("does not exist")
        assert page.evaluate("[limner.now, limner.view.mask]") == [None, None]
        page.keyboard.press("+")
        page.keyboard.press("j")
        shown(page, 3)
        expect(page.locator("#notice")).to_be_hidden()


def test_leaving_asks_first_where_strokes_are_kept_nowhere(
    review: Served, browser: Browser
) -> None:
    """The server is gone and the browser's store is full."""
    with opened(review, browser) as page:
        page.evaluate(
            """() => {
              for (let size = 2 ** 22; size; size >>= 1) {
                try {
                  for (;;) localStorage.setItem('full' + Math.random(), 'x'.repeat(size));
                } catch { /* full for this size */ }
              }
            }"""
        )
        review.process.kill()
        paint(page)
        page.wait_for_function("() => limner.now.saver.kept === false")
        dialogs: list[str] = []
        page.on("dialog", lambda dialog: (dialogs.append(dialog.type), dialog.accept()))
        page.close(run_before_unload=True)
        page.wait_for_event("close")
        assert dialogs == ["beforeunload"]


def test_two_fingers_leave_a_polygon_as_it_is(review: Served, browser: Browser) -> None:
    with browser.new_context(viewport={"width": 820, "height": 1100}, has_touch=True) as context:
        page = watched(context.new_page())
        page.goto(review.address)
        shown(page, 0)
        touch = context.new_cdp_session(page)

        def send(kind: str, *points: tuple[float, float]) -> None:
            touch.send(
                "Input.dispatchTouchEvent",
                {
                    "type": kind,
                    "touchPoints": [
                        {"x": x, "y": y, "id": index} for index, (x, y) in enumerate(points)
                    ],
                },
            )

        def pinch() -> None:
            scale = page.evaluate("limner.view.scale")
            send("touchStart", on_screen(page, 20, 20))
            send("touchStart", on_screen(page, 20, 20), on_screen(page, 60, 40))
            send("touchMove", on_screen(page, 10, 10), on_screen(page, 70, 50))
            send("touchEnd")
            assert page.evaluate("limner.view.scale") > scale

        page.click("[data-act=polygon]")
        for corner in ((20, 20), (60, 20), (60, 40)):
            send("touchStart", on_screen(page, *corner))
            send("touchEnd")
        assert page.evaluate("limner.tools.points.length") == 3
        pinch()
        assert page.evaluate("[limner.tools.points.length, limner.tools.mode]") == [3, "polygon"]
        page.click("aside [data-act=close]")
        saved(page)
        before = mask_in(page)
        page.click("[data-act=grow]")
        pinch()
        assert (mask_in(page) == before).all() and page.evaluate("limner.tools.mode") == "grow"
        assert page.wrong == []  # type: ignore[attr-defined]


def test_what_a_proxy_took_for_failed_is_known_as_ours(page: Page, folder: Path) -> None:
    """The write went through, and a proxy says that it did not."""
    page.evaluate("""() => {
      const { fetch } = window;
      let first = true;
      window.fetch = async (path, options) => {
        const answer = await fetch(path, options);
        if (options?.method !== 'PUT' || !first) return answer;
        first = false;
        return new Response('{"error": "bad gateway"}', { status: 502 });
      };
    }""")
    paint(page)
    saved(page)
    expect(page.locator("#notice")).to_be_hidden()
    session = open_session(folder)
    assert (session.mask(session.tasks[0])[0] == mask_in(page)).all()
    page.wrong.clear()  # type: ignore[attr-defined]  # the 412 of the second time
