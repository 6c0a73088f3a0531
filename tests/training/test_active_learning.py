import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_run import TINY

from command_line import limner
from limner.data.parallel import no_progress
from limner.errors import LimnerError
from limner.inference.prediction_record import REVIEW_ORDERS
from limner.training.active_learning import (
    LoopPoint,
    ReviewSchedule,
    corrections_needed,
    simulate_review,
    summarise,
    write_results,
)
from limner.training.run import Run
from limner.training.run_record import validations


def test_a_reviewer_who_knows_the_truth_is_simulated(lesions: Path, tmp_path: Path) -> None:
    schedule = ReviewSchedule(budget=4, rounds=2, seeds=[0, 1])
    recipe = TINY.replace({"train.epochs": 1})
    points = list(simulate_review(lesions, tmp_path / "loop", recipe, schedule, no_progress))
    assert [(point.order, point.seed, point.corrections) for point in points] == [
        (order, seed, corrections)
        for seed in (0, 1)
        for order in REVIEW_ORDERS
        for corrections in (0, 2, 4)
    ]
    assert points[0].dice == points[3].dice, "both orders begin from one model"
    assert 0 == points[0].changed_pixels < points[1].changed_pixels < points[2].changed_pixels
    labelled = (
        (tmp_path / "loop" / "seed-1-random-2" / "data" / "dataset.csv").read_text().splitlines()
    )
    assert sum(line.endswith(",train") for line in labelled) == 6 and not any(
        line.endswith(",test") for line in labelled
    )
    rows = summarise(points)
    assert [row.corrections for row in rows] == [0, 2, 4] and rows[0].gain == 0
    results = json.loads(write_results(tmp_path, points).read_text())
    assert len(results["points"]) == 12 and len(results["rows"]) == 3


def test_the_gain_and_the_corrections_that_are_needed_are_read_off_the_curves() -> None:
    points = [
        LoopPoint(order, seed, at, (0.5 + gain * at, 0.7 + gain * at))
        for order, gain in (("predicted", 0.02), ("random", 0.01))
        for seed in (0, 1)
        for at in (0, 5, 10)
    ]
    rows = summarise(points)
    assert rows[-1].means == pytest.approx({"predicted": 0.8, "random": 0.7}) and rows[
        -1
    ].gain == pytest.approx(0.1)
    assert rows[-1].interval == pytest.approx((0.1, 0.1)) and rows[-1].by_seed == pytest.approx(
        (0.1, 0.1)
    )
    assert rows[-1].intervals["random"] == (0.0, 1.0), "two images say next to nothing"
    assert corrections_needed(rows, "random", 0.7) == pytest.approx(10) and corrections_needed(
        rows, "predicted", 0.7
    ) == pytest.approx(5)
    assert (
        corrections_needed(rows, "random", 0.75) is None
        and corrections_needed(rows, "predicted", 0.1) == 0
    )
    single = summarise([LoopPoint("random", 0, 0, (np.nan, 0.5))])
    assert single[0].means == {"random": 0.5} and np.isnan(single[0].intervals["random"]).all(), (
        "one seed gives no interval"
    )


def test_every_training_is_as_long_as_the_first_whatever_the_clock_says(
    lesions: Path, tmp_path: Path
) -> None:
    schedule = ReviewSchedule(budget=2, rounds=1, seeds=[0])
    recipe = TINY.replace({"train.minutes": 0.05})
    list(simulate_review(lesions, tmp_path / "loop", recipe, schedule, no_progress))
    first, *others = (
        Run.open(tmp_path / "loop" / name / "run")
        for name in ("seed-0", "seed-0-predicted-1", "seed-0-random-1")
    )
    images = validations(first.folder)[-1]["epoch"] * len(first.split["train"])
    for run in others:
        epochs = run.recipe.train.epochs
        assert run.recipe.train.minutes is None and validations(run.folder)[-1]["epoch"] == epochs
        assert abs(epochs * len(run.split["train"]) - images) <= len(run.split["train"]) / 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"orders": ["best"]}, "Choose predicted or random"),
        ({"budget": 1000}, "Lower --budget or --rounds"),
        ({"budget": 1}, "Lower --budget or --rounds"),
    ],
)
def test_what_cannot_be_simulated_is_said(
    lesions: Path, tmp_path: Path, changes: dict, message: str
) -> None:
    schedule = ReviewSchedule(budget=4, rounds=2, seeds=[0])
    wrong = replace(schedule, **changes)
    with pytest.raises(LimnerError, match=message):
        next(simulate_review(lesions, tmp_path / "loop", TINY, wrong, no_progress))
    (tmp_path / "there").mkdir()
    with pytest.raises(LimnerError, match="exists already"):
        next(simulate_review(lesions, tmp_path / "there", TINY, schedule, no_progress))


def test_the_verb_prints_what_each_order_needs(lesions: Path, tmp_path: Path) -> None:
    settings = [
        "data.size_px=[16,16]",
        "model.widths=[2,4]",
        "train.epochs=1",
        "train.batch_size=4",
        "train.device=cpu",
        "train.precision=float32",
    ]
    shutil.copytree(lesions, tmp_path / "set")
    broken = sorted((tmp_path / "set" / "ISIC2018_Task1-2_Training_Input").glob("*.jpg"))[0]
    broken.write_bytes(broken.read_bytes()[:400])
    command = [
        "loop",
        tmp_path / "set",
        "--budget",
        "2",
        "--rounds",
        "1",
        "--seeds",
        "1",
        "--set",
        "data.skip_broken=true",
        "--out",
        tmp_path / "loop",
        *(part for setting in settings for part in ("--set", setting)),
    ]
    process = limner(*command)
    output = " ".join(process.stdout.split())
    assert process.returncode == 0, process.stderr
    assert (
        "of each seed" in output
        and "1 problem left out, " in output
        and "Images: train " in output
        and "seed 0, predicted: 2 corrections, test Dice" in output
        and re.search(r"random: (\d+|more than there were) corrections for a Dice of 0\.", output)
    )
    assert (tmp_path / "loop" / "loop.json").is_file()
