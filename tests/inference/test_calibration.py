import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from limner.inference.calibration import (
    Calibration,
    expected_calibration_error,
    fit_calibration,
    reliability_bins,
    to_class_index,
)
from limner.labels import VOID


def miscalibrated(temperature: float, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are wrong by a temperature and a shift, and the true classes."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, 60_000)
    truth = rng.random(60_000) < 1 / (1 + np.exp(-logits))
    probabilities = 1 / (1 + np.exp(-(logits * temperature - shift)))
    return probabilities[None].astype(np.float32), truth.astype(np.uint8)


@pytest.mark.parametrize(
    ("temperature", "shift"), [(2.5, 0.0), (0.6, 0.0), (1.0, 1.5), (1.8, -0.7)]
)
def test_the_fit_finds_temperature_and_shift(temperature: float, shift: float) -> None:
    probabilities, truth = miscalibrated(temperature, shift)
    calibration = fit_calibration(probabilities, truth)
    assert calibration.temperature == pytest.approx(temperature, rel=0.05)
    assert calibration.shift == pytest.approx(shift, abs=0.06)
    before, after = (
        expected_calibration_error(reliability_bins(p[..., None], truth[:, None]))
        for p in (probabilities, calibration(probabilities))
    )
    assert after < 0.01 and after < before / 3


def test_several_classes_have_a_temperature_and_no_shift() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (3, 40_000))
    true = np.exp(logits) / np.exp(logits).sum(0)
    truth = (rng.random(40_000) > np.cumsum(true, 0)).sum(0).astype(np.uint8)
    overconfident = np.exp(2 * logits) / np.exp(2 * logits).sum(0)
    calibration = fit_calibration(overconfident.astype(np.float32), truth)
    assert calibration.temperature == pytest.approx(2, rel=0.05)
    assert calibration.shift == 0


@given(arrays(np.float32, (3, 4, 5), elements=st.floats(0.0625, 1, width=32)), st.floats(0.25, 8))
def test_calibration_changes_no_class_of_several(weights: np.ndarray, temperature: float) -> None:
    probabilities = weights / weights.sum(0)
    ranked = np.sort(probabilities, axis=0)
    clear = ranked[-1] - ranked[-2] > 1e-4
    calibrated = Calibration(temperature)(probabilities)
    assert (to_class_index(calibrated) == to_class_index(probabilities))[clear].all()
    np.testing.assert_allclose(calibrated.sum(0), 1, atol=1e-4)


def test_reliability_bins_leave_out_void_pixels() -> None:
    bins = reliability_bins(
        np.full((1, 2, 2), 0.9, np.float32), np.array([[1, VOID], [0, VOID]], np.uint8)
    )
    assert bins.sum(0).tolist() == pytest.approx([2, 1.8, 1])
