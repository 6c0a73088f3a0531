"""One sample read and looked at by itself: findings about its two files, and its `SampleInfo`.

Each file is read once. What later steps want to know of it travels in the `SampleInfo`.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.check_specks import count_specks
from limner.data.duplicates import thumbnail
from limner.data.findings import Finding, file_finding
from limner.data.image_file import IMAGE_SUFFIXES, STACK_SUFFIXES, image_suffix
from limner.data.images import ImageInfo
from limner.data.mask_pixels import MaskPixels
from limner.data.sample import Sample, SampleDigest
from limner.data.sample_info import SampleInfo
from limner.data.value_histogram import value_histogram
from limner.errors import LimnerError

INSPECTED_PX = (256, 256)
"""A JPEG is decoded at a half, a quarter or an eighth where it stays this large. All of the file is
read, and all that the check looks for can be seen.
"""
TINY_PX, HUGE_PX = 16, 100_000_000
TRANSPOSING = frozenset({5, 6, 7, 8})
"""The EXIF orientations that swap height and width."""


def inspect_sample(sample: Sample) -> tuple[list[Finding], SampleInfo | None]:
    """Read both files of a sample and report what is wrong with them.

    Returns:
        The findings, and what was learnt of the sample. The latter is None where a file cannot be
        read, or where image and mask differ in size.
    """
    findings: list[Finding] = []
    image = mask = None
    try:
        image, image_info = sample.read_image_with_info(INSPECTED_PX)
        findings += _image_findings(sample, image, image_info)
    except LimnerError as error:
        findings.append(
            Finding("unreadable-image", "error", str(sample.image), str(error), (sample.id,))
        )
    try:
        mask, mask_info = sample.read_mask_with_info()
    except LimnerError as error:
        findings.append(
            Finding("unreadable-mask", "error", str(sample.mask), str(error), (sample.id,))
        )
    if image is None or mask is None:
        return findings, None
    findings += _pair_findings(sample, image_info, mask, mask_info.orientation)
    for path, info in ((sample.image, image_info), (sample.mask, mask_info)):
        is_single = image_suffix(str(path)) in IMAGE_SUFFIXES - STACK_SUFFIXES
        # Of a stack that may be one, the number of images is a finding of its own
        if info.pages > 1 and sample.pages == 1 and is_single:
            message = (
                f"holds {info.pages} images, and only the first is read, since its suffix is that "
                "of a single one. Give it the suffix of its format, such as .tif."
            )
            findings.append(file_finding("wrong-suffix", "warning", path, message, sample.id))
    if mask.values.shape != image_info.size_px:
        return findings, None
    return findings, _sample_info(sample, (image, image_info), (mask, mask_info))


def _sample_info(
    sample: Sample,
    image: tuple[UInt8[ndarray, "h w c"], ImageInfo],
    mask: tuple[MaskPixels, ImageInfo],
) -> SampleInfo:
    (pixels, image_info), (mask_pixels, mask_info) = image, mask
    size_px = image_info.size_px
    void = np.zeros(0) if mask_pixels.void is None else mask_pixels.void
    return SampleInfo(
        id=sample.id,
        size_px=size_px,
        mask=value_histogram(sample, mask_pixels),
        thumbnail=thumbnail(pixels),
        pixel_sha256=hashlib.sha256(str(size_px).encode() + pixels.tobytes()).digest(),
        mask_sha256=hashlib.sha256(mask_pixels.values.tobytes() + void.tobytes()).digest(),
        channels=pixels.shape[2],
        digest=SampleDigest(image_info.sha256, mask_info.sha256),
        image_info=image_info,
        mask_info=mask_info,
        # JPEG makes specks of its own
        value_specks=0 if mask_pixels.lossy else count_specks(mask_pixels.values, mask_pixels.void),
    )


def _image_findings(
    sample: Sample, image: UInt8[ndarray, "h w c"], info: ImageInfo
) -> Iterator[Finding]:
    height, width = info.size_px
    if min(info.size_px) < TINY_PX:
        message = f"is only {width}x{height} px. Is it a thumbnail?"
        yield file_finding("tiny-image", "warning", sample.image, message, sample.id)
    if height * width > HUGE_PX:
        message = (
            f"is {width}x{height} px. Cut it into parts, or expect that small things are lost "
            "when it is resized."
        )
        yield file_finding("huge-image", "warning", sample.image, message, sample.id)
    if image.min() == image.max():
        message = f"has the one value {image.min()} everywhere. Was it exported whole?"
        yield file_finding("blank-image", "warning", sample.image, message, sample.id)


def _pair_findings(
    sample: Sample, image: ImageInfo, mask: MaskPixels, mask_orientation: int
) -> Iterator[Finding]:
    (height, width), (mask_height, mask_width) = image.size_px, mask.values.shape
    if (mask_height, mask_width) != image.size_px:
        transposed = (mask_width, mask_height) == image.size_px
        message = (
            f"is {mask_width}x{mask_height} but its image is {width}x{height}."
            f"{_transposed_hint(image.orientation) if transposed else ''} Masks must have their "
            "image's size: export this mask again."
        )
        yield file_finding("size-differs", "error", sample.mask, message, sample.id)
    elif image.orientation not in {1, mask_orientation} and isinstance(sample.mask, Path):
        message = (
            f"has another EXIF orientation than its image ({image.orientation}), which is turned "
            "upright. Was it drawn on the image as people see it?"
        )
        yield file_finding("orientation-differs", "warning", sample.mask, message, sample.id)


def _transposed_hint(orientation: int) -> str:
    if orientation in TRANSPOSING:
        return (
            " It looks transposed (the image is turned by its EXIF orientation and the mask is "
            "not)."
        )
    return " It looks transposed."
