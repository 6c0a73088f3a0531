from collections.abc import Callable
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
from limner.inference.tune import THRESHOLDS, TuningResult, counts_by_threshold, tune
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


def chosen(
    monkeypatch: pytest.MonkeyPatch,
    pairs: Pairs,
    engine: Callable[[np.ndarray], np.ndarray],
    masks: dict[str, np.ndarray],
) -> tuple[Bundle, dict[str, TuningResult]]:
    """What is chosen for an engine of a few lines in place of the network."""
    monkeypatch.setattr(
        tune_module,
        "load_torch",
        lambda bundle, device: LoadedModel(bundle, engine, ReceptiveField()),
    )
    samples = scan(pairs(masks)).samples
    return finished(samples)


def finished(
    samples: list[Sample], seconds_left: Callable[[], float] = lambda: 1e9
) -> tuple[Bundle, dict[str, TuningResult]]:
    training = np.random.default_rng(0).integers(0, 255, (30, 16, 16, 3)).astype(np.uint8)
    steps = tune(bundle(), samples, training, seconds_left=seconds_left)
    done = []
    try:
        while True:
            done.append(next(steps))
    except StopIteration as end:
        assert done == sorted(done)
        made, gains = end.value
        return made, {gain.name: gain for gain in gains}


def discs(count: int = 24) -> dict[str, np.ndarray]:
    return {f"{i:02}": disc(radius=3 + i % 4) for i in range(count)}


def brightness(shift: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda images: images.mean(1, keepdims=True) * 4 + shift


def test_a_network_that_draws_too_much_is_given_a_higher_threshold(
    monkeypatch: pytest.MonkeyPatch, pairs: Pairs
) -> None:
    made, gains = chosen(monkeypatch, pairs, brightness(6.0), discs())
    assert gains["threshold"].taken and gains["threshold"].gain > 0.05
    assert made.inference.threshold > 0.6


def test_what_does_not_help_is_off(monkeypatch: pytest.MonkeyPatch, pairs: Pairs) -> None:
    made, gains = chosen(monkeypatch, pairs, brightness(0.0), discs())
    assert made.inference.tta == "none"
    assert made.inference.postprocessing == PostprocessSettings()
    assert not any(gain.taken for name, gain in gains.items() if name != "threshold")


def test_an_engine_that_errs_at_one_side_is_mended_by_flips(
    monkeypatch: pytest.MonkeyPatch, pairs: Pairs
) -> None:
    def slanted(images: np.ndarray) -> np.ndarray:
        return images.mean(1, keepdims=True) * 4 + np.linspace(
            -14, 14, images.shape[3], dtype=np.float32
        )

    made, gains = chosen(monkeypatch, pairs, slanted, discs())
    assert gains["augmentation flips"].taken
    assert made.inference.tta != "none"


def test_specks_in_every_mask_are_removed(monkeypatch: pytest.MonkeyPatch, pairs: Pairs) -> None:
    def cornered(images: np.ndarray) -> np.ndarray:
        logits = images.mean(1, keepdims=True) * 4
        side = images.shape[2] // 8
        for rows in (slice(side), slice(-side, None)):
            logits[..., rows, :side] += 30
            logits[..., rows, -side:] += 30
        return logits

    made, gains = chosen(monkeypatch, pairs, cornered, discs())
    assert gains["keep_largest"].taken and gains["keep_largest"].low > 0
    assert made.inference.postprocessing.keep_largest


def test_the_confidence_is_fitted_and_comes_with_the_bundle(pairs: Pairs, tmp_path: Path) -> None:
    made, _ = finished(list(scan(pairs(discs())).samples))
    made.save(tmp_path / "model.safetensors")
    loaded = Bundle.load(tmp_path / "model.safetensors")
    assert loaded.inference == made.inference
    known = ConfidenceModel.from_dict(loaded.confidence)
    assert known and known.quality and known.to_dict() == made.confidence


def test_the_same_images_choose_the_same(pairs: Pairs) -> None:
    samples = list(scan(pairs(discs())).samples)
    assert finished(samples)[0].confidence == finished(samples)[0].confidence


def test_where_time_is_short_fewer_images_are_looked_at(
    pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    real = tune_module._score_sample
    monkeypatch.setattr(
        tune_module,
        "_score_sample",
        lambda network, sample, *others: (looked.append(sample.id), real(network, sample, *others))[
            1
        ],
    )
    clock = iter([100.0, *[0.0] * 100])
    finished(list(scan(pairs(discs())).samples), seconds_left=lambda: next(clock))
    assert len(set(looked)) == tune_module.FEWEST


def test_where_time_is_shorter_fewer_are_looked_at_with_every_augmentation(
    pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = tune_module._score_sample
    monkeypatch.setattr(
        tune_module,
        "_score_sample",
        lambda network, sample, labels, names: (
            asked.append(len(names)),
            real(network, sample, labels, names),
        )[1],
    )
    clock = iter([100.0, *[60.0] * 100])
    made, gains = finished(list(scan(pairs(discs())).samples), seconds_left=lambda: next(clock))
    assert asked == [len(tune_module.TTA_TRANSFORMS)] * tune_module.FEWEST + [1] * (
        24 - tune_module.FEWEST
    )
    assert made.confidence and "augmentation turns" in gains


def test_of_large_images_fewer_are_looked_at(pairs: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune_module, "FEWEST_LARGE", 5)
    monkeypatch.setattr(tune_module, "MOST_PIXELS", 16 * 16 * 9)
    samples = list(scan(pairs(discs())).samples)
    assert len(tune_module._select_samples(samples)) == 9
    monkeypatch.setattr(tune_module, "MOST_PIXELS", 16 * 16)
    few = [sample.id for sample in tune_module._select_samples(samples)]
    assert len(few) == 5 and {"00", "23"} <= set(few)


def test_the_second_look_ends_with_the_time_too(
    pairs: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = iter([100.0] * 31 + [0.0] * 100)
    monkeypatch.setattr(
        tune_module,
        "load_torch",
        lambda bundle, device: LoadedModel(
            bundle, lambda images: images.mean(1, keepdims=True), ReceptiveField()
        ),
    )
    marked = mock.Mock(side_effect=tune_module._score_masks)
    monkeypatch.setattr(tune_module, "_score_masks", marked)
    found, _ = finished(
        scan(pairs({f"{i:02}": disc() for i in range(30)})).samples, lambda: next(left)
    )
    assert marked.call_count == tune_module.FEWEST and found.confidence


def test_no_validation_image_leaves_the_bundle_as_it_was() -> None:
    made, gains = finished([])
    assert made.confidence == {} and gains == {}
