"""A simulated reviewer, the hidden truth, who corrects masks in one order or another: how many
corrections does each need for the same Dice?
"""

import csv
import json
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from limner.data.check import check, require_valid
from limner.data.parallel import StageProgress
from limner.data.sample import AnnotationMask, Sample
from limner.data.scan import scan
from limner.data.splits import SplitSamples
from limner.errors import LimnerError
from limner.files import write_atomic
from limner.inference.predictor import Predictor
from limner.labels import Labels, dump_labels
from limner.metrics.bootstrap import bootstrap_mean_interval
from limner.metrics.overlap import image_dice
from limner.recipe import Recipe
from limner.training.pipeline import split_dataset, train

ORDERS = ("predicted", "random")


@dataclass(frozen=True, slots=True)
class LoopPoint:
    """What a model reaches on the test images after so many corrections."""

    order: str
    seed: int
    corrections: int
    dice: tuple[float, ...]
    """Of each test image."""

    @property
    def mean(self) -> float:
        return float(np.nanmean(self.dice))


@dataclass(frozen=True, slots=True)
class LoopRow:
    """All seeds of one number of corrections: the mean Dice of each order, and the gain of the
    first on the second; 95 % intervals are over the images.
    """

    corrections: int
    means: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    gain: float | None = None
    interval: tuple[float, float] | None = None
    by_seed: tuple[float, ...] = ()
    """The gain of each seed: how far the interval, which knows nothing of seeds, can be trusted."""


def simulate_review(
    data: Path,
    folder: Path,
    recipe: Recipe,
    *,
    budget: int,
    rounds: int,
    seeds: Sequence[int],
    orders: Sequence[str],
    progress: StageProgress,
) -> Iterator[LoopPoint]:
    """Train on a few labels, let the reviewer correct the masks that come first in an order, and
    train again, until the budget is spent.

    The first labels, as many as each round adds, are drawn at random and the same for all orders.
    Every model is trained from the start. What was trained lies in `folder`, which must be new.
    Raises LimnerError where there are fewer training images than the budget and the first labels
    need.
    """
    if unknown := [order for order in orders if order not in ORDERS]:
        raise LimnerError(f"--order {unknown[0]} is not known. Choose {' or '.join(ORDERS)}.")
    if folder.exists():
        raise LimnerError(
            f"{folder} is there already. Nothing is overwritten: name a new folder with --out."
        )
    dataset = scan(data, recipe.data.group_pattern)
    health = check(dataset, progress("checking"))
    labels = require_valid(health)
    sides = split_dataset(dataset.samples, health, recipe)
    step = budget // rounds
    if step < 1 or step * (rounds + 1) > len(sides["train"]) or not sides["test"]:
        raise LimnerError(
            f"{rounds} rounds of {step} corrections and as many labels to begin with need {step * (rounds + 1)} training images and some to test on; there are "
            f"{len(sides['train'])} and {len(sides['test'])}. Lower --budget or --rounds."
        )
    for seed in seeds:
        shuffled = random.Random(seed).sample(sides["train"], len(sides["train"]))
        begun: tuple[Predictor, tuple[float, ...]] | None = None
        for order in orders:
            labelled, pool = shuffled[:step], shuffled[step:]
            for turn in range(rounds + 1):
                if turn == 0 and begun is not None:
                    predictor, dice = begun
                else:
                    place = folder / (
                        f"seed-{seed}" if turn == 0 else f"seed-{seed}-{order}-{turn}"
                    )
                    predictor = _trained({**sides, "train": labelled}, labels, recipe, seed, place)
                    dice = tuple(_scored(predictor, sides["test"], labels, progress))
                    begun = begun or (predictor, dice)
                yield LoopPoint(order, seed, turn * step, dice)
                if turn < rounds:
                    chosen = _first(order, pool, predictor, step, progress)
                    labelled, pool = (
                        labelled + chosen,
                        [sample for sample in pool if sample not in chosen],
                    )


def summarise(points: Sequence[LoopPoint]) -> list[LoopRow]:
    """The curve of each order over the seeds."""
    found = []
    for corrections in sorted({point.corrections for point in points}):
        here = [point for point in points if point.corrections == corrections]
        by_order = {
            order: np.array([point.dice for point in here if point.order == order])
            for order in dict.fromkeys(point.order for point in here)
        }
        means = {order: float(np.nanmean(table)) for order, table in by_order.items()}
        intervals = {order: _interval(table) for order, table in by_order.items()}
        if set(by_order) != set(ORDERS) or len(by_order["predicted"]) != len(by_order["random"]):
            found.append(LoopRow(corrections, means, intervals))
            continue
        gains = by_order["predicted"] - by_order["random"]
        by_seed = tuple(float(value) for value in np.nanmean(gains, axis=1))
        found.append(
            LoopRow(
                corrections,
                means,
                intervals,
                float(np.nanmean(gains.mean(0))),
                _interval(gains),
                by_seed,
            )
        )
    return found


def _interval(values: Float64[ndarray, "s n"]) -> tuple[float, float]:
    """Of the mean over the images, each of which is the mean over the seeds."""
    low, high = bootstrap_mean_interval(values.mean(0)[:, None])[0]
    return float(low), float(high)


def corrections_needed(found: Sequence[LoopRow], order: str, dice: float) -> float | None:
    """How many corrections an order needs for a Dice, between rounds by a straight line; None where
    it does not get there.
    """
    for before, after in pairwise(found):
        low, high = before.means[order], after.means[order]
        if low >= dice:
            return float(before.corrections)
        if high >= dice:
            return before.corrections + (dice - low) / (high - low) * (
                after.corrections - before.corrections
            )
    return None


def write_results(folder: Path, points: Sequence[LoopPoint]) -> Path:
    """All that was measured, as JSON."""
    path = folder / "loop.json"
    write_atomic(
        path,
        json.dumps(
            {
                "rows": [asdict(row) for row in summarise(points)],
                "points": [asdict(point) for point in points],
            },
            indent=1,
        )
        + "\n",
    )
    return path


def _trained(
    sides: SplitSamples, labels: Labels, recipe: Recipe, seed: int, folder: Path
) -> Predictor:
    """A model of some of the samples, which a table beside it names."""
    table = folder / "data"
    table.mkdir(parents=True)
    with (table / "dataset.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "mask", "split"])
        for side, samples in sides.items():
            for sample in samples if side != "test" else ():
                if isinstance(sample.mask, AnnotationMask) or sample.page:
                    raise LimnerError(
                        f"{sample.id} is drawn in a table or lies in a stack. The loop needs "
                        "a file for each image and each mask."
                    )
                writer.writerow([sample.id, sample.image.resolve(), sample.mask.resolve(), side])
    (table / "labels.toml").write_text(dump_labels(labels), encoding="utf-8")
    run = train(table, recipe.replace({"train.seed": seed}), folder / "run")
    # Nobody goes on with it
    shutil.rmtree(run.folder / "last", ignore_errors=True)
    return Predictor.load(run.model, device=run.recipe.train.device)


def _scored(
    predictor: Predictor, samples: Sequence[Sample], labels: Labels, progress: StageProgress
) -> Iterator[float]:
    for sample in progress("scoring")(samples, len(samples)):
        assert isinstance(sample, Sample)
        yield image_dice(
            predictor.predict(sample.read_image()).mask, sample.class_index(labels), labels
        )


def _first(
    order: str, pool: Sequence[Sample], predictor: Predictor, count: int, progress: StageProgress
) -> list[Sample]:
    """What the reviewer is shown next: the lowest predicted Dice, or what the shuffled pool begins
    with.
    """
    if order == "random":
        return list(pool[:count])
    doubts = [
        _doubt(predictor, sample)
        for sample in progress("predicting")(pool, len(pool))
        if isinstance(sample, Sample)
    ]
    return [pool[row] for row in np.argsort(doubts, kind="stable")[:count]]


def _doubt(predictor: Predictor, sample: Sample) -> float:
    prediction = predictor.predict(sample.read_image())
    return (
        prediction.predicted_dice
        if prediction.predicted_dice is not None
        else -float(prediction.uncertainty.mean())
    )
