"""Clicks that masks take to be corrected, with each tool of the review page, by a simulated hand.

    limner predict RUN IMAGES -o predictions
    python benchmarks/clicks.py predictions MASKS --count 100

The hand clicks in the middle of the largest error, until the mask has a Dice of 0.90 or 0.95 with
the truth, 20 times at most (NoC@90, NoC@95: as of RITM, arXiv:2102.06583, but from the predicted
mask and not from an empty one). What a click made worse is undone and done with the brush. The
tools are the page's own code, which deno runs. `limner predict` wrote the predictions, of two
classes; MASKS are the true ones, by the same names.
"""

import argparse
import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from limner.data.images import read_image, read_mask

TOOLS = ("brush", "grow", "click")
TARGETS = (0.90, 0.95)
MOST_CLICKS = 20
BRUSH_PX = 20
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Example:
    """An image, its predicted mask, the truth and the map of uncertainty."""

    image: np.ndarray
    predicted: np.ndarray
    uncertain: np.ndarray
    truth: np.ndarray


class PageTools:
    """The tools of the page, in a process of deno."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        command = ["deno", "run", "--quiet", "--allow-read", "--allow-write"]
        self._process = subprocess.Popen(
            [*command, str(HERE / "click_tools.js"), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def open(self, example: Example) -> None:
        """Take another image."""
        height, width = example.truth.shape
        rgba = np.dstack([example.image, np.full((height, width), 255, np.uint8)])
        for name, pixels in (
            ("image", rgba),
            ("predicted", example.predicted.astype(np.uint8)),
            ("uncertain", example.uncertain),
        ):
            (self._folder / name).write_bytes(np.ascontiguousarray(pixels).tobytes())
        self._ask({"open": [width, height]})

    def click(self, mask: np.ndarray, tool: str, place: tuple[int, int], add: bool) -> np.ndarray:
        """The mask after a click at (row, column) that adds or takes away."""
        (self._folder / "mask").write_bytes(mask.astype(np.uint8).tobytes())
        row, column = (int(value) for value in place)
        self._ask({"tool": tool, "x": column, "y": row, "value": int(add), "radius": BRUSH_PX / 2})
        content = (self._folder / "mask").read_bytes()
        return np.frombuffer(content, np.uint8).reshape(mask.shape) == 1

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def _ask(self, command: dict[str, Any]) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer == "done\n", answer


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("predictions", type=Path)
    parser.add_argument("masks", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    examples = read_examples(arguments.predictions, arguments.masks)
    order = np.random.default_rng(arguments.seed).permutation(len(examples))
    chosen = [examples[place] for place in order[: arguments.count]]
    start = np.array([dice(example.predicted, example.truth) for example in chosen])
    print(f"{len(chosen)} masks, mean Dice {start.mean():.4f}")
    print("| Dice wanted | tool | masks below it | mean clicks of these | not reached |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        tools = PageTools(Path(folder))
        for target in TARGETS:
            below = [example for example, d in zip(chosen, start, strict=True) if d < target]
            for tool in TOOLS:
                results = [correct(tools, tool, example, target) for example in below]
                clicks = np.array([count for count, _ in results])
                missed = sum(not reached for _, reached in results)
                print(
                    f"| {target} | {tool} | {len(below)} | {clicks.mean():.2f} | {missed} |",
                    flush=True,
                )
        tools.close()


def read_examples(predictions: Path, masks: Path) -> list[Example]:
    """Read all predictions that have a true mask of their size."""
    truths = {path.stem: path for path in masks.iterdir()}
    record = json.loads((predictions / "predictions.json").read_text())
    examples = []
    for entry in record["predictions"]:
        stem = Path(entry["mask"]).stem
        found = next(
            (truths[name] for name in (stem, f"{stem}_segmentation") if name in truths), None
        )
        if found is None:
            continue
        truth = read_mask(found).values > 0
        predicted = read_mask(predictions / entry["mask"]).values > 0
        if truth.shape == predicted.shape:
            uncertain = read_image(predictions / entry["uncertainty"])[..., 0]
            examples.append(Example(read_image(Path(entry["image"])), predicted, uncertain, truth))
    return examples


def correct(tools: PageTools, tool: str, example: Example, target: float) -> tuple[int, bool]:
    """How many clicks it takes, and whether the Dice was reached."""
    tools.open(example)
    mask, clicks = example.predicted, 0
    while dice(mask, example.truth) < target and clicks < MOST_CLICKS:
        place, add = middle_of_largest_error(mask, example.truth)
        clicks += 1
        changed = tools.click(mask, tool, place, add)
        if dice(changed, example.truth) <= dice(mask, example.truth):
            changed = tools.click(mask, "brush", place, add)
        mask = changed
    return clicks, dice(mask, example.truth) >= target


def middle_of_largest_error(mask: np.ndarray, truth: np.ndarray) -> tuple[tuple[int, int], bool]:
    """The pixel that is farthest from where the mask is right, and whether it is to be added."""
    best: tuple[float, tuple[int, int], bool] = (-1.0, (0, 0), True)
    for error, add in ((truth & ~mask, True), (mask & ~truth, False)):
        distance = ndimage.distance_transform_edt(np.pad(error, 1))[1:-1, 1:-1]
        place = np.unravel_index(int(distance.argmax()), distance.shape)
        if distance[place] > best[0]:
            best = float(distance[place]), (int(place[0]), int(place[1])), add
    return best[1], best[2]


def dice(mask: np.ndarray, truth: np.ndarray) -> float:
    """Dice of two masks, 1 where both are empty."""
    area = int(mask.sum()) + int(truth.sum())
    return 2 * int((mask & truth).sum()) / area if area else 1.0


if __name__ == "__main__":
    main()
