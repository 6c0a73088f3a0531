"""Read DICOM with pydicom."""

from typing import Any

import numpy as np

from limner.data.readers.decoded import (
    BinaryFile,
    DecodedImage,
    DecodeOptions,
    ImageHeader,
    Pixels,
    UnsupportedImageError,
)

NAME = "DICOM"
SUFFIXES = frozenset({".dcm"})
HOLDS_PAGES = True


def recognises(start: bytes) -> bool:
    return start[128:132] == b"DICM"


def read_header(file: BinaryFile) -> ImageHeader:
    dataset = _read_dataset(file, stop_before_pixels=True)
    return ImageHeader(int(dataset.Rows), int(dataset.Columns), pages=_frame_count(dataset))


def decode(file: BinaryFile, _header: ImageHeader, options: DecodeOptions) -> DecodedImage:
    """Decode a frame, rescaled and windowed as the file says (DICOM PS3.3 C.7.6.3, C.11)."""
    dataset = _read_dataset(file, stop_before_pixels=False)
    pixels = dataset.pixel_array
    if _frame_count(dataset) > 1:
        pixels = pixels[options.page]
    if options.as_stored:
        return DecodedImage(pixels)
    pixels = _to_colours(pixels, dataset)
    window = None
    if dataset.SamplesPerPixel == 1:
        pixels, window = _rescale(pixels, dataset), _window(dataset)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        # Dark on light
        low, high = window or (float(pixels.min()), float(pixels.max()))
        pixels = low + high - pixels.astype(np.float64)
    return DecodedImage(pixels, window=window)


def _read_dataset(file: BinaryFile, *, stop_before_pixels: bool) -> Any:
    try:
        import pydicom
    except ImportError as error:
        raise UnsupportedImageError(
            "is DICOM, which needs pydicom: pip install 'limner[dicom]'."
        ) from error
    return pydicom.dcmread(file, stop_before_pixels=stop_before_pixels)


def _frame_count(dataset: Any) -> int:
    return int(dataset.get("NumberOfFrames") or 1)


def _to_colours(pixels: Pixels, dataset: Any) -> Pixels:
    """Turn palette and YBR into RGB; grey and RGB stay as they are."""
    from pydicom.pixels.processing import apply_color_lut, convert_color_space

    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        return apply_color_lut(pixels, dataset)
    if dataset.PhotometricInterpretation.startswith("YBR"):
        return convert_color_space(pixels, dataset.PhotometricInterpretation, "RGB")
    return pixels


def _rescale(pixels: Pixels, dataset: Any) -> Pixels:
    if "RescaleSlope" not in dataset and "WindowCenter" not in dataset:
        return pixels
    slope = float(dataset.get("RescaleSlope") or 1)
    return pixels * slope + float(dataset.get("RescaleIntercept") or 0)


def _window(dataset: Any) -> tuple[float, float] | None:
    """Read the lowest and highest value of the first linear window (PS3.3 C.11.2.1.2)."""
    if dataset.get("WindowWidth") is None or dataset.get("WindowCenter") is None:
        return None
    centre, width = (
        float(value[0] if hasattr(value, "__len__") else value)
        for value in (dataset.WindowCenter, dataset.WindowWidth)
    )
    return centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
