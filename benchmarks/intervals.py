"""Do intervals and choices keep their level? By simulation, where the truth is known.

    python benchmarks/intervals.py

Prints how often the 95 % interval of a mean holds the true mean, for images that stand alone and
for images in groups of equal and of unequal sizes; and how often a setting that gains nothing is
taken on validation. 2.5 of 100 are meant for a gain, and "flips" of a network that was trained on
mirrored images are taken on purpose, where validation does not speak against them. Takes about two
minutes.
"""

from collections.abc import Callable
from itertools import product

import numpy as np

from limner.inference.tta import TTA_TRANSFORMS
from limner.inference.tune_settings import THRESHOLDS, choose_postprocessing, choose_settings
from limner.labels import Labels
from limner.metrics.intervals import mean_interval
from limner.model.metadata import PostprocessSettings

BINARY = Labels.from_values(("background", "foreground"), (0, 255))
ALL_STEPS = tuple(PostprocessSettings(*steps) for steps in product((False, True), repeat=3))
IMAGES = (3, 5, 10, 20, 50)
REPEATS, CHOICES = 4000, 600
Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]


def gains(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Differences of Dice: three in ten images are the same, and some differ much."""
    return np.where(rng.random(shape) < 0.3, 0, rng.laplace(0, 0.01, shape))


def dice(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Dice of a good model that fails on 6 of 100 images."""
    failed = rng.random(shape) < 0.06
    return np.where(failed, rng.beta(1, 2, shape), rng.beta(12, 1.6, shape))


def covered(values: np.ndarray, mean: float, groups: list[str | None] | None = None) -> float:
    """How often, of 100 columns, the interval holds the mean."""
    low, high = mean_interval(values, groups).T
    return 100 * float(np.mean((low <= mean) & (high >= mean)))


def print_coverage(rng: np.random.Generator) -> None:
    kinds: dict[str, tuple[Draw, float]] = {
        "normal": (lambda rng, shape: rng.normal(0, 1, shape), 0.0),
        "gains": (gains, 0.0),
        "Dice, 6 % fail": (dice, float(dice(rng, (2000, 2000)).mean())),
    }
    print("coverage of 95 % intervals, images alone\n" + " " * 20, *(f"{n:6d}" for n in IMAGES))
    for name, (draw, mean) in kinds.items():
        rates = (covered(draw(rng, (count, REPEATS)), mean) for count in IMAGES)
        print(f"{name:20s}", *(f"{rate:6.1f}" for rate in rates))
    print("coverage of 95 % intervals, images of a group alike (correlation 0, 0.5, 0.9)")
    for count in (5, 10, 20, 40):
        for kind, sizes in (
            ("equal sizes", np.full(count, 10)),
            ("1 to 30", rng.integers(1, 31, count)),
        ):
            index = np.repeat(np.arange(count), sizes)
            names: list[str | None] = [str(number) for number in index]
            rates = []
            for alike in (0.0, 0.5, 0.9):
                values = np.sqrt(alike) * rng.normal(size=(count, REPEATS // 4))[index]
                values += np.sqrt(1 - alike) * rng.normal(size=values.shape)
                rates += [covered(values, 0.0, names), covered(values, 0.0)]
            shown = " ".join(
                f"{ours:5.1f} (without groups {alone:4.1f})"
                for ours, alone in zip(rates[::2], rates[1::2], strict=True)
            )
            print(f"{count:3d} groups, {kind:12s} {shown}", flush=True)


def print_choices(rng: np.random.Generator) -> None:
    print("settings that gain nothing and are taken, of 100\nimages  threshold  flips  turns or")
    print("                          scales  post-processing  usual flips")
    middle = len(THRESHOLDS) // 2
    for count in IMAGES:
        taken = np.zeros(5)
        for _ in range(CHOICES):
            base = rng.beta(8, 1.5, (count, 1))
            walk = rng.normal(0, 0.006, (count, len(THRESHOLDS))).cumsum(1)
            table = base + walk - walk[:, [middle]]
            changed = {
                name: table if name == "none" else table + gains(rng, (count, 1))
                for name in TTA_TRANSFORMS
            }
            scores = [{name: rows[row] for name, rows in changed.items()} for row in range(count)]
            by_name = {result.name: result.taken for result in choose_settings(scores, BINARY)[1]}
            usual = choose_settings(scores, BINARY, trained_mirrored=True)[1]
            steps = [
                {step: float(value + rng.laplace(0, 0.01)) for step in ALL_STEPS}
                for value in base[:, 0]
            ]
            taken += [
                by_name["threshold"],
                by_name["augmentation flips"],
                by_name["augmentation turns"] or by_name["augmentation scales"],
                any(result.taken for result in choose_postprocessing(steps)[1]),
                next(result.taken for result in usual if result.usual_gain),
            ]
        rates = 100 * taken / CHOICES
        print(f"{count:6d}  " + "  ".join(f"{rate:9.1f}" for rate in rates), flush=True)


if __name__ == "__main__":
    generator = np.random.default_rng(0)
    print_coverage(generator)
    print_choices(generator)
