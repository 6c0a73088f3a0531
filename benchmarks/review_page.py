"""How fast the review page reacts in a browser: its pointer handler, its frames, the next image.

python benchmarks/review_page.py [--side 4096] [--strokes 2000]

Times are of Chromium without a GPU. `handler` is the time of a pointer's move, and `end` that of
its release, when the stroke's tiles are packed for undo and kept in the browser. `draw` is the
drawing of a frame, and `frame` the time from one frame to the next while strokes are drawn.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from review_storms import predictions, running

from browser import chromium
from limner.data.synthetic import draw_lesion
from limner.data.writers.jpeg import write_jpeg

WATCH = """() => {
  window.times = { handler: [], end: [], draw: [], frame: [] };
  let began = 0, last = 0;
  addEventListener('pointermove', () => { began = performance.now(); }, { capture: true });
  addEventListener("pointermove", () => { times.handler.push(performance.now() - began); });
  addEventListener('pointerup', () => { began = performance.now(); }, { capture: true });
  addEventListener('pointerup', () => { times.end.push(performance.now() - began); });
  const beat = (at) => {
    if (last) times.frame.push(at - last);
    last = at;
    requestAnimationFrame(beat);
  };
  requestAnimationFrame(beat);
  const { view } = limner, draw = view.draw.bind(view);
  view.draw = () => {
    const start = performance.now();
    draw();
    times.draw.push(performance.now() - start);
  };
}"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--strokes", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        folder = predictions(root, ((1200, 1600),), (1, 2, 3, 4, 5, 6, 7, 8))
        large = np.asarray(
            Image.fromarray(draw_lesion(0, 0, 512)[0]).resize((options.side, options.side))
        )
        record = json.loads((folder / "predictions.json").read_text())
        first = record["predictions"][0]
        write_jpeg(root / "large.jpg", large)
        Image.new("L", (options.side, options.side)).save(folder / "large.png")
        record["predictions"].append(
            {
                **first,
                "image": str(root / "large.jpg"),
                "mask": "large.png",
                "predicted_dice": 0.0,
                "image_sha256": None,
            }
        )
        (folder / "predictions.json").write_text(json.dumps(record))
        with running(folder) as served, chromium() as browser:
            page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
            page.goto(served.address)
            page.wait_for_function("() => window.limner?.now")
            assert page.evaluate("limner.now.mask.width") == options.side
            page.evaluate(WATCH)
            print(f"{options.side}x{options.side} px, window of 1400x900")
            measure(page, "the whole image, brush of 60 px", 60, 40)
            for _ in range(14):
                page.keyboard.press("+")
            measure(page, "zoomed in 22 times, brush of 20 px", 20, 40)
            page.keyboard.press("0")
            page.evaluate(
                f"""() => {{
                  const {{ mask }} = limner.now;
                  let seed = 1;
                  const next = () => (seed = seed * 16807 % 2147483647) / 2147483647;
                  for (let i = 0; i < {options.strokes}; i++) {{
                    mask.begin();
                    let x = next() * mask.width, y = next() * mask.height;
                    for (let j = 0; j < 5; j++) {{
                      const nx = x + next() * 200 - 100, ny = y + next() * 200 - 100;
                      mask.line(x, y, nx, ny, 10, i % 3 ? 1 : 0);
                      x = nx; y = ny;
                    }}
                    mask.end();
                  }}
                  limner.view.overlay.clear();
                  limner.view.again();
                }}"""
            )
            print(
                f"after {options.strokes} strokes more, "
                f"{page.evaluate('limner.now.mask.past.length')} of which can be undone:"
            )
            measure(page, "the whole image, brush of 60 px", 60, 40)
            page.wait_for_function("() => limner.unsaved === 0")
            print(f"undo memory: {page.evaluate('limner.now.mask.bytes') / 2**20:.1f} MiB")
            following(page)


def measure(page: Page, what: str, radius: float, strokes: int) -> None:
    box = page.locator("#stage").bounding_box()
    assert box is not None
    page.evaluate(
        f"limner.tools.size({radius}); for (const list of Object.values(times)) list.length = 0"
    )
    random = np.random.default_rng(0)
    at = lambda: (  # noqa: E731
        box["x"] + box["width"] * random.uniform(0.3, 0.7),
        box["y"] + box["height"] * random.uniform(0.2, 0.8),
    )
    for _ in range(strokes):
        page.mouse.move(*at())
        page.mouse.down()
        page.mouse.move(*at(), steps=12)
        page.mouse.up()
    times = page.evaluate("times")
    for name in ("handler", "end", "draw", "frame"):
        p50, p95, most = np.percentile(times[name], [50, 95, 100])
        print(
            f"  {what:36} {name:8} p50 {p50:6.1f} ms, p95 {p95:6.1f} ms, most {most:6.1f} ms "
            f"({len(times[name])})"
        )


def following(page: Page) -> None:
    """Time from the key to the first frame of the next image, which was fetched beforehand."""
    taken_ms = []
    for _ in range(4):
        page.wait_for_timeout(1500)
        taken_ms.append(
            page.evaluate(
                """() => new Promise((done) => {
                  const from = limner.now.place, start = performance.now();
                  const finish = () => done(performance.now() - start);
                  const look = () =>
                    requestAnimationFrame(limner.now.place !== from ? finish : look);
                  dispatchEvent(new KeyboardEvent('keydown', { key: 'a', bubbles: true }));
                  look();
                })"""
            )
        )
    print(f"  next image, after A: {', '.join(f'{ms:.0f}' for ms in taken_ms)} ms")


if __name__ == "__main__":
    main()
