"""How quickly polygons become masks: by the rules of labelme, YOLO and COCO, and by pycocotools.

    python benchmarks/polygons.py [POLYGONS]

It draws as many random polygons (10,000 by default) of 20 to 60 corners in images of 512x512 px,
ten to an image, and prints polygons a second: the best of three turns, one after the other.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
from pycocotools import mask as coco

from limner.data.shapes.rules import RULES

SIDE, IN_IMAGE, TURNS = 512, 10, 3


def polygons(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(count):
        corners = int(rng.integers(20, 61))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radii = rng.uniform(0.6, 1.0, corners) * rng.uniform(8, 80)
        middle = rng.uniform(90, SIDE - 90, 2)
        drawn.append(middle + np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None])
    return drawn


def by_rule(rule: str, shapes: list[object]) -> Callable[[], None]:
    def draw() -> None:
        for first in range(0, len(shapes), IN_IMAGE):
            mask = np.zeros((SIDE, SIDE), np.uint8)
            for number, shape in enumerate(shapes[first : first + IN_IMAGE], start=1):
                RULES[rule](shape, (SIDE, SIDE)).paint(mask, number)

    return draw


def by_pycocotools(shapes: list[list[float]]) -> Callable[[], None]:
    def draw() -> None:
        for first in range(0, len(shapes), IN_IMAGE):
            mask = np.zeros((SIDE, SIDE), np.uint8)
            for number, shape in enumerate(shapes[first : first + IN_IMAGE], start=1):
                inside = coco.decode(coco.merge(coco.frPyObjects([shape], SIDE, SIDE)))
                mask[inside > 0] = number

    return draw


def main() -> None:
    drawn = polygons(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
    flat = [points.ravel().tolist() for points in drawn]
    loops = {
        "pycocotools": by_pycocotools(flat),
        "COCO": by_rule("COCO", [[points] for points in flat]),
        "labelme": by_rule(
            "labelme",
            [{"shape_type": "polygon", "points": points.tolist()} for points in drawn],
        ),
        "YOLO": by_rule("YOLO", [(points / SIDE).ravel().tolist() for points in drawn]),
    }
    best = dict.fromkeys(loops, float("inf"))
    for _ in range(TURNS):
        for name, loop in loops.items():
            start = time.perf_counter()
            loop()
            best[name] = min(best[name], time.perf_counter() - start)
    for name, seconds in best.items():
        ratio = best["pycocotools"] / seconds
        print(f"{name:12} {len(drawn) / seconds:8,.0f} polygons/s, {ratio:.2f} of pycocotools")


if __name__ == "__main__":
    main()
