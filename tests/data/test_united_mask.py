from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset_folders import ids_and_splits, save_image, save_images
from limner.data.check import check
from limner.data.scan import scan
from limner.data.united_mask import UnitedMask
from limner.errors import LimnerError
from shapes import disc


def write_mask(path: Path, columns: slice, value: int = 255) -> np.ndarray:
    mask = np.zeros((16, 16), np.uint8)
    mask[4:12, columns] = value
    save_image(path, mask)
    return mask


def united_pixels(*files: Path) -> np.ndarray:
    return UnitedMask(files).read_with_info()[0].values


def test_busi_s_further_masks_are_united_with_the_first(tmp_path: Path) -> None:
    save_images(tmp_path, "benign (1).png", "benign (2).png", "benign (2)_mask.png")
    parts = [
        write_mask(tmp_path / f"benign (1)_mask{ending}.png", columns)
        for ending, columns in (("", slice(2, 4)), ("_1", slice(6, 8)), ("_2", slice(10, 12)))
    ]
    dataset = scan(tmp_path)
    assert [sample.id for sample in dataset.samples] == ["benign (1)", "benign (2)"]
    first = dataset.samples[0]
    assert (first.read_mask().values == np.maximum.reduce(parts)).all()
    digest = first.read_digest()
    assert digest.mask == first.read_mask_with_info()[1].sha256
    assert dataset.unused == dataset.images_without_mask == dataset.masks_without_image == ()
    (note,) = [found for found in check(dataset).findings if found.code == "united-masks"]
    assert note.message == (
        f"1 image has several masks, such as {tmp_path}/benign (1).png, whose mask is {tmp_path}/"
        "benign (1)_mask.png and 2 more masks of its image. They are united: each is taken to show "
        "other objects. If they are of several annotators, keep one of them."
    )


def test_further_masks_are_united_in_a_folder_of_masks_too(tmp_path: Path) -> None:
    save_images(tmp_path, "images/a.png", "images/b_label_1.png", "masks/b_label_1.png")
    parts = [
        write_mask(tmp_path / "masks" / name, columns)
        for name, columns in (("a_mask_0.png", slice(2, 4)), ("a_mask_1.png", slice(6, 8)))
    ]
    samples = scan(tmp_path).samples
    assert [sample.id for sample in samples] == ["a", "b_label_1"]
    assert (samples[0].read_mask().values == np.maximum(*parts)).all()


def test_masks_that_number_their_image_s_name_are_united(tmp_path: Path) -> None:
    save_images(tmp_path, "images/im0.png", "images/im1.png", "images/im1_2.png")
    parts = [
        write_mask(tmp_path / "masks" / name, columns)
        for name, columns in (("im0_1.png", slice(2, 4)), ("im0_2.png", slice(6, 8)))
    ]
    save_images(tmp_path, "masks/im1.png", "masks/im1_2.png", "masks/im1_3.png")
    dataset = scan(tmp_path)
    assert [sample.id for sample in dataset.samples] == ["im0", "im1", "im1_2"]
    assert (dataset.samples[0].read_mask().values == np.maximum(*parts)).all()
    # An image with a mask of its own name takes no other
    assert dataset.masks_without_image == (tmp_path / "masks" / "im1_3.png",)
    assert not isinstance(dataset.samples[1].mask, UnitedMask)


def test_the_files_of_a_folder_that_bears_the_image_s_name_are_united(tmp_path: Path) -> None:
    save_images(tmp_path, "images/train/a.png")
    parts = [
        write_mask(tmp_path / f"masks/train/a/{name}.png", columns)
        for name, columns in (("first", slice(2, 4)), ("second", slice(6, 8)))
    ]
    (sample,) = scan(tmp_path).samples
    assert (sample.id, sample.split) == ("train/a", "train")
    assert (sample.read_mask().values == np.maximum(*parts)).all()


def test_masks_of_several_classes_are_united_where_they_do_not_overlap(tmp_path: Path) -> None:
    first = write_mask(tmp_path / "1.png", slice(2, 6), 1)
    second = write_mask(tmp_path / "2.png", slice(6, 9), 2)
    united = united_pixels(tmp_path / "1.png", tmp_path / "2.png")
    assert (united == first + second).all()
    write_mask(tmp_path / "3.png", slice(5, 9), 3)
    with pytest.raises(
        LimnerError,
        match=r"3\.png gives the pixel at x 5, y 4 the value 3, and a mask before it 1\. .*mend",
    ):
        united_pixels(tmp_path / "1.png", tmp_path / "3.png")


def test_smooth_edges_that_overlap_are_no_classes(tmp_path: Path) -> None:
    for name, shift in (("1.png", 0), ("2.png", 3)):
        large = Image.fromarray(np.roll(disc(64, radius=14), shift * 4, axis=1))
        large.resize((16, 16), Image.Resampling.BOX).save(tmp_path / name)
    parts = [np.asarray(Image.open(tmp_path / name)) for name in ("1.png", "2.png")]
    assert (united_pixels(tmp_path / "1.png", tmp_path / "2.png") == np.maximum(*parts)).all()


def test_masks_of_one_image_that_differ_in_size_are_named(tmp_path: Path) -> None:
    save_image(tmp_path / "1.png", disc(16))
    save_image(tmp_path / "2.png", disc(20))
    with pytest.raises(LimnerError, match=r"2\.png is 20x20 and grey, but .*1\.png is 16x16 and"):
        united_pixels(tmp_path / "1.png", tmp_path / "2.png")


def test_a_broken_part_is_an_error_that_names_it(tmp_path: Path) -> None:
    save_images(tmp_path, "a.png", "a_mask.png")
    (tmp_path / "a_mask_1.png").write_bytes(b"no image")
    assert ids_and_splits(tmp_path) == [("a", None)]
    (error,) = check(scan(tmp_path)).errors
    assert error.code == "unreadable-mask"
    assert f"{tmp_path}/a_mask_1.png is not an image" in error.message
