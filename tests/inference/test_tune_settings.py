from collections.abc import Mapping

import numpy as np
import pytest

from limner.inference.tta import TTA_TRANSFORMS
from limner.inference.tune_settings import THRESHOLDS, TuningResult, choose_settings
from limner.labels import Labels
from limner.model.metadata import InferenceSettings

BINARY = Labels.from_values(("background", "foreground"), (0, 255))
SCENES = Labels.from_values(("sky", "road", "car"), (0, 1, 2))


def chosen(
    images: int,
    gains: Mapping[str, float],
    *,
    labels: Labels = SCENES,
    mirrored: bool = False,
    groups: list[str | None] | None = None,
) -> tuple[InferenceSettings, dict[str, TuningResult]]:
    """Choose by scores that each augmentation changes by its gain, and a little by chance."""
    rng = np.random.default_rng(0)
    base = rng.uniform(0.7, 0.9, images)
    columns = len(THRESHOLDS) if labels.binary else 1
    scores = [
        {
            name: np.full(columns, value + gains.get(name, 0.0) + rng.normal(0, 0.004))
            for name in TTA_TRANSFORMS
        }
        for value in base
    ]
    settings, results = choose_settings(scores, labels, groups, trained_mirrored=mirrored)
    return settings, {result.name: result for result in results}


def test_flips_are_taken_where_they_usually_help_and_few_images_can_tell() -> None:
    settings, results = chosen(4, {}, mirrored=True)
    assert settings.tta == "flips"
    flips = results["augmentation flips"]
    assert (flips.usual_gain, flips.passes, flips.images) == (0.004, 4, 4)


def test_flips_are_left_out_where_training_did_not_mirror() -> None:
    settings, results = chosen(4, {})
    assert settings.tta == "none"
    assert results["augmentation flips"].usual_gain is None


def test_flips_are_left_out_where_validation_shows_a_loss() -> None:
    assert chosen(40, {"flips": -0.01}, mirrored=True)[0].tta == "none"


def test_an_augmentation_of_no_usual_gain_needs_validation_s() -> None:
    assert chosen(40, {"scales": 0.01})[0].tta == "scales"
    assert chosen(9, {"scales": 0.01})[0].tta == "none"
    assert chosen(40, {"scales": 0.001})[0].tta == "none"


def test_images_of_few_groups_choose_nothing() -> None:
    groups: list[str | None] = [f"patient {row % 5}" for row in range(40)]
    settings, results = chosen(40, {"scales": 0.01}, groups=groups)
    assert settings.tta == "none"
    assert (results["augmentation scales"].images, results["augmentation scales"].groups) == (40, 5)


@pytest.mark.parametrize("images", [10, 20, 50])
def test_a_threshold_is_seldom_taken_by_chance(images: int) -> None:
    rng, taken, runs = np.random.default_rng(images), 0, 150
    for _ in range(runs):
        table = rng.normal(0, 0.006, (images, len(THRESHOLDS))).cumsum(1)
        table = rng.uniform(0.6, 0.9, (images, 1)) + table - table[:, [18]]
        scores = [dict.fromkeys(TTA_TRANSFORMS, row) for row in table]
        settings, _ = choose_settings(scores, BINARY)
        taken += settings.threshold != 0.5
    assert taken / runs <= 0.06
