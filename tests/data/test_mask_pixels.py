from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from limner.data.images import (
    read_image,
    read_mask,
)
from limner.errors import LimnerError

DEEP = (np.arange(54).reshape(6, 9) * 1200).astype(np.uint16)


def test_a_transparent_mask_is_empty_whatever_its_hidden_colour(tmp_path: Path) -> None:
    pixels = np.full((4, 4, 4), 255, np.uint8)
    pixels[..., 3] = 0
    Image.fromarray(pixels).save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png").values == 0).all()


def test_1_bit_masks_are_255_where_they_are_true(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "dark-on-light.tif", DEEP > 30_000, photometric="miniswhite")
    for name in ("light-on-dark.tif", "x.png"):
        Image.fromarray(DEEP > 30_000).save(tmp_path / name)
    for path in tmp_path.iterdir():
        assert (read_mask(path).values == (DEEP > 30_000) * 255).all()
    assert (read_image(tmp_path / "dark-on-light.tif")[..., 0] == (DEEP <= 30_000) * 255).all()


def test_a_mask_in_a_palette_keeps_its_indices_and_colours(tmp_path: Path) -> None:
    image = Image.fromarray((np.arange(54).reshape(6, 9) % 3).astype(np.uint8), mode="P")
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    image.save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    assert (mask.kind, mask.palette[:3]) == ("palette", (0, 0x800000, 0x008000))
    assert mask.values.max() == 2
    assert mask.to_colours().values[0, 1] == 0x800000


def test_a_mask_in_colours_is_one_number_for_each(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (128, 64, 32)).save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    assert (mask.kind, mask.values[0, 0]) == ("colour", 0x804020)


def test_a_grey_rgb_mask_keeps_its_values(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), (3, 3, 3)).save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png").values == 3).all()


def test_a_mask_in_the_alpha_channel_is_found(tmp_path: Path) -> None:
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[1:3, 1:3, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png").values == pixels[..., 3]).all()


def test_a_solid_alpha_is_dropped_and_a_transparent_pixel_is_0(tmp_path: Path) -> None:
    pixels = np.full((4, 4, 4), 255, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "solid.png")
    assert (read_mask(tmp_path / "solid.png").values == 255).all()
    pixels[0, 0] = (7, 7, 7, 0)
    pixels[1, 1, :3] = 9
    Image.fromarray(pixels).save(tmp_path / "holed.png")
    assert read_mask(tmp_path / "holed.png").values[:2, :2].tolist() == [[0, 255], [255, 9]]


@pytest.mark.parametrize(
    "values",
    [
        np.full((4, 4), -1.0),
        np.full((4, 4), 0.5),
        np.full((4, 4), np.nan),
        np.full((4, 4), 70_000.0),
    ],
)
def test_a_mask_of_numbers_that_are_no_classes_is_refused(
    tmp_path: Path, values: np.ndarray
) -> None:
    tifffile.imwrite(tmp_path / "m.tif", values.astype(np.float32))
    with pytest.raises(LimnerError, match=r"m\.tif has values from"):
        read_mask(tmp_path / "m.tif")
