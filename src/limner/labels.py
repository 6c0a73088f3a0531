"""Labels: class index <-> name <-> pixel value <-> colour, and the void value; and how the coding
of a set of masks is found.
"""

import json
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt, UInt8
from numpy import ndarray

from limner.errors import LimnerError

VOID = 255
"""The class index of pixels that are neither trained on nor scored."""

VOID_NAMES = frozenset({"void", "unlabelled", "unlabeled", "ignore"})
MAX_CLASSES, MAX_NAMED = 64, 250
"""Classes that are guessed from values, and that a file may name."""
PALETTE = (
    (0, 158, 115),
    (230, 159, 0),
    (86, 180, 233),
    (204, 121, 167),
    (0, 114, 178),
    (213, 94, 0),
    (240, 228, 66),
    (148, 103, 189),
)
"""Okabe and Ito's colours, which people with any colour vision tell apart, and one more."""

SMEARED_SHARE = 0.7
"""Of a mask's pixels, at least so many are near one of the two values; the rest is a smeared
border.
"""

STATE_IT = (
    'State it in a labels.toml at the top of the dataset, for example:\n    void = 255\n    [classes]\n    background = 0\n    lesion = [1, "128-254"]\n'
    '  A value is a number, a range "low-high" or a colour "#804080".'
)

ValueRange = tuple[int, int]
"""Pixel values from the first to the last, both included."""
PixelKind = Literal["grey", "palette", "colour"]


@dataclass(frozen=True, slots=True)
class ValueHistogram:
    """What one mask file holds: the share of its pixels that has each value, as grey, palette index
    or colour (0xRRGGBB).

    `palette` gives the colour of each index that occurs; `lossy` says that the file's format smears
    values.
    """

    file: str
    shares: Mapping[int, float]
    kind: PixelKind = "grey"
    palette: Mapping[int, int] = field(default_factory=dict)
    lossy: bool = False

    def to_colours(self) -> "ValueHistogram":
        if self.kind == "colour":
            return self
        colour_of = (
            (lambda value: self.palette.get(value, 0))
            if self.kind == "palette"
            else (lambda value: min(value, 255) * 0x010101)
        )
        shares: Counter[int] = Counter()
        for value, share in self.shares.items():
            # A Counter adds fractions as well
            shares[colour_of(value)] += share  # type: ignore[assignment]
        return ValueHistogram(self.file, dict(shares), "colour", {}, self.lossy)


@dataclass(frozen=True, slots=True)
class Labels:
    """The classes of a dataset, in the order of the model's class indices.

    `values[i]` are the ranges of pixel values that mean class `i` in a mask file; `coloured` says
    that the values are colours, 0xRRGGBB. A binary set has two classes, of which the first is the
    background, and needs one logit; any other set has a logit for each class.
    """

    names: tuple[str, ...]
    values: tuple[tuple[ValueRange, ...], ...]
    void_values: tuple[ValueRange, ...] = ()
    coloured: bool = False

    @classmethod
    def from_values(
        cls,
        names: Sequence[str],
        values: Sequence[int],
        void_values: Sequence[int] = (),
        *,
        coloured: bool = False,
    ) -> "Labels":
        """Labels of which each class has one pixel value."""
        return cls(
            tuple(names),
            tuple(((value, value),) for value in values),
            tuple((value, value) for value in void_values),
            coloured,
        )

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Labels":
        """Labels from what JSON makes of them."""
        values = tuple(tuple((low, high) for low, high in ranges) for ranges in record["values"])
        return cls(
            tuple(record["names"]),
            values,
            tuple((low, high) for low, high in record["void_values"]),
            record["coloured"],
        )

    @property
    def binary(self) -> bool:
        return len(self.names) == 2 and self.names[0] == "background"

    @property
    def out_channels(self) -> int:
        """How many channels the network gives: 1 for a binary set, else one for each class."""
        return 1 if self.binary else len(self.names)

    @property
    def scored(self) -> tuple[int, ...]:
        """The class indices that scores are averaged over: every class but a background."""
        return tuple(i for i, name in enumerate(self.names) if name != "background")

    def colour(self, class_index: int) -> tuple[int, int, int]:
        return PALETTE[(class_index - (self.names[0] == "background")) % len(PALETTE)]

    def class_shares(self, mask: ValueHistogram) -> dict[int, float]:
        """The share of a mask's pixels that each class index has, `VOID` among them; values without
        a class are left out.
        """
        found: dict[int, float] = {}
        for value, share in (mask.to_colours() if self.coloured else mask).shares.items():
            class_index = self._class_of(value)
            if class_index is not None:
                found[class_index] = found.get(class_index, 0.0) + share
        return found

    def to_class_index(self, values: UInt[ndarray, "h w"]) -> UInt8[ndarray, "h w"]:
        """Turn a mask's pixel values into class indices, with `VOID` where nothing is labelled.

        Raises LimnerError for a pixel value that has no class.
        """
        ranges = sorted(
            (low, high, i) for i, class_ranges in self._coded() for low, high in class_ranges
        )
        lows, highs, indices = (np.array(column, np.int64) for column in zip(*ranges, strict=True))
        asked: UInt[ndarray, " n"] = (
            np.arange(1 << 8 * values.itemsize, dtype=np.uint32)
            if values.itemsize < 4
            else np.unique(values)
        )
        nearest = np.maximum(np.searchsorted(lows, asked, side="right") - 1, 0)
        known = (asked >= lows[nearest]) & (asked <= highs[nearest])
        table = np.where(known, indices[nearest], VOID - 1).astype(np.uint8)
        class_index = (
            table[values] if values.itemsize < 4 else table[np.searchsorted(asked, values)]
        )
        if (class_index == VOID - 1).any():
            unknown = [
                self._format_value(int(value))
                for value in np.unique(values[class_index == VOID - 1])[:8]
            ]
            raise LimnerError(
                f"a mask has the pixel values {', '.join(unknown)}, which belong to no class. "
                f"Known are {self.describe()}."
            )
        return class_index

    def to_pixels(self, class_index: UInt8[ndarray, "h w"]) -> UInt8[ndarray, "h w *c"]:
        """Class indices as the pixels of a written mask: 0 and 255 for a binary set, else the set's
        own values or colours.
        """
        firsts = (0, 255) if self.binary else [ranges[0][0] for ranges in self.values]
        if self.coloured and not self.binary:
            return np.array(
                [[value >> 16, value >> 8 & 255, value & 255] for value in firsts], np.uint8
            ).take(class_index, axis=0)
        return np.array(firsts if max(firsts) <= 255 else range(len(firsts)), np.uint8).take(
            class_index
        )

    def to_source_pixels(self, class_index: UInt8[ndarray, "h w"]) -> UInt[ndarray, "h w *c"]:
        """Class indices as the set's own masks have them, void too: the first value of each class,
        in 8 or 16 bits or as colours.

        Raises LimnerError where there is void, and the set has no value for it.
        """
        firsts = [ranges[0][0] for ranges in self.values]
        if (class_index == VOID).any() and not self.void_values:
            raise LimnerError(
                "a mask has void pixels, and the set has no value for void. State one in its "
                "labels.toml, such as void = 255."
            )
        table = np.zeros(256, np.uint32)
        table[: len(firsts)] = firsts
        if self.void_values:
            table[VOID] = self.void_values[0][0]
        values = table.take(class_index)
        if self.coloured:
            return np.stack([values >> 16, values >> 8 & 255, values & 255], axis=2).astype(
                np.uint8
            )
        return values.astype(np.uint8 if max(table) <= 255 else np.uint16)

    def from_pixels(self, values: UInt[ndarray, "h w"]) -> UInt8[ndarray, "h w"]:
        """What `to_pixels` gave, read from its file (colours as 0xRRGGBB), as class indices again.
        Raises LimnerError for any other value.
        """
        written = self.to_pixels(np.arange(len(self.names), dtype=np.uint8)[None])[0].astype(
            np.uint32
        )
        codes = (
            written @ np.array([1 << 16, 1 << 8, 1], np.uint32) if written.ndim == 2 else written
        )
        class_index = np.full(values.shape, VOID, np.uint8)
        for index, code in enumerate(codes):
            class_index[values == code] = index
        if (class_index == VOID).any():
            raise LimnerError(
                f"a predicted mask has the value {int(values[class_index == VOID][0])}, which "
                "no class is written as. It was made by something else."
            )
        return class_index

    def describe(self) -> str:
        classes = [f"{self.format_class(i)} = {name}" for i, name in enumerate(self.names)]
        return ", ".join([*classes, *(f"{self._format_range(r)} = void" for r in self.void_values)])

    def format_class(self, class_index: int) -> str:
        """The pixel values of a class, or of `VOID`, as a person writes them."""
        return " ".join(
            self._format_range(values)
            for values in (self.void_values if class_index == VOID else self.values[class_index])
        )

    def _coded(self) -> list[tuple[int, tuple[ValueRange, ...]]]:
        return [*enumerate(self.values), (VOID, self.void_values)]

    def _class_of(self, value: int) -> int | None:
        return next(
            (i for i, ranges in self._coded() if any(low <= value <= high for low, high in ranges)),
            None,
        )

    def _format_value(self, value: int) -> str:
        return f"#{value:06x}" if self.coloured else str(value)

    def _format_range(self, values: ValueRange) -> str:
        low, high = values
        return (
            self._format_value(low)
            if low == high
            else f"{self._format_value(low)}-{self._format_value(high)}"
        )


def dump_labels(labels: Labels) -> str:
    """A labels.toml that `read_labels` reads as these."""

    def stated(ranges: Iterable[ValueRange]) -> str:
        spelled = [labels._format_range(values) for values in ranges]
        return (
            "[" + ", ".join(text if text.isdigit() else json.dumps(text) for text in spelled) + "]"
        )

    void = [f"void = {stated(labels.void_values)}"] if labels.void_values else []
    classes = [
        f"{json.dumps(name)} = {stated(ranges)}"
        for name, ranges in zip(labels.names, labels.values, strict=True)
    ]
    return "\n".join([*void, "[classes]", *classes]) + "\n"


def load_labels(path: Path) -> Labels:
    """The classes that a labels.toml states. Raises LimnerError for a file that cannot be read or
    says nothing usable.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        classes = table.pop("classes")
        void = _ranges(table.pop("void", []))
        named = _background_first([(_ranges(stated), name) for name, stated in classes.items()])
        values = tuple(ranges for ranges, _ in named)
        coloured = any(
            _is_colour(part)
            for stated in classes.values()
            for part in (stated if isinstance(stated, list) else [stated])
        )
        if not all(values):
            raise ValueError("a class has no value")
    except (
        OSError,
        UnicodeDecodeError,
        tomllib.TOMLDecodeError,
        KeyError,
        ValueError,
        AttributeError,
        TypeError,
    ) as error:
        raise LimnerError(
            f"{path} states no classes ({type(error).__name__}: {error}). {STATE_IT}"
        ) from error
    if table:
        raise LimnerError(
            f"{path} holds {', '.join(table)}, which is not known. Known are void and [classes]."
        )
    stated_ranges = [stated for ranges in (*values, void) for stated in ranges]
    twice = [
        a
        for i, a in enumerate(stated_ranges)
        for b in stated_ranges[:i]
        if a[0] <= b[1] and b[0] <= a[1]
    ]
    if twice or len(values) < 2 or len(values) > MAX_NAMED:
        cause = (
            f"gives the value {twice[0][0]} to two classes"
            if twice
            else f"states {len(values)} classes; 2 to {MAX_NAMED} are possible"
        )
        raise LimnerError(f"{path} {cause}. {STATE_IT}")
    return Labels(tuple(name for _, name in named), values, void, coloured)


def detect_label_coding(
    masks: Sequence[ValueHistogram],
    class_names: Sequence[tuple[int, str]] = (),
    stated: Labels | None = None,
) -> Labels:
    """Find the coding of a whole set of masks.

    255 is foreground beside 0 alone and void beside class indices. `class_names` are the (value,
    name) pairs of a class-name file, which settle what is otherwise guessed; `stated` is what a
    labels.toml says. Raises LimnerError where the coding is ambiguous or none.
    """
    by_colour = any(value > 255 for value, _ in class_names)
    coloured = (
        stated.coloured
        if stated
        else by_colour or any(mask.kind == "colour" for mask in masks) or _palettes_differ(masks)
    )
    if coloured:
        masks = [mask.to_colours() for mask in masks]
    seen = sorted({value for mask in masks for value in mask.shares})
    if stated:
        unstated = [value for value in seen if stated._class_of(value) is None]
        if unstated:
            holder = next(mask.file for mask in masks if unstated[0] in mask.shares)
            spelled = ", ".join(stated._format_value(value) for value in unstated[:12])
            raise LimnerError(
                f"the masks hold {spelled} (for instance {holder}), which labels.toml gives "
                "to no class. Add each to a class or to void."
            )
        return stated
    if class_names and not (coloured and max(value for value, _ in class_names) < MAX_CLASSES):
        return _named_labels(seen, masks, class_names, coloured)
    return _colour_labels(seen) if coloured else _grey_labels(seen, masks)


def _grey_labels(seen: list[int], masks: Sequence[ValueHistogram]) -> Labels:
    if len(seen) == 1:
        return Labels.from_values(("background", "foreground"), (0, seen[0] or 255))
    if len(seen) == 2 and not (0 < seen[0] < MAX_CLASSES and seen[1] == VOID):
        return Labels.from_values(("background", "foreground"), seen)
    if _smeared(seen, masks):
        middle = (seen[0] + seen[-1] + 1) // 2
        return Labels(
            ("background", "foreground"), (((0, middle - 1),), ((middle, max(255, seen[-1])),))
        )
    if len(seen) > 2 and any(mask.lossy for mask in masks):
        example = next(mask.file for mask in masks if mask.lossy)
        raise LimnerError(
            f"the masks were saved as JPEG (for instance {example}), which smears class "
            "numbers into each other. Export them again as PNG."
        )
    indices = [value for value in seen if value != VOID]
    if len(seen) == 2 or indices[-1] >= MAX_CLASSES or _numbered(masks):
        numbered = _numbered(masks) or (
            len(seen) > MAX_CLASSES
            and indices[: MAX_CLASSES // 2]
            == list(range(indices[0], indices[0] + MAX_CLASSES // 2))
        )
        listed = ", ".join(map(str, seen[:12])) + " and more" * (len(seen) > 12)
        example = max(masks, key=lambda mask: len(mask.shares)).file
        cause = (
            f"{len(seen)} different values: they seem to number objects one by one, or grey levels"
            if numbered
            else (
                f"the values {listed}: neither two values nor class indices from 0 to "
                f"{MAX_CLASSES - 1}"
            )
        )
        raise LimnerError(
            f"the masks (for instance {example}) hold {cause}. {STATE_IT}"
            + ('\n  Any object is the range "1-65535".' if numbered else "")
        )
    if VOID in seen and indices == [0, 1]:
        _refuse_mixed_binary(masks)
    first = indices[0]
    values = range(first, indices[-1] + 1)
    names = [
        "background" if v == 0 else "foreground" if (first, indices[-1]) == (0, 1) else f"class {v}"
        for v in values
    ]
    return Labels.from_values(names, values, [VOID] * (VOID in seen))


def _smeared(seen: list[int], masks: Sequence[ValueHistogram]) -> bool:
    """Whether these are two values smeared by JPEG or smoothing.

    Then most pixels of every mask lie near the two ends, and what lies between is a border: far
    less than what lies near the upper end.
    """
    lossy = any(mask.lossy for mask in masks)
    between = [value for value in seen if MAX_CLASSES <= value < VOID]
    if seen[-1] > 255 or seen[-1] - seen[0] < 64 or not (lossy or (len(seen) >= 8 and between)):
        return False
    margin = (seen[-1] - seen[0]) / 5
    low, high = seen[0] + margin, seen[-1] - margin
    if any(
        sum(share for value, share in mask.shares.items() if not low < value < high) < SMEARED_SHARE
        for mask in masks
    ):
        return False
    shares = [(value, share) for mask in masks for value, share in mask.shares.items()]
    return sum(share for value, share in shares if value >= high) >= 2 * sum(
        share for value, share in shares if low < value < high
    )


def _numbered(masks: Sequence[ValueHistogram]) -> bool:
    """Whether the values look like the numbers of single objects: in every mask from 1 on without a
    gap, and not always as many.
    """
    marked = [sorted(value for value in mask.shares if value != 0) for mask in masks]
    marked = [values for values in marked if values]
    lengths = {len(values) for values in marked}
    return (
        len(lengths) >= 3
        and max(lengths) >= 6
        and all(values == list(range(1, len(values) + 1)) for values in marked)
    )


def _refuse_mixed_binary(masks: Sequence[ValueHistogram]) -> None:
    """0, 1 and 255 are two classes and void where 1 and 255 stand in one mask; in separate masks,
    255 may as well be the foreground.
    """
    ones = [mask.file for mask in masks if 1 in mask.shares]
    both = any(1 in mask.shares and VOID in mask.shares for mask in masks)
    highs = [mask.file for mask in masks if VOID in mask.shares and 1 not in mask.shares]
    if highs and not both:
        raise LimnerError(
            f"{len(ones)} masks hold 0 and 1 (for instance {ones[0]}) and {len(highs)} hold 0 and 255 ({highs[0]}): "
            f"255 may be the same class as 1, or void. {STATE_IT}"
        )


def _colour_labels(seen: list[int]) -> Labels:
    if len(seen) > MAX_CLASSES:
        raise LimnerError(
            f"the masks hold {len(seen)} different colours. A mask has one colour for each class (at most {MAX_CLASSES}): "
            "were they saved as JPEG or smoothed? Export them again as PNG without "
            f"smoothing. {STATE_IT}"
        )
    if len(seen) <= 2 and 0 in seen:
        return Labels.from_values(
            ("background", "foreground"), (0, seen[-1] or 0xFFFFFF), coloured=True
        )
    return Labels.from_values(
        ["background" if value == 0 else f"#{value:06x}" for value in seen], seen, coloured=True
    )


def _named_labels(
    seen: Sequence[int],
    masks: Sequence[ValueHistogram],
    class_names: Sequence[tuple[int, str]],
    coloured: bool,
) -> Labels:
    void = {value for value, name in class_names if name.lower() in VOID_NAMES}
    named = [(value, name) for value, name in class_names if value not in void]
    unnamed = sorted(set(seen) - void - {value for value, _ in named})
    if unnamed == [VOID] and not coloured and len({value for value, _ in named} & set(seen)) > 1:
        if {value for value, _ in named} == {0, 1}:
            _refuse_mixed_binary(masks)
        void.add(VOID)
    elif unnamed:
        spelled = ", ".join(f"#{value:06x}" if coloured else str(value) for value in unnamed[:12])
        raise LimnerError(
            f"the masks hold the pixel values {spelled}, which the class-name file does not name. "
            "Add a line for each (the value and the name), or the name 'void' for pixels to "
            "leave out."
        )
    if len(named) < 2 or len(named) > MAX_NAMED or len({name for _, name in named}) < len(named):
        raise LimnerError(
            f"the class-name file names {len(named)} classes. From 2 to {MAX_NAMED} are "
            f"possible, each of its own name. {STATE_IT}"
        )
    named = _background_first(named)
    return Labels.from_values(
        [name for _, name in named], [value for value, _ in named], sorted(void), coloured=coloured
    )


def _background_first(named: Sequence[tuple[Any, str]]) -> list[tuple[Any, str]]:
    """Values and names with the background, whatever its case, at the head: what a binary set is
    known by.
    """
    spelled = [
        (value, "background" if name.lower().strip("_") == "background" else name)
        for value, name in named
    ]
    return sorted(spelled, key=lambda pair: pair[1] != "background")


def _palettes_differ(masks: Iterable[ValueHistogram]) -> bool:
    """Whether one index means two colours: then the colours are the classes, and the indices are
    not.
    """
    colours: dict[int, int] = {}
    return any(
        colours.setdefault(index, colour) != colour
        for mask in masks
        for index, colour in mask.palette.items()
    )


def _ranges(stated: Any) -> tuple[ValueRange, ...]:
    """The ranges of a TOML value: a number, "low-high", "#rrggbb", or a list of these. Raises
    ValueError.
    """
    if isinstance(stated, list):
        return tuple(found for part in stated for found in _ranges(part))
    if isinstance(stated, str):
        low, dash, high = stated.partition("-")
        numbers = [
            int(text.strip()[1:], 16) if text.strip().startswith("#") else int(text)
            for text in ((low, high) if dash else (low,))
        ]
        if numbers[0] > numbers[-1]:
            raise ValueError(f"the range {stated} runs backwards")
        return ((numbers[0], numbers[-1]),)
    if type(stated) is not int or stated < 0:
        raise ValueError(f"{stated!r} is no pixel value")
    return ((stated, stated),)


def _is_colour(stated: int | str) -> bool:
    return isinstance(stated, str) and stated.strip().startswith("#")
