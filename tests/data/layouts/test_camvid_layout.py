from pathlib import Path

import pytest

from dataset_folders import ids_and_splits, save_images
from limner.data.scan import scan


@pytest.mark.parametrize(
    ("mask_folder", "mask_name"), [("{}annot", "x.png"), ("{}_labels", "x_L.png")]
)
def test_both_forms_of_camvid_are_recognised(
    tmp_path: Path, mask_folder: str, mask_name: str
) -> None:
    for split in ("train", "val", "test"):
        save_images(tmp_path, f"{split}/x.png", f"{mask_folder.format(split)}/{mask_name}")
    assert scan(tmp_path).layout == "CamVid"
    assert ids_and_splits(tmp_path) == [("test/x", "test"), ("train/x", "train"), ("val/x", "val")]
