"""A huge image on the review page: first sight, pan and zoom, strokes, memory.

python benchmarks/review_huge.py [--side 20000]

The image is a TIFF in tiles of 512 px, packed as JPEG, without a pyramid. Times are of Chromium
without a GPU, on the machine that the server runs on too. Memory is that of the page's process and
of the server's, at their peaks.
"""

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from playwright.sync_api import Page

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from review_storms import running

from browser import chromium
from limner.data.synthetic import draw_lesion
from review_page import brush, drag, saved
from review_server import open_session

IS_SHARP = """() => limner.now && !limner.now.bitmap.wanted.length
  && !limner.now.bitmap.running.size"""
FRAMES = """async () => {
  const stage = document.getElementById('stage'), times = [];
  let last = performance.now();
  for (let i = 0; i < 120; i++) {
    MOVE
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    times.push(now - last);
    last = now;
  }
  return times;
}"""
MOVES = {
    "pan, the whole image": "limner.view.pan(i % 2 ? 9 : -9, 3 * Math.sin(i));",
    "zoom in and out": "limner.view.zoom(i % 40 < 20 ? 1.25 : 0.8, 500, 400);",
    "pan, at a pixel for a pixel": "limner.view.pan(-14, -9);",
}


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=20_000)
    side = parser.parse_args().side
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "photos"
        folder.mkdir()
        write_image(folder / "huge.tif", side)
        arguments = ("--classes", "lesion")
        with running(folder, *arguments) as served, chromium() as browser:
            page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
            start = time.monotonic()
            page.goto(served.address)
            page.wait_for_function("() => limner?.now?.bitmap?.tiles?.size > 0")
            print(f"{side}x{side} px: first tile after {time.monotonic() - start:.2f} s")
            page.wait_for_function(IS_SHARP)
            print(f"the whole image is sharp after {time.monotonic() - start:.2f} s")
            page.wait_for_function("() => !limner.now.filling")
            print(f"the mask is there after {time.monotonic() - start:.2f} s")
            for name, move in MOVES.items():
                if "pixel" in name:
                    page.evaluate("limner.view.zoom(1 / limner.view.scale, 500, 400)")
                    page.wait_for_function(IS_SHARP)
                measure(page, name, move)
            page.keyboard.press("0")
            draw(page, folder, side)
            print_memory(served.process.pid)


def write_image(path: Path, side: int) -> None:
    """Write a picture that repeats, each tile a little brighter or darker."""
    tile = draw_lesion(0, 0, 512)[0].astype(int)
    across = math.ceil(side / 512)

    def tiles() -> Iterator[np.ndarray]:
        for number in range(across * across):
            yield np.clip(tile + number % 37 - 18, 0, 255).astype(np.uint8)

    tifffile.imwrite(
        path,
        tiles(),
        shape=(side, side, 3),
        dtype=np.uint8,
        tile=(512, 512),
        photometric="rgb",
        compression="jpeg",
    )


def measure(page: Page, name: str, move: str) -> None:
    """Print how long frames take while the image moves."""
    times = page.evaluate(FRAMES.replace("MOVE", move))
    p50, p95, most = np.percentile(times, [50, 95, 100])
    print(f"{name}: {p50:.1f} ms a frame, p95 {p95:.1f}, most {most:.1f}")


def draw(page: Page, folder: Path, side: int) -> None:
    """Draw strokes, and compare the page's mask with the server's."""
    brush(page, 300)
    start = time.monotonic()
    for place in (0.2, 0.5, 0.8):
        drag(page, (0.2 * side, place * side), (0.4 * side, (place - 0.05) * side))
    print(f"three strokes of {side // 5} px took {time.monotonic() - start:.2f} s")
    saved(page)
    print(f"they were saved {time.monotonic() - start:.2f} s after the first began")
    on_page = page.evaluate("limner.now.mask.data.reduce((a, b) => a + b)")
    session = open_session(folder)
    on_server = int(session.mask(session.tasks[0])[0].sum(dtype=np.int64))
    print(f"pixels drawn: {on_page:,} on the page, {on_server:,} on the server")
    assert on_page == on_server


def print_memory(server: int) -> None:
    """Print the most memory of the server and of the browser's largest process of a page."""
    renderers = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if b"--type=renderer" in path.read_bytes()
    ]
    page = max(map(peak_bytes, renderers))
    print(f"peak of the server {peak_bytes(server) / 1e9:.2f} GB, of the page {page / 1e9:.2f} GB")


def peak_bytes(process: int) -> int:
    """The most resident memory that a process has had."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


if __name__ == "__main__":
    main()
