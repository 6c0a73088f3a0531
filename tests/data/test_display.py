"""Images as people set them to be shown."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from dicom_files import write_dicom
from limner.data.display import Display, ImageValues, read_values_to_show
from limner.data.images import read_image

RAMP = np.arange(200, dtype=np.uint16).reshape(10, 20) * 300


def window(low: float, high: float, **more: Any) -> Display:
    """Black and white of all channels."""
    return Display({None: (float(low), float(high))}, **more)


def shown(pixels: np.ndarray, display: Display) -> np.ndarray:
    return ImageValues(pixels.reshape(*pixels.shape[:2], -1)).show(display)


def test_values_between_black_and_white_are_shown_linearly() -> None:
    picture = shown(RAMP, window(3000, 6000))[..., 0]
    wanted = np.rint(255 * np.clip((RAMP.astype(float) - 3000) / 3000, 0, 1))
    assert np.abs(picture - wanted).max() <= 1
    assert (picture[RAMP <= 3000] == 0).all() and (picture[RAMP >= 6000] == 255).all()


def test_a_gamma_above_one_is_lighter() -> None:
    plain, light = (shown(RAMP, window(0, 60_000, gamma=gamma))[..., 0] for gamma in (1.0, 2.0))
    inside = (plain > 0) & (plain < 255)
    assert (light >= plain).all() and (light[inside] > plain[inside]).mean() > 0.9


def test_one_channel_is_grey_and_two_are_red_and_green() -> None:
    pixels = np.random.default_rng(0).integers(0, 4000, (8, 9, 2)).astype(np.uint16)
    grey = shown(pixels, window(0, 4000, channel=1))
    assert (grey == grey[..., :1]).all()
    both = shown(pixels, window(0, 4000))
    assert (both[..., 1] == grey[..., 0]).all() and not both[..., 2].any()


def test_what_is_proposed_is_what_is_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "deep.tif", RAMP)
    values = read_values_to_show(tmp_path / "deep.tif")
    assert values.channels == 1 and values.bounds(None) == (0, 199 * 300)
    picture = values.show(window(*values.proposed(None)))
    assert np.abs(picture.astype(int) - read_image(tmp_path / "deep.tif")).max() <= 1


def test_values_that_are_no_numbers_are_black() -> None:
    pixels = np.array([[0.0, np.nan], [1.0, np.inf]], np.float32)
    values = ImageValues(pixels[..., None])
    assert values.bounds(None) == (0, 1)
    assert values.show(window(0, 1))[..., 0].tolist() == [[0, 0], [255, 255]]


def test_the_windows_of_dicom_have_names_and_hounsfield_units(tmp_path: Path) -> None:
    stored = np.arange(0, 3000, 50, dtype=np.uint16).reshape(6, 10)
    path = write_dicom(
        tmp_path / "ct",
        stored,
        RescaleSlope=1,
        RescaleIntercept=-1024,
        WindowCenter=["40", "-600"],
        WindowWidth=["400", "1500"],
        WindowCenterWidthExplanation=["ABDOMEN", "LUNG"],
    )
    values = read_values_to_show(path)
    assert (values.pixels[..., 0] == stored.astype(float) - 1024).all()
    assert [window.name for window in values.windows] == ["ABDOMEN", "LUNG"]
    # PS3.3 C.11.2.1.2.1: black up to c - 0.5 - (w - 1) / 2
    assert values.windows[0][1:] == (-160.0, 239.0)
    picture = values.show(window(*values.proposed(None)))
    assert np.abs(picture.astype(int) - read_image(path)).max() <= 1


@pytest.mark.parametrize("channel", [None, 0, 2])
def test_8_bits_are_shown_from_0_to_255(channel: int | None) -> None:
    pixels = np.random.default_rng(1).integers(30, 200, (7, 8, 3)).astype(np.uint8)
    values = ImageValues(pixels)
    assert values.bounds(channel) == values.proposed(channel) == (0, 255)
    picture = values.show(Display(channel=channel))
    assert (picture == (pixels if channel is None else pixels[..., channel, None])).all()


def test_each_channel_has_black_and_white_of_its_own(tmp_path: Path) -> None:
    planes = np.random.default_rng(0).integers(0, [[[900]], [[60_000]]], (2, 20, 30))
    tifffile.imwrite(
        tmp_path / "two.tif", planes.astype(np.uint16), photometric="minisblack", planarconfig=2
    )
    values = read_values_to_show(tmp_path / "two.tif")
    assert values.channels == 2 and values.has_separate_channels
    picture = values.show(Display())
    wanted = read_image(tmp_path / "two.tif")
    assert np.abs(picture[..., :2].astype(int) - wanted).max() <= 1
    dark = values.show(Display({1: (0.0, 600_000.0)}))
    assert (dark[..., 0] == picture[..., 0]).all() and dark[..., 1].max() < 30


def test_no_channel_of_many_is_left_out_of_the_picture() -> None:
    planes = np.zeros((5, 8, 6), np.uint16)
    planes[4, 2] = 4000
    values = ImageValues(planes.transpose(1, 2, 0), has_separate_channels=True)
    picture = values.show(Display({4: (0.0, 4000.0)}))
    assert (picture[2].max(1) == 255).all() and not picture[3:].any()
    assert (values.show(Display({None: (0.0, 4000.0)}, channel=4))[2] == 255).all()
