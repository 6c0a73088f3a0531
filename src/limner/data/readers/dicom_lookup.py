"""The lookup tables of DICOM: of values, and of the colours of a palette."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Integer, Shaped, UInt8
from numpy import ndarray

MOST_ENTRIES = 1 << 16
"""Of a table. The descriptor gives 0 for as many."""


@dataclass(frozen=True, slots=True)
class LookupTable:
    """What each value from `first` on becomes. Values beyond an end become the entry there."""

    first: int
    entries: Integer[ndarray, " n"]
    bits: int
    """Of an entry: the table's range is 0 to 2 ** bits - 1."""

    def apply(self, values: Shaped[ndarray, "*_"]) -> Integer[ndarray, "*_"]:
        """Look up values; a fraction of one is dropped."""
        places = np.clip(values.astype(np.float64) - self.first, 0, len(self.entries) - 1)
        return self.entries[places.astype(np.intp)]

    def apply_as_share(self, values: Shaped[ndarray, "*_"]) -> Float[ndarray, "*_"]:
        """Look up values, as shares of the table's range."""
        return np.clip(self.apply(values) / (2**self.bits - 1), 0, 1)


def read_value_table(item: Any, *, lowest: float, is_little_endian: bool) -> LookupTable:
    """Read the table in an item of a modality or VOI LUT sequence (PS3.3 C.11.1, C.11.2).

    `lowest` is the lowest value that may be looked up: where it is negative, so may `first` be.
    """
    count, first, bits = (int(number) for number in item.LUTDescriptor)
    # Files give the first value without its sign
    if lowest < 0 and first >= 1 << 15:
        first -= 1 << 16
    entries = _read_entries(item.LUTData, count or MOST_ENTRIES, bits, is_little_endian)
    return LookupTable(first, entries, bits)


def read_palette(dataset: Any, *, is_little_endian: bool) -> list[LookupTable]:
    """Read the tables of red, green and blue (PS3.3 C.7.6.3.1.5, C.7.9), with entries of 8 bits."""
    tables = []
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTable"
        count, first, bits = (int(number) for number in dataset[f"{name}Descriptor"].value)
        count = count or MOST_ENTRIES
        if dataset.get("PixelRepresentation") and first >= 1 << 15:
            first -= 1 << 16
        if f"{name}Data" in dataset:
            data = dataset[f"{name}Data"].value
            entries = _read_entries(data, count, bits, is_little_endian)
        else:
            data = dataset[f"Segmented{name}Data"].value
            word = "B" if bits == 8 else "<u2" if is_little_endian else ">u2"
            word_bytes = np.dtype(word).itemsize
            words = np.frombuffer(data, word, len(data) // word_bytes).tolist()
            segments = _expand_segments(
                words, count, word_bytes=word_bytes, big_endian=not is_little_endian
            )
            entries = np.array(segments, np.int64)
        tables.append(LookupTable(first, entries, 8))
    # Tables of 16 bits whose entries never had more than 8 are common
    shift = 8 * (max(int(table.entries.max()) for table in tables) > 255)
    return [LookupTable(table.first, table.entries >> shift, 8) for table in tables]


def apply_palette(
    values: Integer[ndarray, "*_"], palette: list[LookupTable]
) -> UInt8[ndarray, "*_ 3"]:
    """Look up the colours of indices."""
    return np.stack([table.apply(values) for table in palette], axis=-1).astype(np.uint8)


def _read_entries(
    data: Any, count: int, bits: int, is_little_endian: bool
) -> Integer[ndarray, " n"]:
    """Read entries, which are numbers, or bytes of one or two for each."""
    if not isinstance(data, bytes):
        return np.atleast_1d(np.asarray(data, np.int64))[:count]
    is_wide = len(data) >= 2 * count or bits > 8
    word = "B" if not is_wide else "<u2" if is_little_endian else ">u2"
    entries = np.frombuffer(data, word, min(count, len(data) // np.dtype(word).itemsize))
    if not len(entries):
        raise ValueError("its lookup table is empty")
    return entries.astype(np.int64)


def _expand_segments(
    words: Sequence[int], count: int, *, word_bytes: int, big_endian: bool
) -> list[int]:
    """Expand the segments of a palette, which are steps, ramps and copies of others (C.7.9.2).

    No more entries are made than the table has, however often a segment is copied.
    """
    entries: list[int] = []

    def expand(place: int, most_segments: int) -> None:
        while most_segments and place + 1 < len(words) and len(entries) < count:
            kind, length = words[place : place + 2]
            place += 2
            most_segments -= 1
            if kind == 0:
                entries.extend(words[place : place + length])
                place += length
            elif kind == 1:
                ramp = np.linspace(entries[-1], words[place], length + 1)[1:]
                entries.extend(np.rint(ramp).astype(int).tolist())
                place += 1
            elif kind == 2:
                parts = words[place : place + 4 // word_bytes]
                place += 4 // word_bytes
                expand(_copied_place(parts, big_endian=big_endian), length)
            else:
                raise ValueError(f"its segmented palette has a segment of the kind {kind}")

    expand(0, len(words))
    return entries[:count]


def _copied_place(parts: Sequence[int], *, big_endian: bool) -> int:
    """Where the segments begin that are copied: two numbers of 16 bits, the lower first."""
    if len(parts) == 4:
        order = (1, 0, 3, 2) if big_endian else (0, 1, 2, 3)
        return sum(parts[index] << 8 * place for place, index in enumerate(order))
    return parts[0] | parts[1] << 16
