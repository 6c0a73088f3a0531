"""Grey levels and palettes of DICOM, against pydicom's tables and windows."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from dicom_files import dicom_dataset, save_dicom, write_dicom
from limner.data.images import read_image, read_mask
from limner.errors import LimnerError

RNG = np.random.default_rng(0)
UNSIGNED = RNG.integers(0, 4096, (12, 11)).astype(np.uint16)
SIGNED = RNG.integers(-2048, 2048, (12, 11)).astype(np.int16)
BYTES = RNG.integers(0, 256, (12, 11)).astype(np.uint8)
CT = {"RescaleSlope": 1, "RescaleIntercept": -1024}


def table(first: int, entries: np.ndarray, bits: int) -> list[Dataset]:
    item = Dataset()
    item.LUTDescriptor = [len(entries) % 65536, first, bits]
    item.LUTData = entries.astype(f"<u{2 if bits > 8 else 1}").tobytes()
    item["LUTData"].VR = "OW"
    return [item]


def grey_levels_of_pydicom(path: Path, attributes: Any = None) -> np.ndarray:
    """What pydicom shows of a file that has a table or a window, brought to 0..255."""
    dataset = pydicom.dcmread(path)
    dataset.update(attributes or {})
    values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
    if "VOILUTSequence" in dataset:
        low, high = 0, 2 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1
    else:
        # Windows fill the range of the modality's values
        bits = dataset.BitsStored
        low = -(2 ** (bits - 1)) if dataset.PixelRepresentation else 0
        high = low + 2**bits - 1
        if "ModalityLUTSequence" in dataset:
            low, high = 0, 2 ** dataset.ModalityLUTSequence[0].LUTDescriptor[2] - 1
        elif "RescaleSlope" in dataset:
            slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
            low, high = low * slope + intercept, high * slope + intercept
    levels = np.rint((values - low) / (high - low) * 255)
    return 255 - levels if dataset.PhotometricInterpretation == "MONOCHROME1" else levels


WINDOWS: dict[str, tuple[np.ndarray, dict[str, object]]] = {
    "a window": (UNSIGNED, {"WindowCenter": 2000, "WindowWidth": 1500}),
    "an odd window": (UNSIGNED, {"WindowCenter": 2000.5, "WindowWidth": 401}),
    "several windows": (UNSIGNED, {"WindowCenter": [40, 600], "WindowWidth": [400, 1500]} | CT),
    "a window of Hounsfield units": (UNSIGNED, {"WindowCenter": 40, "WindowWidth": 400} | CT),
    "a window of signed values": (SIGNED, {"WindowCenter": -40, "WindowWidth": 300}),
    "a step": (UNSIGNED, {"WindowCenter": 2000, "WindowWidth": 1}),
    "linear exact": (
        UNSIGNED,
        {"WindowCenter": 2000, "WindowWidth": 1500, "VOILUTFunction": "LINEAR_EXACT"},
    ),
    "an exact window of a fraction": (
        UNSIGNED,
        {"WindowCenter": 0.2, "WindowWidth": 0.3, "VOILUTFunction": "LINEAR_EXACT"}
        | {"RescaleSlope": 0.0001, "RescaleIntercept": 0},
    ),
    "sigmoid": (UNSIGNED, {"WindowCenter": 2000, "WindowWidth": 900, "VOILUTFunction": "SIGMOID"}),
    "a falling slope": (
        UNSIGNED,
        {"WindowCenter": -2000, "WindowWidth": 1500, "RescaleSlope": -1, "RescaleIntercept": 0},
    ),
    "a window of bytes": (BYTES, {"WindowCenter": 100, "WindowWidth": 90}),
    "a slope of density": (
        UNSIGNED,
        {"WindowCenter": 2, "WindowWidth": 3, "RescaleSlope": 0.001, "RescaleIntercept": 0}
        | {"RescaleType": "OD"},
    ),
    "a VOI table": (UNSIGNED, {"VOILUTSequence": table(500, np.arange(0, 4096, 2), 12)}),
    "a VOI table of bytes": (
        UNSIGNED,
        {"VOILUTSequence": table(0, np.arange(4096) // 16, 16)},
    ),
    "a VOI table before a window": (
        UNSIGNED,
        {"VOILUTSequence": table(0, np.arange(4096) * 16, 16), "WindowCenter": 5, "WindowWidth": 9},
    ),
    "a VOI table of Hounsfield units": (
        SIGNED,
        {"VOILUTSequence": table(-500, np.arange(0, 1024), 10)},
    ),
    "a modality table": (
        UNSIGNED,
        {"ModalityLUTSequence": table(0, np.arange(4096)[::-1] * 16, 16)}
        | {"WindowCenter": 30000, "WindowWidth": 20000},
    ),
}


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
@pytest.mark.parametrize("case", WINDOWS)
def test_grey_levels_are_those_of_pydicom(
    tmp_path: Path, case: str, syntax: str, photometric: str
) -> None:
    pixels, attributes = WINDOWS[case]
    bits = min(12, 8 * pixels.itemsize)
    dataset = dicom_dataset(
        pixels, BitsStored=bits, PhotometricInterpretation=photometric, **attributes
    )
    if syntax == "implicit":
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    path = save_dicom(tmp_path / "x", dataset)
    shown = read_image(path)[..., 0].astype(int)
    assert np.abs(shown - grey_levels_of_pydicom(path)).max() <= 1
    assert shown.min() < shown.max()


def groups(**attributes: object) -> list[Dataset]:
    """A functional group with these attributes."""
    group, transformation, voi = Dataset(), Dataset(), Dataset()
    for name, value in attributes.items():
        setattr(transformation if name.startswith("Rescale") else voi, name, value)
    if len(transformation):
        group.PixelValueTransformationSequence = [transformation]
    if len(voi):
        group.FrameVOILUTSequence = [voi]
    return [group]


def test_each_frame_of_an_enhanced_file_has_its_own_window(tmp_path: Path) -> None:
    frames = np.stack([UNSIGNED, UNSIGNED // 2])
    windows = [{"WindowCenter": 40, "WindowWidth": 400}, {"WindowCenter": 600, "WindowWidth": 99}]
    path = write_dicom(
        tmp_path / "x",
        frames,
        BitsStored=12,
        NumberOfFrames=2,
        SharedFunctionalGroupsSequence=groups(**CT),
        PerFrameFunctionalGroupsSequence=[groups(**window)[0] for window in windows],
    )
    for page, window in enumerate(windows):
        alone = write_dicom(tmp_path / "y", frames[page], BitsStored=12, **CT, **window)
        assert (read_image(path, page=page) == read_image(alone)).all()


def test_what_a_frame_says_of_itself_prevails(tmp_path: Path) -> None:
    window = {"WindowCenter": 300, "WindowWidth": 500}
    path = write_dicom(
        tmp_path / "x",
        UNSIGNED[None],
        BitsStored=12,
        NumberOfFrames=1,
        WindowCenter=5,
        WindowWidth=5,
        SharedFunctionalGroupsSequence=groups(WindowCenter=9, WindowWidth=9, RescaleSlope=3),
        PerFrameFunctionalGroupsSequence=groups(RescaleSlope=1, RescaleIntercept=-50, **window),
    )
    alone = write_dicom(
        tmp_path / "y", UNSIGNED, BitsStored=12, RescaleSlope=1, RescaleIntercept=-50, **window
    )
    assert (read_image(path) == read_image(alone)).all()


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("limit", [None, -1900])
@pytest.mark.parametrize("pixels", [SIGNED, BYTES.astype(np.int16) * 100])
def test_padding_is_black_and_takes_no_part_in_the_contrast(
    tmp_path: Path, pixels: np.ndarray, limit: int | None, photometric: str
) -> None:
    tissue = np.abs(pixels[:, :8])
    padded = np.concatenate([tissue, np.full((12, 6), -2000, np.int16)], axis=1)
    attributes: dict[str, object] = {"PixelPaddingValue": -2000}
    if limit is not None:
        attributes["PixelPaddingRangeLimit"] = limit
        padded[:, -1] = -1950
    path = write_dicom(tmp_path / "x", padded, PhotometricInterpretation=photometric, **attributes)
    alone = write_dicom(tmp_path / "y", tissue, PhotometricInterpretation=photometric)
    shown = read_image(path)
    assert np.abs(shown[:, :8].astype(int) - read_image(alone)).max() <= 1
    assert (shown[:, 8:] == 0).all()


def test_a_padding_value_without_its_sign_is_understood(tmp_path: Path) -> None:
    padded = np.array([[0, 500, 1000, -2000]] * 4, np.int16)
    dataset = dicom_dataset(padded)
    dataset.add_new("PixelPaddingValue", "US", 65536 - 2000)
    assert read_image(save_dicom(tmp_path / "x", dataset))[0, :, 0].tolist() == [0, 128, 255, 0]


def test_an_image_that_is_all_padding_is_black(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "x", np.full((4, 5), 7, np.uint16), PixelPaddingValue=7)
    assert (read_image(path) == 0).all()


@pytest.mark.parametrize(
    ("pixels", "attributes", "low", "high"),
    [
        (BYTES // 2, {}, 0, 255),
        (BYTES // 32, {"BitsStored": 4}, 0, 15),
        (BYTES.astype(np.int8), {}, -128, 127),
        (UNSIGNED // 2, {"BitsStored": 12}, 0, 4095),
        (SIGNED // 2, {"BitsStored": 12}, -2048, 2047),
        (UNSIGNED, {"SmallestImagePixelValue": 0, "LargestImagePixelValue": 5000}, 0, 5000),
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("rescaled", [{}, {"RescaleSlope": 2, "RescaleIntercept": -7}])
def test_without_a_window_the_stated_range_is_shown(
    tmp_path: Path,
    pixels: np.ndarray,
    attributes: dict[str, object],
    low: int,
    high: int,
    photometric: str,
    rescaled: dict[str, object],
) -> None:
    path = write_dicom(
        tmp_path / "x", pixels, PhotometricInterpretation=photometric, **attributes, **rescaled
    )
    levels = np.rint((pixels.astype(float) - low) / (high - low) * 255)
    expected = 255 - levels if photometric == "MONOCHROME1" else levels
    assert np.abs(read_image(path)[..., 0] - expected).max() <= 1


def test_a_stated_range_that_the_pixels_exceed_is_not_believed(tmp_path: Path) -> None:
    pixels = np.linspace(0, 40000, 400).astype(np.uint16).reshape(20, 20)
    stated = {"SmallestImagePixelValue": 0, "LargestImagePixelValue": 10}
    path = write_dicom(tmp_path / "x", pixels, **stated)
    assert (read_image(path) == read_image(write_dicom(tmp_path / "y", pixels))).all()
    assert abs(int(read_image(path)[10, 0, 0]) - 128) <= 1


def test_a_window_without_a_width_is_no_window(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "x", BYTES, WindowCenter=0, WindowWidth=0)
    assert (read_image(path)[..., 0] == BYTES).all()


def test_a_table_of_bytes_is_read(tmp_path: Path) -> None:
    """pydicom 3.0 takes each entry for two bytes."""
    entries = RNG.permutation(256)
    path = write_dicom(tmp_path / "x", BYTES, VOILUTSequence=table(0, entries, 8))
    assert (read_image(path)[..., 0] == entries[BYTES]).all()


def test_an_unknown_function_of_a_window_is_named(tmp_path: Path) -> None:
    path = write_dicom(
        tmp_path / "x", UNSIGNED, WindowCenter=5, WindowWidth=9, VOILUTFunction="CUBIC"
    )
    with pytest.raises(LimnerError, match=r"has the VOI LUT function CUBIC\. LINEAR"):
        read_image(path)


def palette_dataset(indices: np.ndarray, first: int, tables: np.ndarray, bits: int) -> Any:
    dataset = dicom_dataset(indices, PhotometricInterpretation="PALETTE COLOR")
    for colour, entries in zip(("Red", "Green", "Blue"), tables, strict=True):
        name = f"{colour}PaletteColorLookupTable"
        descriptor = [len(entries) % 65536, first, bits]
        dataset.add_new(f"{name}Descriptor", "US" if first >= 0 else "SS", descriptor)
        setattr(dataset, f"{name}Data", entries.astype("<u2" if bits == 16 else "u1").tobytes())
    return dataset


PALETTES = {
    "256 of 8 bits": (BYTES, 0, RNG.integers(0, 256, (3, 256)), 8),
    "256 of 16 bits": (BYTES, 0, RNG.integers(0, 65536, (3, 256)), 16),
    "200 from 20 on": (BYTES, 20, RNG.integers(0, 65536, (3, 200)), 16),
    "65536 of 16 bits": (UNSIGNED * 16, 0, RNG.integers(0, 65536, (3, 65536)), 16),
    "signed indices": (SIGNED, -2048, RNG.integers(0, 65536, (3, 4096)), 16),
}


@pytest.mark.parametrize("case", PALETTES)
def test_palettes_are_those_of_pydicom(tmp_path: Path, case: str) -> None:
    dataset = palette_dataset(*PALETTES[case])
    path = save_dicom(tmp_path / "x", dataset)
    colours = apply_color_lut(dataset.pixel_array, pydicom.dcmread(path))
    assert (read_image(path) == (colours >> 8 if colours.itemsize == 2 else colours)).all()


def test_a_long_palette_of_8_bits_is_read(tmp_path: Path) -> None:
    """pydicom 3.0 cannot count beyond 255 in one."""
    tables = RNG.integers(0, 256, (3, 4096))
    path = save_dicom(tmp_path / "x", palette_dataset(UNSIGNED, 0, tables, 8))
    assert (read_image(path) == np.moveaxis(tables[:, UNSIGNED], 0, -1)).all()


def test_a_palette_of_16_bits_with_entries_of_8_is_not_black(tmp_path: Path) -> None:
    tables = RNG.integers(0, 256, (3, 256))
    path = save_dicom(tmp_path / "x", palette_dataset(BYTES, 0, tables, 16))
    assert (read_image(path) == np.moveaxis(tables[:, BYTES], 0, -1)).all()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("bits", [8, 16])
def test_segmented_palettes_are_those_of_pydicom(tmp_path: Path, bits: int, syntax: str) -> None:
    # Steps, a ramp up, a ramp down, and a copy of the last two
    words = [0, 2, 10, 20, 1, 50, 250, 1, 25, 30, 2, 2]
    copied_at = 4
    offset = [copied_at, 0, 0, 0] if bits == 8 else [copied_at, 0]
    if bits == 8 and syntax == ExplicitVRBigEndian:
        offset = [0, copied_at, 0, 0]
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    data = np.array(words + offset, "u1" if bits == 8 else f"{order}u2").tobytes()
    dataset = dicom_dataset(BYTES, PhotometricInterpretation="PALETTE COLOR")
    dataset.file_meta.TransferSyntaxUID = syntax
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTable"
        setattr(dataset, f"{name}Descriptor", [152, 0, bits])
        setattr(dataset, f"Segmented{name}Data", data)
    path = save_dicom(tmp_path / "x", dataset)
    expected = apply_color_lut(BYTES, pydicom.dcmread(path))
    assert len(np.unique(expected)) > 20
    assert (read_image(path) == expected).all()


def test_a_mask_keeps_its_stored_values(tmp_path: Path) -> None:
    classes = RNG.integers(0, 4, (6, 5)).astype(np.uint8)
    shown = {"WindowCenter": 100, "WindowWidth": 20, "RescaleSlope": 3, "RescaleIntercept": 4}
    path = write_dicom(tmp_path / "x", classes, **shown, PixelPaddingValue=0)
    assert (read_mask(path).values == classes).all()
    inverted = {"PhotometricInterpretation": "MONOCHROME1"}
    path = write_dicom(tmp_path / "y", classes, **shown, **inverted)
    assert (read_mask(path).values == 255 - classes).all()
    signed = write_dicom(tmp_path / "z", classes.astype(np.int16), **inverted)
    assert (read_mask(signed).values == classes).all()


def test_a_mask_with_a_palette_keeps_its_indices(tmp_path: Path) -> None:
    tables = np.array([[0, 255, 0], [0, 0, 255], [0, 0, 0]])
    classes = RNG.integers(0, 3, (6, 5)).astype(np.uint8)
    mask = read_mask(save_dicom(tmp_path / "x", palette_dataset(classes, 0, tables, 8)))
    assert mask.kind == "palette" and (mask.values == classes).all()
    assert mask.palette == (0, 0xFF0000, 0x00FF00)
