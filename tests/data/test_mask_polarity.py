"""Masks that store white as 0 are read as a viewer, here Pillow, shows them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from dicom_files import write_dicom
from limner.data.check import CheckResult, check
from limner.data.findings import Finding
from limner.data.images import read_image
from limner.data.scan import scan
from shapes import disc

Write = Callable[[Path, np.ndarray], object]


def fax(path: Path, mask: np.ndarray) -> None:
    """White where the mask is, which a fax stores as 0."""
    tifffile.imwrite(path.with_suffix(".tif"), mask == 0, photometric="miniswhite", metadata=None)


def deep_tiff(path: Path, mask: np.ndarray) -> None:
    pixels = np.where(mask > 0, 0, 65535).astype(np.uint16)
    tifffile.imwrite(path.with_suffix(".tif"), pixels, photometric="miniswhite")


def boolean_tiff(path: Path, mask: np.ndarray) -> None:
    tifffile.imwrite(path.with_suffix(".tif"), mask > 0)


def grey_png(path: Path, mask: np.ndarray) -> None:
    Image.fromarray(mask).save(path.with_suffix(".png"))


def dark_dicom(path: Path, mask: np.ndarray) -> None:
    """White where the mask is, which MONOCHROME1 stores as 0."""
    write_dicom(path.with_suffix(".dcm"), 255 - mask, PhotometricInterpretation="MONOCHROME1")


def dark_dicom_of_12_bits(path: Path, mask: np.ndarray) -> None:
    write_dicom(
        path.with_suffix(".dcm"),
        np.where(mask > 0, 0, 4095).astype(np.uint16),
        PhotometricInterpretation="MONOCHROME1",
        BitsStored=12,
        HighBit=11,
    )


def dark_dicom_of_numbers(path: Path, mask: np.ndarray) -> None:
    write_dicom(
        path.with_suffix(".dcm"),
        (mask > 0).astype(np.uint16),
        PhotometricInterpretation="MONOCHROME1",
        BitsStored=12,
        HighBit=11,
    )


def quantized_png(path: Path, mask: np.ndarray) -> None:
    """In a palette whose first colour is white."""
    Image.fromarray(mask).quantize(2).save(path.with_suffix(".png"))


def quantized_red_bmp(path: Path, mask: np.ndarray) -> None:
    pixels = np.dstack([mask // 2, mask * 0, mask * 0])
    Image.fromarray(pixels).quantize(2).save(path.with_suffix(".bmp"))


def quantized_smooth_png(path: Path, mask: np.ndarray) -> None:
    """In a palette of two greys that are nearly black and white, not the same in each file."""
    large = Image.fromarray(mask).resize((mask.shape[1] * 3, mask.shape[0] * 3))
    large.resize(mask.shape[::-1], Image.Resampling.BICUBIC).quantize(2).save(
        path.with_suffix(".png")
    )


def mask_of(number: int) -> np.ndarray:
    return disc(32, radius=6 + number)


def check_set(root: Path, *writes: Write) -> CheckResult:
    """Check a set whose masks are written by one function after the other."""
    for number in range(6):
        (root / "images").mkdir(parents=True, exist_ok=True)
        (root / "masks").mkdir(exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 255, (32, 32, 3)).astype(np.uint8)
        Image.fromarray(noise).save(root / "images" / f"{number}.png")
        writes[number % len(writes)](root / "masks" / f"{number}", mask_of(number))
    return check(scan(root))


def found(result: CheckResult, code: str) -> Finding:
    (finding,) = (finding for finding in result.findings if finding.code == code)
    return finding


def paste(root: Path, finding: Finding) -> CheckResult:
    """Do what a finding says with the lines that it gives, and check again."""
    (root / "labels.toml").write_text(finding.message.partition("labels.toml:\n")[2])
    return check(scan(root))


def share_read_right(root: Path, result: CheckResult) -> float:
    """Of the set's pixels, those that are foreground where the mask is drawn."""
    assert result.labels is not None and result.labels.binary
    samples = scan(root).samples
    masks = np.stack([sample.class_index(result.labels) for sample in samples])
    return float((masks == np.stack([mask_of(int(s.id)) for s in samples]) // 255).mean())


@pytest.mark.parametrize(
    "write",
    [
        fax,
        deep_tiff,
        dark_dicom,
        dark_dicom_of_12_bits,
        dark_dicom_of_numbers,
        boolean_tiff,
        quantized_png,
        quantized_red_bmp,
        quantized_smooth_png,
    ],
)
def test_white_is_the_foreground_whatever_number_it_has(tmp_path: Path, write: Write) -> None:
    result = check_set(tmp_path, write)
    assert not result.errors
    assert share_read_right(tmp_path, result) > (0.96 if write is quantized_smooth_png else 0.999)


@pytest.mark.parametrize("write", [dark_dicom, dark_dicom_of_12_bits])
def test_a_mask_of_monochrome1_is_read_as_its_image_is_shown(tmp_path: Path, write: Write) -> None:
    note = found(check_set(tmp_path, write), "white-is-zero")
    assert "6 masks store white as 0" in note.message
    shown = read_image(tmp_path / "masks" / "3.dcm")[..., 0] > 127
    assert (shown == (mask_of(3) > 0)).all()
    assert share_read_right(tmp_path, paste(tmp_path, note)) == 0


def test_dicom_masks_of_both_kinds_are_an_error(tmp_path: Path) -> None:
    def light_dicom(path: Path, mask: np.ndarray) -> None:
        write_dicom(path.with_suffix(".dcm"), mask)

    message = found(check_set(tmp_path, dark_dicom, light_dicom), "mixed-polarity").message
    assert "3 store white as 0" in message and "3 store black as 0" in message


def test_a_fax_is_read_as_pillow_shows_it(tmp_path: Path) -> None:
    result = check_set(tmp_path, fax)
    sample = scan(tmp_path).samples[3]
    shown = np.asarray(Image.open(tmp_path / "masks" / "3.tif").convert("L"))
    assert (sample.read_mask().values == shown).all()
    note = found(result, "white-is-zero")
    assert "6 masks store white as 0" in note.message
    assert "what is white there is the foreground" in note.message
    swapped = paste(tmp_path, note)
    assert share_read_right(tmp_path, swapped) == 0
    assert "white-is-zero" not in swapped.by_code()


def test_true_is_the_foreground_in_the_boolean_arrays_of_tifffile(tmp_path: Path) -> None:
    note = found(check_set(tmp_path, boolean_tiff), "white-is-zero")
    assert "though a viewer shows it black" in note.message


@pytest.mark.parametrize(
    ("others", "described"),
    [(grey_png, "3 store black as 0"), (boolean_tiff, "call it white, as tifffile does")],
)
def test_both_kinds_in_one_set_are_an_error_with_an_example_of_each(
    tmp_path: Path, others: Write, described: str
) -> None:
    result = check_set(tmp_path, fax, others)
    error = found(result, "mixed-polarity")
    assert error.severity == "error"
    assert described in error.message and "0.tif" in error.message and error.ids == ("0", "1")
    # The page shows them as they are read; who finds that right says so
    assert share_read_right(tmp_path, result) == 1
    agreed = paste(tmp_path, error)
    assert not agreed.errors and share_read_right(tmp_path, agreed) == 1


def test_palettes_beside_grey_masks_are_read_by_colour(tmp_path: Path) -> None:
    result = check_set(tmp_path, quantized_png, grey_png)
    assert not result.errors and share_read_right(tmp_path, result) == 1


def test_black_and_white_palettes_beside_masks_of_0_and_1_are_refused(tmp_path: Path) -> None:
    result = check_set(tmp_path, quantized_png, lambda path, mask: grey_png(path, mask // 255))
    assert "#000000, #010101, which is nearly one colour" in found(result, "mask-values").message


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535)])
def test_class_numbers_in_a_tiff_that_calls_0_white_stay_classes(
    tmp_path: Path, dtype: type, white: int
) -> None:
    def write(path: Path, mask: np.ndarray) -> None:
        numbers = mask // 255 + 2 * (np.roll(mask, 20, 1) // 255 * (mask == 0))
        tifffile.imwrite(path.with_suffix(".tif"), numbers.astype(dtype), photometric="miniswhite")

    result = check_set(tmp_path, write)
    assert not result.errors and result.labels is not None
    assert result.labels.names == ("background", "class 1", "class 2")
    assert result.labels.format_class(1) == str(white - 1)
    sample = scan(tmp_path).samples[2]
    assert ((sample.class_index(result.labels) == 1) == (mask_of(2) > 0)).all()
    (tmp_path / "labels.toml").write_text("[classes]\nbackground = 0\na = 1\nb = 2\n")
    assert "count from it: 255 for the 0" in found(check(scan(tmp_path)), "mask-values").message


def test_a_background_in_colour_beside_a_black_class_is_a_warning(tmp_path: Path) -> None:
    def write(path: Path, mask: np.ndarray) -> None:
        pixels = np.dstack([mask, np.roll(mask, 20, 1) * (mask == 0), mask * 0])
        Image.fromarray(pixels).quantize(3).save(path.with_suffix(".png"))

    warning = found(check_set(tmp_path, write), "background-in-colour")
    assert "is black, and is read as class 2" in warning.message
    result = paste(tmp_path, warning)
    assert result.labels is not None and "background-in-colour" not in result.by_code()
    sample = scan(tmp_path).samples[0]
    shown = np.asarray(Image.open(tmp_path / "masks" / "0.png").convert("RGB"))
    assert ((sample.class_index(result.labels) == 0) == (shown == 0).all(2)).all()


def test_inverted_masks_come_with_the_lines_that_turn_them(tmp_path: Path) -> None:
    result = check_set(tmp_path, lambda path, mask: grey_png(path, 255 - mask))
    turned = paste(tmp_path, found(result, "mostly-foreground"))
    assert share_read_right(tmp_path, turned) == 1
