import csv
import json
from pathlib import Path

import numpy as np
import pytest

from limner.errors import LimnerError
from limner.inference.evaluate import Scores
from limner.labels import Labels


def scores() -> Scores:
    counts = np.array([[[90, 0, 0], [10, 0, 0]], [[80, 10, 0], [10, 0, 10]], [[95, 5, 0], [0, 0, 5]]])
    return Scores(("a", "b", "c"), counts, Labels.of(("background", "foreground"), (0, 255)))


def test_the_mean_is_over_images_and_the_pooled_score_over_pixels() -> None:
    summary = scores().summary()
    assert summary["mean_dice"] == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert summary["mean_thresholded_jaccard"] == pytest.approx(1 / 3)
    assert summary["pooled_dice"] == pytest.approx(40 / 55)


def test_the_worst_images_come_first() -> None:
    assert [id for id, _ in scores().worst(2)] == ["c", "b"]


def test_a_class_that_an_image_lacks_is_left_out_of_its_mean() -> None:
    counts = np.array([[[10, 0, 0], [0, 0, 0], [5, 5, 0]]])
    (dice,) = Scores(("a",), counts, Labels.of(("x", "y", "z"), (0, 1, 2))).dice_per_image()
    assert dice == pytest.approx((1 + 2 / 3) / 2)


def test_no_sample_is_an_error() -> None:
    with pytest.raises(LimnerError, match="no sample to score"):
        Scores.of([], Labels.of(("background", "foreground"), (0, 255)))


def test_the_written_scores_are_those_shown(tmp_path: Path) -> None:
    table, headline = scores().write(tmp_path, "test")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [float(row["dice"]) for row in rows] == scores().dice_per_image().tolist()
    assert json.loads(headline.read_text())["mean_dice"] == scores().summary()["mean_dice"]
