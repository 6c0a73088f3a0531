"""What the review must survive: random strokes, kills of its server, closed tabs, and a race.

python benchmarks/review_storms.py scripts [--count 1000]
python benchmarks/review_storms.py kills [--count 50]
python benchmarks/review_storms.py tabs [--count 50]
python benchmarks/review_storms.py race [--count 10000] [--store URL]

`scripts` draws random strokes in a browser, `kills` kills the server under four writers, `tabs`
closes tabs in the middle of a stroke, and `race` lets two reviewers write to one image. The exit
status is 1 where a pixel differed, an acknowledged write was lost, or a write was overwritten
without an answer that says so.
"""

import argparse
import base64
import random
import signal
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import numpy as np
from PIL import Image
from playwright.sync_api import Page

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from browser import chromium
from limner.data.images import read_mask
from limner.data.storage import Storage
from limner.data.synthetic import draw_lesion
from limner.inference.batch import predict_folder
from limner.inference.image_selection import ImageSelection
from limner.inference.prediction_job import PredictionJob
from limner.inference.predictor import Predictor
from limner.review.merge import merge
from review_server import decide, open_session, pack_one_tile
from service import Served, begin, write_model

SIZES = ((64, 96), (511, 513), (700, 1024), (1500, 2000))
"""Heights and widths as stored."""


def main() -> bool:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("storm", choices=["scripts", "kills", "tabs", "race"])
    parser.add_argument("--count", type=int)
    parser.add_argument("--store", default="")
    options = parser.parse_args()
    storms = {
        "scripts": (scripts, 1000),
        "kills": (kills, 50),
        "tabs": (tabs, 50),
        "race": (race, 10_000),
    }
    storm, default_count = storms[options.storm]
    with tempfile.TemporaryDirectory() as name:
        return storm(Path(name), options.count or default_count, options.store)


def predictions(
    folder: Path,
    sizes: tuple[tuple[int, int], ...] = SIZES,
    orientations: tuple[int, ...] = tuple(range(1, 9)),
) -> Path:
    """A photo of each size in each orientation, and the predictions of a tiny model."""
    (folder / "photos").mkdir()
    for height, width in sizes:
        image = Image.fromarray(draw_lesion(1, height, max(height, width))[0][:height, :width])
        for orientation in orientations:
            exif = Image.Exif()
            exif[0x0112] = orientation
            image.save(
                folder / "photos" / f"{width}x{height}-{orientation}.jpg", exif=exif, quality=90
            )
    model = write_model(folder / "model.onnx", classes=("background", "foreground"))
    job = PredictionJob.plan(
        ImageSelection.from_storage(Storage(folder / "photos")),
        Storage(folder / "predictions"),
        {"model.onnx": ""},
    )
    predict_folder(Predictor.load(model), job)
    return folder / "predictions"


@contextmanager
def running(folder: Path, *arguments: object) -> Iterator[Served]:
    served = begin(
        folder.parent, folder, "--no-open", "--reviewer", "mira", *arguments, verb="review"
    )
    try:
        yield served
    finally:
        served.process.kill()
        served.close()


def scripts(root: Path, count: int, _: str) -> bool:
    """Draw with a real mouse in a real browser, at any zoom.

    The mask of the page, of the server and of the file must be the same.
    """
    folder, random_, start_s = predictions(root), random.Random(0), time.monotonic()
    last_masks: dict[int, np.ndarray] = {}
    differing = strokes = 0
    with running(folder) as served, chromium() as browser:
        session = open_session(folder)
        page = browser.new_context(viewport={"width": 1000, "height": 700}).new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(served.address)
        page.wait_for_function("() => window.limner?.now")
        for number in range(count):
            place = number % len(session.tasks)
            while (now := page.evaluate("limner.now?.place ?? -1")) != place:
                page.keyboard.press("j" if now < place else "k")
                page.wait_for_timeout(15)
            strokes += scribble(page, random_)
            page.wait_for_function("() => limner.unsaved === 0")
            shown = mask_in(page)
            stored = session.mask(session.tasks[place])[0]
            same_shape = shown.shape == stored.shape
            differing += int((shown != stored).sum()) if same_shape else shown.size
            last_masks[place] = shown
            if (number + 1) % 100 == 0:
                print(
                    (
                        f"{number + 1} scripts, {strokes} strokes, {differing} pixels differ, "
                        f"{time.monotonic() - start_s:.0f} s"
                    ),
                    flush=True,
                )
        for task in session.tasks:
            decide(session, task, "mira")
        data = root / "data"
        (data / "images").mkdir(parents=True)
        (data / "masks").mkdir()
        for index in range(2):
            Image.fromarray(draw_lesion(2, index, 64)[0]).save(data / "images" / f"{index}.png")
            Image.fromarray(draw_lesion(2, index, 64)[1]).save(data / "masks" / f"{index}.png")
        merge(folder, data, root / "next")
        in_files = 0
        for place, shown in last_masks.items():
            merged = read_mask(root / "next" / "masks" / session.tasks[place].entry.id).values
            in_files += int((merged != shown * np.uint8(255)).sum())
        print(
            f"{count} scripts, {strokes} strokes over {len(session.tasks)} images: {differing} "
            f"pixels differ on the server, {in_files} in the files; {errors}"
        )
        return not differing and not in_files and not errors


def scribble(page: Page, random_: random.Random) -> int:
    """Draw and undo a few strokes, polygons and fills at any zoom; return how many."""
    box = page.locator("#stage").bounding_box()
    assert box is not None
    at = lambda: (  # noqa: E731
        box["x"] + random_.uniform(5, box["width"] - 5),
        box["y"] + random_.uniform(60, box["height"] - 5),
    )
    strokes = random_.randint(1, 5)
    for _ in range(strokes):
        page.evaluate(f"limner.tools.size({random_.choice([0.5, 1, 3, 12, 40])})")
        if random_.random() < 0.3:
            page.keyboard.press(random_.choice(["+", "+", "-", "0"]))
        kind = random_.random()
        if kind < 0.7:
            page.mouse.move(*at())
            button = random_.choice(["left", "left", "right"])
            page.mouse.down(button=button)
            for _ in range(random_.randint(0, 4)):
                page.mouse.move(*at(), steps=random_.randint(1, 3))
            page.mouse.up(button=button)
        elif kind < 0.85:
            page.keyboard.press("p")
            for _ in range(random_.randint(3, 6)):
                page.mouse.click(*at())
            page.keyboard.press(random_.choice(["Enter", "Alt+Enter"]))
            page.keyboard.press("p")
        else:
            page.keyboard.press(random_.choice(["f", "z", "z", "Shift+Z"]))
    return strokes


def mask_in(page: Page) -> np.ndarray:
    """The page's mask, compressed on the way as the page compresses what it sends."""
    height, width, content = page.evaluate(
        """async () => {
            const { deflateTiles } = await import('/static/runs.js'), { mask } = limner.now;
            const bytes = await deflateTiles([[0, mask.data]]);
            let text = '';
            for (let i = 0; i < bytes.length; i += 8192)
                text += String.fromCharCode(...bytes.subarray(i, i + 8192));
            return [mask.height, mask.width, btoa(text)];
        }"""
    )
    pixels = zlib.decompress(base64.b64decode(content))[4:]
    return np.frombuffer(pixels, np.uint8).reshape(height, width)


def version_of(etag: str) -> int:
    return int(etag.strip('"').rpartition("-")[2])


def kills(root: Path, count: int, _: str) -> bool:
    """Kill the server at random moments under four writers.

    All that was acknowledged must be stored, and the chain of events must hold.
    """
    folder = predictions(root, ((64, 96),), (1, 2, 3, 4, 5, 6, 7, 8))
    shapes = [open_session(folder).mask(task)[0].shape for task in open_session(folder).tasks]
    random_, acknowledged, lost, torn, stale = random.Random(0), [0] * 8, 0, 0, 0
    # The seed of what was drawn, by place and version
    sent: dict[tuple[int, int], int] = {}
    writes = 0
    for kill in range(count):
        with running(folder) as served:
            stop = threading.Event()

            def write(
                places: tuple[int, int],
                seed: int,
                address: str = served.address,
                stop: threading.Event = stop,
            ) -> None:
                nonlocal writes, stale
                choose = random.Random(seed)
                with httpx.Client(base_url=address, timeout=5) as client:
                    while not stop.is_set():
                        place = choose.choice(places)
                        try:
                            etag = client.get(f"/api/tasks/{place}/mask").headers["etag"]
                            version, pattern, headers = (
                                version_of(etag),
                                choose.randrange(2**31),
                                {"If-Match": etag},
                            )
                            if choose.random() < 0.15:
                                answer = client.post(
                                    f"/api/tasks/{place}/verdict",
                                    json={"verdict": "accept", "seconds": 1},
                                    headers=headers,
                                )
                                pattern = sent.get((place, version), -1)
                            else:
                                tile = (
                                    np.random.default_rng(pattern)
                                    .integers(0, 2, shapes[place])
                                    .astype(np.uint8)
                                )
                                answer = client.put(
                                    f"/api/tasks/{place}/draft",
                                    content=pack_one_tile(tile),
                                    headers=headers,
                                )
                        except (httpx.HTTPError, KeyError):
                            return
                        if answer.status_code == 200:
                            version = answer.json()["version"]
                            sent[place, version], acknowledged[place] = pattern, version
                            writes += 1
                        elif answer.status_code == 412:
                            stale += 1

            threads = [
                threading.Thread(target=write, args=((2 * index, 2 * index + 1), kill * 4 + index))
                for index in range(4)
            ]
            for thread in threads:
                thread.start()
            time.sleep(random_.uniform(0.3, 2.0))
            served.process.send_signal(signal.SIGKILL)
            served.process.wait()
            stop.set()
            for thread in threads:
                thread.join()
        # Verifies the chain
        session = open_session(folder)
        for place, task in enumerate(session.tasks):
            mask, state = session.mask(task)
            if state.version not in {acknowledged[place], acknowledged[place] + 1}:
                lost += 1
            elif (
                state.version == acknowledged[place]
                and (pattern := sent.get((place, state.version), -1)) >= 0
            ):
                torn += not np.array_equal(
                    mask, np.random.default_rng(pattern).integers(0, 2, mask.shape).astype(np.uint8)
                )
            if state.version == acknowledged[place] + 1:
                # Committed, and killed before it was said
                acknowledged[place] = state.version
        session.store.close()
        if (kill + 1) % 10 == 0:
            print(
                (
                    f"{kill + 1} kills, {writes} writes acknowledged, {lost} lost, {torn} not as "
                    f"they were sent, {stale} stale"
                ),
                flush=True,
            )
    print(
        f"{count} kills, {writes} writes acknowledged, {lost} lost, {torn} not as they were "
        f"sent; the chain of {len(session.store.events())} events holds"
    )
    return not lost and not torn


def tabs(root: Path, count: int, _: str) -> bool:
    """Close tabs in the middle of a stroke.

    All strokes that were finished must be there, acknowledged or not.
    """
    folder, random_, lost = predictions(root, ((511, 513),), (1, 6)), random.Random(0), 0
    with running(folder) as served, chromium() as browser:
        context = browser.new_context(viewport={"width": 1000, "height": 700})
        for _ in range(count):
            page = context.new_page()
            page.goto(served.address)
            page.wait_for_function("() => window.limner?.now")
            box = page.locator("#stage").bounding_box()
            assert box is not None
            at = lambda box=box: (  # noqa: E731
                box["x"] + random_.uniform(200, box["width"] - 200),
                box["y"] + random_.uniform(150, box["height"] - 100),
            )
            for _ in range(random_.randint(1, 3)):
                page.mouse.move(*at())
                button = random_.choice(["left", "right"])
                page.mouse.down(button=button)
                page.mouse.move(*at(), steps=4)
                page.mouse.up(button=button)
            finished = mask_in(page)
            page.mouse.move(*at())
            page.mouse.down()
            page.mouse.move(*at(), steps=2)
            page.close()
            again = context.new_page()
            again.goto(served.address)
            again.wait_for_function("() => window.limner?.now")
            again.wait_for_function("() => limner.unsaved === 0")
            lost += not np.array_equal(mask_in(again), finished)
            again.close()
    print(f"{count} tabs closed in the middle of a stroke: {lost} finished strokes lost")
    return not lost


def race(root: Path, count: int, store: str) -> bool:
    """Let two reviewers write to one image as fast as they can, each over what they last saw.

    Each version must have one winner, and every loser an answer that says so.
    """
    folder = predictions(root, ((64, 96),), (1,))
    shape = open_session(folder).mask(open_session(folder).tasks[0])[0].shape
    winners: dict[int, list[str]] = {}
    refused = [0]
    left, lock = [count], threading.Lock()
    with running(folder, *(["--store", store] if store else [])) as served:

        def write(name: str) -> None:
            choose = np.random.default_rng(len(name))
            with httpx.Client(base_url=served.address, timeout=30) as client:
                etag = client.get("/api/tasks/0/mask").headers["etag"]
                while True:
                    with lock:
                        if left[0] == 0:
                            return
                        left[0] -= 1
                    tile = choose.integers(0, 2, shape).astype(np.uint8)
                    answer = client.put(
                        "/api/tasks/0/draft",
                        content=pack_one_tile(tile),
                        headers={"If-Match": etag},
                    )
                    etag, version = answer.headers["etag"], answer.json()["version"]
                    with lock:
                        if answer.status_code == 200:
                            winners.setdefault(version, []).append(name)
                        else:
                            assert answer.status_code == 412, answer.text
                            refused[0] += 1

        start_s = time.monotonic()
        threads = [threading.Thread(target=write, args=(name,)) for name in ("anna", "ben's")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        last = version_of(httpx.get(f"{served.address}api/tasks/0/mask").headers["etag"])
    several = sum(len(names) > 1 for names in winners.values())
    print(
        f"{count} writes of two reviewers in {time.monotonic() - start_s:.0f} s: "
        f"{len(winners)} versions, of which {several} have two winners; {refused[0]} were refused "
        f"as stale; the last version is {last}"
    )
    return not several and last == len(winners) and len(winners) + refused[0] == count


if __name__ == "__main__":
    sys.exit(not main())
