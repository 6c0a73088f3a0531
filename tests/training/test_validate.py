import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from limner.data.cache import PreparedDataset
from limner.data.loader import DeviceDataset
from limner.labels import Labels
from limner.metrics.overlap import confusion_counts, dice
from limner.recipe import TrainSettings
from limner.training.distributed import SINGLE_PROCESS, DistributedContext
from limner.training.validate import ValidationScore, Validator, preview_rows

CPU = torch.device("cpu")
BINARY = Labels.from_values(("background", "foreground"), (0, 255))
THREE = Labels.from_values(("sky", "road", "car"), (0, 1, 2))


def prepared(seed: int, classes: int) -> PreparedDataset:
    """Five samples, the third of two tiles."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (6, 8, 12, 3)).astype(np.uint8)
    return PreparedDataset(
        images,
        rng.choice([*range(classes), 255], (6, 8, 12)).astype(np.uint8),
        np.array([0, 1, 2, 2, 3, 4]),
        tuple("abcde"),
    )


def score(
    data: PreparedDataset, labels: Labels, context: DistributedContext = SINGLE_PROCESS
) -> ValidationScore:
    """Of a network that passes the image's channels on as logits."""
    network = nn.Conv2d(3, labels.out_channels, kernel_size=1, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.eye(3)[: labels.out_channels, :, None, None])
    validator = Validator(
        data,
        DeviceDataset(data, CPU),
        lambda images: images - 0.5,
        labels,
        TrainSettings(),
        context,
    )
    batches = validator.score(network, 4)
    try:
        while True:
            next(batches)
    except StopIteration as finished:
        return finished.value


@given(st.integers(0, 1000))
def test_the_binary_score_is_the_mean_dice_of_the_samples(seed: int) -> None:
    data = prepared(seed, 2)
    counts = [
        confusion_counts((data.images[i, ..., 0] >= 127.5).astype(np.uint8), data.masks[i], 2)[1]
        for i in range(6)
    ]
    assert (
        score(data, BINARY).mean_dice
        == dice(
            np.stack([counts[0], counts[1], counts[2] + counts[3], counts[4], counts[5]])
        ).mean()
    )


@given(st.integers(0, 1000))
def test_the_score_of_several_classes_leaves_out_those_that_are_not_there(seed: int) -> None:
    data = prepared(seed, 3)
    counts = [
        confusion_counts(data.images[i].argmax(2).astype(np.uint8), data.masks[i], 3)
        for i in range(6)
    ]
    per_class = dice(
        np.stack([counts[0], counts[1], counts[2] + counts[3], counts[4], counts[5]]), empty=np.nan
    )
    assert np.isclose(
        score(data, THREE).mean_dice, np.nanmean(per_class[:, list(THREE.scored)], axis=1).mean()
    )


def test_the_previews_are_always_of_the_same_rows() -> None:
    data = prepared(0, 2)
    assert preview_rows(data) == [0, 1, 2, 4, 5]
    assert sorted(score(data, BINARY).previews) == [0, 1, 2, 4, 5]
