"""Active learning, simulated: what the order of review is worth.

A simulated reviewer corrects predicted masks by the true ones, in one order or another, and a
model is trained after each round. How many corrections does each order need for the same Dice?
"""

import csv
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from limner.data.check import check
from limner.data.parallel import StageProgress
from limner.data.sample import Sample
from limner.data.scan import scan_as
from limner.data.split_folders import describe_splits
from limner.data.splits import SplitSamples
from limner.errors import LimnerError
from limner.files import dump_json, require_new, write_atomic
from limner.inference.prediction_record import (
    REVIEW_ORDERS,
    require_review_order,
    review_priority,
)
from limner.inference.predictor import Predictor
from limner.labels import VOID, Labels, dump_labels
from limner.metrics.intervals import mean_interval
from limner.metrics.overlap import image_dice
from limner.recipe import Recipe
from limner.training import run_files
from limner.training.pipeline import split_dataset, train, usable_samples
from limner.training.plan_rules import UNLIMITED_PATIENCE
from limner.training.run_record import validations

MIN_SEEDS = 2


@dataclass(frozen=True, slots=True)
class ReviewSchedule:
    """How many masks are corrected, in how many rounds, and which orders and seeds are tried."""

    budget: int
    """Corrections in all."""
    rounds: int
    seeds: Sequence[int]
    orders: Sequence[str] = REVIEW_ORDERS

    @property
    def step(self) -> int:
        """Corrections of each round; as many labels are there at the start."""
        return self.budget // self.rounds


@dataclass(frozen=True, slots=True)
class LoopPoint:
    """What a model reaches on the test images after so many corrections."""

    order: str
    seed: int
    corrections: int
    dice: tuple[float, ...]
    """Of each test image."""
    changed_pixels: int = 0
    """Pixels that the reviewer changed so far: masks that come first may be more work."""

    @property
    def mean(self) -> float:
        return float(np.nanmean(self.dice))


@dataclass(frozen=True, slots=True)
class LoopRow:
    """All seeds of one number of corrections.

    It holds the mean Dice of each order, and the gain of the predicted order over the random one.
    Intervals are 95 %, over the images; of one seed there are none.
    """

    corrections: int
    means: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    changed_pixels: Mapping[str, float]
    """Pixels that the reviewer changed so far, the mean over the seeds."""
    gain: float | None = None
    interval: tuple[float, float] | None = None
    by_seed: tuple[float, ...] = ()
    """The gain of each seed. The interval knows nothing of seeds; this shows how far to trust
    it.
    """


def simulate_review(
    data: Path,
    folder: Path,
    recipe: Recipe,
    schedule: ReviewSchedule,
    progress: StageProgress,
    note: Callable[[str], None] = lambda text: None,
) -> Iterator[LoopPoint]:
    """Train on a few labels, correct the masks that come first in an order, and train again.

    The first labels are drawn at random, and are the same for all orders. Every model is trained
    from scratch and without an early stop. With a time budget all see as many images as the first
    one did, whatever the clock says.

    Args:
        data: the dataset, whose masks are the truth.
        folder: where the models are trained; it must be new.
        recipe: the settings of every training.
        schedule: corrections, rounds, seeds and orders.
        progress: wraps each stage's iteration.
        note: called with what is trained and tested on, and what is left out.

    Raises LimnerError for an order that is not known, a folder that exists, and where there are
    fewer training images than the budget and the first labels need.
    """
    for order in schedule.orders:
        require_review_order(order)
    require_new(folder)
    dataset = scan_as(data, recipe.data)
    result = check(dataset, progress("checking"))
    usable, labels = usable_samples(dataset, result, recipe)
    sides = split_dataset(usable.samples, result, recipe)
    if usable.left_out:
        note(usable.describe())
    note(describe_splits(dataset.root, sides))
    step, needed = schedule.step, schedule.step * (schedule.rounds + 1)
    if step < 1 or needed > len(sides["train"]) or not sides["test"]:
        raise LimnerError(
            f"{schedule.rounds} rounds of {step} corrections and as many labels to begin with "
            f"need {needed} training images and some to test on; there are "
            f"{len(sides['train'])} and {len(sides['test'])}. Lower --budget or --rounds."
        )
    simulation = _Simulation(folder, recipe, schedule, sides, labels, progress)
    for seed in schedule.seeds:
        yield from simulation.run_seed(seed)


@dataclass(frozen=True, slots=True)
class _Model:
    predictor: Predictor
    dice: tuple[float, ...]
    """Of each test image."""


@dataclass(frozen=True, slots=True)
class _Simulation:
    """A reviewer who knows the true masks."""

    folder: Path
    recipe: Recipe
    schedule: ReviewSchedule
    sides: SplitSamples
    labels: Labels
    progress: StageProgress
    work: dict[str, int] = field(default_factory=dict)
    """How many images the first training saw, and every other one sees."""

    def run_seed(self, seed: int) -> Iterator[LoopPoint]:
        """All orders, which begin with the same labels and the same model."""
        samples, step = self.sides["train"], self.schedule.step
        shuffled = random.Random(seed).sample(samples, len(samples))
        labelled, pool = shuffled[:step], shuffled[step:]
        first_model = self._train(labelled, seed, f"seed-{seed}")
        for order in self.schedule.orders:
            yield from self._run_order(order, seed, first_model, labelled, pool)

    def _run_order(
        self,
        order: str,
        seed: int,
        model: _Model,
        labelled: list[Sample],
        pool: list[Sample],
    ) -> Iterator[LoopPoint]:
        step, changed_pixels = self.schedule.step, 0
        yield LoopPoint(order, seed, 0, model.dice)
        for round_index in range(1, self.schedule.rounds + 1):
            corrected = self._first_in_order(order, pool, model.predictor)
            changed_pixels += self._count_changed(corrected, model.predictor)
            labelled = labelled + corrected
            pool = [sample for sample in pool if sample not in corrected]
            model = self._train(labelled, seed, f"seed-{seed}-{order}-{round_index}")
            yield LoopPoint(order, seed, round_index * step, model.dice, changed_pixels)

    def _count_changed(self, corrected: Sequence[Sample], predictor: Predictor) -> int:
        """Count the pixels of the predicted masks that are not as the true ones."""
        changed = 0
        for sample in corrected:
            truth = sample.class_index(self.labels)
            image = sample.read_image(channels=predictor.channels)
            mask = predictor.predict(image).mask
            changed += int(((truth != mask) & (truth != VOID)).sum())
        return changed

    def _first_in_order(
        self, order: str, pool: Sequence[Sample], predictor: Predictor
    ) -> list[Sample]:
        """What the reviewer is shown next; the pool is shuffled already."""
        if order == "random":
            return list(pool[: self.schedule.step])
        priorities = []
        for sample in self.progress("predicting")(pool, len(pool)):
            assert isinstance(sample, Sample)
            prediction = predictor.predict(sample.read_image(channels=predictor.channels))
            mean_entropy = float(prediction.uncertainty.mean())
            priorities.append(review_priority(prediction.predicted_dice, mean_entropy))
        return [pool[row] for row in np.argsort(priorities, kind="stable")[: self.schedule.step]]

    def _train(self, labelled: list[Sample], seed: int, name: str) -> _Model:
        """Train on some of the samples, and score the model on the test images."""
        folder = self.folder / name
        table = _write_dataset(folder / "data", {**self.sides, "train": labelled}, self.labels)
        recipe = self._equal_work(self.recipe.replace({"train.seed": seed}), len(labelled))
        run = train(table, recipe, folder / "run")
        if not self.work:
            epochs = validations(run.folder)[-1]["epoch"]
            self.work["images"] = epochs * len(labelled)
        # Its checkpoints are large, and nobody resumes it
        shutil.rmtree(run.folder / run_files.CHECKPOINTS, ignore_errors=True)
        predictor = Predictor.load(run.model, device=run.recipe.train.device)
        dice = []
        for sample in self.progress("scoring")(self.sides["test"], len(self.sides["test"])):
            assert isinstance(sample, Sample)
            mask = predictor.predict(sample.read_image(channels=predictor.channels)).mask
            dice.append(image_dice(mask, sample.class_index(self.labels), self.labels))
        return _Model(predictor, tuple(dice))

    def _equal_work(self, recipe: Recipe, labelled: int) -> Recipe:
        """Train without an early stop, and on as many images as the first training saw.

        What a time budget holds depends on what else the machine does.
        """
        recipe = recipe.replace({"train.patience": UNLIMITED_PATIENCE})
        if recipe.train.minutes is None or not self.work:
            return recipe
        epochs = max(1, round(self.work["images"] / labelled))
        return recipe.replace({"train.minutes": None, "train.epochs": epochs})


def _write_dataset(folder: Path, sides: SplitSamples, labels: Labels) -> Path:
    """A table that names the images and masks to train and validate on."""
    folder.mkdir(parents=True)
    with (folder / "dataset.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "mask", "split"])
        for side, samples in sides.items():
            for sample in samples if side != "test" else ():
                if (mask := sample.own_mask_file()) is None:
                    raise LimnerError(
                        f"{sample.id} is drawn in a table, has several masks, or lies in a "
                        "stack or a large image. The loop "
                        "needs a file for each image and each mask."
                    )
                writer.writerow([sample.id, sample.image.resolve(), mask.resolve(), side])
    (folder / "labels.toml").write_text(dump_labels(labels), encoding="utf-8")
    return folder


def summarise(points: Sequence[LoopPoint]) -> list[LoopRow]:
    """Average the curve of each order over the seeds, by number of corrections."""
    return [
        _summarise_corrections(
            corrections, [point for point in points if point.corrections == corrections]
        )
        for corrections in sorted({point.corrections for point in points})
    ]


def _summarise_corrections(corrections: int, points: Sequence[LoopPoint]) -> LoopRow:
    # An array of (seeds, images) for each order
    dice = {
        order: np.array([point.dice for point in points if point.order == order])
        for order in dict.fromkeys(point.order for point in points)
    }
    changed = {
        order: float(np.mean([point.changed_pixels for point in points if point.order == order]))
        for order in dice
    }
    means = {order: float(np.nanmean(table)) for order, table in dice.items()}
    intervals = {order: _mean_interval(table, (0.0, 1.0)) for order, table in dice.items()}
    if set(dice) != set(REVIEW_ORDERS) or len(dice["predicted"]) != len(dice["random"]):
        return LoopRow(corrections, means, intervals, changed)
    gains = dice["predicted"] - dice["random"]
    return LoopRow(
        corrections,
        means,
        intervals,
        changed,
        gain=float(np.nanmean(gains.mean(0))),
        interval=_mean_interval(gains, (-1.0, 1.0)),
        by_seed=tuple(float(gain) for gain in np.nanmean(gains, axis=1)),
    )


def _mean_interval(
    values: Float64[ndarray, "s n"], bounds: tuple[float, float]
) -> tuple[float, float]:
    """Of the mean over the images, each of which is the mean over the seeds; NaN of one seed.

    Other seeds would give other models, and one seed says nothing of how they differ.
    """
    if len(values) < MIN_SEEDS:
        return float("nan"), float("nan")
    low, high = mean_interval(values.mean(0)[:, None], bounds=bounds)[0]
    return float(low), float(high)


def corrections_needed(rows: Sequence[LoopRow], order: str, dice: float) -> float | None:
    """Interpolate how many corrections an order needs to reach a Dice.

    Between rounds the curve is a straight line. None where the order does not get there.
    """
    for before, after in pairwise(rows):
        low, high = before.means[order], after.means[order]
        if low >= dice:
            return float(before.corrections)
        if high >= dice:
            added = after.corrections - before.corrections
            return before.corrections + (dice - low) / (high - low) * added
    return None


def write_results(folder: Path, points: Sequence[LoopPoint]) -> Path:
    """Write all measurements to loop.json, and give its path."""
    path = folder / "loop.json"
    results = {
        "rows": [asdict(row) for row in summarise(points)],
        "points": [asdict(point) for point in points],
    }
    write_atomic(path, dump_json(results, indent=1))
    return path
