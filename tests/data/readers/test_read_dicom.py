"""Which files are DICOM images, and what is said of those that are none or cannot be read."""

import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
)

from dicom_files import (
    compress,
    dicom_dataset,
    encode_jpeg,
    encode_jpeg_2000,
    encode_jpeg_ls,
    save_dicom,
    write_dicom,
)
from limner.data.images import decode_image, page_count, read_image, read_mask
from limner.data.readers import dicom_file
from limner.errors import LimnerError

RNG = np.random.default_rng(0)


DEEP = (np.arange(54).reshape(6, 9) * 1200).astype(np.uint16)


def test_dicom_is_rescaled_and_windowed(tmp_path: Path) -> None:
    stored = np.array([[0, 1000, 1100, 1200, 3000]] * 4, np.uint16)
    path = write_dicom(
        tmp_path / "x.dcm",
        stored,
        RescaleSlope=1,
        RescaleIntercept=-1000,
        WindowCenter=100.5,
        WindowWidth=201,
    )
    assert read_image(path)[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_dark_on_light_is_turned_over(tmp_path: Path) -> None:
    stored = np.array([[0, 1000, 2000]] * 4, np.int16)
    attributes = {"WindowCenter": 1000.5, "WindowWidth": 2001}
    light = read_image(write_dicom(tmp_path / "x.dcm", stored, **attributes))
    dark = read_image(
        write_dicom(
            tmp_path / "y.dcm", stored, PhotometricInterpretation="MONOCHROME1", **attributes
        )
    )
    assert dark[0, :, 0].tolist() == light[0, ::-1, 0].tolist() == [255, 128, 0]


def test_frames_of_dicom_are_pages(tmp_path: Path) -> None:
    frames = RNG.integers(0, 4000, (3, 5, 7)).astype(np.uint16)
    path = write_dicom(tmp_path / "x.dcm", frames, NumberOfFrames=3)
    assert page_count(path) == 3
    assert (read_mask(path, page=2).values == frames[2]).all()


def test_dicom_without_its_extra_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_dicom(tmp_path / "x.dcm", DEEP)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(LimnerError, match=r"pip install 'limner\[dicom\]'"):
        read_image(path)


@pytest.mark.parametrize("name", ["IM000001", "x.IMA", "1.2.840.113619.2.5", "x.dcm"])
def test_dicom_is_known_by_its_content(tmp_path: Path, name: str) -> None:
    assert read_image(write_dicom(tmp_path / name, DEEP)).shape == (6, 9, 3)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
)
@pytest.mark.parametrize("with_meta", [True, False])
def test_dicom_without_a_preamble_is_read(tmp_path: Path, syntax: str, with_meta: bool) -> None:
    dataset = dicom_dataset(DEEP)
    dataset.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = DEEP.astype(">u2").tobytes()
    path = save_dicom(tmp_path / "x", dataset)
    content = path.read_bytes()
    # After the preamble and DICM come the metadata, whose length its first element says
    meta_end = 144 + int.from_bytes(content[140:144], "little")
    path.write_bytes(content[132:] if with_meta else content[meta_end:])
    assert (read_mask(path).values == DEEP).all()


@pytest.mark.parametrize("start", [b"II*\0", b"MM\0*", b"BM"])
def test_dicom_may_begin_as_another_format_does(tmp_path: Path, start: bytes) -> None:
    """Its first 128 bytes are free, and scanners write the head of a TIFF there."""
    path = write_dicom(tmp_path / "x", DEEP)
    path.write_bytes(start + path.read_bytes()[len(start) :])
    assert (read_mask(path).values == DEEP).all()


@pytest.mark.parametrize(
    "content",
    [
        b"\x08\0\0\0\x02\0\0\0" + bytes(range(200)),
        np.arange(8, 300, dtype="<u2").tobytes(),
        np.full(100, 8, "<i4").tobytes(),
        np.full(100, 2, "<u2").tobytes(),
        b"Patient: DICM\n" * 20,
        b"",
    ],
)
def test_other_content_is_not_taken_for_dicom(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(LimnerError, match="is not an image that can be read"):
        read_image(tmp_path / "x")


def without_pixels(sop_class: str) -> Any:
    dataset = dicom_dataset(DEEP)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    for keyword in ("Rows", "Columns", "PixelData", "BitsAllocated", "SamplesPerPixel"):
        delattr(dataset, keyword)
    return dataset


@pytest.mark.parametrize(
    ("sop_class", "message"),
    [
        (
            "1.2.840.10008.5.1.4.1.1.481.3",
            r"is DICOM without an image \(RT Structure Set\)\. Leave",
        ),
        ("1.2.840.10008.5.1.4.1.1.88.11", r"without an image \(Basic Text SR\)"),
        ("1.2.840.10008.5.1.4.1.1.11.1", r"without an image \(Grayscale Softcopy Presentation"),
        ("1.2.840.10008.5.1.4.1.1.104.1", r"without an image \(Encapsulated PDF\)"),
        ("1.2.3.4.5", r"is DICOM without an image\. Leave it out, and give the images"),
        ("1.2.840.10008.1.3.10", r"is a DICOMDIR, the index .* Give the images that it lists"),
        (
            "1.2.840.10008.5.1.4.1.1.2",
            r"header of a DICOM image without its pixels\. Was it copied",
        ),
    ],
)
def test_dicom_without_an_image_is_named_as_what_it_is(
    tmp_path: Path, sop_class: str, message: str
) -> None:
    path = save_dicom(tmp_path / "x.dcm", without_pixels(sop_class))
    with pytest.raises(LimnerError, match=message):
        read_image(path)
    with pytest.raises(LimnerError, match=message):
        page_count(path)


def test_a_header_without_its_pixels_is_named(tmp_path: Path) -> None:
    dataset = dicom_dataset(DEEP)
    del dataset.PixelData
    with pytest.raises(LimnerError, match="header of a DICOM image without its pixels"):
        read_image(save_dicom(tmp_path / "x.dcm", dataset))


@pytest.mark.parametrize(
    ("uid", "name"),
    [
        ("1.2.840.10008.1.2.4.102", "MPEG-4 AVC/H.264 High Profile / Level 4.1"),
        ("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.110"),
        ("1.2.840.113619.5.2.99", "1.2.840.113619.5.2.99"),
    ],
)
def test_a_transfer_syntax_that_is_not_read_is_named(tmp_path: Path, uid: str, name: str) -> None:
    dataset = compress(dicom_dataset(DEEP), JPEGBaseline8Bit, [b"film"])
    path = save_dicom(tmp_path / "x.dcm", dataset)
    padded = uid.encode().ljust(len(uid) + len(uid) % 2, b"\0")
    content = path.read_bytes()
    start = content.index(JPEGBaseline8Bit.encode())
    # The element's length is in the two bytes before it, and the group's in its first element
    grown = len(padded) - 22
    group_length = int.from_bytes(content[140:144], "little") + grown
    path.write_bytes(
        content[:140]
        + group_length.to_bytes(4, "little")
        + content[144 : start - 2]
        + len(padded).to_bytes(2, "little")
        + padded
        + content[start + 22 :]
    )
    with pytest.raises(LimnerError, match=f"is DICOM stored as {name}, which is not read"):
        read_image(path)


def test_a_codec_that_is_missing_is_named_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = compress(dicom_dataset(DEEP), JPEGLSLossless, [encode_jpeg_ls(DEEP)])
    path = save_dicom(tmp_path / "x.dcm", dataset)
    monkeypatch.setattr(imagecodecs.JPEGLS, "available", False)
    with pytest.raises(LimnerError, match=r"the JPEG-LS codec is missing: .*pip install") as error:
        read_image(path)
    assert "damaged" not in str(error.value)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"PhotometricInterpretation": "YBR_PARTIAL_422"}, "3 channels .* YBR_PARTIAL_422. Read"),
        ({"PhotometricInterpretation": "HSV"}, "of the kind HSV"),
        ({"PhotometricInterpretation": "MONOCHROME2"}, "of 3 channels with colours of the kind"),
        ({"BitsAllocated": 24}, "whose samples take 24 bits. Read are 1, 8, 16, 32 and 64"),
        ({"BitsAllocated": 16, "PhotometricInterpretation": "YBR_FULL"}, "YBR_FULL of 16 bits"),
    ],
)
def test_colours_and_depths_that_are_not_read_are_named(
    tmp_path: Path, attributes: dict[str, object], message: str
) -> None:
    colours = np.zeros((4, 6, 3), np.uint16)
    path = save_dicom(tmp_path / "x", dicom_dataset(colours, colour=True, **attributes))
    with pytest.raises(LimnerError, match=message) as error:
        read_image(path)
    assert "damaged" not in str(error.value)


def test_compressed_luminance_of_16_bits_is_named(tmp_path: Path) -> None:
    colours = RNG.integers(0, 4096, (4, 6, 3)).astype(np.uint16)
    dataset = dicom_dataset(colours, colour=True, PhotometricInterpretation="YBR_FULL")
    compress(dataset, JPEG2000Lossless, [encode_jpeg_2000(colours)])
    with pytest.raises(LimnerError, match=r"YBR_FULL of 16 bits\. They are read with 8"):
        read_image(save_dicom(tmp_path / "x", dataset))


def test_subsampled_colours_of_full_length_are_not_guessed(tmp_path: Path) -> None:
    colours = RNG.integers(0, 256, (4, 6, 3)).astype(np.uint8)
    dataset = dicom_dataset(colours, colour=True, PhotometricInterpretation="YBR_FULL_422")
    with pytest.raises(LimnerError, match=r"as many bytes as RGB or YBR_FULL.* export it as RGB"):
        read_image(save_dicom(tmp_path / "x", dataset))


@pytest.mark.parametrize("codec", ["native", "JPEG", "JPEG-LS", "JPEG 2000"])
def test_pixels_that_end_early_are_damage(tmp_path: Path, codec: str) -> None:
    pixels = RNG.integers(0, 256, (20, 21)).astype(np.uint8)
    dataset = dicom_dataset(pixels)
    encoders = {
        "JPEG": (JPEGBaseline8Bit, encode_jpeg),
        "JPEG-LS": (JPEGLSLossless, encode_jpeg_ls),
        "JPEG 2000": (JPEG2000Lossless, encode_jpeg_2000),
    }
    if codec == "native":
        dataset.PixelData = pixels.tobytes()[:100]
    else:
        syntax, encode = encoders[codec]
        frame = encode(pixels)
        compress(dataset, syntax, [frame[: len(frame) // 2]])
    with pytest.raises(LimnerError, match=r"is damaged: .*(end|opj)"):
        read_image(save_dicom(tmp_path / "x", dataset))


def test_bytes_after_a_jpeg_do_no_harm(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (20, 21)).astype(np.uint8)
    paths = [
        save_dicom(tmp_path / name, compress(dicom_dataset(pixels), JPEGBaseline8Bit, [frame]))
        for name, frame in (("x", encode_jpeg(pixels)), ("y", encode_jpeg(pixels) + b"\xff\0\0"))
    ]
    assert (read_image(paths[0]) == read_image(paths[1])).all()


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLSLossless, JPEG2000Lossless])
def test_a_frame_of_another_size_is_not_decoded(tmp_path: Path, syntax: str) -> None:
    large = RNG.integers(0, 256, (64, 48)).astype(np.uint8)
    encode = {JPEGBaseline8Bit: encode_jpeg, JPEGLSLossless: encode_jpeg_ls}.get(
        syntax, encode_jpeg_2000
    )
    dataset = compress(dicom_dataset(large[:8, :8]), syntax, [encode(large)])
    with pytest.raises(LimnerError, match="pixels are 48x64x1, and its header says 8x8x1"):
        read_image(save_dicom(tmp_path / "x", dataset))


def test_a_deflated_file_does_not_burst(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_file, "MOST_INFLATED_BYTES", 5000)
    dataset = dicom_dataset(np.zeros((60, 50), np.uint16))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    with pytest.raises(LimnerError, match="is deflated DICOM of more than 5,000 bytes"):
        read_image(save_dicom(tmp_path / "x", dataset))


def test_only_the_frame_that_is_asked_for_is_read(tmp_path: Path) -> None:
    frames = RNG.integers(0, 4096, (5, 8, 9)).astype(np.uint16)
    encoded = [encode_jpeg_ls(frame) for frame in frames]
    encoded[3] = b"no codestream"
    dataset = compress(dicom_dataset(frames, NumberOfFrames=5), JPEGLSLossless, encoded)
    path = save_dicom(tmp_path / "x", dataset)
    assert (read_mask(path, page=4).values == frames[4]).all()
    with pytest.raises(LimnerError, match="damaged"):
        read_image(path, page=3)
    with pytest.raises(LimnerError, match="has 5 images; number 6 was asked for"):
        read_image(path, page=5)


def test_an_uploaded_file_may_be_dicom(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "x", DEEP)
    uploaded = decode_image(path.read_bytes(), "the image", 100)
    assert (uploaded == read_image(path)).all()


def test_frames_and_pixels_of_an_upload_are_limited(tmp_path: Path) -> None:
    frames = np.stack([DEEP, DEEP])
    path = write_dicom(tmp_path / "x", frames, NumberOfFrames=2)
    with pytest.raises(LimnerError, match="claims 2 images of 9x6 pixels of 3 bytes"):
        decode_image(path.read_bytes(), "the image", 107)
    assert (
        decode_image(path.read_bytes(), "the image", 108, page=1) == read_image(path, page=1)
    ).all()
    path = write_dicom(tmp_path / "x", DEEP)
    with pytest.raises(LimnerError, match="claims 1 image of 9x6 pixels"):
        decode_image(path.read_bytes(), "the image", 53)


def test_jpeg_ls_is_not_taken_from_uploads(tmp_path: Path) -> None:
    dataset = compress(dicom_dataset(DEEP), JPEGLSLossless, [encode_jpeg_ls(DEEP)])
    path = save_dicom(tmp_path / "x", dataset)
    assert read_image(path).shape == (6, 9, 3)
    with pytest.raises(LimnerError, match="is DICOM in JPEG-LS, which is read from files alone"):
        decode_image(path.read_bytes(), "the image", 1000)


def test_what_a_file_says_of_its_frames_is_parsed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = RNG.integers(0, 4096, (4, 5, 6)).astype(np.uint16)
    path = write_dicom(tmp_path / "x", frames, NumberOfFrames=4)
    parsed: list[object] = []
    dcmread = pydicom.dcmread

    def recorded_dcmread(*arguments: object, **options: object) -> object:
        parsed.append(arguments)
        return dcmread(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(pydicom, "dcmread", recorded_dcmread)
    for page in range(4):
        assert (read_mask(path, page=page).values == frames[page]).all()
    assert len(parsed) == 1


def test_a_header_that_was_parsed_is_not_that_of_another_file(tmp_path: Path) -> None:
    uid = {"SOPInstanceUID": "1.2.3"}
    paths = [
        write_dicom(tmp_path / "a", DEEP, **uid),
        write_dicom(tmp_path / "b", DEEP // 2, **uid),
        write_dicom(tmp_path / "c", DEEP, WindowCenter=9, WindowWidth=5, **uid),
        write_dicom(tmp_path / "d", DEEP[:3], **uid),
    ]
    for _ in range(2):
        assert (read_mask(paths[0]).values == DEEP).all()
        assert (read_mask(paths[1]).values == DEEP // 2).all()
        assert set(read_image(paths[2]).ravel().tolist()) == {0, 255}
        assert (read_mask(paths[3]).values == DEEP[:3]).all()
