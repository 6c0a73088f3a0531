from pathlib import Path

import numpy as np

from dataset_folders import ids_and_splits, save_image
from limner.data.check import check
from limner.data.scan import scan
from limner.labels import VOID


def write(root: Path, split: str, number: int) -> None:
    name = f"aachen_{number:06d}_000019"
    noise = np.random.default_rng(number).integers(0, 255, (16, 24, 3)).astype(np.uint8)
    save_image(root / f"leftImg8bit/{split}/aachen/{name}_leftImg8bit.png", noise)
    ids = np.zeros((16, 24), np.uint8)
    ids[:, 8:], ids[:, 16:] = 7, 26
    for kind in ("labelIds", "instanceIds", "color"):
        save_image(root / f"gtFine/{split}/aachen/{name}_gtFine_{kind}.png", ids)


def test_label_ids_are_the_classes_and_cities_lie_below_splits(tmp_path: Path) -> None:
    for number, split in enumerate(["train", "train", "val"]):
        write(tmp_path, split, number)
    dataset = scan(tmp_path)
    assert dataset.layout == "Cityscapes"
    assert ids_and_splits(tmp_path) == [
        ("train/aachen/aachen_000000_000019", "train"),
        ("train/aachen/aachen_000001_000019", "train"),
        ("val/aachen/aachen_000002_000019", "val"),
    ]
    result = check(dataset)
    assert not result.errors and result.labels
    labels = result.labels
    assert len(labels.names) == 19
    mask = dataset.samples[0].class_index(labels)
    assert (mask[:, :8] == VOID).all()
    assert labels.names[mask[0, 8]] == "road" and labels.names[mask[0, 20]] == "car"
    assert dataset.unused == ()
