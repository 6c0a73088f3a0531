from pathlib import Path

import pytest

from dataset_folders import ids_and_splits, save_images
from limner.data.check import check
from limner.data.scan import scan


@pytest.mark.parametrize(
    ("images", "masks", "split"),
    [
        ("images/s1", "masks", None),
        ("images", "annotations/trimaps", None),
        ("images/training", "masks/train", "train"),
        ("images/training", "masks", "train"),
    ],
)
def test_masks_in_a_folder_of_another_name_are_paired_where_each_name_is_there_once(
    tmp_path: Path, images: str, masks: str, split: str | None
) -> None:
    for name in "ab":
        save_images(tmp_path, f"{images}/{name}.png", f"{masks}/{name}_mask.png")
    assert [split for _, split in ids_and_splits(tmp_path)] == [split, split]
    dataset = scan(tmp_path)
    assert {sample.mask for sample in dataset.samples} == {
        tmp_path / masks / f"{name}_mask.png" for name in "ab"
    }
    (note,) = dataset.findings
    assert (note.code, note.severity) == ("other-mask-folder", "note")
    assert note.message == (
        f"the masks of {tmp_path}/{images} are in {tmp_path}/{masks}, a folder of another name. "
        f"They are paired by their file names (2 pairs, such as {tmp_path}/{images}/a.png with "
        f"{tmp_path}/{masks}/a_mask.png), since each name is there once."
    )


@pytest.mark.parametrize(
    "files",
    [
        "images/s1/a.png images/s2/a.png masks/a.png",
        "images/s1/a.png images/s1/b.png masks/a.png",
        "images/s1/a.png images/s1/b.png masks/x/a.png masks/y/b.png",
        "images/a.png masks/test/a.png",
        "images/siteA/a.png masks/siteB/a.png",
        "images/train/a.png masks/test/a.png",
    ],
)
def test_masks_elsewhere_are_named_where_pairing_them_is_not_safe(
    tmp_path: Path, files: str
) -> None:
    save_images(tmp_path, *files.split())
    dataset = scan(tmp_path)
    assert dataset.samples == ()
    errors = check(dataset).errors
    masks = [str(path) for path in tmp_path.glob("masks/**/a.png")]
    image = next(tmp_path.glob("images/**/a.png"))
    assert any(
        error.message == f"{image} has no mask at its place, but elsewhere of its name: "
        f"{masks[0]}. A mask lies in the same folder below that of the masks as its image below "
        "that of the images: name the folders alike, or move the files."
        for error in errors
    )
    assert any("has no image at its place, but elsewhere" in error.message for error in errors)
    assert any(
        error.message == "no image has a mask at its place. The errors of the code missing-mask "
        "say where masks of the same names are."
        for error in errors
    )


def test_masks_of_several_folders_without_a_class_are_to_be_drawn_into_one(tmp_path: Path) -> None:
    save_images(tmp_path, "images/a.png", "masks/cat/a.png", "masks/dog/a.png", "masks/dog/b.png")
    (error,) = (error for error in check(scan(tmp_path)).errors if error.code == "missing-mask")
    assert f"{tmp_path}/masks/cat/a.png, {tmp_path}/masks/dog/a.png. " in error.message
    assert "draw all into one mask, with a value for each class" in error.message


def test_a_pair_that_is_stated_twice_is_called_so(tmp_path: Path) -> None:
    save_images(tmp_path, "a.png", "b.png", "masks/a.png", "masks/b.png")
    table = tmp_path / "list.csv"

    def message(*lines: str) -> str:
        table.write_text("\n".join(["id,image,mask,split", *lines]))
        result = check(scan(tmp_path))
        return next(error.message for error in result.errors if error.code == "same-id")

    line = "x,a.png,masks/a.png"
    assert message(f"{line},", f"{line},") == (
        f"{tmp_path}/a.png is listed twice, with the id x. Remove one of the lines."
    )
    assert message(f"{line},train", f"{line},val") == (
        f"{tmp_path}/a.png is listed twice, in two splits (train and val). Each image is in one "
        "split."
    )
    other = "x,b.png,masks/b.png"
    assert f"{tmp_path}/a.png have the same id, x. Give each" in message(f"{line},", f"{other},")
    assert ", in two splits (train and test)" in message(f"{line},train", f"{other},test")
