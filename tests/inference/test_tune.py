from collections.abc import Callable, Sequence
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limner.data.preprocess import Preprocessing
from limner.data.sample import Sample
from limner.data.scan import scan
from limner.inference import tune as tune_module
from limner.inference.confidence import ConfidenceModel
from limner.inference.engines import LoadedModel, ReceptiveField
from limner.inference.tune import tune
from limner.inference.tune_settings import THRESHOLDS, TuningResult, counts_by_threshold
from limner.labels import VOID, Labels
from limner.metrics.overlap import confusion_counts
from limner.model.bundle import Bundle
from limner.model.metadata import PostprocessSettings
from limner.model.unet import UNet
from limner.recipe import Recipe
from shapes import disc

BINARY = Labels.from_values(("background", "foreground"), (0, 255))
PREPROCESSING = Preprocessing((16, 16), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
Pairs = Callable[..., Path]


@given(st.integers(0, 10**6))
def test_pixels_are_counted_at_every_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probability, truth = (
        rng.random((9, 7)).astype(np.float32),
        rng.choice([0, 1, VOID], (9, 7)).astype(np.uint8),
    )
    counts = counts_by_threshold(probability, truth)
    for row, threshold in enumerate(THRESHOLDS):
        assert (
            counts[row].tolist()
            == confusion_counts((probability >= threshold).astype(np.uint8), truth, 2)[1].tolist()
        )


def bundle() -> Bundle:
    recipe = Recipe().replace({"data.size_px": (16, 16), "model.widths": (2, 4)})
    torch.manual_seed(0)
    return Bundle(
        recipe=recipe,
        labels=BINARY,
        preprocessing=PREPROCESSING,
        weights=UNet.from_settings(recipe.model, 3, 1).state_dict(),
    )


def tune_engine(
    monkeypatch: pytest.MonkeyPatch,
    pairs: Pairs,
    engine: Callable[[np.ndarray], np.ndarray],
    masks: dict[str, np.ndarray],
) -> tuple[Bundle, dict[str, TuningResult]]:
    """Tune an engine of a few lines in place of the network."""
    monkeypatch.setattr(
        tune_module,
        "load_torch",
        lambda bundle, device: LoadedModel(bundle, engine, ReceptiveField()),
    )
    return tune_samples(scan(pairs(masks)).samples)


def tune_samples(
    samples: Sequence[Sample], seconds_left: Callable[[], float] = lambda: 1e9
) -> tuple[Bundle, dict[str, TuningResult]]:
    training = np.random.default_rng(0).integers(0, 255, (30, 16, 16, 3)).astype(np.uint8)
    steps = tune(bundle(), samples, training, seconds_left=seconds_left)
    progress = []
    try:
        while True:
            progress.append(next(steps))
    except StopIteration as end:
        assert progress == sorted(progress)
        tuned, results = end.value
        return tuned, {result.name: result for result in results}


def discs(count: int = 24) -> dict[str, np.ndarray]:
    return {f"{i:02}": disc(radius=3 + i % 4) for i in range(count)}


def brightness(shift: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda images: images.mean(1, keepdims=True) * 4 + shift


def test_a_network_that_predicts_too_much_gets_a_higher_threshold(
    monkeypatch: pytest.MonkeyPatch, pairs: Pairs
) -> None:
    tuned, results = tune_engine(monkeypatch, pairs, brightness(6.0), discs())
    assert results["threshold"].taken and results["threshold"].gain > 0.05
    assert tuned.inference.threshold > 0.6


def test_settings_that_do_not_help_are_off(monkeypatch: pytest.MonkeyPatch, pairs: Pairs) -> None:
    tuned, results = tune_engine(monkeypatch, pairs, brightness(0.0), discs())
    assert tuned.inference.tta == "none"
    assert tuned.inference.postprocessing == PostprocessSettings()
    assert not any(result.taken for name, result in results.items() if name != "threshold")


def test_an_engine_that_errs_at_one_side_is_mended_by_flips(
    monkeypatch: pytest.MonkeyPatch, pairs: Pairs
) -> None:
    def slanted(images: np.ndarray) -> np.ndarray:
        slope = np.linspace(-14, 14, images.shape[3], dtype=np.float32)
        return images.mean(1, keepdims=True) * 4 + slope

    tuned, results = tune_engine(monkeypatch, pairs, slanted, discs())
    assert results["augmentation flips"].taken
    assert tuned.inference.tta != "none"


def test_specks_in_every_mask_are_removed(monkeypatch: pytest.MonkeyPatch, pairs: Pairs) -> None:
    def cornered(images: np.ndarray) -> np.ndarray:
        logits = images.mean(1, keepdims=True) * 4
        side = images.shape[2] // 8
        for rows in (slice(side), slice(-side, None)):
            logits[..., rows, :side] += 30
            logits[..., rows, -side:] += 30
        return logits

    tuned, results = tune_engine(monkeypatch, pairs, cornered, discs())
    assert results["keep_largest"].taken and results["keep_largest"].low > 0
    assert tuned.inference.postprocessing.keep_largest


def test_the_confidence_is_fitted_and_saved_with_the_bundle(pairs: Pairs, tmp_path: Path) -> None:
    tuned, _ = tune_samples(scan(pairs(discs())).samples)
    tuned.save(tmp_path / "model.safetensors")
    loaded = Bundle.load(tmp_path / "model.safetensors")
    assert loaded.inference == tuned.inference
    confidence = ConfidenceModel.from_dict(loaded.confidence)
    assert confidence and confidence.quality and confidence.to_dict() == tuned.confidence


def test_the_same_images_give_the_same_confidence(pairs: Pairs) -> None:
    samples = scan(pairs(discs())).samples
    assert tune_samples(samples)[0].confidence == tune_samples(samples)[0].confidence


@pytest.mark.parametrize(("left", "images"), [(0.0, tune_module.MIN_IMAGES), (-1.0, 1)])
def test_where_time_is_short_fewer_images_are_used(
    pairs: Pairs, monkeypatch: pytest.MonkeyPatch, left: float, images: int
) -> None:
    scored = mock.Mock(side_effect=tune_module._score_sample)
    monkeypatch.setattr(tune_module, "_score_sample", scored)
    clock = iter([100.0, *[left] * 100])
    tune_samples(scan(pairs(discs())).samples, seconds_left=lambda: next(clock))
    assert len({call.args[1].id for call in scored.call_args_list}) == images


def test_where_time_is_shorter_fewer_images_are_augmented(
    pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored = mock.Mock(side_effect=tune_module._score_sample)
    monkeypatch.setattr(tune_module, "_score_sample", scored)
    clock = iter([100.0, 100.0, *[60.0] * 100])
    tuned, results = tune_samples(scan(pairs(discs())).samples, seconds_left=lambda: next(clock))
    # The first call measures what a pass takes
    augmentations = [len(call.args[3]) for call in scored.call_args_list][1:]
    assert augmentations == [len(tune_module.TTA_TRANSFORMS)] * tune_module.MIN_IMAGES + [1] * (
        24 - tune_module.MIN_IMAGES
    )
    assert tuned.confidence and "augmentation turns" in results


@pytest.mark.parametrize(
    ("pass_s", "tried"),
    [
        (0.1, ["flips", "turns", "scales"]),
        (0.5, ["flips", "turns"]),
        (1.0, ["flips"]),
        (5.0, []),
    ],
)
def test_augmentations_that_the_time_does_not_allow_are_not_tried(
    pairs: Pairs, monkeypatch: pytest.MonkeyPatch, pass_s: float, tried: list[str]
) -> None:
    scored = mock.Mock(side_effect=tune_module._score_sample)
    monkeypatch.setattr(tune_module, "_score_sample", scored)
    clock = iter([100.0, 100.0 - pass_s, *[60.0] * 100])
    samples = scan(pairs(discs())).samples
    tuned, results = tune_samples(samples, seconds_left=lambda: next(clock))
    assert scored.call_args_list[1].args[3] == ["none", *tried]
    judged = [name for name, result in results.items() if "augmentation" in name and result.images]
    assert judged == [f"augmentation {name}" for name in tried]
    # It helped on other sets, whatever was tried here
    assert results["augmentation flips"].usual_gain
    if not tried:
        assert results["augmentation flips"].taken and tuned.inference.tta == "flips"
        assert tuned.confidence


def test_of_large_images_fewer_are_used(pairs: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune_module, "MIN_LARGE_IMAGES", 5)
    monkeypatch.setattr(tune_module, "MAX_TUNING_PIXELS", 16 * 16 * 9)
    samples = scan(pairs(discs())).samples
    assert len(tune_module._select_samples(samples)) == 9
    monkeypatch.setattr(tune_module, "MAX_TUNING_PIXELS", 16 * 16)
    selected = [sample.id for sample in tune_module._select_samples(samples)]
    assert len(selected) == 5 and {"00", "23"} <= set(selected)


@pytest.mark.parametrize(("left", "images"), [(0.0, tune_module.MIN_IMAGES), (-50.0, 1)])
def test_the_second_pass_ends_with_the_time_too(
    pairs: Pairs, monkeypatch: pytest.MonkeyPatch, left: float, images: int
) -> None:
    """However few images were seen, it takes no more than half as much time again."""
    clock = iter([100.0] * 31 + [left] * 100)
    scored = mock.Mock(side_effect=tune_module._score_masks)
    monkeypatch.setattr(tune_module, "_score_masks", scored)
    monkeypatch.setattr(
        tune_module,
        "load_torch",
        lambda bundle, device: LoadedModel(
            bundle, lambda images: images.mean(1, keepdims=True), ReceptiveField()
        ),
    )
    samples = scan(pairs({f"{i:02}": disc() for i in range(30)})).samples
    tuned, _ = tune_samples(samples, lambda: next(clock))
    assert scored.call_count == images and tuned.confidence


def test_without_validation_images_the_bundle_stays_as_it_was() -> None:
    tuned, results = tune_samples([])
    assert tuned.confidence == {} and results == {}
