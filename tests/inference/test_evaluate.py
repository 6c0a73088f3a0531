from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data.preprocess import Preprocessing
from limner.data.sample import Sample
from limner.errors import LimnerError
from limner.inference.calibration import BINS
from limner.inference.evaluate import evaluate
from limner.inference.model_runner import ModelRunner
from limner.inference.predictor import Predictor
from limner.inference.scores import ImageScore, Scores, compare_models, scores_to_json
from limner.labels import Labels

BINARY = Labels.from_values(("background", "foreground"), (0, 255))
THREE = Labels.from_values(("x", "y", "z"), (0, 1, 2))


def image(id: str, counts: list[list[int]], labels: Labels = BINARY) -> ImageScore:
    surface = np.zeros((len(labels.scored), 3))
    return ImageScore(id, np.array(counts), surface, 0.5, 0.2, 0.1, 0.4, np.zeros((2, BINS, 3)))


def scores() -> Scores:
    foregrounds = {"a": [10, 0, 0, 90], "b": [10, 0, 10, 80], "c": [0, 0, 5, 95]}
    return Scores.from_images(
        [image(id, [[0, 0, 0, 0], counts]) for id, counts in foregrounds.items()], BINARY
    )


def test_the_mean_is_over_images_and_the_pooled_score_over_pixels() -> None:
    summary = scores().summary()
    assert summary["dice"].mean == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert summary["thresholded_jaccard"].mean == pytest.approx(1 / 3)
    assert summary["dice"].pooled == pytest.approx(40 / 55)
    assert summary["thresholded_jaccard"].pooled is None


def test_every_mean_has_an_interval_around_it() -> None:
    for name, score in scores().summary().items():
        assert score.interval[0] <= score.mean <= score.interval[1], name
        if score.pooled is not None and score.pooled_interval is not None:
            assert score.pooled_interval[0] <= score.pooled <= score.pooled_interval[1], name


def test_the_threshold_of_the_jaccard_can_be_set() -> None:
    assert replace(scores(), jaccard_threshold=0.5).summary()[
        "thresholded_jaccard"
    ].mean == pytest.approx(0.5)


def test_the_worst_images_come_first() -> None:
    assert [id for id, _ in scores().worst(2)] == ["c", "b"]


def test_a_class_that_an_image_lacks_is_left_out_of_its_mean() -> None:
    single = Scores.from_images(
        [image("a", [[10, 0, 0, 10], [0, 0, 0, 20], [5, 5, 0, 10]], THREE)], THREE
    )
    assert single.per_image()["dice"][0] == pytest.approx((1 + 2 / 3) / 2)


def test_an_image_without_any_class_has_no_score() -> None:
    labels = Labels.from_values(("background", "y", "z"), (0, 1, 2))
    both = Scores.from_images(
        [
            image("a", [[20, 0, 0, 0], [0, 0, 0, 20], [0, 0, 0, 20]], labels),
            image("b", [[10, 0, 0, 10], [10, 0, 0, 10], [0, 0, 0, 20]], labels),
        ],
        labels,
    )
    assert np.isnan(both.per_image()["dice"][0])
    assert both.summary()["dice"].mean == 1
    assert both.ranked() == [1]


def test_no_sample_is_an_error() -> None:
    with pytest.raises(LimnerError, match="no sample to score"):
        Scores.from_images([], BINARY)


def test_two_models_are_compared_image_by_image() -> None:
    first = scores()
    better = Scores.from_images(
        [
            first.images[0],
            image("b", [[0, 0, 0, 0], [15, 0, 5, 80]]),
            image("c", [[0, 0, 0, 0], [0, 0, 5, 95]]),
        ],
        BINARY,
    )
    dice = compare_models(first, better)["dice"]
    assert (dice.wins, dice.losses, dice.ties) == (1, 0, 2)
    assert dice.difference == pytest.approx((30 / 35 - 20 / 30) / 3)
    assert dice.interval[0] < 0 < dice.difference < dice.interval[1]
    assert compare_models(better, first)["dice"].difference == pytest.approx(-dice.difference)


def test_what_one_model_draws_where_nothing_is_counts_against_it() -> None:
    labels = Labels.from_values(("background", "cell", "rim"), range(3))

    def of(false_positives: int) -> Scores:
        nothing = [
            [90, 0, 0, 10],
            [0, false_positives, 0, 100 - false_positives],
            [0, 0, 0, 100],
        ]
        return Scores.from_images(
            [
                image("a", [[90, 0, 0, 10], [5, 0, 5, 90], [0, 0, 0, 100]]),
                image("b", nothing),
                image("c", nothing),
            ],
            labels,
        )

    dice = compare_models(of(0), of(7))["dice"]
    assert (dice.wins, dice.losses, dice.ties) == (0, 2, 1)
    assert dice.difference == pytest.approx(-2 / 3) == pytest.approx(dice.second - dice.first)


def test_models_scored_on_other_images_are_not_compared() -> None:
    with pytest.raises(LimnerError, match="not scored on the same images"):
        compare_models(
            scores(), Scores.from_images([image("z", [[0, 0, 0, 0], [1, 0, 0, 0]])], BINARY)
        )


def test_the_headline_is_there_for_a_program() -> None:
    headline = scores_to_json(scores())
    assert headline["dice"]["mean"] == scores().summary()["dice"].mean
    assert "pooled" not in headline["thresholded_jaccard"]


def bright_predictor() -> Predictor:
    """Takes what is brighter than the middle grey."""
    preprocessing = Preprocessing((16, 16), (0.5,) * 3, (0.5,) * 3)
    runner = ModelRunner(lambda images: images.mean(1, keepdims=True) * 10, preprocessing)
    return Predictor([runner], BINARY)


def bright_squares(folder: Path, count: int) -> list[Sample]:
    samples = []
    for index in range(count):
        mask = np.zeros((16, 16), np.uint8)
        mask[4:12, 4 : 10 + index] = 255
        image, path = folder / f"{index}.png", folder / f"{index}_mask.png"
        Image.fromarray(mask).convert("RGB").save(image)
        Image.fromarray(mask).save(path)
        samples.append(Sample(str(index), image, path))
    return samples


def test_a_predictor_is_scored_on_samples_and_progress_sees_each(tmp_path: Path) -> None:
    scored: list[object] = []

    def progress(items: Iterable[object], count: int) -> Iterator[object]:
        assert count == 3
        for item in items:
            scored.append(item)
            yield item

    samples = bright_squares(tmp_path, 3)
    scores = evaluate(bright_predictor(), samples, jaccard_threshold=0.5, progress=progress)
    assert scores.ids == ("0", "1", "2") and len(scored) == 3
    assert scores.summary()["dice"].mean == 1 and scores.jaccard_threshold == 0.5
    assert scores.images[0].mask_share == pytest.approx(8 * 6 / 256)


def test_a_mask_of_another_size_than_its_image_is_an_error(tmp_path: Path) -> None:
    sample = bright_squares(tmp_path, 1)[0]
    assert isinstance(sample.mask, Path)
    Image.new("L", (20, 16)).save(sample.mask)
    with pytest.raises(LimnerError, match="another size than its image"):
        evaluate(bright_predictor(), [sample])


def test_images_that_are_all_void_have_no_score_and_no_interval() -> None:
    void = Scores.from_images([image("a", [[0] * 4, [0] * 4]), image("b", [[0] * 4] * 2)], BINARY)
    assert void.unscored == ("a", "b")
    dice = void.summary()["dice"]
    assert np.isnan([dice.mean, *dice.interval]).all() and dice.pooled is not None
    assert np.isnan(dice.pooled)
