"""Files that hold several images of one size, such as TIFF stacks, as one sample for each image."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from limner.data.image_file import IMAGE_SUFFIXES, STACK_SUFFIXES, image_suffix
from limner.data.images import page_count
from limner.data.sample import Sample
from limner.errors import LimnerError


@dataclass(frozen=True, slots=True)
class PageCounts:
    """How many images the image file and the mask file of a sample hold."""

    sample: Sample
    image: int
    mask: int


def count_pages(samples: Iterable[Sample]) -> list[PageCounts]:
    """Count the images of every sample's two files; each file is opened once."""
    pages: dict[Path, int] = {}
    counts = []
    for sample in samples:
        for path in (sample.image, sample.mask):
            if isinstance(path, Path) and path not in pages:
                pages[path] = _readable_pages(path)
        mask_pages = pages[sample.mask] if isinstance(sample.mask, Path) else 1
        counts.append(PageCounts(sample, pages[sample.image], mask_pages))
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


def _readable_pages(path: Path) -> int:
    """How many images a file holds; 1 where it cannot be read, which `check` reports."""
    try:
        return pages_in_file(path)
    except LimnerError:
        return 1
