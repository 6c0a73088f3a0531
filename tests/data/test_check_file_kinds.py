import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from limner.data.check import CheckResult, check, require_valid
from limner.data.findings import Finding
from limner.data.images import read_image
from limner.data.scan import scan
from limner.errors import LimnerError
from shapes import disc

RNG = np.random.default_rng(0)
EXTRA = {"extrasamples": ["unspecified"]}
Write = Callable[[Path, int], None]


def write(path: Path, pixels: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = "rgb" if pixels.ndim == 3 else "minisblack"
    tifffile.imwrite(path, pixels, **{"photometric": kind, "metadata": None, **options})


def draw(bands: int = 3, dtype: str = "uint8") -> np.ndarray:
    return RNG.integers(1, 254, (16, 16, bands)).astype(dtype)


def write_set(root: Path, image: Write | None = None, mask: Write | None = None) -> Path:
    """Write twelve pairs, of whose files some are other than usual."""
    for number in range(12):
        image_path, mask_path = (root / folder / f"{number}.tif" for folder in ("images", "masks"))
        (image or (lambda path, _: write(path, draw())))(image_path, number)
        (mask or (lambda path, n: write(path, disc(radius=3 + n % 5))))(mask_path, number)
    return root


@cache
def checked(root: Path) -> CheckResult:
    return check(scan(root))


def findings(root: Path) -> dict[str, Finding]:
    return {finding.code: finding for finding in checked(root).findings}


def message(root: Path, code: str) -> str:
    return findings(root)[code].message.replace(f"{root}/", "")


def channels(root: Path) -> set[int]:
    return {info.channels for info in checked(root).sample_info}


def last_band(values: np.ndarray, kind: str) -> Write:
    """Write a fourth band that is opaque in each image but number 3."""

    def image(path: Path, number: int) -> None:
        last = values if number == 3 else np.full((16, 16), 255)
        write(path, np.dstack([draw(), last.astype(np.uint8)]), extrasamples=[kind])

    return image


LEFT_HALF = np.where(np.arange(16) < 8, 0, 255) + np.zeros((16, 1))


@pytest.mark.parametrize(
    ("values", "kind", "kept", "message"),
    [
        (draw(1)[..., 0], "unassalpha", 4, r"12 images have 4 bands.*In 1 of them it varies like"),
        (draw(1)[..., 0], "unspecified", 4, r"so it is kept in all: the images have 4 channels"),
        (LEFT_HALF, "unspecified", 4, "so it is kept in all"),
        (LEFT_HALF, "unassalpha", 3, "It is opaque or a transparency .* and is left out"),
        (np.full((16, 16), 255), "unspecified", 3, "It is opaque or a transparency"),
    ],
)
def test_a_fourth_band_is_kept_or_left_out_for_the_whole_set_and_that_is_said(
    tmp_path: Path, values: np.ndarray, kind: str, kept: int, message: str
) -> None:
    root = write_set(tmp_path, last_band(values, kind))
    found = findings(root)
    assert channels(root) == {kept}
    assert found.keys() == {"extra-band"}
    assert re.search(message, found["extra-band"].message)
    for number in (2, 3):
        path = root / "images" / f"{number}.tif"
        assert read_image(path, channels=kept).shape[2] == kept


def test_a_fourth_band_that_not_all_images_have_is_left_out(tmp_path: Path) -> None:
    def image(path: Path, number: int) -> None:
        write(path, draw(3 if number % 4 else 4), **({} if number % 4 else EXTRA))

    root = write_set(tmp_path, image)
    assert channels(root) == {3}
    assert "but other images lack it, so it is left out. Export all images with it to" in message(
        root, "extra-band"
    )
    assert "3 images differ in their bands from the other 9, which have 3" in message(
        root, "images-differ"
    )


def test_images_read_for_a_model_have_its_channels(tmp_path: Path) -> None:
    write(tmp_path / "infrared.tif", draw(4), **EXTRA)
    write(tmp_path / "grey.tif", draw(2), photometric="minisblack", planarconfig="contig")
    for name, kept, expected in (
        ("infrared.tif", 3, 3),
        ("infrared.tif", 4, 4),
        ("infrared.tif", None, 4),
        # It is of another kind, which the model says
        ("infrared.tif", 7, 4),
        ("grey.tif", 3, 3),
        ("grey.tif", 2, 2),
    ):
        assert read_image(tmp_path / name, channels=kept).shape[2] == expected


@pytest.mark.parametrize(
    ("other", "message_start"),
    [
        (lambda path: write(path, draw(1)[..., 0]), "1 images differ in their colours from"),
        (lambda path: write(path, draw(dtype="uint16")), "1 images differ in their depth from"),
        (
            lambda path: write(path, draw(5), photometric="minisblack", planarconfig="contig"),
            "1 images differ in their colours from the other 11, which have RGB (images/3.tif",
        ),
    ],
)
def test_what_one_image_says_otherwise_than_the_others_is_reported(
    tmp_path: Path, other: Callable[[Path], None], message_start: str
) -> None:
    def image(path: Path, number: int) -> None:
        other(path) if number == 3 else write(path, draw())

    root = write_set(tmp_path, image)
    messages = [finding.message for finding in checked(root).findings]
    assert any(text.replace(f"{root}/", "").startswith(message_start) for text in messages)


def test_masks_of_white_as_0_among_others_are_reported(tmp_path: Path) -> None:
    def mask(path: Path, number: int) -> None:
        write(path, disc() > 0, photometric="miniswhite" if number < 5 else "minisblack")

    text = message(write_set(tmp_path, mask=mask), "masks-differ")
    assert text == (
        "5 masks differ in their colours from the other 7, which have MINISBLACK (masks/0.tif: "
        "MINISWHITE, masks/1.tif: MINISWHITE, masks/2.tif: MINISWHITE and 2 more). Were they made "
        "in another way? Export all alike."
    )


def nodata(text: str) -> dict[str, Any]:
    return {"extratags": [(42113, "s", 0, text, True)]}


def test_pixels_without_data_are_counted(tmp_path: Path) -> None:
    def image(path: Path, number: int) -> None:
        pixels = draw(1, "int16")[..., 0] * np.int16(40)
        pixels[: number % 3] = -7
        write(path, pixels, **nodata("-7"))

    root = write_set(tmp_path, image)
    assert findings(root).keys() == {"no-data"}
    assert message(root, "no-data") == (
        "8 images hold pixels without data, most of all images/11.tif (12.5%). They are nodata, "
        "NaN or what an internal mask leaves out: they are 0, and have no part in the contrast."
    )


def with_void(value: int, rows: int) -> Write:
    def mask(path: Path, number: int) -> None:
        values = disc(radius=3 + number % 4, value=9)
        values[:rows] = value
        write(path, values, **nodata(str(value)))

    return mask


def test_nodata_in_masks_is_void_and_said(tmp_path: Path) -> None:
    root = write_set(tmp_path, mask=with_void(200, 4))
    result = check(scan(root))
    assert require_valid(result).describe() == "0 = background, 9 = foreground"
    assert [(each.code, each.severity) for each in result.findings] == [
        ("no-data-in-masks", "note")
    ]
    assert "12 masks hold pixels without data" in result.findings[0].message
    assert {info.mask.void_share for info in result.sample_info} == {0.25}


def test_a_background_that_nodata_takes_away_is_said_with_its_cure(tmp_path: Path) -> None:
    found = findings(write_set(tmp_path, mask=with_void(0, 1)))
    assert found["no-data-in-masks"].severity == "warning"
    assert "remove the nodata value (gdal_edit.py -unsetnodata FILE)" in (
        found["no-data-in-masks"].message
    )
    assert found["absent-class"].severity == "error"


def test_masks_without_any_data_are_an_error(tmp_path: Path) -> None:
    result = check(scan(write_set(tmp_path, mask=with_void(5, 16))))
    with pytest.raises(LimnerError, match="no pixel of any mask has data, so there is no class"):
        require_valid(result)


def test_what_else_a_file_holds_is_said_to_be_left_out(tmp_path: Path) -> None:
    def image(path: Path, number: int) -> None:
        write(path, draw())
        if number == 4:
            for size in (8, 4):
                write(path, draw()[:size, :size], append=True)

    assert message(write_set(tmp_path, image), "parts-left-out") == (
        "1 images are files that hold more than is read, such as images/4.tif: 2 smaller or other "
        "images. The largest is taken."
    )
