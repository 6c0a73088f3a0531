import numpy as np
import pytest
from canvases import disc_canvas
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from limner.inference.calibration import Calibration
from limner.inference.confidence import CanvasPrediction, canvas_statistics
from limner.inference.quality import fit_quality, quality_agreement, quality_features
from limner.labels import Labels

BINARY = Labels.from_values(("background", "foreground"), (0, 255))
UNCALIBRATED = Calibration()


def features_of(canvas: CanvasPrediction, calibration: Calibration = UNCALIBRATED) -> np.ndarray:
    return quality_features([canvas_statistics(canvas, calibration, 0.5, BINARY).masks])


def true_dice(canvas: CanvasPrediction, truth: np.ndarray) -> float:
    mask = canvas.probabilities[0] >= 0.5
    return float(2 * (mask & truth).sum() / max(mask.sum() + truth.sum(), 1))


def test_the_predicted_dice_follows_the_true_one_on_images_that_nothing_was_fitted_on() -> None:
    certainties = np.random.default_rng(1).random(160)
    images = [disc_canvas(certainty, seed) for seed, certainty in enumerate(certainties)]
    features = np.stack([features_of(canvas) for canvas, _ in images])
    dice = np.array([true_dice(canvas, truth) for canvas, truth in images])
    quality = fit_quality(features[:80], dice[:80])
    assert quality
    assert np.corrcoef([quality(row) for row in features[80:]], dice[80:])[0, 1] > 0.5
    assert all(0 <= quality(row * 100) <= 1 for row in features)


def test_too_few_images_fit_no_quality() -> None:
    assert fit_quality(np.ones((5, 3)), np.ones(5)) is None


def test_a_certain_mask_is_expected_to_be_better() -> None:
    certain, uncertain = (features_of(disc_canvas(certainty)[0])[0] for certainty in (0.95, 0.05))
    assert 0 < uncertain < certain <= 1


@pytest.mark.parametrize("value", [0.0, 1.0, 0.5])
def test_any_probabilities_have_finite_features(value: float) -> None:
    for size in (1, 2, 16):
        canvas = CanvasPrediction(
            np.zeros((size, size, 3), np.uint8), np.full((1, size, size), value, np.float32)
        )
        assert np.isfinite(features_of(canvas, Calibration(2.0, 1.0))).all()


@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_outline_and_rims_are_those_of_morphology(mask: np.ndarray) -> None:
    canvas = CanvasPrediction(np.zeros((*mask.shape, 3), np.uint8), mask[None].astype(np.float32))
    statistics = canvas_statistics(canvas, Calibration(), 0.5, BINARY).masks[0]
    outline = mask & ~ndimage.binary_erosion(mask)
    inner = mask & ~ndimage.binary_erosion(mask, iterations=6)
    outer = ndimage.binary_dilation(mask, iterations=6) & ~mask
    assert statistics.outline == outline.sum()
    assert (statistics.inner_rim, statistics.outer_rim) == (inner.sum(), outer.sum())


def test_agreement_counts_the_poor_masks_among_those_reviewed() -> None:
    jaccard = np.array([0.1, 0.2, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.5])
    dice = 2 * jaccard / (1 + jaccard)
    agreement = quality_agreement(dice, jaccard, [0.2, 0.3, *[0.9] * 8])
    assert agreement and (agreement.below, agreement.found) == (3, 2)
    assert quality_agreement(dice, jaccard, [None] * 10) is None
