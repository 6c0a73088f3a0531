"""The class map of a dataset: class index <-> name <-> pixel value <-> colour, and labels.toml."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt, UInt8
from numpy import ndarray

from limner.errors import LimnerError
from limner.name_list import LISTED, list_some

VOID = 255
"""The class index of pixels that are neither trained on nor scored."""
MAX_NAMED_CLASSES = 250
"""How many classes a file may name."""

GREEN, ORANGE, SKY_BLUE = (0, 158, 115), (230, 159, 0), (86, 180, 233)
PINK, BLUE, VERMILION = (204, 121, 167), (0, 114, 178), (213, 94, 0)
_FARTHEST = """
f0e442 600000 000080 80ffff a02060 4000e0 a060ff 406000 8000a0
c0c0c0 400040 60e080 c020a0 c00000 602060 8020ff 8080e0 a0ffa0
"""
PALETTE: tuple[tuple[int, int, int], ...] = (
    *(GREEN, ORANGE, SKY_BLUE, PINK, BLUE, VERMILION),
    *((int(code[:2], 16), int(code[2:4], 16), int(code[4:], 16)) for code in _FARTHEST.split()),
)
"""Colours that people with any colour vision tell apart.

First those of Okabe and Ito (doi:10.1038/nmeth.1618), then each time the one that is farthest from
all before it, in OKLab, as seen with and without protanopia, deuteranopia and tritanopia
(doi:10.1109/TVCG.2009.113).
"""

LABELS_TOML_HINT = (
    "State it in a labels.toml at the top of the dataset, for example:\n"
    '    void = 255\n    [classes]\n    background = 0\n    lesion = [1, "128-254"]\n'
    '  A value is a number, a range "low-high" or a colour "#804080".'
)

ValueRange = tuple[int, int]
"""Pixel values from the first to the last, both included."""

_UNLABELLED = VOID - 1
"""Marks values without a class while a mask is converted; no class has this index."""


@dataclass(frozen=True, slots=True)
class Labels:
    """The classes of a dataset, in the order of the model's class indices.

    A binary set has two classes, of which the first is the background. It needs one logit; any
    other set has one for each class.

    Args:
        names: The name of each class.
        values: The ranges of pixel values that mean each class in a mask file.
        void_values: The ranges of pixel values that are neither trained on nor scored.
        coloured: Whether the values are colours, 0xRRGGBB.

    Example:
        >>> labels = Labels.from_values(["background", "lesion"], [0, 255])
        >>> labels.binary, labels.out_channels, labels.scored
        (True, 1, (1,))
        >>> labels.describe()
        '0 = background, 255 = lesion'
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
        """Make labels of which each class has one pixel value."""
        return cls(
            tuple(names),
            tuple(((value, value),) for value in values),
            tuple((value, value) for value in void_values),
            coloured,
        )

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Labels":
        """Make labels from their record, in which JSON has turned tuples into lists."""
        return cls(
            tuple(record["names"]),
            tuple(tuple((low, high) for low, high in ranges) for ranges in record["values"]),
            tuple((low, high) for low, high in record["void_values"]),
            record["coloured"],
        )

    @property
    def binary(self) -> bool:
        """Whether there are only a background and one class of objects."""
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
        """Give the colour (red, green, blue) in which a class is shown to people.

        A background takes none of the palette; after its last colour the palette starts again.
        """
        return PALETTE[(class_index - (self.names[0] == "background")) % len(PALETTE)]

    def class_of(self, value: int) -> int | None:
        """Find the class index of a pixel value, `VOID` for a void one; None where it has none."""
        for class_index, ranges in self._ranges_by_class():
            if any(low <= value <= high for low, high in ranges):
                return class_index
        return None

    def to_class_index(self, values: UInt[ndarray, "h w"]) -> UInt8[ndarray, "h w"]:
        """Turn a mask's pixel values into class indices, with `VOID` where nothing is labelled.

        Raises LimnerError for a pixel value that has no class.
        """
        if values.itemsize < 4:
            table = self._class_table(np.arange(1 << 8 * values.itemsize, dtype=np.uint32))
            class_index = table[values]
        else:
            # A table of all colours would be 16 MB
            colours = np.unique(values)
            class_index = self._class_table(colours)[np.searchsorted(colours, values)]
        unlabelled = class_index == _UNLABELLED
        if unlabelled.any():
            unknown = np.unique(values[unlabelled])
            examples = [self.format_value(int(value)) for value in unknown[:LISTED]]
            listed = list_some(examples, count=len(unknown))
            raise LimnerError(
                f"a mask has the pixel values {listed}, which belong to no class. "
                f"Known are {self.describe()}."
            )
        return class_index

    @property
    def pixel_values(self) -> UInt8[ndarray, " n *c"]:
        """What each class is in the pixels of a predicted mask.

        A binary set has 0 and 255. Any other has its own values or colours, or the class indices
        where its values need more than 8 bits.
        """
        first_values = self._first_values()
        if self.binary:
            first_values = [0, 255]
        elif self.coloured:
            return _split_colours(np.array(first_values, np.uint32))
        elif max(first_values) > 255:
            first_values = list(range(len(first_values)))
        return np.array(first_values, np.uint8)

    def to_pixels(self, class_index: UInt8[ndarray, "h w"]) -> UInt8[ndarray, "h w *c"]:
        """Turn class indices into the pixels of a predicted mask; see `pixel_values`."""
        # In parts, since NumPy makes eight bytes of each index
        parts = np.array_split(class_index, 1 + class_index.size // 2**20)
        return np.concatenate([self.pixel_values.take(part, axis=0) for part in parts])

    def from_pixels(self, values: UInt[ndarray, "h w"]) -> UInt8[ndarray, "h w"]:
        """Turn the pixels of a mask that `to_pixels` gave into class indices again.

        Args:
            values: The pixel values, colours as 0xRRGGBB.

        Raises LimnerError for any other value.
        """
        written = self.pixel_values.astype(np.uint32)
        if written.ndim == 2:
            written = written @ np.array([1 << 16, 1 << 8, 1], np.uint32)
        class_index = np.full(values.shape, VOID, np.uint8)
        for index, value in enumerate(written):
            class_index[values == value] = index
        if (class_index == VOID).any():
            raise LimnerError(
                f"a predicted mask has the value {int(values[class_index == VOID][0])}, which "
                "no class is written as. It was made by something else."
            )
        return class_index

    def to_source_pixels(self, class_index: UInt8[ndarray, "h w"]) -> UInt[ndarray, "h w *c"]:
        """Turn class indices, void too, into the pixel values of the set's own masks.

        Each class gets its first value, in 8 or 16 bits or as colours. Raises LimnerError where
        there is void and the set has no value for it.
        """
        if (class_index == VOID).any() and not self.void_values:
            raise LimnerError(
                "a mask has void pixels, and the set has no value for void. State one in its "
                "labels.toml, such as void = 255."
            )
        first_values = self._first_values()
        table = np.zeros(256, np.uint32)
        table[: len(first_values)] = first_values
        if self.void_values:
            table[VOID] = self.void_values[0][0]
        values = table.take(class_index)
        if self.coloured:
            return _split_colours(values)
        return values.astype(np.uint8 if max(table) <= 255 else np.uint16)

    def without_absent(self) -> "Labels":
        """Leave out the classes that have no pixel value."""
        kept = [index for index, ranges in enumerate(self.values) if ranges]
        return replace(
            self,
            names=tuple(self.names[index] for index in kept),
            values=tuple(self.values[index] for index in kept),
        )

    def describe(self) -> str:
        """Spell all pixel values and names, such as "0 = background, 1-255 = lesion"."""
        classes = [f"{self.format_class(i)} = {name}" for i, name in enumerate(self.names)]
        void = [f"{self.format_range(values)} = void" for values in self.void_values]
        return ", ".join(classes + void)

    def format_class(self, class_index: int) -> str:
        """Spell the pixel values of a class, or of `VOID`."""
        ranges = self.void_values if class_index == VOID else self.values[class_index]
        return " ".join(map(self.format_range, ranges))

    def format_range(self, values: ValueRange) -> str:
        """Spell a range of pixel values as labels.toml has it: "7", "1-255" or "#804080"."""
        first, last = map(self.format_value, values)
        return first if first == last else f"{first}-{last}"

    def format_value(self, value: int) -> str:
        """Spell a pixel value: "7", or "#804080" where the values are colours."""
        return f"#{value:06x}" if self.coloured else str(value)

    def _ranges_by_class(self) -> list[tuple[int, tuple[ValueRange, ...]]]:
        return [*enumerate(self.values), (VOID, self.void_values)]

    def _first_values(self) -> list[int]:
        return [ranges[0][0] for ranges in self.values]

    def _class_table(self, values: UInt[ndarray, " n"]) -> UInt8[ndarray, " n"]:
        """The class index of each value, `_UNLABELLED` where it has none."""
        ranges = sorted(
            (low, high, class_index)
            for class_index, class_ranges in self._ranges_by_class()
            for low, high in class_ranges
        )
        lows, highs, indices = (np.array(column, np.int64) for column in zip(*ranges, strict=True))
        nearest = np.maximum(np.searchsorted(lows, values, side="right") - 1, 0)
        inside = (values >= lows[nearest]) & (values <= highs[nearest])
        return np.where(inside, indices[nearest], _UNLABELLED).astype(np.uint8)


def load_labels(path: Path) -> Labels:
    """Read the classes that a labels.toml states.

    Raises LimnerError for a file that cannot be read, and for one that states no classes, one
    value for two classes, or anything else.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        labels = _labels_from_table(table)
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise LimnerError(
            f"{path} states no classes ({type(error).__name__}: {error}). {LABELS_TOML_HINT}"
        ) from error
    unknown_keys = [key for key in table if key not in {"void", "classes"}]
    if unknown_keys:
        raise LimnerError(
            f"{path} holds {', '.join(unknown_keys)}, which is not known. Known are void and "
            "[classes]."
        )
    _check_stated_classes(path, labels)
    return labels


def dump_labels(labels: Labels) -> str:
    """Write the text of a labels.toml that `load_labels` reads as these labels."""
    # The import takes 0.05 s, and few commands write labels
    import tomlkit

    def stated(ranges: Iterable[ValueRange]) -> int | str | list[int | str]:
        spelled = map(labels.format_range, ranges)
        values = [int(text) if text.isdigit() else text for text in spelled]
        return values[0] if len(values) == 1 else values

    document = tomlkit.document()
    if labels.void_values:
        document["void"] = stated(labels.void_values)
    document["classes"] = {
        name: stated(ranges) for name, ranges in zip(labels.names, labels.values, strict=True)
    }
    return tomlkit.dumps(document)


def labels_lines(labels: Labels) -> str:
    """The lines of a labels.toml as a message offers them, indented and without a gap."""
    return "\n".join(f"    {line}" for line in dump_labels(labels).splitlines() if line)


def require_same_classes(labels: Labels, owner: str, expected: Labels, expected_owner: str) -> None:
    """Raise LimnerError, which names both owners, where two have other classes."""
    if labels.names != expected.names:
        raise LimnerError(
            f"{owner} has the classes {', '.join(labels.names)}, and {expected_owner} has "
            f"{', '.join(expected.names)}. They must be the same."
        )


def background_first(named: Sequence[tuple[Any, str]]) -> list[tuple[Any, str]]:
    """Put the background, in whatever spelling, before the other classes.

    A binary set is recognised by it. The other classes keep their order.

    Args:
        named: Pixel values of any form, each with the name of its class.
    """
    spelled = [
        (values, "background" if name.lower().strip("_") == "background" else name)
        for values, name in named
    ]
    return sorted(spelled, key=lambda pair: pair[1] != "background")


def _split_colours(colours: UInt[ndarray, "*n"]) -> UInt8[ndarray, "*n 3"]:
    """Colours as 0xRRGGBB in three channels."""
    return np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=-1).astype(np.uint8)


def _labels_from_table(table: Mapping[str, Any]) -> Labels:
    """The labels of a parsed labels.toml. Raises what a malformed table makes Python raise."""
    classes = table["classes"]
    named = background_first([(_parse_ranges(stated), name) for name, stated in classes.items()])
    values = tuple(ranges for ranges, _ in named)
    if not all(values):
        raise ValueError("a class has no value")
    coloured = any(
        isinstance(value, str) and value.strip().startswith("#")
        for stated in classes.values()
        for value in (stated if isinstance(stated, list) else [stated])
    )
    void_values = _parse_ranges(table.get("void", []))
    return Labels(tuple(name for _, name in named), values, void_values, coloured)


def _parse_ranges(stated: Any) -> tuple[ValueRange, ...]:
    """The ranges of a TOML value: a number, "low-high", "#rrggbb", or a list of these.

    Raises ValueError.
    """
    if isinstance(stated, list):
        return tuple(values for item in stated for values in _parse_ranges(item))
    if isinstance(stated, str):
        first, dash, last = stated.partition("-")
        low = _parse_value(first)
        high = _parse_value(last) if dash else low
        if low > high:
            raise ValueError(f"the range {stated} runs backwards")
        return ((low, high),)
    if type(stated) is not int or stated < 0:
        raise ValueError(f"{stated!r} is not a pixel value")
    return ((stated, stated),)


def _parse_value(text: str) -> int:
    text = text.strip()
    return int(text[1:], 16) if text.startswith("#") else int(text)


def _check_stated_classes(path: Path, labels: Labels) -> None:
    """Raise LimnerError for one value of two classes, and for too few or too many classes."""
    ranges = [values for stated in (*labels.values, labels.void_values) for values in stated]
    doubles = [
        low
        for position, (low, high) in enumerate(ranges)
        for other_low, other_high in ranges[:position]
        if low <= other_high and other_low <= high
    ]
    count = len(labels.names)
    if doubles:
        cause = f"gives the value {doubles[0]} to two classes"
    elif not 2 <= count <= MAX_NAMED_CLASSES:
        cause = f"states {count} classes; 2 to {MAX_NAMED_CLASSES} are possible"
    else:
        return
    raise LimnerError(f"{path} {cause}. {LABELS_TOML_HINT}")
