"""Bodies that are compressed: Content-Encoding and Accept-Encoding (RFC 9110, 8.4 and 12.5.3)."""

import zlib

from limner.web.errors import ProblemError

GZIP_BITS, ZLIB_BITS = 31, 15
"""What tells zlib the form: gzip's, or that which HTTP calls deflate."""
_BITS = {"gzip": GZIP_BITS, "x-gzip": GZIP_BITS, "deflate": ZLIB_BITS}
LEVEL = 1
"""Masks shrink to a hundredth at once, and more takes longer than to send them."""
MIN_BYTES = 1000
"""A smaller answer is sent as it is."""


def decompress(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """Decompress a body.

    Args:
        body: As it came.
        encoding: Its Content-Encoding; an empty text and "identity" leave it as it is.
        most_bytes: How many bytes it may become.

    Raises:
        ProblemError: It is compressed in another way, damaged, or becomes too large.
    """
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        return body
    if name not in _BITS:
        raise ProblemError(
            415, "the body is compressed in a way that is not read. Send it as gzip, as deflate, "
            "or as it is."
        )  # fmt: skip
    stream = zlib.decompressobj(_BITS[name])
    try:
        content = stream.decompress(body, most_bytes)
    except zlib.error:
        raise ProblemError(
            400, f"the body is not {name}, which its Content-Encoding says. Send it as it is."
        ) from None
    if stream.unconsumed_tail:
        raise ProblemError(413, f"the body becomes more than {most_bytes:,} bytes.")
    if not stream.eof:
        raise ProblemError(400, "the body breaks off. Send it whole.")
    return content


def compress(content: bytes, accepted: str) -> tuple[bytes, dict[str, str]]:
    """Compress an answer as its caller likes it.

    Args:
        content: The answer.
        accepted: The caller's Accept-Encoding.

    Returns:
        The answer as it is sent, and the headers that say so.
    """
    names = [
        name.strip()
        for name, _, weight in (entry.lower().partition(";") for entry in accepted.split(","))
        if weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    ]
    chosen = next((name for name in ("gzip", "deflate") if name in names), None)
    headers = {"Vary": "Accept-Encoding"}
    if chosen is None or len(content) < MIN_BYTES:
        return content, headers
    stream = zlib.compressobj(LEVEL, wbits=_BITS[chosen])
    return stream.compress(content) + stream.flush(), {**headers, "Content-Encoding": chosen}
