import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.data.preprocess import Preprocessing
from limner.inference.predictor import Predictor, to_class_index, to_probabilities
from limner.labels import Labels

PREPROCESSING = Preprocessing((16, 16), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def brightness(images: np.ndarray) -> np.ndarray:
    """An engine that finds what is bright."""
    return images.mean(1, keepdims=True) * 10


@given(st.integers(1, 60), st.integers(1, 60))
def test_the_mask_has_the_image_s_size(h: int, w: int) -> None:
    prediction = Predictor(brightness, PREPROCESSING, Labels.of(("background", "foreground"), (0, 255))).predict(np.zeros((h, w, 3), np.uint8))
    assert prediction.class_index.shape == (h, w)
    assert not prediction.class_index.any()


def test_what_is_bright_is_found_where_it_is() -> None:
    image = np.zeros((32, 48, 3), np.uint8)
    image[8:24, 12:36] = 255
    prediction = Predictor(brightness, PREPROCESSING, Labels.of(("background", "foreground"), (0, 255))).predict(image)
    assert (prediction.class_index == (image[..., 0] > 0)).mean() > 0.93
    assert 0 < prediction.mean_entropy < 0.2


def test_the_most_probable_class_is_taken() -> None:
    logits = np.zeros((3, 2, 2), np.float32)
    logits[2, 0, 0] = logits[1, 1, 1] = 5
    probabilities = to_probabilities(logits)
    assert probabilities.sum(0) == pytest.approx(1)
    assert to_class_index(probabilities).tolist() == [[2, 0], [0, 1]]


def test_an_undecided_engine_has_entropy_one() -> None:
    labels = Labels.of(("a", "b", "c"), (0, 1, 2))
    prediction = Predictor(lambda images: np.zeros((1, 3, 16, 16), np.float32), PREPROCESSING, labels).predict(np.zeros((16, 16, 3), np.uint8))
    assert prediction.mean_entropy == pytest.approx(1, abs=1e-5)
