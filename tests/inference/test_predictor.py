from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.data.preprocess import Preprocessing
from limner.data.writers.png import write_png
from limner.inference.calibration import to_class_index, to_probabilities
from limner.inference.engines import ReceptiveField
from limner.inference.predictor import ModelRunner, Predictor
from limner.inference.tta import TTA_TRANSFORMS, TtaTransform
from limner.labels import Labels
from limner.model.metadata import InferenceSettings, PostprocessSettings

PREPROCESSING = Preprocessing((16, 16), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
BINARY = Labels.from_values(("background", "foreground"), (0, 255))
ALL = [variant for variants in TTA_TRANSFORMS.values() for variant in variants]


def brightness(images: np.ndarray) -> np.ndarray:
    """An engine that finds what is bright."""
    return images.mean(1, keepdims=True) * 10


def predictor(
    choices: InferenceSettings | None = None, preprocessing: Preprocessing = PREPROCESSING
) -> Predictor:
    return Predictor([ModelRunner(brightness, preprocessing)], BINARY, choices)


def square() -> np.ndarray:
    image = np.zeros((32, 48, 3), np.uint8)
    image[8:24, 12:36] = 255
    return image


@given(st.integers(1, 60), st.integers(1, 60))
def test_the_mask_has_the_image_s_size(h: int, w: int) -> None:
    prediction = predictor().predict(np.zeros((h, w, 3), np.uint8))
    assert prediction.mask.shape == prediction.uncertainty.shape == (h, w)
    assert not prediction.mask.any()


def test_what_is_bright_is_found_where_it_is() -> None:
    prediction = predictor().predict(square())
    assert (prediction.mask == (square()[..., 0] > 0)).mean() > 0.93
    assert 0 < prediction.uncertainty.mean() < 0.2


def test_a_file_and_arrays_of_any_depth_give_the_same_mask(tmp_path: Path) -> None:
    write_png(tmp_path / "square.png", square())
    expected = predictor().predict(square()).mask
    for image in (
        tmp_path / "square.png",
        str(tmp_path / "square.png"),
        square()[..., 0],
        square().astype(np.uint16) * 256,
        square() > 0,
        square() / 255,
    ):
        assert (predictor().predict(image).mask == expected).all()


def test_it_says_whether_its_tiles_are_blended() -> None:
    tiles = Preprocessing((16, 16), (0.5,) * 3, (0.5,) * 3, "tile")
    seen = [
        Predictor([ModelRunner(brightness, how, receptive_field=sight)], BINARY).blends_tiles
        for how, sight in (
            (tiles, ReceptiveField(4, None)),
            (tiles, ReceptiveField(4, 9)),
            (PREPROCESSING, ReceptiveField()),
        )
    ]
    assert seen == [True, False, False]


def test_uncertainty_is_highest_where_the_mask_ends() -> None:
    uncertainty = predictor().predict(square()).uncertainty
    assert uncertainty[16, 9:15].max() > 0.5 > 0.1 > uncertainty[16, 24]


def test_the_most_probable_class_is_taken() -> None:
    logits = np.zeros((3, 2, 2), np.float32)
    logits[2, 0, 0] = logits[1, 1, 1] = 5
    probabilities = to_probabilities(logits)
    assert probabilities.sum(0) == pytest.approx(1)
    assert to_class_index(probabilities).tolist() == [[2, 0], [0, 1]]


def test_an_undecided_engine_is_uncertain_everywhere() -> None:
    undecided = ModelRunner(
        lambda images: np.zeros((len(images), 3, 16, 16), np.float32), PREPROCESSING
    )
    prediction = Predictor([undecided], Labels.from_values(("a", "b", "c"), (0, 1, 2))).predict(
        np.zeros((16, 16, 3), np.uint8)
    )
    assert prediction.uncertainty.mean() == pytest.approx(1, abs=1e-5)


def test_a_model_without_confidence_predicts_no_quality() -> None:
    prediction = predictor().predict(square())
    assert prediction.predicted_dice is prediction.unusualness is None
    assert not prediction.unusual


@pytest.mark.parametrize("variant", [variant for variant in ALL if variant.scale == 1])
@given(st.integers(1, 9), st.integers(1, 9))
def test_a_variant_comes_back_as_it_was(variant: TtaTransform, h: int, w: int) -> None:
    canvas = np.random.default_rng(0).random((2, h, w)).astype(np.float32)
    np.testing.assert_array_equal(variant.invert(variant.apply(canvas), (h, w)), canvas)


@pytest.mark.parametrize("variant", [variant for variant in ALL if variant.scale != 1])
def test_a_scaled_variant_comes_back_in_its_size_and_place(variant: TtaTransform) -> None:
    canvas = np.zeros((1, 96, 128), np.float32)
    canvas[:, 20:60, 80:120] = 1
    seen = variant.apply(canvas)
    assert seen.shape != canvas.shape and not any(side % 32 for side in seen.shape[1:])
    assert np.abs(variant.invert(seen, (96, 128)) - canvas).mean() < 0.02


@pytest.mark.parametrize("name", ["flips", "turns"])
@pytest.mark.parametrize("size_px", [(16, 16), (16, 24)])
def test_an_engine_that_looks_at_each_pixel_alone_gains_nothing_from_variants(
    name: str, size_px: tuple[int, int]
) -> None:
    preprocessing = Preprocessing(size_px, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    once = predictor(preprocessing=preprocessing).predict(square()).probabilities
    np.testing.assert_allclose(
        predictor(InferenceSettings(tta=name), preprocessing).predict(square()).probabilities,
        once,
        atol=1e-6,
    )


def test_variants_are_averaged() -> None:
    left = ModelRunner(
        lambda images: (
            np.where(np.arange(16) < 8, 8.0, -8.0).astype(np.float32)
            * np.ones((len(images), 1, 16, 1), np.float32)
        ),
        PREPROCESSING,
    )
    blank = np.zeros((16, 16, 3), np.uint8)
    assert Predictor([left], BINARY).predict(blank).mask[0].tolist() == [1] * 8 + [0] * 8
    flipped = Predictor([left], BINARY, InferenceSettings(tta="flips")).predict(blank)
    np.testing.assert_allclose(flipped.probabilities, 0.5, atol=1e-3)


def test_an_ensemble_takes_the_mean() -> None:
    dark = ModelRunner(lambda images: -brightness(images), PREPROCESSING)
    both = Predictor([ModelRunner(brightness, PREPROCESSING), dark], BINARY).predict(square())
    np.testing.assert_allclose(both.probabilities, 0.5, atol=1e-3)


def test_what_was_chosen_is_done() -> None:
    image = square()
    image[0:2, 0:2] = 255
    image[14:18, 22:26] = 0
    plain = predictor().predict(image).mask
    chosen = (
        predictor(
            InferenceSettings(postprocessing=PostprocessSettings(keep_largest=True, fill_holes=True))
        )
        .predict(image)
        .mask
    )
    assert plain[0, 0] == 1 and plain[16, 24] == 0
    assert chosen[0, 0] == 0 and chosen[16, 24] == 1
    assert predictor(InferenceSettings(threshold=0.9999)).predict(image).mask.sum() < plain.sum()
