from collections import Counter
from pathlib import Path

import pytest

from dataset_folders import ids_and_splits, save_images
from limner.data.scan import scan


def test_the_challenge_keeps_its_splits(lesions: Path) -> None:
    dataset = scan(lesions)
    assert dataset.layout == "ISIC"
    splits = Counter(sample.split for sample in dataset.samples)
    assert splits == {"train": 16, "val": 4, "test": 4}
    assert dataset.samples[0].id == "ISIC_0000000"


def test_a_single_part_of_the_challenge_has_no_split(lesions: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for name in ("ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth"):
        (tmp_path / "set" / name).symlink_to(lesions / name)
    assert {sample.split for sample in scan(tmp_path / "set").samples} == {None}


@pytest.mark.parametrize(
    ("images", "masks"),
    [
        ("ISBI2016_ISIC_Part1_Training_Data", "ISBI2016_ISIC_Part1_Training_GroundTruth"),
        ("ISIC-2017_Training_Data", "ISIC-2017_Training_Part1_GroundTruth"),
        ("ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth"),
    ],
)
def test_each_year_of_the_challenge_is_recognised(tmp_path: Path, images: str, masks: str) -> None:
    test_images, test_masks = images.replace("Training", "Test"), masks.replace("Training", "Test")
    save_images(
        tmp_path,
        f"{images}/ISIC_0000000.jpg",
        f"{images}/ISIC_0000000_superpixels.png",
        f"{masks}/ISIC_0000000_segmentation.png",
        f"{test_images}/ISIC_0000001.jpg",
        f"{test_masks}/ISIC_0000001_Segmentation.png",
    )
    dataset = scan(tmp_path)
    assert dataset.layout == "ISIC"
    assert ids_and_splits(tmp_path) == [("ISIC_0000000", "train"), ("ISIC_0000001", "test")]
    assert dataset.unused == ()
