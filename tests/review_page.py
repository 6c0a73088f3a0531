"""Playwright helpers for the review page: what it shows, and strokes on it."""

import numpy as np
from playwright.sync_api import Page

SIZE = {"width": 1200, "height": 800}


def watched(page: Page) -> Page:
    """Collect the errors of a page in `page.wrong`."""
    page.wrong = []  # type: ignore[attr-defined]
    page.on(
        "console",
        lambda message: page.wrong.append(message.text) if message.type == "error" else None,
    )  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.wrong.append(str(error)))  # type: ignore[attr-defined]
    return page


def shown(page: Page, place: int) -> None:
    """Wait until an image is shown, and has been for as long as a person needs to see it."""
    page.wait_for_function(
        f"() => window.limner?.now?.place === {place} && performance.now() - limner.now.shown > 210"
    )


def saved(page: Page) -> None:
    page.wait_for_function("() => window.limner.unsaved === 0")


def mask_in(page: Page) -> np.ndarray:
    height, width = page.evaluate("[limner.now.mask.height, limner.now.mask.width]")
    return bytes_in(page, "limner.now.mask.data").reshape(height, width)


def bytes_in(page: Page, expression: str) -> np.ndarray:
    """The value of an expression of the page, which is an array of bytes or a promise of one."""
    # As a text, since each number of a list is sent as an object
    text = page.evaluate(
        f"""async () => {{
            const data = await {expression}, parts = [];
            for (let at = 0; at < data.length; at += 8192) {{
                parts.push(String.fromCharCode(...data.subarray(at, at + 8192)));
            }}
            return parts.join("");
        }}"""
    )
    return np.frombuffer(text.encode("latin-1"), np.uint8)


def on_screen(page: Page, x: float, y: float) -> tuple[float, float]:
    """The position of an image's point on the page."""
    box = page.locator("#stage").bounding_box()
    assert box is not None
    scale, left, top, ratio = page.evaluate(
        "[limner.view.scale, limner.view.x, limner.view.y, devicePixelRatio]"
    )
    return box["x"] + (left + x * scale) / ratio, box["y"] + (top + y * scale) / ratio


def drag(page: Page, *points: tuple[float, float], button: str = "left") -> None:
    page.mouse.move(*on_screen(page, *points[0]))
    page.mouse.down(button=button)  # type: ignore[arg-type]
    for point in points[1:]:
        page.mouse.move(*on_screen(page, *point), steps=3)
    page.mouse.up(button=button)  # type: ignore[arg-type]


def brush(page: Page, radius: float) -> None:
    page.evaluate(f"limner.tools.size({radius})")


def clear(page: Page) -> None:
    brush(page, 200)
    drag(page, (48, 40), (50, 40), button="right")
    brush(page, 4)
