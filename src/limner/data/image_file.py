"""Open an image file: recognise its format, read its header, and check the size that it gives."""

import errno
import hashlib
import io
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal, Protocol, runtime_checkable

from limner.data.channel_files import without_channels
from limner.data.file_kinds import (
    BACKUP,
    DOUBTFUL_SUFFIXES,
    EMPTY,
    KEPT_SUFFIXES,
    LOCKED,
    NOT_A_FILE,
    WRAPPERS,
    FileKind,
    is_companion,
    is_text,
    kind_by_content,
    kind_by_name,
)
from limner.data.joined_channels import JoinedChannels
from limner.data.last_stack import MOST_BYTES, keep_stack, last_stack, sign
from limner.data.readers import (
    avif,
    bmp,
    czi,
    dicom,
    gif,
    jpeg,
    jpeg2000,
    lif,
    mrc,
    nd2,
    nifti,
    nrrd,
    oib,
    png,
    slide,
    tiff,
    webp,
    zarr_store,
)
from limner.data.readers.decoded import (
    BinaryFile,
    DecodedImage,
    DecodeOptions,
    ImageHeader,
    UnsupportedImageError,
)
from limner.data.readers.dicom_codecs import JPEG_LS_SYNTAXES
from limner.data.readers.dicom_file import is_directory
from limner.data.readers.exif import turn_upright
from limner.data.readers.zarr_store import StoreFile, is_store
from limner.errors import LimnerError
from limner.files import channel_paths, join_sha256, sha256_of_file


@runtime_checkable
class FormatReader(Protocol):
    """What a module of `readers` offers. The file stands at its start in each call.

    A reader raises UnsupportedImageError for a sound file that it does not read, and any other
    exception for a damaged one.
    """

    NAME: str
    SUFFIXES: frozenset[str]
    HOLDS_PAGES: bool

    def recognises(self, start: bytes, /) -> bool:
        """Tell by a file's first `SNIFFED_BYTES` whether it is of this format."""
        ...

    def read_header(self, file: BinaryFile, /) -> ImageHeader:
        """Read the header, and as few bytes as that takes."""
        ...

    def decode(
        self, file: BinaryFile, header: ImageHeader, options: DecodeOptions, /
    ) -> DecodedImage:
        """Decode all pixels of one image."""
        ...


READERS: tuple[FormatReader, ...] = (
    jpeg,
    png,
    tiff,
    bmp,
    webp,
    gif,
    jpeg2000,
    avif,
    dicom,
    nifti,
    nrrd,
    mrc,
    czi,
    lif,
    nd2,
    oib,
    slide,
    zarr_store,
)
"""A new format is a new module, and a place here."""
_BY_SUFFIX: dict[str, FormatReader] = {
    suffix: reader for reader in (slide, oib) for suffix in reader.SUFFIXES
}
"""Formats whose files begin as those of others do."""
FORMATS = tuple(reader.NAME for reader in READERS)
IMAGE_SUFFIXES = frozenset(suffix for reader in READERS for suffix in reader.SUFFIXES)
STACK_SUFFIXES = frozenset(
    suffix for reader in READERS if reader.HOLDS_PAGES for suffix in reader.SUFFIXES
)
"""Of files that may hold several images of the same size."""
SNIFFED_BYTES = 1024
"""So many bytes at the start of a file tell what it is."""
PACKED_SUFFIX = ".nii.gz"
MAX_PIXELS = 500_000_000
"""Of one image; a larger one is not decoded."""


class TooLargeError(LimnerError):
    """An image that is not decoded because of its size."""


@dataclass(frozen=True, slots=True)
class OpenImage:
    """A file whose header was read and checked."""

    file: BinaryFile
    reader: FormatReader
    header: ImageHeader

    def decode_upright(self, options: DecodeOptions) -> DecodedImage:
        """Decode all pixels of one image, and turn them upright."""
        pages = self.header.pages
        if not 0 <= options.page < pages:
            raise UnsupportedImageError(
                f"has {pages} image{'s' * (pages != 1)}; number {options.page + 1} was asked for."
            )
        self.file.seek(0)
        decoded = self.reader.decode(self.file, self.header, options)
        turned = turn_upright(decoded.pixels, decoded.orientation)
        valid = decoded.valid
        if valid is not None:
            valid = turn_upright(valid, decoded.orientation)
        return replace(decoded, pixels=turned, valid=valid)


def without_suffix(name: str) -> str:
    """Leave out a file's suffix, which of x.ome.tif is .ome.tif, and what stands for channels.

    The last number of 1.2.840.113 is none: DICOM has such names.
    """
    name = without_channels(name)
    suffix = PurePosixPath(name).suffix
    if suffix[1:].isdigit():
        return name
    stem = name.removesuffix(suffix)
    if name.lower().endswith(PACKED_SUFFIX):
        return name[: -len(PACKED_SUFFIX)]
    may_be_ome = suffix.lower() in tiff.SUFFIXES | zarr_store.SUFFIXES
    is_ome = may_be_ome and stem.lower().endswith(tiff.OME_ENDING)
    return stem[: -len(tiff.OME_ENDING)] if is_ome else stem


def image_suffix(name: str) -> str:
    """A file's suffix in lower case, which of x.nii.gz is .nii.gz."""
    lower = name.lower()
    return PACKED_SUFFIX if lower.endswith(PACKED_SUFFIX) else PurePosixPath(lower).suffix


def has_image_suffix(name: str) -> bool:
    """Whether a file's suffix is that of a format that is read."""
    return image_suffix(name) in IMAGE_SUFFIXES


def needs_opening(name: str) -> bool:
    """Whether a file's name leaves open whether it is an image."""
    return not has_image_suffix(name) and not is_companion(name)


def classify(name: str, start: bytes | None) -> Literal["image"] | FileKind | None:
    """Tell by a file's name and its first `SNIFFED_BYTES` what it is.

    Args:
        name: Of the file.
        start: None where the file cannot be opened.

    Returns:
        "image" for a format that is read, whatever the suffix; the kind of what may be an image and
        is not read; None for what is none, such as a text or DICOMDIR, which lists DICOM files.
    """
    if start is None:
        return LOCKED
    kind = kind_by_name(name)
    if not start and kind is None:
        # A mark of some program, such as _SUCCESS
        return None
    suffix = PurePosixPath(name).suffix.lower()
    if start and suffix in _BY_SUFFIX:
        return "image"
    if kind and (suffix in KEPT_SUFFIXES or kind == BACKUP):
        return kind
    if dicom.recognises(start):
        return None if is_directory(start) else "image"
    is_doubtful = suffix in DOUBTFUL_SUFFIXES
    # The two letters of a BMP may begin any file
    readers = [reader for reader in READERS if not (is_doubtful and reader is bmp)]
    if not is_text(start) and any(reader.recognises(start) for reader in readers):
        return "image"
    if is_doubtful:
        return None
    by_content = kind_by_content(start)
    return by_content if kind is None or (by_content and by_content not in WRAPPERS) else kind


def read_only_header(path: Path) -> ImageHeader:
    """Read the header of a file, and no more of it than that takes.

    Raises:
        LimnerError: The file cannot be opened, is not an image, or its header is damaged.
    """
    if len(channel_paths(path)) > 1:
        with open_image(path) as image:
            return image.header
    # A buffer would read more
    with _open_file(path, buffering=0) as file, naming_errors(str(path)):
        return _read_header(file, str(path)).header


@contextmanager
def open_image(path: Path) -> Iterator[OpenImage]:
    """Open a file and read its header. Every error while it is open names the file.

    A path may stand for several files, each of a channel.

    Raises:
        TooLargeError: The header gives more than `MAX_PIXELS`.
        LimnerError: The file cannot be opened, is not an image, or is damaged.
    """
    if len(files := channel_paths(path)) > 1:
        with ExitStack() as stack:
            images = [stack.enter_context(open_image(file)) for file in files]
            with naming_errors(str(path)):
                yield _join_channels(images)
        return
    if (kept := last_stack(path)) is not None:
        with naming_errors(str(path)):
            kept.file.seek(0)
            yield _read_header(kept.file, str(path))
        return
    with _open_file(path) as file, naming_errors(str(path)):
        image, signature = _read_header(file, str(path)), sign(path)
        is_kept = image.header.pages > 1 and signature[3] <= MOST_BYTES
        if is_kept and not isinstance(file, StoreFile):
            file.seek(0)
            image = _read_header(keep_stack(signature, file.read()).file, str(path))
        yield image


@contextmanager
def open_whole_image(path: Path) -> Iterator[tuple[OpenImage, bytes]]:
    """Open a file as `open_image` does, with the SHA-256 of its content, which was read at once."""
    if len(files := channel_paths(path)) > 1:
        with ExitStack() as stack:
            opened = [stack.enter_context(open_whole_image(file)) for file in files]
            with naming_errors(str(path)):
                joined = _join_channels([image for image, _ in opened])
                yield joined, join_sha256(sha256 for _, sha256 in opened)
        return
    if (kept := last_stack(path)) is not None:
        with naming_errors(str(path)):
            kept.file.seek(0)
            yield _read_header(kept.file, str(path)), kept.sha256
        return
    with _open_file(path, buffering=0) as file, naming_errors(str(path)):
        if isinstance(file, StoreFile):
            yield _read_header(file, str(path)), bytes.fromhex(sha256_of_file(path))
            return
        signature = sign(path)
        content = file.read()
        image = _read_header(io.BytesIO(content), str(path))
        if image.header.pages > 1 and len(content) <= MOST_BYTES:
            kept = keep_stack(signature, content)
            yield _read_header(kept.file, str(path)), kept.sha256
        else:
            yield image, hashlib.sha256(content).digest()


@contextmanager
def open_uploaded_image(data: bytes, name: str) -> Iterator[OpenImage]:
    """Open the content of a file that somebody sent; `name` is what errors call it.

    Raises:
        LimnerError: As `open_image` does, and for DICOM in JPEG-LS.
    """
    file = io.BytesIO(data)
    with naming_errors(name):
        is_dicom = dicom.recognises(data[:SNIFFED_BYTES])
        if is_dicom and any(syntax.encode() in data for syntax in JPEG_LS_SYNTAXES):
            # A few hundred hostile bytes can keep its decoder busy for half a minute
            raise UnsupportedImageError(
                "is DICOM in JPEG-LS, which is read from files alone. Send it uncompressed, or as "
                "PNG."
            )
        yield _read_header(file, name)


def _join_channels(images: Sequence[OpenImage]) -> OpenImage:
    reader = JoinedChannels(images)
    return OpenImage(images[0].file, reader, reader.read_header(images[0].file))


@contextmanager
def _open_file(path: Path, *, buffering: int = -1) -> Iterator[BinaryFile]:
    try:
        # To open a pipe is to wait for who writes into it
        if not stat.S_ISREG(mode := path.stat().st_mode) and not stat.S_ISDIR(mode):
            raise LimnerError(f"{path} is {NOT_A_FILE.name}. {NOT_A_FILE.cure}")
        file: BinaryFile
        file = StoreFile(path) if is_store(path) else path.open("rb", buffering=buffering)
    except FileNotFoundError as error:
        raise LimnerError(f"{path} does not exist.") from error
    except OSError as error:
        raise _cannot_be_opened(str(path), error) from error
    with file:
        yield file


@contextmanager
def naming_errors(name: str) -> Iterator[None]:
    """Turn every failure to read or decode a file into a LimnerError that names it."""
    try:
        yield
    except LimnerError:
        raise
    except UnsupportedImageError as error:
        raise LimnerError(f"{name} {error}") from error
    except MemoryError as error:
        raise LimnerError(f"{name} needs more memory than there is. Cut it into parts.") from error
    # The edge of the process: on hostile bytes a decoder may raise anything
    except Exception as error:
        # Hostile bytes may lead to a place before the file's start, which is an invalid argument
        if isinstance(error, OSError) and error.errno not in {None, errno.EINVAL}:
            raise _cannot_be_opened(name, error) from error
        raise LimnerError(
            f"{name} is damaged: {str(error).rstrip('.') or type(error).__name__}. It must decode "
            "whole: copy or export it again."
        ) from error


def _cannot_be_opened(name: str, error: OSError) -> LimnerError:
    return LimnerError(
        f"{name} cannot be opened: {error.strerror}. Is it a file that you may read?"
    )


def _read_header(file: BinaryFile, name: str) -> OpenImage:
    """Read the header, and check the size that it gives."""
    reader = _pick_reader(file, name)
    header = reader.read_header(file)
    if header.height < 1 or header.width < 1:
        raise ValueError(f"its header gives {header.width}x{header.height} pixels")
    if header.height * header.width > MAX_PIXELS:
        raise TooLargeError(
            f"{name} claims {header.width}x{header.height} pixels. At most {MAX_PIXELS:,} are "
            "decoded: cut it into parts."
        )
    return OpenImage(file, reader, header)


def _pick_reader(file: BinaryFile, name: str) -> FormatReader:
    """Pick the reader that recognises a file. Raises UnsupportedImageError where none does."""
    if isinstance(file, StoreFile):
        return zarr_store
    start = file.read(SNIFFED_BYTES)
    file.seek(0)
    kind = classify(name, start) if start else EMPTY
    if not isinstance(kind, FileKind):
        if reader := _BY_SUFFIX.get(image_suffix(name)):
            return reader
        # DICOM may begin as any other format does
        for reader in (dicom, *READERS):
            if reader.recognises(start):
                return reader
    what, cure = (kind.name, kind.cure) if isinstance(kind, FileKind) else ("a text", "")
    raise UnsupportedImageError(
        f"is not an image that can be read: it is {what}. Formats are {', '.join(FORMATS)}. "
        f"{cure or 'Export it as one of them.'}"
    )
