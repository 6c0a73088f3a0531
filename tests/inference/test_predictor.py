import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.data.preprocess import Preprocessing
from limner.data.writers.png import write_png
from limner.errors import LimnerError
from limner.inference import tile_grid
from limner.inference.calibration import Calibration, to_class_index, to_probabilities
from limner.inference.engines import ReceptiveField, load_model
from limner.inference.model_runner import ModelRunner
from limner.inference.predictor import Predictor
from limner.inference.streaming import no_segments
from limner.inference.tta import TTA_TRANSFORMS, TtaTransform
from limner.labels import Labels
from limner.model.metadata import InferenceSettings, PostprocessSettings
from service import write_model

EARLIER = Path(__file__).parent / "earlier"
PREPROCESSING = Preprocessing((16, 16), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
BINARY = Labels.from_values(("background", "foreground"), (0, 255))
ALL_TRANSFORMS = [transform for transforms in TTA_TRANSFORMS.values() for transform in transforms]


def brightness(images: np.ndarray) -> np.ndarray:
    """An engine whose foreground is what is bright."""
    return images.mean(1, keepdims=True) * 10


def predictor(
    settings: InferenceSettings | None = None, preprocessing: Preprocessing = PREPROCESSING
) -> Predictor:
    return Predictor([ModelRunner(brightness, preprocessing)], BINARY, settings)


def square() -> np.ndarray:
    image = np.zeros((32, 48, 3), np.uint8)
    image[8:24, 12:36] = 255
    return image


@given(st.integers(1, 60), st.integers(1, 60))
def test_the_mask_has_the_image_s_size(h: int, w: int) -> None:
    prediction = predictor().predict(np.zeros((h, w, 3), np.uint8))
    assert prediction.mask.shape == prediction.uncertainty.shape == (h, w)
    assert not prediction.mask.any()


def test_a_bright_square_is_predicted_where_it_is() -> None:
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


def test_many_images_are_predicted_in_their_order(tmp_path: Path) -> None:
    write_png(tmp_path / "square.png", square())
    images = [square()[:20], tmp_path / "square.png", str(tmp_path / "square.png"), square()[:, :7]]
    predictions = list(predictor().predict_many(images))
    for image, prediction in zip(images, predictions, strict=True):
        assert (prediction.mask == predictor().predict(image).mask).all()
    assert list(predictor().predict_many([])) == []


def test_of_many_images_the_next_one_alone_is_read_ahead() -> None:
    taken = []

    def images() -> Iterator[np.ndarray]:
        for number in range(9):
            taken.append(number)
            yield square()

    predictions = predictor().predict_many(images())
    assert taken == []
    next(predictions)
    assert taken == [0, 1]
    next(predictions)
    assert taken == [0, 1, 2]


def test_an_unreadable_image_among_many_is_an_error_at_its_turn(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"broken")
    predictions = predictor().predict_many([square(), tmp_path / "broken.png", square()])
    assert next(predictions).mask.any()
    with pytest.raises(LimnerError, match=r"broken\.png"):
        next(predictions)


def test_a_predictor_knows_whether_its_tiles_are_blended() -> None:
    tiles = Preprocessing((16, 16), (0.5,) * 3, (0.5,) * 3, "tile")
    blended = [
        Predictor(
            [ModelRunner(brightness, preprocessing, receptive_field=receptive_field)], BINARY
        ).blends_tiles
        for preprocessing, receptive_field in (
            (tiles, ReceptiveField(4, None)),
            (tiles, ReceptiveField(4, 9)),
            (PREPROCESSING, ReceptiveField()),
        )
    ]
    assert blended == [True, False, False]


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
    labels = Labels.from_values(("a", "b", "c"), (0, 1, 2))
    prediction = Predictor([undecided], labels).predict(np.zeros((16, 16, 3), np.uint8))
    assert prediction.uncertainty.mean() == pytest.approx(1, abs=1e-5)


def test_a_model_without_confidence_predicts_no_quality() -> None:
    prediction = predictor().predict(square())
    assert prediction.predicted_dice is prediction.unusualness is None
    assert not prediction.unusual


@pytest.mark.parametrize("transform", [each for each in ALL_TRANSFORMS if each.scale == 1])
@given(st.integers(1, 9), st.integers(1, 9))
def test_a_transform_is_undone(transform: TtaTransform, h: int, w: int) -> None:
    canvas = np.random.default_rng(0).random((2, h, w)).astype(np.float32)
    np.testing.assert_array_equal(transform.invert(transform.apply(canvas), (h, w)), canvas)


@pytest.mark.parametrize("transform", [each for each in ALL_TRANSFORMS if each.scale != 1])
def test_a_scaling_transform_is_undone_in_size_and_place(transform: TtaTransform) -> None:
    canvas = np.zeros((1, 96, 128), np.float32)
    canvas[:, 20:60, 80:120] = 1
    augmented = transform.apply(canvas)
    assert augmented.shape != canvas.shape and not any(side % 32 for side in augmented.shape[1:])
    assert np.abs(transform.invert(augmented, (96, 128)) - canvas).mean() < 0.02


@pytest.mark.parametrize("name", ["flips", "turns"])
@pytest.mark.parametrize("size_px", [(16, 16), (16, 24)])
def test_augmentation_changes_nothing_for_an_engine_that_sees_single_pixels(
    name: str, size_px: tuple[int, int]
) -> None:
    preprocessing = Preprocessing(size_px, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    plain = predictor(preprocessing=preprocessing).predict(square())
    augmented = predictor(InferenceSettings(tta=name), preprocessing).predict(square())
    np.testing.assert_allclose(augmented.probabilities, plain.probabilities, atol=1e-6)


def test_augmentations_are_averaged() -> None:
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


def test_a_predictor_needs_a_model() -> None:
    with pytest.raises(LimnerError, match="no model is given"):
        Predictor.load()


def test_the_settings_are_applied() -> None:
    image = square()
    image[0:2, 0:2] = 255
    image[14:18, 22:26] = 0
    plain = predictor().predict(image).mask
    steps = PostprocessSettings(keep_largest=True, fill_holes=True)
    cleaned = predictor(InferenceSettings(postprocessing=steps)).predict(image).mask
    assert plain[0, 0] == 1 and plain[16, 24] == 0
    assert cleaned[0, 0] == 0 and cleaned[16, 24] == 1
    assert predictor(InferenceSettings(threshold=0.9999)).predict(image).mask.sum() < plain.sum()


def test_a_model_of_format_4_predicts_what_it_predicted() -> None:
    """The file was written, and the numbers were printed, by the version of that format."""
    earlier = Predictor.load(EARLIER / "format_4.safetensors")
    steps = PostprocessSettings(keep_largest=True, fill_holes=True)
    assert earlier.settings == InferenceSettings(0.45, "flips", steps)
    assert earlier.labels.names == ("background", "lesion")
    image = np.random.default_rng(1).integers(0, 256, (30, 40, 3)).astype(np.uint8) // 4
    image[8:20, 10:30] += 150
    prediction = earlier.predict(image)
    assert prediction.mask.sum() == 1050
    assert prediction.probabilities.mean() == pytest.approx(0.48308685421943665, rel=1e-5)
    assert prediction.uncertainty.mean() == pytest.approx(0.997511625289917, rel=1e-5)
    assert prediction.predicted_dice == pytest.approx(0.606972786753226, rel=1e-5)
    assert prediction.unusualness == pytest.approx(13.009260385131707, rel=1e-5)
    assert prediction.unusual and prediction.calibration == Calibration(1.5, 0.1)


@pytest.mark.parametrize("onnx", [True, False], ids=["with onnx", "without onnx"])
def test_a_large_image_in_torch_is_predicted_in_segments(
    onnx: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tile_grid, "CORE_PX", 96)
    monkeypatch.setattr(tile_grid, "WHOLE_PIXELS", 0)
    path = write_model(tmp_path / "model.onnx", resize_mode="tile").with_suffix(".safetensors")
    if not onnx:
        monkeypatch.setitem(sys.modules, "onnx", None)
    model = load_model(path)
    assert (model.segmented() is not None) is onnx
    image = np.random.default_rng(0).integers(0, 255, (230, 310, 3)).astype(np.uint8)
    tiles = Predictor.from_models(replace(model, segmented=no_segments)).predict(image)
    found = Predictor.from_models(model).predict(image)
    np.testing.assert_allclose(found.probabilities, tiles.probabilities, atol=1e-5)
