import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.labels import VOID
from limner.metrics.surface import surface_metrics, surface_metrics_per_class


def blobs(seed: int, shape: tuple[int, int] = (32, 40)) -> np.ndarray:
    """A few discs, some of which the edge of the image cuts."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    discs = [
        (y - rng.uniform(0, shape[0])) ** 2 + (x - rng.uniform(0, shape[1])) ** 2
        < rng.uniform(2, 9) ** 2
        for _ in range(rng.integers(1, 4))
    ]
    return np.any(discs, axis=0)


@pytest.mark.filterwarnings("ignore:monai:FutureWarning")
@settings(max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from([1.0, 2.0, 3.5]))
def test_the_metrics_are_monai_s(seed: int, tolerance: float) -> None:
    # Its import takes as long as all tests of this file
    from monai.metrics import (
        compute_average_surface_distance,
        compute_hausdorff_distance,
        compute_surface_dice,
    )

    prediction, truth = blobs(seed), blobs(seed + 1)
    a, b = (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (prediction, truth))
    hausdorff, distance, surface_dice = surface_metrics(
        prediction, truth, np.zeros_like(truth), tolerance
    )
    assert hausdorff == pytest.approx(
        float(compute_hausdorff_distance(a, b, include_background=True, percentile=95)), abs=1e-5
    )
    assert distance == pytest.approx(
        float(compute_average_surface_distance(a, b, include_background=True, symmetric=True)),
        abs=1e-5,
    )
    assert surface_dice == pytest.approx(
        float(compute_surface_dice(a, b, [tolerance], include_background=True)), abs=1e-6
    )


@given(st.integers(0, 10**6))
def test_a_mask_agrees_with_itself(seed: int) -> None:
    mask = blobs(seed)
    assert surface_metrics(mask, mask, np.zeros_like(mask)) == (0, 0, 1)


def test_the_empty_cases_are_as_documented() -> None:
    empty, mask = np.zeros((30, 40), bool), blobs(0, (30, 40))
    assert surface_metrics(empty, empty, empty) == (0, 0, 1)
    for pair in ((empty, mask), (mask, empty)):
        # The diagonal of 30x40
        assert surface_metrics(*pair, empty) == (50, 50, 0)


def test_what_lies_in_void_moves_nothing() -> None:
    truth = np.zeros((20, 30), np.uint8)
    truth[4:12, 4:12] = 1
    prediction, without_void = truth.copy(), truth.copy()
    prediction[14:20, 20:30] = 1
    truth[12:20, 18:30] = VOID
    assert surface_metrics_per_class(prediction, truth, (1,))[0].tolist() == [0, 0, 1]
    assert surface_metrics_per_class(prediction, without_void, (1,))[0][0] > 2


def test_surface_that_touches_void_is_not_measured_from_but_to() -> None:
    """A ring of void around the object, as Pascal VOC draws it."""
    y, x = np.mgrid[:40, :40] - 20
    radius = np.hypot(y, x)
    truth = np.where(radius <= 10, 1, np.where(radius <= 13, VOID, 0)).astype(np.uint8)
    small, whole, empty = ((radius <= end).astype(np.uint8) for end in (7, 11, -1))
    hausdorff, mean, surface_dice = surface_metrics_per_class(small, truth, (1,))[0]
    assert 2.5 < mean <= hausdorff < 3.5 and surface_dice == 0
    assert surface_metrics_per_class(whole, truth, (1,))[0].tolist() == [0, 0, 1], (
        "it ends within the void"
    )
    assert surface_metrics_per_class(empty, truth, (1,))[0][0] == pytest.approx(math.hypot(40, 40))


def test_a_shifted_square_lies_as_far_as_it_was_shifted() -> None:
    truth, prediction = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    truth[10:30, 10:30] = prediction[10:30, 13:33] = True
    hausdorff, distance, surface_dice = surface_metrics(
        prediction, truth, np.zeros_like(truth), 3.0
    )
    assert hausdorff == 3
    assert 0 < distance < 3
    assert surface_dice == 1
    assert surface_metrics(prediction, truth, np.zeros_like(truth), 2.0)[2] < 1
    assert math.isfinite(distance)


def test_an_image_that_is_void_everywhere_has_no_distance() -> None:
    prediction, truth = np.ones((6, 6), np.uint8), np.full((6, 6), VOID, np.uint8)
    assert np.isnan(surface_metrics_per_class(prediction, truth, (1,))).all()
