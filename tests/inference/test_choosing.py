from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limner.data.folder import scan
from limner.data.postprocess import Postprocessing
from limner.data.preprocess import Preprocessing
from limner.data.samples import Sample
from limner.inference import choosing
from limner.inference.choosing import THRESHOLDS, Gain, by_threshold, choose
from limner.inference.confidence import Confidence
from limner.inference.engines import Model, Sight
from limner.labels import VOID, Labels
from limner.metrics import confusion
from limner.model.bundle import Bundle
from limner.model.presets import build
from limner.recipe import Recipe
from shapes import disc

BINARY = Labels.of(("background", "foreground"), (0, 255))
PREPROCESSING = Preprocessing((16, 16), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
Pairs = Callable[..., Path]


@given(st.integers(0, 10**6))
def test_pixels_are_counted_at_every_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probability, truth = rng.random((9, 7)).astype(np.float32), rng.choice([0, 1, VOID], (9, 7)).astype(np.uint8)
    counts = by_threshold(probability, truth)
    for row, threshold in enumerate(THRESHOLDS):
        assert counts[row].tolist() == confusion((probability >= threshold).astype(np.uint8), truth, 2)[1].tolist()


def bundle() -> Bundle:
    recipe = Recipe().replace({"data.size_px": (16, 16), "model.widths": (2, 4)})
    torch.manual_seed(0)
    return Bundle(recipe=recipe, labels=BINARY, preprocessing=PREPROCESSING, weights=build(recipe.model, 3, 1).state_dict())


def chosen(
    monkeypatch: pytest.MonkeyPatch, pairs: Pairs, engine: Callable[[np.ndarray], np.ndarray], masks: dict[str, np.ndarray]
) -> tuple[Bundle, dict[str, Gain]]:
    """What is chosen for an engine of a few lines in place of the network."""
    monkeypatch.setattr(choosing, "in_torch", lambda bundle, device: Model(bundle, engine, Sight()))
    samples = scan(pairs(masks)).samples
    return finished(samples)


def finished(samples: list[Sample], seconds_left: Callable[[], float] = lambda: 1e9) -> tuple[Bundle, dict[str, Gain]]:
    training = np.random.default_rng(0).integers(0, 255, (30, 16, 16, 3)).astype(np.uint8)
    steps = choose(bundle(), samples, training, seconds_left=seconds_left)
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


def test_a_network_that_draws_too_much_is_given_a_higher_threshold(monkeypatch: pytest.MonkeyPatch, pairs: Pairs) -> None:
    made, gains = chosen(monkeypatch, pairs, brightness(6.0), discs())
    assert gains["threshold"].taken and gains["threshold"].gain > 0.05
    assert made.choices.threshold > 0.6


def test_what_does_not_help_is_off(monkeypatch: pytest.MonkeyPatch, pairs: Pairs) -> None:
    made, gains = chosen(monkeypatch, pairs, brightness(0.0), discs())
    assert made.choices.tta == "none"
    assert made.choices.postprocessing == Postprocessing()
    assert not any(gain.taken for name, gain in gains.items() if name != "threshold")


def test_an_engine_that_errs_at_one_side_is_mended_by_flips(monkeypatch: pytest.MonkeyPatch, pairs: Pairs) -> None:
    def slanted(images: np.ndarray) -> np.ndarray:
        return images.mean(1, keepdims=True) * 4 + np.linspace(-14, 14, images.shape[3], dtype=np.float32)

    made, gains = chosen(monkeypatch, pairs, slanted, discs())
    assert gains["augmentation flips"].taken
    assert made.choices.tta != "none"


def test_specks_in_every_mask_are_removed(monkeypatch: pytest.MonkeyPatch, pairs: Pairs) -> None:
    def cornered(images: np.ndarray) -> np.ndarray:
        logits = images.mean(1, keepdims=True) * 4
        side = images.shape[2] // 8
        for rows in (slice(side), slice(-side, None)):
            logits[..., rows, :side] += 30
            logits[..., rows, -side:] += 30
        return logits

    made, gains = chosen(monkeypatch, pairs, cornered, discs())
    assert gains["largest"].taken and gains["largest"].low > 0
    assert made.choices.postprocessing.largest


def test_the_confidence_is_fitted_and_comes_with_the_bundle(pairs: Pairs, tmp_path: Path) -> None:
    made, _ = finished(list(scan(pairs(discs())).samples))
    made.save(tmp_path / "model.safetensors")
    loaded = Bundle.load(tmp_path / "model.safetensors")
    assert loaded.choices == made.choices
    known = Confidence.of(loaded.confidence)
    assert known and known.quality and known.record() == made.confidence


def test_the_same_images_choose_the_same(pairs: Pairs) -> None:
    samples = list(scan(pairs(discs())).samples)
    assert finished(samples)[0].confidence == finished(samples)[0].confidence


def test_where_time_is_short_fewer_images_are_looked_at(pairs: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    real = choosing._survey
    monkeypatch.setattr(choosing, "_survey", lambda network, sample, *others: (looked.append(sample.id), real(network, sample, *others))[1])
    clock = iter([100.0, *[0.0] * 100])
    finished(list(scan(pairs(discs())).samples), seconds_left=lambda: next(clock))
    assert len(set(looked)) == choosing.FEWEST


def test_where_time_is_shorter_fewer_are_looked_at_with_every_augmentation(pairs: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = choosing._survey
    monkeypatch.setattr(choosing, "_survey", lambda network, sample, labels, names: (asked.append(len(names)), real(network, sample, labels, names))[1])
    clock = iter([100.0, *[60.0] * 100])
    made, gains = finished(list(scan(pairs(discs())).samples), seconds_left=lambda: next(clock))
    assert asked == [len(choosing.VARIANTS)] * choosing.FEWEST + [1] * (24 - choosing.FEWEST)
    assert made.confidence and "augmentation turns" in gains


def test_of_large_images_fewer_are_looked_at(pairs: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "ENOUGH", 5)
    monkeypatch.setattr(choosing, "MOST_PIXELS", 16 * 16 * 9)
    samples = list(scan(pairs(discs())).samples)
    assert len(choosing._spread(samples)) == 9
    monkeypatch.setattr(choosing, "MOST_PIXELS", 16 * 16)
    few = [sample.id for sample in choosing._spread(samples)]
    assert len(few) == 5 and {"00", "23"} <= set(few)


def test_the_second_look_ends_with_the_time_too(pairs: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    left = iter([100.0] * 31 + [0.0] * 100)
    monkeypatch.setattr(choosing, "in_torch", lambda bundle, device: Model(bundle, lambda images: images.mean(1, keepdims=True), Sight()))
    marked = mock.Mock(side_effect=choosing._mark)
    monkeypatch.setattr(choosing, "_mark", marked)
    found, _ = finished(scan(pairs({f"{i:02}": disc() for i in range(30)})).samples, lambda: next(left))
    assert marked.call_count == choosing.FEWEST and found.confidence


def test_no_validation_image_leaves_the_bundle_as_it_was() -> None:
    made, gains = finished([])
    assert made.confidence == {} and gains == {}
