"""Grey values of DICOM as they are shown: rescaled, windowed, and light on dark.

They go through the modality's table and then through that of the values of interest (VOI), as
PS3.3 C.11 says.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped
from numpy import ndarray

from limner.data.image_pixels import WINDOW_PERCENT
from limner.data.readers.decoded import DecodedImage, NamedWindow, UnsupportedImageError
from limner.data.readers.dicom_codecs import FrameLayout
from limner.data.readers.dicom_lookup import read_value_table

CHANGING_KEYWORDS = (
    "ModalityLUTSequence",
    "RescaleSlope",
    "RescaleIntercept",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
)
PADDING_KEYWORDS = ("PixelPadding{}", "FloatPixelPadding{}", "DoubleFloatPixelPadding{}")
FUNCTIONAL_GROUPS = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
"""Where enhanced files say the same for all frames, or for each (PS3.3 C.7.6.16)."""

Bounds = tuple[float, float]
"""The values that are shown as black and as white."""


def frame_attributes(dataset: Any, index: int) -> Any:
    """Collect what a file says of a frame's values. What it says of that frame alone prevails."""
    from pydicom.dataset import Dataset

    attributes = Dataset()
    # The group of what describes an image
    attributes.update(dataset.group_dataset(0x0028))
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    for group in (*shared[:1], *per_frame[index : index + 1]):
        for keyword in FUNCTIONAL_GROUPS:
            for item in (group.get(keyword) or [])[:1]:
                attributes.update(item)
    return attributes


def to_shown_values(
    stored: Shaped[ndarray, "h w"],
    attributes: Any,
    layout: FrameLayout,
    *,
    is_little_endian: bool,
) -> DecodedImage:
    """Turn stored values into those that are shown, with the range of black and white.

    Pixels that only fill the frame (padding) are black, and take no part in the contrast.

    Raises:
        UnsupportedImageError: The file has a VOI LUT function that is not read.
    """
    is_inverted = layout.photometric == "MONOCHROME1"
    padding = _find_padding(stored, attributes)
    bounds = _stated_bounds(stored[~padding], attributes, layout)
    if not padding.any() and not any(attributes.get(keyword) for keyword in CHANGING_KEYWORDS):
        if stored.dtype == np.uint8 and bounds == (0, 255):
            return DecodedImage(np.uint8(255) - stored if is_inverted else stored)
        if bounds is None:
            return DecodedImage(-stored.astype(np.float64) if is_inverted else stored)
    values, bounds = _apply_modality(stored, bounds, attributes, is_little_endian)
    shares = _apply_voi(values, attributes, is_little_endian)
    if shares is None:
        shares = _to_shares(values, bounds or _percentiles(values[~padding]))
    if is_inverted:
        shares = 1 - shares
    shares[padding] = 0
    return DecodedImage(shares.astype(np.float32), window=(0.0, 1.0))


def to_measured_values(
    stored: Shaped[ndarray, "h w"],
    attributes: Any,
    layout: FrameLayout,
    *,
    is_little_endian: bool,
) -> DecodedImage:
    """Turn stored values into the modality's, with the windows that the file proposes.

    Where the file shows low values as white all are negative, so that white has the highest.
    """
    padding = _find_padding(stored, attributes)
    bounds = _stated_bounds(stored[~padding], attributes, layout)
    values, bounds = _apply_modality(stored, bounds, attributes, is_little_endian)
    windows = _named_windows(attributes)
    if layout.photometric == "MONOCHROME1":
        values = -values.astype(np.float64)
        bounds = (-bounds[1], -bounds[0]) if bounds else None
        windows = tuple(NamedWindow(one.name, -one.high, -one.low) for one in windows)
    valid = ~padding if padding.any() else None
    shown = (windows[0].low, windows[0].high) if windows else bounds
    return DecodedImage(values, window=shown, valid=valid, windows=windows)


def _named_windows(attributes: Any) -> tuple[NamedWindow, ...]:
    """The windows of a file as values of black and white (C.11.2.1.2), with their explanations."""
    centres, widths = (_numbers(attributes.get(f"Window{end}")) for end in ("Center", "Width"))
    explanation = attributes.get("WindowCenterWidthExplanation") or ()
    names = [explanation] if isinstance(explanation, str) else list(explanation)
    # Of the linear function, which counts from the middle of a value
    exact = str(attributes.get("VOILUTFunction") or "").strip().upper() == "LINEAR_EXACT"
    shift, less = (0.0, 0.0) if exact else (0.5, 1.0)
    windows = []
    for place, (centre, width) in enumerate(zip(centres, widths, strict=False)):
        half = (width - less) / 2
        if half > 0:
            name = str(names[place]) if place < len(names) else f"window {place + 1}"
            windows.append(NamedWindow(name, centre - shift - half, centre - shift + half))
    return tuple(windows)


def _find_padding(stored: Shaped[ndarray, "h w"], attributes: Any) -> Bool[ndarray, "h w"]:
    """Find the pixels whose value, or whose range of values, fills the frame (C.7.5.1.1.2)."""
    for keyword in PADDING_KEYWORDS:
        value = attributes.get(keyword.format("Value"))
        if value is None:
            continue
        limit = attributes.get(keyword.format("RangeLimit"))
        ends = [
            _as_stored(float(end), stored.dtype)
            for end in (value, value if limit is None else limit)
        ]
        return (stored >= min(ends)) & (stored <= max(ends))
    return np.zeros(stored.shape, np.bool_)


def _as_stored(value: float, dtype: np.dtype[Any]) -> float:
    """Give a value the sign of the pixels. Files write negative ones as if they had none."""
    modulus = 2 ** (8 * dtype.itemsize)
    if dtype.kind == "i" and modulus // 2 <= value < modulus:
        return value - modulus
    if dtype.kind == "u" and -modulus // 2 <= value < 0:
        return value + modulus
    return value


def _stated_bounds(
    stored: Shaped[ndarray, " n"], attributes: Any, layout: FrameLayout
) -> Bounds | None:
    """The range of stored values that a file states; None where it states none.

    8 bits are shown whole, as those of other formats are. Deeper pixels have the range of the
    smallest and the largest value, where the file gives these, or else of their stored bits, where
    some are left over. Bits that fill all 16 say nothing.
    """
    if stored.dtype.kind == "f":
        return None
    bits = layout.bits_stored
    lowest = -(2.0 ** (bits - 1)) if layout.is_signed else 0.0
    all_bits = lowest, lowest + 2.0**bits - 1
    if bits <= 8:
        return all_bits
    stated = [attributes.get(f"{end}ImagePixelValue") for end in ("Smallest", "Largest")]
    if None not in stated and len(stored):
        smallest, largest = stated
        # What the pixels contradict is not believed
        if smallest <= stored.min() and stored.max() <= largest and smallest < largest:
            return float(smallest), float(largest)
    return all_bits if bits < layout.bits_allocated else None


def _apply_modality(
    stored: Shaped[ndarray, "h w"],
    bounds: Bounds | None,
    attributes: Any,
    is_little_endian: bool,
) -> tuple[Shaped[ndarray, "h w"], Bounds | None]:
    """Turn stored values into the modality's, such as Hounsfield units; the bounds too."""
    if tables := attributes.get("ModalityLUTSequence"):
        table = read_value_table(
            tables[0], lowest=float(stored.min()), is_little_endian=is_little_endian
        )
        return table.apply(stored), (float(table.entries.min()), float(table.entries.max()))
    slope = float(attributes.get("RescaleSlope") or 1)
    intercept = float(attributes.get("RescaleIntercept") or 0)
    if slope == 1 and intercept == 0:
        return stored, bounds
    if bounds:
        low, high = sorted(bound * slope + intercept for bound in bounds)
        bounds = low, high
    return stored.astype(np.float64) * slope + intercept, bounds


def _apply_voi(
    values: Shaped[ndarray, "h w"], attributes: Any, is_little_endian: bool
) -> Float[ndarray, "h w"] | None:
    """Apply the first table or else the first window, as shares of white (C.11.2.1).

    None stands for a file without either.
    """
    for table in (attributes.get("VOILUTSequence") or [])[:1]:
        if table.get("LUTDescriptor") and table.get("LUTData"):
            lowest = float(values.min())
            return read_value_table(
                table, lowest=lowest, is_little_endian=is_little_endian
            ).apply_as_share(values)
    centre, width = (_first_number(attributes.get(f"Window{end}")) for end in ("Center", "Width"))
    if centre is None or width is None or width <= 0:
        return None
    function = str(attributes.get("VOILUTFunction") or "LINEAR").strip().upper()
    if function == "SIGMOID":
        # The same curve as 1 / (1 + exp(-4 * …)), which overflows
        return (1 + np.tanh(2 * (values.astype(np.float64) - centre) / width)) / 2
    if function == "LINEAR" and width >= 1:
        centre, width = centre - 0.5, width - 1
    elif function not in {"LINEAR", "LINEAR_EXACT"}:
        raise UnsupportedImageError(
            f"has the VOI LUT function {function}. LINEAR, LINEAR_EXACT and SIGMOID are read: "
            "export it with one of them."
        )
    if width == 0:
        return (values > centre).astype(np.float64)
    return _to_shares(values, (centre - width / 2, centre + width / 2))


def _first_number(value: Any) -> float | None:
    """The first of several numbers; None where there is none."""
    numbers = _numbers(value)
    return numbers[0] if numbers else None


def _numbers(value: Any) -> list[float]:
    """The numbers of an attribute, which may be one or several."""
    values = [value] if isinstance(value, int | float | str) else list(value or ())
    return [float(number) for number in values if number is not None]


def _to_shares(values: Shaped[ndarray, "h w"], bounds: Bounds) -> Float[ndarray, "h w"]:
    low, high = bounds
    return np.clip((values.astype(np.float64) - low) / ((high - low) or 1), 0, 1)


def _percentiles(values: Shaped[ndarray, " n"]) -> Bounds:
    if not len(values):
        return 0.0, 1.0
    low, high = np.percentile(values, WINDOW_PERCENT)
    if low == high:
        low, high = values.min(), values.max()
    return float(low), float(high)
