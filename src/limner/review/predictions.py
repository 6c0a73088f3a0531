"""What is reviewed: images, and masks that limner or another tool wrote, or none yet."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.annotation_mask import AnnotationMask
from limner.data.display import ImageValues, read_values_to_show
from limner.data.image_file import read_only_header, without_suffix
from limner.data.images import image_size, read_image, read_predicted_mask
from limner.data.large_images import (
    ArrayImage,
    ImageReader,
    open_large_image,
    open_same_image,
)
from limner.data.readers.pixel_size import PixelSize
from limner.data.sample import Sample
from limner.data.storage import Storage
from limner.data.united_mask import UnitedMask
from limner.errors import LimnerError
from limner.files import channel_paths, printable_name, sha256_of_file
from limner.labels import Labels

STORE_FOLDER = "review"
"""The folder beside what is reviewed that holds the review's store."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One image and its mask."""

    id: str
    image: str
    """Its path or URL."""
    page: int
    mask: Path | UnitedMask | AnnotationMask | None
    """None where nothing was drawn yet."""
    priority: float
    """What entries are sorted by for review: the lowest first."""
    predicted_dice: float | None = None
    unusual: bool = False
    image_sha256: str | None = None
    """Of the image's file as it was predicted, where that was recorded."""
    mask_page: int | None = None
    """Which image of the mask's file it is, where that is another than `page`."""
    group: str | None = None
    """Shared by entries that belong together, such as the pages of a stack."""
    pixel_size: PixelSize | None = None
    """How large a pixel is, where that was recorded."""
    uncertainty: Path | None = None
    """Its map of uncertainty, as grey, where there is one."""
    note: str = ""
    """What the reviewer is told of the mask, such as what an audit suspects."""

    def mask_files(self) -> tuple[Path, ...]:
        """List the files of the mask; none where it is drawn from annotations or from nothing."""
        if self.mask is None or isinstance(self.mask, AnnotationMask):
            return ()
        return self.mask.files if isinstance(self.mask, UnitedMask) else (self.mask,)

    @property
    def name(self) -> str:
        """The name to show: that of the image's file, and the page of a stack, from 2 on."""
        name = printable_name(PurePosixPath(self.image).name)
        return f"{name} ({self.page + 1})" if self.page else name


@dataclass(frozen=True, slots=True)
class Predictions:
    """The entries of a folder, in no particular order, and their classes."""

    folder: Path
    labels: Labels
    entries: tuple[Entry, ...]
    models: tuple[str, ...]
    identity: str
    """A hash that differs for other predictions, images or classes."""
    from_limner: bool
    """Whether `limner predict` wrote the folder."""

    @property
    def is_blank(self) -> bool:
        """Whether all masks are drawn from nothing."""
        return all(entry.mask is None for entry in self.entries)

    def sample_id(self, entry: Entry) -> str:
        """The id of the sample that a reviewed mask becomes."""
        if self.from_limner:
            return without_suffix(entry.id)
        return entry.id

    def image(self, entry: Entry) -> UInt8[ndarray, "h w c"]:
        """Read an image, upright, in 0..255.

        Raises LimnerError as `image_file` does, and where the file cannot be read.
        """
        with self.image_file(entry) as path:
            return read_image(path, page=entry.page)

    def size_px(self, entry: Entry) -> tuple[int, int]:
        """Height and width of an image. Raises LimnerError where the file cannot be read."""
        if "://" not in entry.image:
            # A large image is not hashed for its size
            large = open_same_image(Path(entry.image))
            return large.size_px if large else image_size(Path(entry.image))
        with self.image_file(entry) as path:
            return image_size(path)

    def reader(self, entry: Entry) -> ImageReader:
        """Open an image of which parts are read. Raises LimnerError as `image` does."""
        with self.image_file(entry) as path:
            large = open_same_image(path) if path == Path(entry.image) else None
            return large or ArrayImage(read_image(path, page=entry.page))

    def values(self, entry: Entry) -> ImageValues:
        """Read the values of an image, to be shown in a window of them. Raises as `image` does."""
        with self.image_file(entry) as path:
            return read_values_to_show(path, entry.page)

    @contextmanager
    def image_file(self, entry: Entry) -> Iterator[Path]:
        """A local path of the image's file.

        Raises LimnerError where the file is gone, or is not the one that was predicted.
        """
        with _storage_of(entry.image).local_file(PurePosixPath(entry.image).name) as path:
            if not all(file.exists() for file in channel_paths(path)):
                raise LimnerError(f"{entry.image} does not exist. Put it back, or predict again.")
            if entry.image_sha256 is not None and sha256_of_file(path) != entry.image_sha256:
                raise LimnerError(
                    f"{entry.image} is not the file that its mask was drawn in: it was "
                    "changed since. Restore it, or predict again."
                )
            yield path

    def pixel_size(self, entry: Entry) -> PixelSize | None:
        """How large a pixel is, as it was recorded or as the image's file states it.

        None where neither does, and where the image is gone or lies elsewhere.
        """
        if entry.pixel_size or "://" in entry.image:
            return entry.pixel_size
        try:
            large = open_large_image(Path(entry.image))
            return large.pixel_size if large else read_only_header(Path(entry.image)).pixel_size
        except LimnerError:
            return None

    def fingerprint(self, entry: Entry) -> str:
        """A text that changes whenever the file of the image or of the mask does."""
        return " ".join(
            _storage_of(path).fingerprint(PurePosixPath(path).name)
            for path in (entry.image, *map(str, entry.mask_files()))
        )

    def image_hash(self, entry: Entry) -> str:
        """The SHA-256 of the image's file as it is now. Raises LimnerError as `image_file` does."""
        with self.image_file(entry) as path:
            return sha256_of_file(path)

    def mask(self, entry: Entry) -> UInt8[ndarray, "h w"]:
        """Read the mask as it was predicted, in class indices.

        Where nothing was drawn yet, all of it is the first class, the background.

        Raises LimnerError where the file is gone, or holds values that belong to no class.
        """
        if entry.mask is None:
            with self.image_file(entry) as path:
                return np.zeros(image_size(path), np.uint8)
        if not self.from_limner:
            sample = Sample(
                entry.id,
                Path(entry.image),
                entry.mask,
                page=entry.page,
                mask_page=entry.mask_page,
            )
            return sample.class_index(self.labels)
        assert isinstance(entry.mask, Path)
        return read_predicted_mask(entry.mask, self.labels)


def _storage_of(file: str) -> Storage:
    """The folder or bucket that a file lies in."""
    return Storage(file.rpartition("/")[0]) if "://" in file else Storage(Path(file).parent)
