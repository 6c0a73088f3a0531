"""Folders whose names say nothing are proposed with the reason, and taken where they are named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import limner
from limner.data.scan import scan
from limner.errors import LimnerError


def write(folder: Path, names: list[str], *, mask: bool, suffix: str = ".png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        rng = np.random.default_rng(number)
        pixels = rng.integers(0, 255, (20, 24, 3)).astype(np.uint8)
        if mask:
            pixels = (pixels[..., 0] > 128).astype(np.uint8) * 255
        Image.fromarray(pixels).save(folder / f"{name}{suffix}")


NAMES = [f"p{number:02}" for number in range(12)]


def test_two_folders_whose_names_match_are_proposed(tmp_path: Path) -> None:
    write(tmp_path / "a photos", NAMES, mask=False, suffix=".jpg")
    write(tmp_path / "drawn", NAMES, mask=True)
    write(tmp_path / "sketches", ["x", "y"], mask=False)
    with pytest.raises(LimnerError) as error:
        scan(tmp_path)
    assert str(error.value).endswith(
        "a photos/ holds 12 .jpg files whose names match all 12 masks in drawn/: add --images "
        "'a photos' --masks drawn to limner check or train, or rename them images/ and masks/."
    )


def test_masks_are_told_by_their_names_or_their_values(tmp_path: Path) -> None:
    write(tmp_path / "x" / "first", NAMES, mask=True)
    write(tmp_path / "x" / "second", NAMES, mask=False)
    with pytest.raises(LimnerError, match="--images second --masks first"):
        scan(tmp_path / "x")
    write(tmp_path / "y" / "one", [f"{name}_mask" for name in NAMES], mask=False)
    write(tmp_path / "y" / "two", NAMES, mask=False)
    with pytest.raises(LimnerError, match="--images two --masks one"):
        scan(tmp_path / "y")


def test_folders_that_share_few_names_are_not_proposed(tmp_path: Path) -> None:
    write(tmp_path / "photos", NAMES, mask=False)
    write(tmp_path / "drawn", [*NAMES[:6], *(f"q{name}" for name in NAMES)], mask=True)
    with pytest.raises(LimnerError) as error:
        scan(tmp_path)
    assert "--images photos" not in str(error.value)


def test_named_folders_are_taken_by_check_train_and_test(tmp_path: Path) -> None:
    write(tmp_path / "set" / "photos", NAMES, mask=False, suffix=".jpg")
    write(tmp_path / "set" / "drawn", NAMES, mask=True)
    names = ("--images", "photos", "--masks", "drawn")
    done = limner("check", "set", *names, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "12 pairs in the layout photos/ and drawn/, as named" in done.stdout
    small = ("--set", "train.epochs=1", "--set", "data.size_px=[32,32]", "--set")
    trained = limner(
        "train", "set", *names, *small, "model.widths=[4,8]", "--out", "run", cwd=tmp_path
    )
    assert trained.returncode == 0, trained.stderr
    tested = limner("test", "run", "set", cwd=tmp_path)
    assert tested.returncode == 0, tested.stderr


def test_names_that_lead_nowhere_are_errors(tmp_path: Path) -> None:
    write(tmp_path / "photos", NAMES, mask=False)
    with pytest.raises(LimnerError, match="belong together"):
        scan(tmp_path, image_folder="photos")
    with pytest.raises(LimnerError, match=r"drawn is no folder of the dataset\. It holds photos"):
        scan(tmp_path, image_folder="photos", mask_folder="drawn")
    with pytest.raises(LimnerError, match="is named for the images and for the masks"):
        scan(tmp_path, image_folder="photos", mask_folder="photos")
