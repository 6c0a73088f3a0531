from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data.images import image_size, read_image, read_mask
from limner.errors import LimnerError


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1", "CMYK"])
def test_every_mode_is_read_as_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "tif" if mode == "CMYK" else "png"
    Image.new(mode, (5, 4)).save(tmp_path / f"x.{suffix}")
    assert read_image(tmp_path / f"x.{suffix}").shape == (4, 5, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_image_and_mask_turn_upright_together(tmp_path: Path, orientation: int) -> None:
    pixels = np.zeros((6, 9), np.uint8)
    pixels[0, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    assert (read_image(tmp_path / "x.png")[..., 0] == read_mask(tmp_path / "x.png")).all()
    assert image_size(tmp_path / "x.png") == read_mask(tmp_path / "x.png").shape


def test_a_truncated_file_is_refused_by_name(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)).save(tmp_path / "x.png")
    content = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(LimnerError, match=r"x\.png is damaged"):
        read_image(tmp_path / "x.png")


def test_text_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_text("not an image")
    with pytest.raises(LimnerError, match="no image that can be read"):
        read_image(tmp_path / "x.jpg")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LimnerError, match=r"none\.png does not exist"):
        read_image(tmp_path / "none.png")


def test_a_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    Image.new("1", (30_000, 30_000)).save(tmp_path / "bomb.png")
    with pytest.raises(LimnerError, match="30000x30000"):
        read_image(tmp_path / "bomb.png")


def test_a_mask_in_colours_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "m.png")
    with pytest.raises(LimnerError, match="mask in colours"):
        read_mask(tmp_path / "m.png")


def test_a_grey_rgb_mask_keeps_its_values(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (3, 3, 3)).save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png") == 3).all()


def test_deep_images_and_masks_say_what_is_read(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(LimnerError, match="8 bits"):
        read_image(tmp_path / "deep.png")
    with pytest.raises(LimnerError, match="from 40000 to 40000"):
        read_mask(tmp_path / "deep.png")
