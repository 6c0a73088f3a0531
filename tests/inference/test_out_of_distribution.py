import numpy as np
import pytest
from canvases import varied_images

from limner.inference.out_of_distribution import (
    describe_appearance,
    fit_out_of_distribution,
    is_unusual,
)


def test_images_of_another_kind_are_unusual() -> None:
    detector = fit_out_of_distribution(
        varied_images(200, 1), [describe_appearance(image) for image in varied_images(60, 1000)]
    )
    alike = varied_images(100, 5000)
    assert np.mean([is_unusual(detector(describe_appearance(image))) for image in alike]) < 0.03
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3))
    negative = 255 - varied_images(1, 1)[0]
    for image in (noise, np.zeros((48, 48, 3)), negative, np.full((48, 48, 3), 255)):
        assert is_unusual(detector(describe_appearance(image.astype(np.uint8))))


@pytest.mark.parametrize(
    ("score", "unusual"), [(None, False), (0.0, False), (1.0, False), (1.001, True)]
)
def test_scores_above_1_are_unusual(score: float | None, unusual: bool) -> None:
    assert is_unusual(score) is unusual


@pytest.mark.parametrize("size", [1, 2, 16])
def test_a_canvas_of_any_size_has_a_finite_description(size: int) -> None:
    description = describe_appearance(np.zeros((size, size, 3), np.uint8))
    assert description.shape == (18,) and np.isfinite(description).all()
