"""The images of a request's body, which is one file or a form of several."""

from collections.abc import Iterator
from contextlib import contextmanager

from jaxtyping import UInt8
from numpy import ndarray

from limner.data.image_file import TooLargeError
from limner.data.images import UploadedImages, open_upload
from limner.errors import LimnerError
from limner.web.errors import ProblemError
from limner.web.service.forms import FORM_TYPE, FormFile, read_files

MAX_NAME = 100
"""Characters of a file's name that errors repeat."""


def form_type_of(content_type: str) -> str:
    """The type of a form; an empty text for a body that is the image."""
    return content_type if content_type.lower().startswith(FORM_TYPE) else ""


def files_of(body: bytes, form_type: str) -> list[FormFile]:
    """The image files of a body."""
    return read_files(body, form_type) if form_type else [FormFile("", body)]


def decode_uploads(
    files: list[FormFile], most_pixels: int, channels: int | None
) -> Iterator[tuple[str, UInt8[ndarray, "h w c"]]]:
    """Decode images one after the other, each with its name; those of a stack are numbered from 1.

    Raises ProblemError where one is too large or cannot be read.
    """
    for file in files:
        with open_file(file, most_pixels) as upload:
            for page in range(upload.pages):
                image = upload.read(page, channels)
                most_pixels -= image.shape[0] * image.shape[1]
                yield _page_name(file, page, upload.pages), image


def _page_name(file: FormFile, page: int, pages: int) -> str:
    return file.name if pages == 1 else f"{file.name or 'image'}#{page + 1}"


@contextmanager
def open_file(file: FormFile, most_pixels: int) -> Iterator[UploadedImages]:
    """Open an image. Raises ProblemError where it is too large or cannot be read."""
    name = f"the image {file.name[:MAX_NAME]}" if file.name else "the image"
    try:
        with open_upload(file.content, name, most_pixels) as upload:
            yield upload
    except TooLargeError as error:
        raise ProblemError(413, str(error)) from None
    except LimnerError as error:
        raise ProblemError(422, str(error)) from None
