import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import limner
from dataset_folders import save_image
from limner.data.check import check, require_valid
from limner.data.scan import scan
from limner.errors import LimnerError
from shapes import disc


def follow_cure(root: Path, code: str) -> str:
    """Run the lines of a finding as a person would, and return what stands before them."""
    (finding,) = [found for found in check(scan(root)).findings if found.code == code]
    text, _, lines = finding.message.partition("\n")
    done = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return text


def save_photos(folder: Path, count: int = 3, size: tuple[int, int] = (20, 16)) -> None:
    for seed in range(count):
        noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3))
        save_image(folder / f"{seed}.jpg", noise.astype(np.uint8))


def masks_of(root: Path) -> list[np.ndarray]:
    dataset = scan(root)
    assert not check(dataset).errors
    assert dataset.unsupported == {} and dataset.unread == ()
    return [sample.read_mask().values for sample in dataset.samples]


@pytest.mark.parametrize("masks", ["set/train_masks/{}_mask", "set/train/{}_mask"])
def test_masks_in_other_formats_are_named_and_converted_by_the_cure(
    tmp_path: Path, masks: str
) -> None:
    save_photos(tmp_path / "set/train", size=(16, 16))
    for number in range(3):
        save_image(tmp_path / f"{masks.format(number)}.tga", disc(radius=3 + number))
    text = follow_cure(tmp_path / "set", "unread-mask")
    assert text == (
        f"3 masks are in a format that is not read. {tmp_path}/{masks.format(0)}.tga, the mask of "
        f"{tmp_path}/set/train/0.jpg, is a TGA image. These lines of Python make masks of them:"
    )
    for number, mask in enumerate(masks_of(tmp_path / "set")):
        with Image.open(tmp_path / f"{masks.format(number)}.tga") as truth:
            assert (mask == np.asarray(truth)).all()


def test_images_and_masks_that_are_both_tga_have_a_cure_each(tmp_path: Path) -> None:
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 255, (16, 16)).astype(np.uint8)
        save_image(tmp_path / f"images/{number}.tga", noise)
        save_image(tmp_path / f"masks/{number}.tga", disc())
    assert "These lines of Python make images of them" in follow_cure(tmp_path, "unread-image")
    follow_cure(tmp_path, "unread-mask")
    assert len(masks_of(tmp_path)) == 3


def test_arrays_of_numpy_are_converted_by_the_cure(tmp_path: Path) -> None:
    save_photos(tmp_path / "images", size=(16, 16))
    (tmp_path / "masks").mkdir()
    for number in range(3):
        np.save(tmp_path / f"masks/{number}.npy", disc(value=1).astype(np.int64))
    assert "is a NumPy array" in follow_cure(tmp_path, "unread-mask")
    assert (masks_of(tmp_path)[0] == disc(value=1)).all()


def test_cellpose_s_pickles_are_not_to_be_loaded(tmp_path: Path) -> None:
    save_photos(tmp_path / "images", 1)
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/0_seg.npy").touch()
    (error,) = check(scan(tmp_path)).errors
    assert error.message.endswith(
        "is Cellpose's _seg.npy, a pickle that may run any program. Export the masks as PNG in "
        "Cellpose (save_masks, or the menu File)."
    )


def test_the_lines_of_a_cure_are_printed_unbroken(tmp_path: Path) -> None:
    save_photos(tmp_path / "set/images", size=(16, 16))
    (tmp_path / "set/masks").mkdir()
    for number in range(3):
        save_image(tmp_path / f"set/masks/{number}.tga", disc())
    (finding,) = check(scan(tmp_path / "set")).errors
    lines = finding.message.partition("\n")[2]
    printed = limner("check", tmp_path / "set", "--out", tmp_path / "check")
    assert f"For unread-mask:\n{lines}\n" in printed.stdout
    with pytest.raises(LimnerError) as refused:
        require_valid(check(scan(tmp_path / "set")))
    assert lines in str(refused.value)


@pytest.mark.parametrize(
    ("suffix", "what"), [("csv", "a table"), ("bin", "a file with the suffix .bin")]
)
def test_masks_as_tables_or_raw_numbers_are_named(tmp_path: Path, suffix: str, what: str) -> None:
    save_photos(tmp_path / "images", count=1)
    (tmp_path / "masks").mkdir()
    (tmp_path / f"masks/0.{suffix}").write_bytes(b"0,1\n1,0\n")
    (error,) = check(scan(tmp_path)).errors
    assert error.code == "unread-mask"
    assert (
        f"{tmp_path}/masks/0.{suffix}, the mask of {tmp_path}/images/0.jpg, is {what}."
        in error.message
    )
