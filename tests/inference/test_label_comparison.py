from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data.preprocess import Preprocessing
from limner.data.sample import Sample
from limner.inference.audit_record import AuditedMask
from limner.inference.label_comparison import MaskComparison
from limner.inference.model_runner import ModelRunner
from limner.inference.predictor import Predictor
from limner.labels import Labels

BINARY = Labels.from_values(("background", "cell"), (0, 255))
SIZE_PX, COUNT = 64, 60
SPOILT = {7: "missing object", 19: "invented object", 31: "shifted", 43: "wrong image"}


def brightness(images: np.ndarray) -> np.ndarray:
    """An engine whose foreground is what is bright."""
    return images.mean(1, keepdims=True) * 4


def disc(row: float, column: float, radius: float) -> np.ndarray:
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    return (y - row) ** 2 + (x - column) ** 2 <= radius**2


def true_mask(number: int) -> np.ndarray:
    rng = np.random.default_rng((5, number))
    rows, columns = rng.permutation([14, 32, 50]), rng.permutation([14, 32, 50])
    discs = [
        disc(row + rng.uniform(-3, 3), column + rng.uniform(-3, 3), rng.uniform(6, 8))
        for row, column in zip(rows, columns, strict=True)
    ]
    return np.logical_or.reduce(discs)


def given_mask(number: int) -> np.ndarray:
    """The true one, a little out as people draw it, or spoilt."""
    mask, kind = true_mask(number), SPOILT.get(number)
    if kind == "missing object":
        columns = np.flatnonzero(mask.any(0))
        return mask & (np.arange(SIZE_PX) > columns[0] + 16)
    if kind == "invented object":
        free = min(
            (disc(row, column, 7) for row in (14, 32, 50) for column in (14, 32, 50)),
            key=lambda other: int((other & mask).sum()),
        )
        return mask | free
    if kind == "shifted":
        return np.roll(mask, (5, -4), (0, 1))
    if kind == "wrong image":
        return true_mask(number + 100)
    return np.roll(mask, number % 3 - 1, number % 2)


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> list[AuditedMask]:
    folder = tmp_path_factory.mktemp("cells")
    samples = []
    for number in range(COUNT):
        rng = np.random.default_rng((6, number))
        picture = (
            60 + 130.0 * true_mask(number)[..., None] + rng.normal(0, 15, (SIZE_PX,) * 2 + (3,))
        )
        image, mask = folder / f"{number:02}.png", folder / f"{number:02}_mask.png"
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(image)
        Image.fromarray(given_mask(number).astype(np.uint8) * 255).save(mask)
        samples.append(Sample(f"{number:02}", image, mask))
    preprocessing = Preprocessing((SIZE_PX, SIZE_PX), (0.49,) * 3, (0.25,) * 3)
    predictor = Predictor([ModelRunner(brightness, preprocessing)], BINARY)
    others = [sample.class_index(BINARY) for sample in samples[:20]]
    comparison = MaskComparison(BINARY, COUNT, others)
    for sample in samples:
        comparison.add(sample, predictor, "fold-1")
    return comparison.judge()


def test_spoilt_masks_are_ranked_first(audited: list[AuditedMask]) -> None:
    assert {int(mask.id) for mask in audited[: len(SPOILT)]} == set(SPOILT)
    probabilities = [mask.probability for mask in audited]
    assert probabilities == sorted(probabilities, reverse=True)
    assert probabilities[len(SPOILT) - 1] > 0.5 > probabilities[len(SPOILT)]


def test_the_kind_and_the_place_are_named(audited: list[AuditedMask]) -> None:
    by_number = {int(mask.id): mask for mask in audited}
    for number in (7, 19, 31):
        assert by_number[number].kind == SPOILT[number]
    assert by_number[31].detail == "moved 5 px up and 4 px to the right it fits better"
    missing = by_number[7].box
    assert missing is not None
    top, left, bottom, right = missing
    gone = true_mask(7) & ~given_mask(7)
    assert gone[top:bottom, left:right].sum() > 0.85 * gone.sum()
    assert {mask.class_name for mask in audited} == {"cell"}


def test_classes_that_changed_places_are_named(tmp_path: Path) -> None:
    labels = Labels.from_values(("background", "bright", "dark"), (0, 1, 2))

    def grey_classes(images: np.ndarray) -> np.ndarray:
        """An engine of three classes by grey level."""
        grey = images.mean(1)
        return np.stack([1 - np.abs(grey), grey, -grey], axis=1) * 4

    preprocessing = Preprocessing((SIZE_PX, SIZE_PX), (0.5,) * 3, (0.25,) * 3)
    predictor = Predictor([ModelRunner(grey_classes, preprocessing)], labels)
    samples = []
    for number in range(40):
        rng = np.random.default_rng((8, number))
        bright, dark = disc(20, 20 + rng.uniform(-6, 6), 9), disc(46, 40 + rng.uniform(-6, 6), 9)
        picture = 128 + 90.0 * bright - 90.0 * dark + rng.normal(0, 10, bright.shape)
        mask = bright + 2 * dark.astype(np.uint8)
        if number == 11:
            mask = 2 * bright.astype(np.uint8) + 2 * dark
        image, file = tmp_path / f"{number}.png", tmp_path / f"{number}_mask.png"
        rgb = np.repeat(picture.clip(0, 255).astype(np.uint8)[..., None], 3, 2)
        Image.fromarray(rgb).save(image)
        Image.fromarray(mask.astype(np.uint8)).save(file)
        samples.append(Sample(f"{number}", image, file))
    others = [sample.class_index(labels) for sample in samples[:20]]
    comparison = MaskComparison(labels, len(samples), others)
    for sample in samples:
        comparison.add(sample, predictor, "fold-1")
    first = comparison.judge()[0]
    assert (first.id, first.kind, first.class_name) == ("11", "wrong class", "dark")
    assert first.summary == "wrong class: it looks like bright"
