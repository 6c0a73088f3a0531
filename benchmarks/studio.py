"""The studio: clicks and time to the first masks, a project of 10,000 images, kills of its server.

python benchmarks/studio.py circle [--minutes 2]
python benchmarks/studio.py large [--count 10000]
python benchmarks/studio.py kills [--count 50]

`circle` begins with the command, in a browser, and ends when masks of new images of the sample set
are seen. `large` asks for the pages of a project of small images, each a link to one of 20 files.
`kills` ends the server at random moments while it is asked for jobs and uploads: what it had
answered must be there. The exit status is 1 where something was lost.
"""

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2 as httpx
from playwright.sync_api import expect

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from browser import chromium
from limner.data.synthetic import write_images, write_synthetic
from review_page import SIZE
from service import Served, begin, png

MINUTE_MS = 60_000
REPEATS = 20


def main() -> bool:
    """Run one of the three; whether nothing was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["circle", "large", "kills"])
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--count", type=int)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if options.what == "circle":
            return circle(root, options.minutes)
        if options.what == "large":
            return large(root, options.count or 10_000)
        return kills(root, options.count or 50)


@contextmanager
def studio(root: Path, *arguments: object) -> Iterator[Served]:
    """A server whose user has an empty home."""
    environment = {"HOME": str(root), "LIMNER_CACHE": str(root / "cache")}
    served = begin(root, "--no-open", *arguments, verb="studio", **environment)
    try:
        yield served
    finally:
        served.process.kill()
        served.close()


def circle(root: Path, minutes: float) -> bool:
    """From the command to masks of new images, with each click counted."""
    start, clicks = time.monotonic(), 0

    def say(what: str) -> None:
        print(f"{time.monotonic() - start:7.1f} s, {clicks} clicks: {what}", flush=True)

    with studio(root) as served, chromium() as browser:
        page = browser.new_context(viewport=SIZE).new_page()
        page.goto(served.address)
        say("the page is seen")
        for words, step, state in (
            ("Try the sample set", "check", "next"),
            ("Check images and masks", "train", "next"),
            ("Train", "report", "next"),
            ("Score it on test images", "predict", "next"),
            ("Predict masks in new-lesions", "predict", "done"),
        ):
            if words == "Train":
                page.get_by_label("Minutes").fill(str(minutes))
            page.get_by_role("button", name=words, exact=True).click()
            clicks += 1
            card = page.locator(f"#step-{step}")
            expect(card).to_have_attribute("data-state", state, timeout=60 * MINUTE_MS)
            say(words)
        expect(page.locator("#step-predict .pictures img").first).to_be_visible()
        say("masks of new images are seen")
        print(page.locator("#step-report .summary").inner_text())
    return True


def large(root: Path, count: int) -> bool:
    """How quickly pages answer, and the memory of the server."""
    write_synthetic(root / "few", count=20, size_px=64, seed=0)
    folder = root / "many"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    images = sorted((root / "few").rglob("*.jpg"))
    masks = sorted((root / "few").rglob("*.png"))
    for number in range(count):
        os.link(images[number % 20], folder / "images" / f"{number:06}.jpg")
        os.link(masks[number % 20], folder / "masks" / f"{number:06}.png")
    with studio(root) as served:
        start = time.monotonic()
        answer = served.client.post("/api/projects", json={"folder": str(folder)})
        path = f"/api/projects/{answer.json()['id']}"
        described = served.client.get(path).json()
        print(f"{described['pairs']} pairs, first seen after {time.monotonic() - start:.2f} s")
        for address in ("/", "/api/projects", path, f"{path}/images/NUMBER"):
            print_times(served.client, address)
        status = Path(f"/proc/{served.process.pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        print(f"memory at its peak: {int(peak.split()[1]) / 1024:.0f} MiB")
    return True


def print_times(client: httpx.Client, address: str) -> None:
    """The median and the longest of several answers."""
    times = []
    for number in range(REPEATS):
        start = time.monotonic()
        client.get(address.replace("NUMBER", str(37 * number))).raise_for_status()
        times.append(time.monotonic() - start)
    middle, most = 1000 * statistics.median(times), 1000 * max(times)
    print(f"{address.rsplit('/', 1)[-1] or '/':>20}: {middle:6.1f} ms, at most {most:.1f} ms")


def kills(root: Path, count: int) -> bool:
    """Kill the server again and again while it is asked; then look for all that it had answered."""
    write_synthetic(root / "lesions", count=8, size_px=32, seed=0)
    write_images(root / "new-ones", count=3, size_px=32, seed=1)
    chance, jobs, files = random.Random(0), set[str](), set[str]()
    path = ""
    for _ in range(count):
        with studio(root) as served:
            if not path:
                opened = served.client.post(
                    "/api/projects", json={"folder": str(root / "lesions")}
                ).json()
                path = f"/api/projects/{opened['id']}"
                served.client.post(f"{path}/drops").raise_for_status()
            asking = threading.Thread(target=ask_for_all, args=(served, path, chance, jobs, files))
            asking.start()
            time.sleep(chance.uniform(0.0, 1.5))
            os.kill(served.process.pid, signal.SIGKILL)
            asking.join()
    with studio(root) as served:
        kept = {path_.name for path_ in (root / "cache" / "studio" / "jobs").iterdir()}
        lost = {job for job in jobs if job not in kept}
        there = {each.name for each in (root / "new-images").iterdir()}
        unfinished = wait_for_all(lambda: served.client.get(path).json()["jobs"])
    gone = files - there
    parts = [name for name in there if name.startswith(".")]
    print(
        f"{count} kills: {len(jobs)} jobs and {len(files)} files were taken; {len(lost)} jobs and "
        f"{len(gone)} files are lost, {len(parts)} parts of files lie about, {unfinished} jobs hang"
    )
    return not (lost or gone or unfinished)


def ask_for_all(
    served: Served, path: str, chance: random.Random, jobs: set[str], files: set[str]
) -> None:
    """Ask for jobs and send files until nobody answers."""
    with suppress(httpx.HTTPError):
        while True:
            number = chance.randrange(10**9)
            name = f"{number}.png"
            sent = served.client.put(f"{path}/drops/new-images/{name}", content=png(seed=number))
            if sent.status_code == 200:
                files.add(name)
            if len(jobs) < 20 and chance.random() < 0.1:
                answer = served.client.post(f"{path}/jobs", json={"step": "check"})
                if answer.status_code == 200:
                    jobs.add(answer.json()["id"])


def wait_for_all(read_jobs: Callable[[], list[dict[str, Any]]]) -> int:
    """Wait until all jobs have ended; how many have not after five minutes."""
    until = time.monotonic() + 300
    while True:
        active = sum(job["state"] in {"waiting", "running"} for job in read_jobs())
        if not active or time.monotonic() > until:
            return active
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(not main())
