"""Write small DICOM files of all kinds, with pydicom and with the codecs of others."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image


def write_dicom(path: Path, pixels: np.ndarray, **attributes: object) -> Path:
    """Write grey pixels, or frames of them, with these attributes."""
    return save_dicom(path, dicom_dataset(pixels, **attributes))


def dicom_dataset(pixels: np.ndarray, *, colour: bool = False, **attributes: object) -> Any:
    """Make an uncompressed dataset of one image or, where NumberOfFrames is given, of frames."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Rows, dataset.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.itemsize
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    for name, value in attributes.items():
        setattr(dataset, name, value)
    dataset.HighBit = dataset.BitsStored - 1
    dataset["PixelData"].VR = "OB" if dataset.BitsAllocated <= 8 else "OW"
    return dataset


def save_dicom(path: Path, dataset: Any) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def compress(dataset: Any, syntax: str, frames: list[bytes]) -> Any:
    """Put compressed frames into a dataset."""
    from pydicom.encaps import encapsulate

    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].VR = "OB"
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def encode_jpeg(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=95)
    return content.getvalue()


def encode_jpeg_lossless(pixels: np.ndarray, bits: int = 0) -> bytes:
    """Encode grey or three channels, which are called 1, 2, 3 as DICOM's usual encoders do."""
    frame = imagecodecs.jpeg8_encode(
        _unsigned(pixels), lossless=True, predictor=1, bitspersample=bits or 8 * pixels.itemsize
    )
    return without_colour_marks(frame) if pixels.ndim == 3 else frame


def without_colour_marks(frame: bytes) -> bytes:
    """Take Adobe's marker out of a JPEG of RGB, and call its channels 1, 2, 3."""
    adobe = frame.find(b"\xff\xee")
    content = bytearray(frame[:adobe] + frame[adobe + 16 :])
    start = max(content.find(b"\xff\xc0\0\x11"), content.find(b"\xff\xc3\0\x11"))
    scan = content.find(b"\xff\xda")
    for index in range(3):
        content[start + 10 + 3 * index] = content[scan + 5 + 2 * index] = index + 1
    return bytes(content)


def encode_jpeg_2000(pixels: np.ndarray) -> bytes:
    return imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k", reversible=True, mct=False)


def encode_jpeg_ls(pixels: np.ndarray) -> bytes:
    return imagecodecs.jpegls_encode(_unsigned(pixels))


def encode_htj2k(pixels: np.ndarray) -> bytes:
    return imagecodecs.htj2k_encode(pixels, reversible=True, rgb=False)


def _unsigned(pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels).view(f"u{pixels.itemsize}")


LOSSLESS: dict[str, tuple[str, Callable[[np.ndarray], bytes]]] = {
    "JPEG Lossless": ("1.2.840.10008.1.2.4.57", encode_jpeg_lossless),
    "JPEG Lossless SV1": ("1.2.840.10008.1.2.4.70", encode_jpeg_lossless),
    "JPEG-LS": ("1.2.840.10008.1.2.4.80", encode_jpeg_ls),
    "JPEG 2000": ("1.2.840.10008.1.2.4.90", encode_jpeg_2000),
    "HTJ2K": ("1.2.840.10008.1.2.4.201", encode_htj2k),
}
"""Transfer syntaxes that give back each sample as it was."""
