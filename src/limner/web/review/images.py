"""Images and thumbnails of tasks, cached, and errors without the server's paths."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from jaxtyping import UInt8
from numpy import ndarray

from limner.data.display import ImageValues
from limner.data.image_pixels import to_rgb
from limner.data.overlays import draw_overlay, shrink_pair
from limner.data.writers.jpeg import encode_jpeg
from limner.errors import LimnerError
from limner.review.queue import Task
from limner.review.session import ChangedError, ReviewSession
from limner.web.errors import ProblemError
from limner.web.review.tiled_picture import TiledPicture

WHOLE_PIXELS = 64_000_000
"""The page has larger images in tiles."""
MAX_REVIEWED_PIXELS = 500_000_000
THUMBNAIL_PX = 112
CACHED_IMAGES, CACHED_VALUES, CACHED_PICTURES, CACHED_THUMBNAILS = 4, 1, 2, 4000
log = logging.getLogger("limner.web")


class TaskImages:
    """The images of a session's tasks, by their position in the order of review.

    The caches are keyed by the fingerprint of the files too, and thumbnails by the mask's version,
    so that nothing outdated is shown.
    """

    def __init__(self, session: ReviewSession) -> None:
        self._session = session
        self._cached_size = lru_cache(maxsize=CACHED_THUMBNAILS)(self._read_size)
        self._cached_picture = lru_cache(maxsize=CACHED_PICTURES)(self._open_picture)
        self._cached_values = lru_cache(maxsize=CACHED_VALUES)(self._read_values)
        self._cached_image = lru_cache(maxsize=CACHED_IMAGES)(self._read_image)
        self._cached_thumbnail = lru_cache(maxsize=CACHED_THUMBNAILS)(self._draw_thumbnail)

    def image(self, position: int) -> tuple[UInt8[ndarray, "h w 3"], str]:
        """The RGB image of a task, and the fingerprint of its files.

        Raises ProblemError where it cannot be read, or is too large.
        """
        fingerprint = self._session.fingerprint(self._session.tasks[position])
        return self._cached_image(position, fingerprint), fingerprint

    def size_px(self, position: int) -> tuple[int, int]:
        """Height and width of an image.

        Raises ProblemError as `image` does.
        """
        task = self._session.tasks[position]
        return self._cached_size(position, self._session.fingerprint(task))

    def tile(self, position: int, level: int, row: int, column: int) -> bytes:
        """A tile of a large image as JPEG. Raises ProblemError where there is no such tile."""
        fingerprint = self._session.fingerprint(self._session.tasks[position])
        picture = self._cached_picture(position, fingerprint)
        if not picture.has(level, row, column):
            raise ProblemError(404, "the image has no such tile.")
        with public_errors(self._session.tasks[position]):
            return picture.tile(level, row, column)

    def values(self, position: int) -> tuple[ImageValues, str]:
        """The values of an image, and the fingerprint of its files.

        Raises ProblemError as `image` does.
        """
        _, fingerprint = self.image(position)
        return self._cached_values(position, fingerprint), fingerprint

    def thumbnail(self, position: int) -> bytes:
        """The image with its mask over it, small, as JPEG. Raises ProblemError as `image` does."""
        task = self._session.tasks[position]
        version = self._session.state(task).version
        return self._cached_thumbnail(position, version, self._session.fingerprint(task))

    def _read_image(self, position: int, _fingerprint: str) -> UInt8[ndarray, "h w 3"]:
        task = self._session.tasks[position]
        height, width = self.size_px(position)
        if height * width > WHOLE_PIXELS:
            raise ProblemError(413, f"the image has {width}x{height} px, and comes in tiles.")
        with public_errors(task):
            return to_rgb(self._session.predictions.image(task.entry))

    def _read_size(self, position: int, _fingerprint: str) -> tuple[int, int]:
        task = self._session.tasks[position]
        with public_errors(task):
            height, width = self._session.predictions.size_px(task.entry)
        if height * width > MAX_REVIEWED_PIXELS:
            raise ProblemError(
                413,
                f"the image has {width}x{height} px; up to {MAX_REVIEWED_PIXELS // 1_000_000} "
                "megapixels can be reviewed.",
            )
        return height, width

    def _open_picture(self, position: int, _fingerprint: str) -> TiledPicture:
        task = self._session.tasks[position]
        self.size_px(position)
        with public_errors(task):
            return TiledPicture(self._session.predictions.reader(task.entry))

    def _read_values(self, position: int, _fingerprint: str) -> ImageValues:
        task = self._session.tasks[position]
        with public_errors(task):
            return self._session.predictions.values(task.entry)

    def _draw_thumbnail(self, position: int, _version: int, fingerprint: str) -> bytes:
        task = self._session.tasks[position]
        with public_errors(task):
            mask, _ = self._session.mask(task)
        height, width = self.size_px(position)
        if height * width > WHOLE_PIXELS:
            image, step = self._cached_picture(position, fingerprint).smallest()
            mask = mask[step // 2 :: step, step // 2 :: step]
            image = image[: mask.shape[0], : mask.shape[1]]
        else:
            image = self._cached_image(position, fingerprint)
        overlay = draw_overlay(
            *shrink_pair(image, mask, THUMBNAIL_PX), self._session.predictions.labels
        )
        return encode_jpeg(overlay, 80)


@contextmanager
def public_errors(task: Task) -> Iterator[None]:
    """Turn errors into answers that name files without their folders; the log has the paths."""
    try:
        yield
    except LimnerError as error:
        log.error(json.dumps({"task": task.key, "error": str(error)}))
        message = str(error)
        for path in (task.entry.image, *map(str, task.entry.mask_files())):
            message = message.replace(path, task.entry.name)
        raise ProblemError(410 if isinstance(error, ChangedError) else 422, message) from None
