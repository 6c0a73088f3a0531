"""The files of a form (multipart/form-data, RFC 7578), as browsers and libraries send them."""

from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from limner.web.errors import ProblemError

FORM_TYPE = "multipart/form-data"
MAX_PARTS = 1000


@dataclass(frozen=True, slots=True)
class FormFile:
    """A file of a form: its name, as the sender has it, and its content."""

    name: str
    content: bytes


@dataclass(slots=True)
class _Parts:
    """Gathers the parts of a form as the parser meets them."""

    files: list[FormFile] = field(default_factory=list)
    count: int = 0
    _name: bytes = b""
    _header: list[bytes] = field(default_factory=lambda: [b"", b""])
    _content: bytearray | None = None

    def begin(self) -> None:
        self.count += 1
        if self.count > MAX_PARTS:
            raise ProblemError(413, f"the form has more than {MAX_PARTS:,} parts.")
        self._content, self._header = None, [b"", b""]

    def add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def end_header(self) -> None:
        """A part whose Content-Disposition has a file's name is a file; other parts are left."""
        name, value = self._header
        if name.lower() == b"content-disposition":
            options = parse_options_header(value)[1]
            if b"filename" in options:
                self._name, self._content = options[b"filename"], bytearray()
        self._header = [b"", b""]

    def add_content(self, data: bytes, start: int, end: int) -> None:
        if self._content is not None:
            self._content += data[start:end]

    def end(self) -> None:
        if self._content:
            name = self._name.decode("utf-8", "replace")
            self.files.append(FormFile(name, bytes(self._content)))


def read_files(body: bytes, content_type: str) -> list[FormFile]:
    """Read the files of a form that are not empty, in their order.

    Args:
        body: The form.
        content_type: Its Content-Type, which has the boundary of its parts.

    Raises:
        ProblemError: It is no form, breaks off, or holds no file.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise ProblemError(400, "the form's Content-Type has no boundary.")
    parts, has_ended = _Parts(), False

    def end() -> None:
        nonlocal has_ended
        has_ended = True

    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": parts.begin,
            "on_header_field": parts.add_header_name,
            "on_header_value": parts.add_header_value,
            "on_header_end": parts.end_header,
            "on_part_data": parts.add_content,
            "on_part_end": parts.end,
            "on_end": end,
        },
    )
    try:
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise ProblemError(400, f"the form cannot be read: {error}.") from None
    if not has_ended:
        raise ProblemError(400, "the form breaks off. Send it whole.")
    if not parts.files:
        raise ProblemError(
            422, "the form holds no file. With curl: -F image=@photo.jpg, or --data-binary "
            "@photo.jpg without a form."
        )  # fmt: skip
    return parts.files
