"""Samples and colours of each transfer syntax, against pydicom's own or those that were written."""

import io
import warnings
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    RLELossless,
)

from dicom_files import (
    LOSSLESS,
    compress,
    dicom_dataset,
    encode_jpeg,
    save_dicom,
    without_colour_marks,
    write_dicom,
)
from limner.data.images import page_count, read_image, read_mask

RNG = np.random.default_rng(0)
# Odd sizes, so that frames end within a byte pair
GREY_8 = RNG.integers(0, 256, (13, 9)).astype(np.uint8)
GREY_12 = RNG.integers(0, 4096, (13, 9)).astype(np.uint16)
GREY_16 = RNG.integers(0, 65536, (13, 9)).astype(np.uint16)
SIGNED_12 = RNG.integers(-2048, 2048, (13, 9)).astype(np.int16)
SIGNED_16 = RNG.integers(-32768, 32768, (13, 9)).astype(np.int16)
COLOUR = RNG.integers(0, 256, (13, 9, 3)).astype(np.uint8)
PHOTOGRAPH = np.asarray(
    Image.fromarray(RNG.integers(0, 256, (5, 4, 3)).astype(np.uint8)).resize((40, 32))
)
GREYS = {
    "8 bits": (GREY_8, 8),
    "12 of 16 bits": (GREY_12, 12),
    "16 bits": (GREY_16, 16),
    "12 signed bits": (SIGNED_12, 12),
    "16 signed bits": (SIGNED_16, 16),
}


def stored(path: Path, page: int = 0) -> np.ndarray:
    """The samples as limner decodes them; masks have none below 0, so it is asked beneath."""
    from limner.data.image_file import open_image
    from limner.data.readers.decoded import DecodeOptions

    with open_image(path) as image:
        return image.decode_upright(DecodeOptions(page, as_stored=True)).pixels


@pytest.mark.parametrize("depth", GREYS)
@pytest.mark.parametrize("syntax", LOSSLESS)
def test_lossless_codecs_give_back_what_was_written(
    tmp_path: Path, syntax: str, depth: str
) -> None:
    pixels, bits = GREYS[depth]
    uid, encode = LOSSLESS[syntax]
    dataset = dicom_dataset(pixels, BitsStored=bits)
    path = save_dicom(tmp_path / "x", compress(dataset, uid, [encode(pixels)]))
    assert (stored(path) == pixels).all()


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
@pytest.mark.parametrize("syntax", LOSSLESS)
def test_colours_of_lossless_codecs_are_turned_once(
    tmp_path: Path, syntax: str, photometric: str
) -> None:
    uid, encode = LOSSLESS[syntax]
    dataset = dicom_dataset(COLOUR, colour=True, PhotometricInterpretation=photometric)
    native = dicom_dataset(COLOUR, colour=True, PhotometricInterpretation=photometric)
    path = save_dicom(tmp_path / "x", compress(dataset, uid, [encode(COLOUR)]))
    assert (read_image(path) == native.pixel_array).all()


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_colours_are_those_of_pydicom(
    tmp_path: Path, syntax: str, planar: int, photometric: str
) -> None:
    pixels = np.moveaxis(COLOUR, 2, 0) if planar else COLOUR
    dataset = dicom_dataset(COLOUR, colour=True, PhotometricInterpretation=photometric)
    dataset.PlanarConfiguration = planar
    dataset.PixelData = pixels.tobytes() + b"\0"
    path = tmp_path / "x"
    if syntax == RLELossless:
        dataset.compress(syntax, encoding_plugin="pydicom")
        save_dicom(path, dataset)
    else:
        save_as(path, dataset, syntax)
    assert (read_image(path) == pydicom.dcmread(path).pixel_array).all()


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGExtended12Bit])
@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_FULL", "RGB"])
def test_photographs_in_dicom_have_their_colours(
    tmp_path: Path, photometric: str, syntax: str
) -> None:
    """RGB is a wrong word for a JFIF image, as pydicom finds too."""
    dataset = dicom_dataset(PHOTOGRAPH, colour=True, PhotometricInterpretation=photometric)
    path = save_dicom(tmp_path / "x", compress(dataset, syntax, [encode_jpeg(PHOTOGRAPH)]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = pydicom.pixels.pixel_array(path, decoding_plugin="pillow")
    assert (read_image(path) == expected).all()
    assert np.abs(read_image(path).astype(int) - PHOTOGRAPH).mean() < 12


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL_422"])
@pytest.mark.parametrize("mark", ["Adobe", "names", "none"])
def test_the_jpeg_itself_says_whether_it_is_rgb(
    tmp_path: Path, mark: str, photometric: str
) -> None:
    frame = imagecodecs.jpeg8_encode(PHOTOGRAPH, level=100, colorspace="RGB", outcolorspace="RGB")
    if mark == "names":
        adobe = frame.find(b"\xff\xee")
        frame = frame[:adobe] + frame[adobe + 16 :]
    elif mark == "none":
        frame = without_colour_marks(frame)
    dataset = dicom_dataset(PHOTOGRAPH, colour=True, PhotometricInterpretation=photometric)
    path = save_dicom(tmp_path / "x", compress(dataset, JPEGBaseline8Bit, [frame]))
    is_right = np.abs(read_image(path).astype(int) - PHOTOGRAPH).mean() < 2
    assert is_right == (mark != "none" or photometric == "RGB")


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "RGB"])
def test_adobes_mark_of_luminance_is_followed_once(tmp_path: Path, photometric: str) -> None:
    frame = encode_jpeg(PHOTOGRAPH)
    jfif_end = 4 + int.from_bytes(frame[4:6], "big")
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\1"
    marked = frame[:2] + adobe + frame[jfif_end:]
    dataset = dicom_dataset(PHOTOGRAPH, colour=True, PhotometricInterpretation=photometric)
    path = save_dicom(tmp_path / "x", compress(dataset, JPEGBaseline8Bit, [marked]))
    expected = np.asarray(Image.open(io.BytesIO(frame)))
    assert np.abs(read_image(path).astype(int) - expected).max() <= 2


@pytest.mark.parametrize("photometric", ["YBR_RCT", "YBR_ICT", "RGB"])
def test_jpeg_2000_turns_its_colours_itself(tmp_path: Path, photometric: str) -> None:
    content = io.BytesIO()
    Image.fromarray(COLOUR).save(content, "JPEG2000", irreversible=photometric == "YBR_ICT", mct=1)
    dataset = dicom_dataset(COLOUR, colour=True, PhotometricInterpretation=photometric)
    # In a JP2 box, as some files have it
    path = save_dicom(tmp_path / "x", compress(dataset, JPEG2000, [content.getvalue()]))
    expected = pydicom.pixels.pixel_array(path, decoding_plugin="pillow")
    assert np.abs(read_image(path).astype(int) - expected).max() <= 1


def test_subsampled_native_colours_are_those_of_pydicom(tmp_path: Path) -> None:
    stored_bytes = RNG.integers(0, 256, (4, 6 * 2)).astype(np.uint8)
    dataset = dicom_dataset(
        np.zeros((4, 6, 3), np.uint8), colour=True, PhotometricInterpretation="YBR_FULL_422"
    )
    dataset.PixelData = stored_bytes.tobytes()
    path = save_dicom(tmp_path / "x", dataset)
    assert (read_image(path) == pydicom.dcmread(path).pixel_array).all()


def test_colours_of_16_bits_are_brought_to_8_by_their_stored_bits(tmp_path: Path) -> None:
    colours = RNG.integers(0, 4096, (4, 5, 3)).astype(np.uint16)
    path = save_dicom(tmp_path / "x", dicom_dataset(colours, colour=True, BitsStored=12))
    assert (read_image(path) == np.rint(colours / 4095 * 255)).all()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
@pytest.mark.parametrize("depth", GREYS)
def test_native_samples_are_those_of_pydicom(tmp_path: Path, depth: str, syntax: str) -> None:
    pixels, bits = GREYS[depth]
    dataset = dicom_dataset(pixels, BitsStored=bits)
    path = tmp_path / "x"
    if syntax == RLELossless:
        dataset.compress(syntax, encoding_plugin="pydicom")
        save_dicom(path, dataset)
    else:
        save_as(path, dataset, syntax)
    assert (stored(path) == pydicom.dcmread(path).pixel_array).all()


def test_bits_beyond_those_stored_are_no_part_of_a_sample(tmp_path: Path) -> None:
    """Old files keep an overlay there."""
    overlaid = GREY_12 | 0x7000
    path = write_dicom(tmp_path / "x", overlaid, BitsStored=12)
    assert (stored(path) == GREY_12).all()


def test_deflated_files_are_read(tmp_path: Path) -> None:
    dataset = dicom_dataset(GREY_16)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = save_dicom(tmp_path / "x", dataset)
    assert (stored(path) == GREY_16).all()


def test_jpeg_of_12_bits_is_read(tmp_path: Path) -> None:
    ramp = np.linspace(0, 4095, 16 * 16).astype(np.uint16).reshape(16, 16)
    frame = imagecodecs.jpeg8_encode(ramp, level=100, bitspersample=12)
    dataset = compress(dicom_dataset(ramp, BitsStored=12), JPEGExtended12Bit, [frame])
    path = save_dicom(tmp_path / "x", dataset)
    assert np.abs(stored(path).astype(int) - ramp).max() <= 4


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLSNearLossless])
def test_values_of_a_mask_in_a_lossy_codec_are_not_trusted(tmp_path: Path, syntax: str) -> None:
    encode = encode_jpeg if syntax == JPEGBaseline8Bit else imagecodecs.jpegls_encode
    dataset = compress(dicom_dataset(GREY_8), syntax, [encode(GREY_8)])
    codec = "JPEG" if syntax == JPEGBaseline8Bit else "near-lossless JPEG-LS"
    assert read_mask(save_dicom(tmp_path / "x", dataset)).lossy_codec == codec
    assert not read_mask(write_dicom(tmp_path / "y", GREY_8)).lossy


@pytest.mark.parametrize("syntax", ["native", "RLE", *LOSSLESS])
@pytest.mark.parametrize("colour", [False, True])
def test_each_frame_is_a_page(tmp_path: Path, colour: bool, syntax: str) -> None:
    frames = RNG.integers(0, 256, (4, 7, 5, 3) if colour else (4, 7, 5)).astype(np.uint8)
    dataset = dicom_dataset(frames, colour=colour, NumberOfFrames=4)
    if syntax == "RLE":
        dataset.compress(RLELossless, encoding_plugin="pydicom")
    elif syntax != "native":
        uid, encode = LOSSLESS[syntax]
        dataset = compress(dataset, uid, [encode(frame) for frame in frames])
    path = save_dicom(tmp_path / "x", dataset)
    assert page_count(path) == 4
    for page, frame in enumerate(frames):
        expected = frame if colour else np.repeat(frame[..., None], 3, axis=2)
        assert (read_image(path, page=page) == expected).all()


def test_single_bits_are_unpacked_frame_by_frame(tmp_path: Path) -> None:
    bits = RNG.integers(0, 2, (3, 5, 7)).astype(np.uint8)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    dataset = dicom_dataset(bits, NumberOfFrames=3, BitsAllocated=1, BitsStored=1)
    dataset.PixelData = packed + b"\0" * (len(packed) % 2)
    path = save_dicom(tmp_path / "x", dataset)
    assert (stored(path, 2) == bits[2]).all()
    assert (read_image(path, page=1)[..., 0] == bits[1] * 255).all()


def test_floats_are_read_as_they_are(tmp_path: Path) -> None:
    floats = RNG.normal(0, 3, (6, 5)).astype(np.float32)
    dataset = dicom_dataset(floats, BitsAllocated=32)
    del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    dataset.FloatPixelData = floats.tobytes()
    path = save_dicom(tmp_path / "x", dataset)
    assert (stored(path) == floats).all()
    assert read_image(path)[..., 0].max() == 255


def save_as(path: Path, dataset: Any, syntax: str) -> None:
    """Write an uncompressed dataset in another transfer syntax."""
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian and dataset.BitsAllocated == 16:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    save_dicom(path, dataset)
