"""The parts of a DICOM file: what it says of its image, and where its pixels are."""

import io
import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from limner.data.readers.decoded import BinaryFile, UnsupportedImageError
from limner.data.readers.planes import needs_package

DEFLATED_SYNTAX = b"1.2.840.10008.1.2.1.99"
EXPLICIT_SYNTAX = b"1.2.840.10008.1.2.1\0\0\0"
"""As long as that of deflated files, which have this one once they are inflated."""
MOST_INFLATED_BYTES = 1 << 28
"""A small file may inflate to a thousand times its size."""
GROUP_LENGTH_START = b"\x02\0\0\0UL\x04\0"
DICOMDIR_CLASS = "1.2.840.10008.1.3.10"
PIXEL_KEYWORDS = {
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
    0x7FE00010: "PixelData",
}
VALUE_REPRESENTATIONS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW "
    b"PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)
FIRST_GROUPS = frozenset({0x0002, 0x0008})
"""Of file meta information, and of a dataset without it."""


@dataclass(frozen=True, slots=True)
class DicomFile:
    """A file that was read up to its pixels."""

    attributes: Any
    """A pydicom Dataset of all elements before the pixels."""
    transfer_syntax: Any
    """A UID of pydicom's."""
    content: BinaryFile
    """Stands at the first byte of the pixels."""
    pixel_keyword: str
    pixel_representation: str
    """The value representation of the pixels, such as OW; empty where the file does not say."""
    pixel_bytes: int | None
    """How long the pixels are; None where they are compressed."""


class _LastHeader(threading.local):
    """The header that a thread has parsed last, and its bytes."""

    content: bytes = b""
    dicom: DicomFile | None = None


_LAST_HEADER = _LastHeader()


def is_dicom(start: bytes) -> bool:
    """Tell DICOM by its first bytes, also where it lacks the preamble and the letters DICM.

    Such a file begins with two elements of one group, in the order of their numbers.
    """
    if start[128:132] == b"DICM":
        return True
    if len(start) < 8:
        return False
    for order in "<>":
        group, element, representation, length = struct.unpack(f"{order}HH2sH", start[:8])
        if group not in FIRST_GROUPS:
            continue
        if representation not in VALUE_REPRESENTATIONS:
            (length,) = struct.unpack(f"{order}I", start[4:8])
        following = start[8 + length : 12 + length]
        if len(following) == 4:
            following_group, following_element = struct.unpack(f"{order}HH", following)
            if following_group == group and following_element > element:
                return True
    return False


def is_directory(start: bytes) -> bool:
    """Tell a DICOMDIR, the index of a folder, by a file's first bytes."""
    place = start.find(DICOMDIR_CLASS.encode())
    return place >= 0 and not start[place + len(DICOMDIR_CLASS) :][:1].isdigit()


def open_dicom(file: BinaryFile) -> DicomFile:
    """Read a file up to its pixels.

    Raises:
        UnsupportedImageError: It holds no pixels, or pydicom is not installed.
    """
    _prepare_pydicom()
    content = _inflate(file)
    last = _LAST_HEADER.dicom
    if last and content.read(len(_LAST_HEADER.content)) == _LAST_HEADER.content:
        # Each page of a file is opened anew, and to parse what it says of all its frames takes long
        return replace(last, content=content)
    content.seek(0)
    dicom = _parse_header(content)
    end = content.tell()
    content.seek(0)
    _LAST_HEADER.content, _LAST_HEADER.dicom = (
        content.read(end),
        replace(dicom, content=io.BytesIO()),
    )
    content.seek(end)
    return dicom


def read_tags(path: Path, names: Sequence[str]) -> Any:
    """Read some attributes of a file, and none of its pixels; None where it is no DICOM."""
    try:
        import pydicom

        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(names))
    except Exception:  # noqa: BLE001
        # Another format, or a file that `check` names
        return None


def _parse_header(content: BinaryFile) -> DicomFile:
    import pydicom

    try:
        dataset = pydicom.dcmread(content, stop_before_pixels=True, force=True)
    except UnboundLocalError:
        # Of pydicom's, where the file ends within an element
        raise ValueError("the file ends within its header") from None
    # It would keep the file in memory
    dataset.buffer = None
    _refuse_directory(dataset)
    transfer_syntax = _transfer_syntax(dataset)
    keyword, representation, length = _read_pixel_element(content, transfer_syntax)
    if not keyword or "Rows" not in dataset or "Columns" not in dataset:
        raise UnsupportedImageError(_describe_missing_pixels(dataset))
    return DicomFile(dataset, transfer_syntax, content, keyword, representation, length)


def _prepare_pydicom() -> None:
    """Import pydicom, and keep what it says of odd files off the terminal."""
    with needs_package("DICOM", "dicom"):
        import pydicom  # noqa: F401
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    # For all threads: those that are saved and put back by one thread would hide another's
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")


def _inflate(file: BinaryFile) -> BinaryFile:
    """Return the file, or the content of a deflated one as if it had never been deflated."""
    start = file.read(4096)
    if DEFLATED_SYNTAX not in start or start[132:140] != GROUP_LENGTH_START:
        file.seek(0)
        return file
    end = 144 + int.from_bytes(start[140:144], "little")
    file.seek(end)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(file.read(), MOST_INFLATED_BYTES)
    if inflater.unconsumed_tail:
        raise UnsupportedImageError(
            f"is deflated DICOM of more than {MOST_INFLATED_BYTES:,} bytes. Export it uncompressed."
        )
    return io.BytesIO(start[:end].replace(DEFLATED_SYNTAX, EXPLICIT_SYNTAX) + inflated)


def _transfer_syntax(dataset: Any) -> Any:
    """Return the stated transfer syntax, or the one that a file without it was read by."""
    from pydicom import uid

    stated = dataset.file_meta.get("TransferSyntaxUID")
    if stated:
        return stated
    is_implicit, is_little_endian = dataset.original_encoding
    if is_implicit:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if is_little_endian else uid.ExplicitVRBigEndian


def _read_pixel_element(content: BinaryFile, transfer_syntax: Any) -> tuple[str, str, int | None]:
    """Read the head of the element that holds the pixels: keyword, representation and length.

    The keyword is empty where the file ends before it. PS3.5, section 7.1.
    """
    is_implicit, order = False, "<"
    if not transfer_syntax.is_private and transfer_syntax.is_transfer_syntax:
        is_implicit = transfer_syntax.is_implicit_VR
        order = "<" if transfer_syntax.is_little_endian else ">"
    head = content.read(8 if is_implicit else 12)
    if len(head) < (8 if is_implicit else 12):
        return "", "", None
    group, element = struct.unpack(f"{order}HH", head[:4])
    representation = "" if is_implicit else head[4:6].decode("latin-1")
    (length,) = struct.unpack(f"{order}I", head[-4:])
    keyword = PIXEL_KEYWORDS.get(group << 16 | element, "")
    return keyword, representation, None if length == 0xFFFFFFFF else length


def _refuse_directory(dataset: Any) -> None:
    if _sop_class(dataset) == DICOMDIR_CLASS:
        raise UnsupportedImageError(
            "is a DICOMDIR, the index of a DICOM folder, and no image. Give the images that it "
            "lists."
        )


def _describe_missing_pixels(dataset: Any) -> str:
    kind = _sop_class(dataset)
    name = getattr(kind, "name", "")
    if "Rows" in dataset or "Image" in name:
        return (
            "is the header of a DICOM image without its pixels. Was it copied whole? Export it "
            "again with its pixels."
        )
    # A UID that pydicom has no name for is its own name
    named = f" ({name.removesuffix(' Storage')})" if name != kind else ""
    return f"is DICOM without an image{named}. Leave it out, and give the images that it is about."


def _sop_class(dataset: Any) -> Any:
    return dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID") or ""
