from pathlib import Path

from dataset_folders import ids_and_splits, save_image, save_images
from limner.data.scan import scan
from shapes import disc


def save_drive(root: Path, suffix: str) -> None:
    """Write two images of each split, the first observer's masks and the fields of view."""
    for split, numbers in (("training", (21, 22)), ("test", (1, 2))):
        for number in numbers:
            save_image(root / f"{split}/images/{number:02}_{split}.tif")
            save_image(root / f"{split}/1st_manual/{number:02}_manual1{suffix}", disc(radius=3))
            save_image(root / f"{split}/mask/{number:02}_{split}_mask{suffix}", disc(radius=7))
            if split == "test":
                save_image(root / f"test/2nd_manual/{number:02}_manual2{suffix}", disc(radius=4))


def test_drive_s_truth_is_the_first_observer_and_not_the_field_of_view(tmp_path: Path) -> None:
    save_drive(tmp_path, ".png")
    dataset = scan(tmp_path)
    assert dataset.layout == "DRIVE"
    assert ids_and_splits(tmp_path) == [
        ("test/01", "test"),
        ("test/02", "test"),
        ("training/21", "train"),
        ("training/22", "train"),
    ]
    assert {sample.mask.parent.name for sample in dataset.samples} == {"1st_manual"}
    assert dataset.unused == ()
    (note,) = dataset.findings
    assert (note.code, note.severity) == ("left-out-folders", "note")
    assert note.message == (
        f"images in 2nd_manual/ and mask/ (such as {tmp_path}/test/2nd_manual) are left out. "
        "Beside 1st_manual/, which holds the truth, these are the field of view or a second "
        "observer."
    )


def test_hrf_s_truth_is_in_manual1(tmp_path: Path) -> None:
    save_images(tmp_path, "images/01_dr.JPG", "manual1/01_dr.tif", "mask/01_dr_mask.tif")
    (sample,) = scan(tmp_path).samples
    assert (sample.id, sample.mask) == ("01_dr", tmp_path / "manual1/01_dr.tif")


def test_masks_that_are_not_read_are_named_and_no_field_of_view_is_among_them(
    tmp_path: Path,
) -> None:
    save_drive(tmp_path, ".tga")
    dataset = scan(tmp_path)
    assert {item.file.parent.name for item in dataset.unread} == {"1st_manual"}
    assert dataset.unsupported == {}
