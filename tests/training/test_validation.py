import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from limner.data.batches import Pixels
from limner.data.cache import Standardised
from limner.labels import Labels
from limner.metrics import confusion, dice
from limner.recipe import TrainSettings
from limner.training.distributed import ALONE, Ranks
from limner.training.validation import THRESHOLDS, Scored, by_threshold, validate, watched_rows

CPU = torch.device("cpu")
BINARY = Labels.of(("background", "foreground"), (0, 255))
THREE = Labels.of(("sky", "road", "car"), (0, 1, 2))


def canvases(seed: int, classes: int) -> Standardised:
    """Five samples, the third of two canvases."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (6, 8, 12, 3)).astype(np.uint8)
    return Standardised(images, rng.choice([*range(classes), 255], (6, 8, 12)).astype(np.uint8), np.array([0, 1, 2, 2, 3, 4]), tuple("abcde"))


def scored(data: Standardised, labels: Labels, ranks: Ranks = ALONE) -> Scored:
    """A network that passes the image's channels on as logits."""
    network = nn.Conv2d(3, labels.logits, kernel_size=1, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.eye(3)[: labels.logits, :, None, None])
    steps = validate(network, data, Pixels(data, CPU), lambda images: images - 0.5, labels, TrainSettings(batch_size=4), ranks)
    try:
        while True:
            next(steps)
    except StopIteration as finished:
        return finished.value


@given(st.integers(0, 1000))
def test_the_binary_score_is_the_mean_dice_of_the_samples(seed: int) -> None:
    data = canvases(seed, 2)
    probability = 1 / (1 + np.exp(-(data.images[..., 0].astype(np.float32) / np.float32(255) - np.float32(0.5))))

    def mean(threshold: float) -> float:
        counts = [confusion((probability[i] >= threshold).astype(np.uint8), data.masks[i], 2)[1] for i in range(6)]
        return float(dice(np.stack([counts[0], counts[1], counts[2] + counts[3], counts[4], counts[5]])).mean())

    found = scored(data, BINARY)
    assert found.mean_dice == mean(0.5)
    assert mean(found.threshold) >= max(map(mean, THRESHOLDS)) - 2e-4


@given(st.integers(0, 1000))
def test_the_score_of_several_classes_leaves_out_those_that_are_not_there(seed: int) -> None:
    data = canvases(seed, 3)
    counts = [confusion(data.images[i].argmax(2).astype(np.uint8), data.masks[i], 3) for i in range(6)]
    per_class = dice(np.stack([counts[0], counts[1], counts[2] + counts[3], counts[4], counts[5]]), empty=np.nan)
    assert np.isclose(scored(data, THREE).mean_dice, np.nanmean(per_class[:, list(THREE.scored)], axis=1).mean())


def test_pixels_are_counted_at_every_threshold() -> None:
    reached = np.random.default_rng(0).integers(0, 50, (2, 3, len(THRESHOLDS) + 1))
    for threshold in range(len(THRESHOLDS)):
        hit, false = reached[:, 1, threshold + 1 :].sum(1), reached[:, 0, threshold + 1 :].sum(1)
        expected = np.stack([hit, false, reached[:, 1].sum(1) - hit], 1)
        np.testing.assert_array_equal(by_threshold(reached)[:, threshold], expected)


def test_the_watched_canvases_are_always_the_same() -> None:
    data = canvases(0, 2)
    assert watched_rows(data) == [0, 1, 2, 4, 5]
    assert sorted(scored(data, BINARY).drawn) == [0, 1, 2, 4, 5]
