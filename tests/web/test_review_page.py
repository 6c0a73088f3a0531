"""The review page in a real browser, on a real server."""

import json
import signal
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page, expect

from review_page import (
    SIZE,
    brush,
    bytes_in,
    clear,
    drag,
    mask_in,
    on_screen,
    saved,
    shown,
    watched,
)
from review_server import ANNA, BEN, draw, open_session
from service import Served, Start
from waiting import wait_until


def test_keys_accept_and_reject_and_lead_to_the_next(page: Page, folder: Path) -> None:
    page.keyboard.press("a")
    shown(page, 1)
    page.keyboard.press("r")
    expect(page.locator("#reasons")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#reasons")).to_be_hidden()
    page.keyboard.press("r")
    page.keyboard.press("2")
    shown(page, 2)
    page.keyboard.press("r")
    page.keyboard.press("Enter")
    shown(page, 3)
    page.keyboard.press("Enter")
    shown(page, 4)
    page.keyboard.press("u")
    shown(page, 5)
    page.keyboard.press("a")
    shown(page, 4)
    page.keyboard.press("a")
    expect(page.locator("#done")).to_be_visible()
    saved(page)
    assert "0 left · 4 accepted · 0 corrected · 2 rejected" in page.inner_text("#counts")
    session = open_session(folder)
    # Several are sent at once, and arrive in any order
    events = {event.entry: event for event in session.store.events()}
    assert [
        (event.verdict, event.reason, event.reviewer)
        for event in (events[task.key] for task in session.tasks)
    ] == [
        ("accepted", None, "mira"),
        ("rejected", "wrong class", "mira"),
        ("rejected", None, "mira"),
        *[("accepted", None, "mira")] * 3,
    ]
    assert all("Chrom" in event.client for event in events.values())


def test_an_answer_that_comes_late_does_not_undo_a_later_one(page: Page) -> None:
    page.evaluate("""() => {
      const { fetch } = window;
      window.fetch = async (path, ...more) => {
        const answer = await fetch(path, ...more);
        if (path === 'api/tasks/4/verdict') {
          window.decided = true;
          await new Promise((done) => { window.come = done; });
        }
        return answer;
      };
    }""")
    for place in range(1, 5):
        page.keyboard.press("a")
        shown(page, place)
    page.keyboard.press("u")
    shown(page, 5)
    page.keyboard.press("u")
    shown(page, 4)
    page.keyboard.press("a")
    page.wait_for_function("() => window.decided")
    shown(page, 5)
    page.keyboard.press("a")
    expect(page.locator("#left")).to_have_text("0 left")
    page.evaluate("window.come()")
    saved(page)
    expect(page.locator("#done")).to_have_text("All is reviewed. Thank you.")
    assert page.inner_text("#left") == "0 left" and page.evaluate("limner.letters") == "aaaaaa"


def test_who_has_no_part_in_what_is_left_is_told_so(
    folder: Path, start: Start, browser: Browser
) -> None:
    review = start(folder, "--no-open", "--reviewer", "mira", "--twice", "1", verb="review")
    with browser.new_context(viewport=SIZE) as context:
        page = watched(context.new_page())
        page.goto(review.address)
        shown(page, 0)
        for _ in range(6):
            place = page.evaluate("limner.now.place")
            page.keyboard.press("a")
            page.wait_for_function(
                f"() => !document.getElementById('done').hidden || (limner.now.place !== {place}"
                " && performance.now() - limner.now.shown > 210)"
            )
        expect(page.locator("#done")).to_have_text("Nothing is left for you. 6 wait for others.")
        assert page.wrong == []  # type: ignore[attr-defined]


def test_what_is_painted_and_erased_is_what_the_server_has(page: Page, folder: Path) -> None:
    clear(page)
    assert not mask_in(page).any()
    drag(page, (20, 20), (60, 40))
    page.keyboard.down("Alt")
    drag(page, (40, 10), (40, 50))
    page.keyboard.up("Alt")
    drawn = mask_in(page)
    assert drawn[20, 20] == 1 and drawn[30, 40] == 0 and drawn[40, 60] == 1
    saved(page)
    session = open_session(folder)
    assert (session.mask(session.tasks[0])[0] == drawn).all() and session.status_codes() == "d....."
    page.keyboard.press("a")
    shown(page, 1)
    saved(page)
    session.refresh()
    assert session.status_codes() == "m....." and (session.mask(session.tasks[0])[0] == drawn).all()


def test_undo_reaches_across_what_was_saved_and_is_saved_itself(page: Page, folder: Path) -> None:
    before = mask_in(page)
    clear(page)
    saved(page)
    drag(page, (30, 30), (50, 30))
    saved(page)
    page.keyboard.press("z")
    assert not mask_in(page).any()
    page.keyboard.press("Control+z")
    saved(page)
    assert (mask_in(page) == before).all()
    session = open_session(folder)
    assert (session.mask(session.tasks[0])[0] == before).all()
    page.keyboard.press("Shift+Z")
    page.keyboard.press("Control+y")
    drawn = mask_in(page)
    assert drawn.sum() > 50
    saved(page)
    page.reload()
    shown(page, 0)
    assert (mask_in(page) == drawn).all()


def test_more_than_two_hundred_strokes_can_be_undone(page: Page) -> None:
    before = mask_in(page)
    brush(page, 1)
    for index in range(210):
        page.evaluate(
            f"limner.now.mask.begin(); limner.now.mask.line({index % 70}, {index % 50}, "
            f"{index % 90}, 30, 2, {index % 2}); limner.now.mask.end()"
        )
    count = page.evaluate("limner.now.mask.past.length")
    assert count > 200
    for _ in range(count):
        page.keyboard.press("z")
    assert (mask_in(page) == before).all()


def test_a_polygon_is_added_and_taken_away(page: Page) -> None:
    clear(page)
    page.keyboard.press("p")
    for point in ((10, 10), (50, 10), (50, 40), (10, 40)):
        page.mouse.click(*on_screen(page, *point))
    page.keyboard.press("Enter")
    drawn = mask_in(page)
    assert drawn[11:39, 11:49].all() and not drawn[:9].any() and not drawn[:, 52:].any()
    for point in ((20, 20), (30, 20), (30, 30), (20, 30)):
        page.mouse.click(*on_screen(page, *point))
    page.keyboard.press("Alt+Enter")
    assert not mask_in(page)[21:29, 21:29].any()
    page.keyboard.press("p")
    page.keyboard.press("f")
    assert mask_in(page)[21:29, 21:29].all(), "F fills the hole"


def test_growth_stops_at_what_looks_different(page: Page) -> None:
    """The drawn lesions are darker than the skin around them."""
    clear(page)
    page.evaluate("limner.tools.tolerance = 40")
    page.keyboard.press("g")
    page.mouse.click(*on_screen(page, 4, 4))
    grown = mask_in(page)
    assert grown[4, 4] == 1 and 0 < grown.mean() < 0.95


def test_growth_stops_at_an_edge_between_colours_that_are_alike(page: Page) -> None:
    """Green falls slowly from 110 to 90 and jumps to 130, which is no farther from where the growth
    begins.
    """
    pixels = np.zeros((20, 40, 4), np.uint8)
    pixels[..., 1] = np.where(
        np.arange(40) < 10, 110, np.where(np.arange(40) < 20, 128 - 2 * np.arange(40), 130)
    )
    all_of_it = "{ left: 0, top: 0, right: 40, bottom: 20 }"
    grown = draw_in_page(
        page,
        40,
        20,
        f"mask.grow(3, 3, 1, new Uint8ClampedArray({pixels.ravel().tolist()}), {all_of_it}, 24)",
    )
    assert grown[:, :19].all() and not grown[:, 19:].any()


def test_who_is_at_an_image_is_heard_of_every_minute(review: Served, browser: Browser) -> None:
    with browser.new_context(viewport=SIZE) as context:
        page = watched(context.new_page())
        page.clock.install()
        page.goto(review.address)
        shown(page, 0)
        for _ in range(2):
            with page.expect_request("**/api/tasks/0/lease") as request:
                page.clock.fast_forward(60_000)
            answer = request.value.response()
            assert answer is not None and answer.json()["owner"] is None
        assert page.wrong == []  # type: ignore[attr-defined]


def test_zoom_place_opacity_and_brush_survive_the_next_image(page: Page) -> None:
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("o")
    for _ in range(3):
        page.keyboard.press("]")
    settings = (
        "[limner.view.scale, limner.view.x, limner.view.y, limner.view.opacity, "
        "limner.tools.radius]"
    )
    before = page.evaluate(settings)
    page.keyboard.press("a")
    shown(page, 1)
    page.keyboard.press("k")
    shown(page, 0)
    page.keyboard.press("j")
    shown(page, 1)
    assert page.evaluate(settings) == before
    page.keyboard.press("0")
    assert page.evaluate("limner.view.fitted")
    page.mouse.wheel(0, -100)
    page.keyboard.down(" ")
    assert not page.locator("#overlay").is_visible()
    page.keyboard.up(" ")
    assert page.locator("#overlay").is_visible()


def test_the_wheel_sizes_the_brush_and_with_control_zooms(page: Page) -> None:
    page.mouse.move(*on_screen(page, 40, 40))
    radius, scale = page.evaluate("[limner.tools.radius, limner.view.scale]")
    page.mouse.wheel(0, -100)
    page.wait_for_function(f"() => limner.tools.radius > {radius}")
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.wait_for_function(f"() => limner.view.scale > {scale}")
    x = page.evaluate("limner.view.x")
    page.mouse.down(button="middle")
    page.mouse.move(300, 300, steps=2)
    page.mouse.up(button="middle")
    assert page.evaluate("limner.view.x") != x


def test_help_names_every_key(page: Page) -> None:
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    help_text = page.inner_text("#keys")
    for name in (
        "A or Enter",
        "R, then 1–9",
        "J / K",
        "Shift+Z",
        "P",
        "F",
        "G",
        "C",
        "[ ] or wheel",
        "O",
        "Space",
        "U",
    ):
        assert name in help_text
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_hidden()


def test_a_turned_photo_is_drawn_on_as_it_is_seen(page: Page, folder: Path) -> None:
    session = open_session(folder)
    ids = [task.entry.id for task in session.tasks]
    place = ids.index("photo-5.png")
    page.evaluate(f"document.querySelector('#strip [data-place=\"{place}\"]').click()")
    shown(page, place)
    assert mask_in(page).shape == (96, 90)
    brush(page, 3)
    drag(page, (5, 90), (30, 90))
    drawn = mask_in(page)
    assert drawn[90, 5] == 1
    saved(page)
    assert (session.mask(session.tasks[place])[0] == drawn).all()


def test_fingers_paint_and_two_of_them_move_the_image(review: Served, browser: Browser) -> None:
    with browser.new_context(viewport={"width": 820, "height": 1100}, has_touch=True) as context:
        page = watched(context.new_page())
        page.goto(review.address)
        shown(page, 0)
        page.evaluate("limner.tools.size(4)")
        touch = context.new_cdp_session(page)

        def send(kind: str, *points: tuple[float, float]) -> None:
            fingers = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(points)]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

        page.click("[data-act=eraser]")
        for start in ((10, 10), (10, 50)):
            send("touchStart", on_screen(page, *start))
            send("touchMove", on_screen(page, 60, start[1]))
            send("touchEnd")
        assert not mask_in(page)[[10, 50]][:, 10:60].any()
        page.click("[data-act=brush]")
        send("touchStart", on_screen(page, 10, 30))
        send("touchMove", on_screen(page, 60, 30))
        send("touchEnd")
        assert mask_in(page)[30, 10:60].all()
        drawn, scale = mask_in(page), page.evaluate("limner.view.scale")
        send("touchStart", on_screen(page, 20, 20))
        send("touchStart", on_screen(page, 20, 20), on_screen(page, 60, 40))
        send("touchMove", on_screen(page, 10, 10), on_screen(page, 70, 50))
        send("touchEnd")
        assert (
            page.evaluate("limner.view.scale") > 1.2 * scale and (mask_in(page) == drawn).all()
        ), "the first finger's dot is taken back"
        page.click("#accept")
        shown(page, 1)
        saved(page)
        assert page.wrong == []  # type: ignore[attr-defined]


def test_two_reviewers_see_each_other_and_nothing_is_overwritten(
    folder: Path, tmp_path: Path, start: Start, browser: Browser
) -> None:
    (tmp_path / "reviewers.toml").write_text(f'anna = "{ANNA}"\nben = "{BEN}"\n')
    served = start(folder, "--reviewers", tmp_path / "reviewers.toml", verb="review")
    with browser.new_context(viewport=SIZE) as hers, browser.new_context(viewport=SIZE) as his:
        anna, ben = hers.new_page(), his.new_page()
        anna.goto(f"{served.address}?token={ANNA}")
        shown(anna, 0)
        wait_until(
            lambda: (
                served.client.get(
                    "/api/tasks/0", headers={"Authorization": f"Bearer {BEN}"}
                ).json()["owner"]
                == "anna"
            )
        )
        ben.goto(f"{served.address}?token={BEN}")
        shown(ben, 1)
        ben.keyboard.press("k")
        shown(ben, 0)
        expect(ben.locator("#notice")).to_contain_text("anna is at this image")
        before = mask_in(ben)
        button = "right" if before[30, 40] else "left"
        drag(ben, (30, 30), (50, 30), button=button)
        assert (mask_in(ben) == before).all(), "it is hers"
        ben.click("#notice-yes")
        expect(ben.locator("#notice")).to_be_hidden()
        brush(ben, 5)
        drag(ben, (30, 30), (50, 30), button=button)
        saved(ben)
        brush(anna, 5)
        drag(anna, (30, 10), (50, 10), button="right" if before[10, 40] else "left")
        expect(anna.locator("#notice")).to_contain_text("ben changed this mask in the meantime")
        mine = mask_in(anna)
        session = open_session(folder)
        assert (session.mask(session.tasks[0])[0] == mask_in(ben)).all(), "his is untouched"
        anna.click("#notice-yes")
        saved(anna)
        kept = session.mask(session.tasks[0])[0]
        assert (kept == mine).all() and session.store.state(session.tasks[0].key).version == 2
        drag(ben, (30, 50), (50, 50), button="right" if before[50, 40] else "left")
        expect(ben.locator("#notice")).to_contain_text("anna changed this mask")
        ben.click("#notice-no")
        ben.wait_for_function("() => limner.now?.saver.version === 2")
        assert (mask_in(ben) == mine).all()


def draw_without_server(served: Served, page: Page) -> None:
    """A stroke that changes something, once the server is gone."""
    served.process.send_signal(signal.SIGKILL)
    served.close()
    brush(page, 4)
    drag(page, (20, 20), (60, 40), button="right" if mask_in(page)[30, 40] else "left")


def test_strokes_survive_a_server_that_is_down_and_a_tab_that_is_closed(
    folder: Path, start: Start, browser: Browser
) -> None:
    served = start(folder, "--no-open", "--reviewer", "mira", verb="review")
    port = served.address.rsplit(":", 1)[1].strip("/")
    with browser.new_context(viewport=SIZE) as context:
        page = context.new_page()
        page.goto(served.address)
        shown(page, 0)
        draw_without_server(served, page)
        drawn = mask_in(page)
        expect(page.locator("#saved")).to_contain_text("not saved yet: the server does not answer")
        page.mouse.move(*on_screen(page, 20, 50))
        page.mouse.down()
        page.mouse.move(*on_screen(page, 40, 50))
        # In the middle of a stroke
        page.close()
        start(folder, "--no-open", "--reviewer", "mira", "--port", port, verb="review")
        again = context.new_page()
        again.goto(served.address)
        shown(again, 0)
        expect(again.locator("#notice")).to_contain_text("put back")
        assert (mask_in(again) == drawn).all()
        saved(again)
        session = open_session(folder)
        assert (session.mask(session.tasks[0])[0] == drawn).all()


def test_two_tabs_keep_their_strokes_of_one_image_apart_while_the_server_is_down(
    folder: Path, start: Start, browser: Browser
) -> None:
    served = start(folder, "--no-open", "--reviewer", "mira", verb="review")
    port = served.address.rsplit(":", 1)[1].strip("/")
    with browser.new_context(viewport=SIZE) as context:
        tabs = [context.new_page(), context.new_page()]
        for tab in tabs:
            tab.goto(served.address)
            shown(tab, 0)
        before = mask_in(tabs[0])
        served.process.send_signal(signal.SIGKILL)
        served.close()
        drawn = []
        for tab, y in zip(tabs, (5, before.shape[0] - 6), strict=True):
            tab.bring_to_front()
            brush(tab, 2)
            drag(tab, (10, y), (30, y), button="right" if before[y, 20] else "left")
            drawn.append(mask_in(tab) != before)
            assert drawn[-1].any()
            tab.close()
        start(folder, "--no-open", "--reviewer", "mira", "--port", port, verb="review")
        again = context.new_page()
        again.goto(served.address)
        shown(again, 0)
        expect(again.locator("#notice")).to_contain_text("put back")
        assert ((mask_in(again) != before) == (drawn[0] | drawn[1])).all()
        saved(again)
        assert (
            again.evaluate("Object.keys(localStorage).filter((key) => key.includes('#')).length")
            == 0
        )


def test_strokes_of_a_tab_that_is_open_are_its_own_and_those_of_an_older_page_are_found(
    folder: Path, start: Start, browser: Browser
) -> None:
    served = start(folder, "--no-open", "--reviewer", "mira", verb="review")
    journals = "Object.keys(localStorage).filter((key) => /^limner:.*:/.test(key)).length"
    with browser.new_context(viewport=SIZE) as context:
        first = context.new_page()
        first.goto(served.address)
        shown(first, 0)
        before = mask_in(first)
        first.route("**/draft", lambda route: route.abort())
        brush(first, 2)
        drag(first, (10, 5), (30, 5), button="right" if before[5, 20] else "left")
        drawn = mask_in(first)
        second = context.new_page()
        second.goto(served.address)
        shown(second, 0)
        assert (mask_in(second) == before).all()
        assert second.evaluate(journals) == 1
        second.bring_to_front()
        first.close()
        # On a busy machine a page that was closed still answers for a while
        second.wait_for_function(
            "async () => { const pages = new BroadcastChannel('limner'); let count = 0;"
            "pages.onmessage = () => count++; pages.postMessage('who');"
            "await new Promise((done) => setTimeout(done, 300)); pages.close();"
            "return count <= 1; }"
        )
        second.evaluate(
            "for (const key of Object.keys(localStorage)) if (key.includes('#')) {"
            "localStorage.setItem(key.split('#')[0], localStorage.getItem(key)); "
            'localStorage.setItem(key, \'{"version": 0, "tiles": {"0": [7]}}\'); }'
        )
        second.reload()
        shown(second, 0)
        expect(second.locator("#notice")).to_contain_text("put back")
        assert (mask_in(second) == drawn).all()
        saved(second)
        assert second.evaluate(journals) == 0


def test_several_classes_are_drawn_each_in_its_colour(
    models: dict[str, Path], tmp_path: Path, start: Start, browser: Browser
) -> None:
    from limner.data.storage import Storage
    from limner.data.synthetic import draw_lesion
    from limner.data.writers.png import write_png
    from limner.inference.batch import predict_folder
    from limner.inference.image_selection import ImageSelection
    from limner.inference.prediction_job import PredictionJob
    from limner.inference.predictor import Predictor

    (tmp_path / "photos").mkdir()
    write_png(tmp_path / "photos" / "a.png", draw_lesion(0, 1, 64)[0])
    job = PredictionJob.plan(
        ImageSelection.from_storage(Storage(tmp_path / "photos")),
        Storage(tmp_path / "predictions"),
        {"m": ""},
    )
    predict_folder(Predictor.load(models["scenes"]), job)
    served = start(tmp_path / "predictions", "--no-open", verb="review")
    with browser.new_context(viewport=SIZE) as context:
        page = watched(context.new_page())
        page.goto(served.address)
        shown(page, 0)
        assert [text.split()[0] for text in page.locator("#classes button").all_inner_texts()] == [
            "sky",
            "road",
            "car",
            "not",
        ]
        brush(page, 5)
        for y in (10, 30, 50):
            drag(page, (10, y), (50, y))
            page.keyboard.press("c")
        drawn = mask_in(page)
        assert [drawn[y, 10:50].tolist() for y in (10, 30, 50)] == [
            [value] * 40 for value in (0, 1, 2)
        ]
        saved(page)
        page.wait_for_function("() => !limner.view.waiting")
        colours = page.evaluate("""() => {
          const context = document.querySelector('#overlay').getContext('2d');
          const { x, y, scale } = limner.view;
          const at = (row) => context.getImageData(x + 30 * scale, y + row * scale, 1, 1).data;
          return [10, 30, 50].map((row) => [...at(row).slice(0, 3)]);
        }""")
        expected = json.loads(json.dumps(page.evaluate("limner.view.colours.slice(0, 3)")))
        assert np.abs(np.array(colours) - np.array(expected)).max() <= 3
        assert page.wrong == []  # type: ignore[attr-defined]


def test_strokes_and_polygons_are_the_pixels_whose_centres_lie_in_them(page: Page) -> None:
    """Against the definition, worked out in NumPy."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:60, :90] + 0.5
    for _ in range(60):
        x0, y0, x1, y1 = (float(value) for value in random.uniform(-10, 100, 4))
        radius = float(random.choice([0.5, 1.0, 2.7, 9.3]))
        drawn = draw_in_page(page, 90, 60, f"mask.line({x0}, {y0}, {x1}, {y1}, {radius}, 1)")
        along = np.clip(
            ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0))
            / max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-9),
            0,
            1,
        )
        far = np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0)) - max(0.75, radius)
        clear = np.abs(far) > 1e-6
        assert (drawn[clear] == (far < 0)[clear]).all()
    for _ in range(30):
        corners = random.uniform(-10, 100, (int(random.integers(3, 8)), 2))
        drawn = draw_in_page(page, 90, 60, f"mask.polygon({corners.tolist()}, 1)")
        crossings = np.zeros(drawn.shape, int)
        for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            crossings += ((ay <= y) != (by <= y)) & (x < ax + (y - ay) / (by - ay) * (bx - ax))
        assert (drawn == crossings % 2).all()


def test_holes_are_filled_and_what_is_open_is_not(page: Page) -> None:
    from scipy import ndimage

    random = np.random.default_rng(1)
    for _ in range(20):
        before = (ndimage.gaussian_filter(random.random((40, 50)), 1.5) > 0.5).astype(np.uint8)
        drawn = draw_in_page(
            page, 50, 40, f"mask.data.set({before.ravel().tolist()}); mask.fillHoles(1)"
        )
        assert (drawn == ndimage.binary_fill_holes(before)).all()


def draw_in_page(page: Page, width: int, height: int, script: str) -> np.ndarray:
    """What a script draws on an empty mask."""
    script = f"""(async () => {{
      const {{ Mask }} = await import('/static/mask.js');
      const mask = new Mask({width}, {height}, new Uint8Array({width * height}));
      mask.begin();
      {script};
      mask.end();
      return mask.data;
    }})()"""
    return bytes_in(page, script).reshape(height, width)


def test_keep_mine_gives_the_server_all_that_is_seen(
    start: Start, tmp_path: Path, browser: Browser
) -> None:
    """Two tabs of one reviewer on an image of several tiles: the one that insists is what is kept,
    in every tile.
    """
    (tmp_path / "set" / "images").mkdir(parents=True)
    (tmp_path / "set" / "masks").mkdir()
    from limner.data.writers.png import write_png

    for name in ("a", "b"):
        write_png(
            tmp_path / "set" / "images" / f"{name}.png",
            np.full((300, 1100, 3), 90 if name == "a" else 120, np.uint8),
        )
        write_png(
            tmp_path / "set" / "masks" / f"{name}.png",
            np.eye(300, 1100, dtype=np.uint8) * np.uint8(255),
        )
    served = start(tmp_path / "set", "--no-open", "--reviewer", "mira", verb="review")
    with browser.new_context(viewport=SIZE) as context:
        first, second = context.new_page(), context.new_page()
        for page in (first, second):
            page.goto(served.address)
            shown(page, 0)
        brush(first, 20)
        drag(first, (100, 100), (150, 150))
        saved(first)
        brush(second, 20)
        drag(second, (900, 100), (950, 150))
        expect(second.locator("#notice")).to_contain_text("mira changed this mask")
        second.click("#notice-yes")
        saved(second)
        session = open_session(tmp_path / "set")
        assert (session.mask(session.tasks[0])[0] == mask_in(second)).all() and not mask_in(second)[
            100, 115
        ]


def test_accepting_while_a_reason_is_asked_for_accepts(page: Page, folder: Path) -> None:
    page.keyboard.press("r")
    page.keyboard.press("a")
    shown(page, 1)
    page.keyboard.press("r")
    page.click("#accept")
    shown(page, 2)
    saved(page)
    assert [event.verdict for event in open_session(folder).store.events()] == [
        "accepted",
        "accepted",
    ]


def test_what_could_not_be_sent_asks_however_often_the_page_is_loaded(
    folder: Path, start: Start, browser: Browser
) -> None:
    """Strokes from a time when the server was down, and meanwhile somebody else drew there."""
    served = start(folder, "--no-open", "--reviewer", "mira", verb="review")
    port = served.address.rsplit(":", 1)[1].strip("/")
    with browser.new_context(viewport=SIZE) as context:
        page = context.new_page()
        page.goto(served.address)
        shown(page, 0)
        draw_without_server(served, page)
        mine = mask_in(page)
        page.close()
        session = open_session(folder)
        theirs = session.mask(session.tasks[0])[0].copy()
        theirs[:5] ^= 1
        draw(session, session.tasks[0], theirs, "ben")
        start(folder, "--no-open", "--reviewer", "mira", "--port", port, verb="review")
        for _ in range(3):
            again = context.new_page()
            again.goto(served.address)
            shown(again, 0)
            expect(again.locator("#notice")).to_contain_text("changed this mask in the meantime")
            assert (session.mask(session.tasks[0])[0] == theirs).all()
            again.close()
        last = context.new_page()
        last.goto(served.address)
        shown(last, 0)
        last.click("#notice-yes")
        saved(last)
        assert (session.mask(session.tasks[0])[0] == mask_in(last)).all() and (
            mask_in(last) == mine
        ).mean() > 0.9


def test_nothing_is_drawn_while_a_verdict_is_under_way(page: Page, folder: Path) -> None:
    """The answer is held back: the page has moved on, and going back shows a mask that cannot be
    changed yet.
    """
    before = mask_in(page)
    page.evaluate("""() => {
      const { fetch } = window;
      window.fetch = async (...all) => {
        if (String(all[0]).endsWith('/0/verdict'))
          await new Promise((go) => { window.release = go; });
        return fetch(...all);
      };
    }""")
    page.keyboard.press("a")
    shown(page, 1)
    page.keyboard.press("k")
    shown(page, 0)
    brush(page, 6)
    drag(page, (20, 20), (60, 40), button="right" if before[30, 40] else "left")
    page.keyboard.press("a")
    assert (mask_in(page) == before).all()
    page.evaluate("window.release()")
    saved(page)
    assert len(open_session(folder).store.events()) == 1


def test_a_pen_paints_and_the_palm_beside_it_does_not(review: Served, browser: Browser) -> None:
    with browser.new_context(viewport=SIZE, has_touch=True) as context:
        page = watched(context.new_page())
        page.goto(review.address)
        shown(page, 0)
        clear(page)
        hand = context.new_cdp_session(page)

        def pen(kind: str, x: float, y: float, button: str) -> None:
            left, top = on_screen(page, x, y)
            told = {
                "type": kind,
                "x": left,
                "y": top,
                "button": button,
                "buttons": 0 if kind == "mouseReleased" else 1,
                "clickCount": 1,
                "pointerType": "pen",
            }
            hand.send("Input.dispatchMouseEvent", told)

        pen("mousePressed", 20, 20, "left")
        pen("mouseMoved", 40, 20, "left")
        palm_x, palm_y = on_screen(page, 60, 50)
        hand.send(
            "Input.dispatchTouchEvent",
            {"type": "touchStart", "touchPoints": [{"x": palm_x, "y": palm_y, "id": 1}]},
        )
        pen("mouseMoved", 60, 20, "left")
        hand.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        pen("mouseReleased", 60, 20, "left")
        drawn = mask_in(page)
        assert drawn[20, 20:60].all() and not drawn[45:55, 55:65].any()
        saved(page)
        assert page.wrong == []  # type: ignore[attr-defined]
