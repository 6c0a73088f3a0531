"""What a prediction can do."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data.overlays import outline_of
from limner.errors import LimnerError
from limner.inference.prediction import Prediction
from limner.inference.predictor import Predictor
from limner.labels import Labels
from shapes import disc

LABELS = Labels.from_values(["background", "<lesion>"], [0, 255])


def prediction(mask: np.ndarray) -> Prediction:
    return Prediction(mask, mask[None].astype(np.float32), 0.87, None, LABELS)


def test_area_and_contours_are_those_of_the_mask() -> None:
    found = prediction(disc(64, 1, radius=20))
    assert found.area() == {"<lesion>": int(found.mask.sum())}
    (ring,) = found.contours()["<lesion>"]
    x, y = ring.T
    enclosed = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    # Outlines lie between pixels and cut corners
    assert enclosed == pytest.approx(found.mask.sum(), rel=0.1)


def test_a_hole_is_a_ring_of_its_own() -> None:
    mask = disc(64, 1, radius=20) - disc(64, 1, radius=8)
    assert len(prediction(mask).contours()["<lesion>"]) == 2


def test_a_mask_is_saved_in_the_values_of_its_set(tmp_path: Path) -> None:
    found = prediction(disc(32, 1, radius=9))
    found.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(Image.open(tmp_path / "mask.png"), found.mask * 255)
    with pytest.raises(LimnerError, match=r"mask\.jpg is no PNG by its name"):
        found.save(tmp_path / "mask.jpg")


def test_an_overlay_is_drawn_into_the_image_and_no_other(tmp_path: Path) -> None:
    found = prediction(disc(32, 1, radius=9))
    grey = np.full((32, 32), 100, np.uint8)
    overlay = found.overlay(grey)
    edge = outline_of(found.mask == 0)
    np.testing.assert_array_equal(overlay[edge], 255)
    np.testing.assert_array_equal(overlay[(found.mask == 0) & ~edge], 100)
    assert (overlay[found.mask == 1] != 100).any(axis=1).all()
    Image.fromarray(grey).save(tmp_path / "image.png")
    np.testing.assert_array_equal(found.overlay(tmp_path / "image.png"), overlay)
    with pytest.raises(LimnerError, match="the image has 20x10 px, and the mask 32x32"):
        found.overlay(np.zeros((10, 20), np.uint8))


def test_a_notebook_shows_the_mask_and_its_numbers() -> None:
    html = prediction(disc(700, 1, radius=200))._repr_html_()
    assert "data:image/jpeg;base64," in html and "predicted Dice 0.87" in html
    assert "700×700 px" in html and "&lt;lesion&gt;: 2" in html


def test_another_threshold_draws_more_or_less(models: dict[str, Path]) -> None:
    predictor = Predictor.load(models["lesions"])
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    areas = [
        predictor.with_threshold(threshold).predict(image).area()["lesion"]
        for threshold in (0.01, 0.5, 0.99)
    ]
    assert areas == sorted(areas, reverse=True) and areas[0] > areas[-1]
    with pytest.raises(LimnerError, match="is not between 0 and 1"):
        predictor.with_threshold(1.0)
    with pytest.raises(LimnerError, match="a threshold is for two classes"):
        Predictor.load(models["scenes"]).with_threshold(0.4)
