"""Files that hold several images of one size, such as TIFF stacks, as one sample for each image."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from limner.data.image_file import (
    IMAGE_SUFFIXES,
    STACK_SUFFIXES,
    TooLargeError,
    image_suffix,
    read_only_header,
)
from limner.data.images import page_count
from limner.data.large_images import LARGE_PIXELS
from limner.data.readers import slide
from limner.data.sample import Sample
from limner.errors import LimnerError


@dataclass(frozen=True, slots=True)
class PageCounts:
    """How many images the image file and the mask file of a sample hold."""

    sample: Sample
    image: int
    mask: int
    is_large: bool = False
    """Whether the image is read part by part."""


def count_pages(samples: Iterable[Sample]) -> list[PageCounts]:
    """Count the images of every sample's two files; each file is opened once."""
    found: dict[Path, tuple[int, bool]] = {}
    counts = []
    for sample in samples:
        for path in (sample.image, sample.mask):
            if isinstance(path, Path) and path not in found:
                found[path] = _look(path)
        pages, is_large = found[sample.image]
        mask_pages = 1
        if isinstance(sample.mask, Path) and sample.mask_page is None:
            mask_pages = found[sample.mask][0]
        counts.append(PageCounts(sample, pages, mask_pages, is_large))
    return counts


def split_stacks(counts: Iterable[PageCounts]) -> list[Sample]:
    """Give each image of a stack as a sample of its own; a stack is a group.

    Images beyond the last image of the mask file are left out.
    """
    samples: list[Sample] = []
    for count in counts:
        sample = count.sample
        if count.image == 1:
            samples.append(sample)
            continue
        samples += [
            replace(
                sample,
                id=f"{sample.id}#{page + 1}",
                group=sample.group or sample.id,
                page=page,
                pages=count.image,
            )
            for page in range(min(count.image, count.mask))
        ]
    return samples


def pages_in_file(path: Path) -> int:
    """Count the images in a file; one of a format that holds single images is not opened.

    Raises LimnerError where the file cannot be read.
    """
    return 1 if image_suffix(path.name) in IMAGE_SUFFIXES - STACK_SUFFIXES else page_count(path)


def _look(path: Path) -> tuple[int, bool]:
    """How many images a file holds, and whether they are read part by part.

    It is one where it cannot be read, which `check` reports.
    """
    suffix = image_suffix(path.name)
    if suffix in IMAGE_SUFFIXES - STACK_SUFFIXES:
        return 1, suffix in slide.SUFFIXES
    try:
        header = read_only_header(path)
    except TooLargeError:
        return 1, True
    except LimnerError:
        return 1, False
    return header.pages, header.pages == 1 and header.height * header.width > LARGE_PIXELS
