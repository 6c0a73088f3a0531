import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from limner.inference.calibration import (
    Calibration,
    expected_calibration_error,
    reliability_bins,
    to_class_index,
)
from limner.inference.quality import (
    CanvasPrediction,
    ConfidenceModel,
    describe_appearance,
    fit_calibration,
    fit_out_of_distribution,
    fit_quality,
    mask_statistics,
    quality_agreement,
    quality_features,
)
from limner.labels import VOID, Labels

BINARY = Labels.from_values(("background", "foreground"), (0, 255))


def said_and_true(temperature: float, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are wrong by a temperature and a shift, and what is true."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, 60_000)
    truth = rng.random(60_000) < 1 / (1 + np.exp(-logits))
    return (1 / (1 + np.exp(-(logits * temperature - shift))))[None].astype(
        np.float32
    ), truth.astype(np.uint8)


@pytest.mark.parametrize(
    ("temperature", "shift"), [(2.5, 0.0), (0.6, 0.0), (1.0, 1.5), (1.8, -0.7)]
)
def test_the_calibration_is_found(temperature: float, shift: float) -> None:
    said, truth = said_and_true(temperature, shift)
    found = fit_calibration(said, truth)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.shift == pytest.approx(shift, abs=0.06)
    before, after = (
        expected_calibration_error(reliability_bins(p[..., None], truth[:, None]))
        for p in (said, found(said))
    )
    assert after < 0.01 and after < before / 3


def test_several_classes_have_a_temperature_and_no_shift() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (3, 40_000))
    true = np.exp(logits) / np.exp(logits).sum(0)
    truth = (rng.random(40_000) > np.cumsum(true, 0)).sum(0).astype(np.uint8)
    sure = np.exp(2 * logits) / np.exp(2 * logits).sum(0)
    found = fit_calibration(sure.astype(np.float32), truth)
    assert found.temperature == pytest.approx(2, rel=0.05)
    assert found.shift == 0


@given(arrays(np.float32, (3, 4, 5), elements=st.floats(0.0625, 1, width=32)), st.floats(0.25, 8))
def test_calibration_changes_no_class_of_several(weights: np.ndarray, temperature: float) -> None:
    probabilities = weights / weights.sum(0)
    best = np.sort(probabilities, axis=0)
    clear = best[-1] - best[-2] > 1e-4
    calibrated = Calibration(temperature)(probabilities)
    assert (to_class_index(calibrated) == to_class_index(probabilities))[clear].all()
    np.testing.assert_allclose(calibrated.sum(0), 1, atol=1e-4)


def test_void_is_not_calibrated_on() -> None:
    bins = reliability_bins(
        np.full((1, 2, 2), 0.9, np.float32), np.array([[1, VOID], [0, VOID]], np.uint8)
    )
    assert bins.sum(0).tolist() == pytest.approx([2, 1.8, 1])


def lesion(sureness: float, seed: int = 0, size: int = 48) -> tuple[CanvasPrediction, np.ndarray]:
    """A disc that a network is more or less sure of, and the truth, which differs the more the less
    sure it is.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - size / 2
    distance = rng.uniform(8, 16) - np.hypot(y, x)
    wobble = rng.normal(0, 6 * (1 - sureness))
    probabilities = 1 / (1 + np.exp(-distance * (0.1 + 2 * sureness)))
    image = np.stack([distance] * 3, axis=2).clip(-1, 1) * 60 + 120
    return CanvasPrediction(
        image.astype(np.uint8), probabilities[None].astype(np.float32)
    ), distance + wobble > 0


def true_dice(canvas: CanvasPrediction, truth: np.ndarray) -> float:
    drawn = canvas.probabilities[0] >= 0.5
    return float(2 * (drawn & truth).sum() / max(drawn.sum() + truth.sum(), 1))


def test_the_predicted_dice_follows_the_true_one_on_images_that_nothing_was_fitted_on() -> None:
    made = [
        lesion(sureness, seed) for seed, sureness in enumerate(np.random.default_rng(1).random(160))
    ]
    found = np.stack(
        [
            quality_features([mask_statistics(canvas, Calibration(), 0.5, BINARY)])
            for canvas, _ in made
        ]
    )
    dice = np.array([true_dice(*one) for one in made])
    quality = fit_quality(found[:80], dice[:80])
    assert quality
    assert np.corrcoef([quality(row) for row in found[80:]], dice[80:])[0, 1] > 0.5
    assert all(0 <= quality(row * 100) <= 1 for row in found)


def test_too_few_images_fit_no_quality() -> None:
    assert fit_quality(np.ones((5, 3)), np.ones(5)) is None


def test_a_sure_mask_is_expected_to_be_better() -> None:
    sure, unsure = (
        quality_features([mask_statistics(lesion(sureness)[0], Calibration(), 0.5, BINARY)])[0]
        for sureness in (0.95, 0.05)
    )
    assert 0 < unsure < sure <= 1


@pytest.mark.parametrize("value", [0.0, 1.0, 0.5])
def test_any_map_has_finite_features(value: float) -> None:
    for size in (1, 2, 16):
        canvas = CanvasPrediction(
            np.zeros((size, size, 3), np.uint8), np.full((1, size, size), value, np.float32)
        )
        assert np.isfinite(
            quality_features([mask_statistics(canvas, Calibration(2.0, 1.0), 0.5, BINARY)])
        ).all()
        assert np.isfinite(describe_appearance(canvas.pixels)).all()


@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_the_outline_and_the_rims_beside_it_are_those_of_morphology(inside: np.ndarray) -> None:
    canvas = CanvasPrediction(
        np.zeros((*inside.shape, 3), np.uint8), inside[None].astype(np.float32)
    )
    sums = mask_statistics(canvas, Calibration(), 0.5, BINARY).sums[0]
    edge = inside & ~ndimage.binary_erosion(inside)
    inner, outer = (
        inside & ~ndimage.binary_erosion(inside, iterations=6),
        ndimage.binary_dilation(inside, iterations=6) & ~inside,
    )
    assert sums[[6, 14, 15]].tolist() == [edge.sum(), inner.sum(), outer.sum()]


def lit(count: int, seed: int) -> np.ndarray:
    """Lesions in light of many kinds."""
    rng = np.random.default_rng(seed)
    shots = [
        lesion(0.5, seed + i)[0].pixels * rng.uniform(0.7, 1.2, 3) + rng.normal(0, 6, (48, 48, 3))
        for i in range(count)
    ]
    return np.clip(shots, 0, 255).astype(np.uint8)


def test_images_of_another_kind_are_unusual() -> None:
    known = fit_out_of_distribution(
        lit(200, 1), [describe_appearance(canvas) for canvas in lit(60, 1000)]
    )
    assert np.mean([known(describe_appearance(canvas)) > 1 for canvas in lit(100, 5000)]) < 0.03
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3))
    for stranger in (noise, np.zeros((48, 48, 3)), 255 - lit(1, 1)[0], np.full((48, 48, 3), 255)):
        assert known(describe_appearance(stranger.astype(np.uint8))) > 1


def test_confidence_comes_back_from_its_record() -> None:
    rng = np.random.default_rng(0)
    shots = lit(30, 0)
    one = ConfidenceModel(
        Calibration(1.5, 0.2),
        fit_quality(rng.random((40, 4)), rng.random(40)),
        fit_out_of_distribution(shots, [describe_appearance(canvas) for canvas in shots]),
    )
    assert ConfidenceModel.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    assert ConfidenceModel.from_dict({}) is None


def test_trust_counts_the_poor_masks_among_those_looked_at() -> None:
    jaccard = np.array([0.1, 0.2, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.5])
    dice = 2 * jaccard / (1 + jaccard)
    found = quality_agreement(dice, jaccard, [0.2, 0.3, *[0.9] * 8])
    assert found and (found.below, found.found) == (3, 2)
    assert quality_agreement(dice, jaccard, [None] * 10) is None
