"""Labels: class index <-> name <-> pixel value <-> colour, and the void value."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.errors import LimnerError

VOID = 255
"""The class index of pixels that are neither trained on nor scored."""

VOID_NAMES = frozenset({"void", "unlabelled", "unlabeled", "ignore"})
MAX_CLASSES = 64
PALETTE = (
    (0, 158, 115), (230, 159, 0), (86, 180, 233), (204, 121, 167), (0, 114, 178), (213, 94, 0), (240, 228, 66), (148, 103, 189),
)  # fmt: skip
"""Okabe and Ito's colours, which people with any colour vision tell apart, and one more."""


@dataclass(frozen=True, slots=True)
class Labels:
    """The classes of a dataset, in the order of the model's class indices.

    `values[i]` is the pixel value that means class `i` in a mask file. A binary set has two classes, of which
    the first is the background, and needs one logit; any other set has a logit for each class.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    void_values: tuple[int, ...] = ()

    @property
    def binary(self) -> bool:
        return len(self.names) == 2 and self.names[0] == "background"

    @property
    def logits(self) -> int:
        """How many channels the network gives: 1 for a binary set, else one for each class."""
        return 1 if self.binary else len(self.names)

    @property
    def scored(self) -> tuple[int, ...]:
        """The class indices that scores are averaged over: every class but a background."""
        return tuple(i for i, name in enumerate(self.names) if name != "background")

    def colour(self, class_index: int) -> tuple[int, int, int]:
        return PALETTE[(class_index - (self.names[0] == "background")) % len(PALETTE)]

    def to_class_index(self, pixels: UInt8[ndarray, "h w"]) -> UInt8[ndarray, "h w"]:
        """Turn a mask file's pixel values into class indices, with `VOID` where nothing is labelled.

        Raises LimnerError for a pixel value that has no class.
        """
        lookup = np.full(256, 254, np.uint8)
        lookup[list(self.values)] = range(len(self.values))
        lookup[list(self.void_values)] = VOID
        class_index = lookup[pixels]
        if (class_index == 254).any():
            unknown = sorted({int(v) for v in np.unique(pixels[class_index == 254])})
            raise LimnerError(f"a mask has the pixel values {unknown[:8]}, which belong to no class. Known are {self.describe()}.")
        return class_index

    def to_pixels(self, class_index: UInt8[ndarray, "h w"]) -> UInt8[ndarray, "h w"]:
        """Class indices as the pixel values of a written mask: 0 and 255 for a binary set, else the set's own values."""
        values = (0, 255) if self.binary else self.values
        lookup = np.zeros(256, np.uint8)
        lookup[: len(values)] = values
        return lookup[class_index]

    def describe(self) -> str:
        classes = ", ".join(f"{value} = {name}" for name, value in zip(self.names, self.values, strict=True))
        return classes + "".join(f", {value} = void" for value in self.void_values)


def detect_labels(values: Iterable[int], class_names: Sequence[tuple[int, str]] = ()) -> Labels:
    """Find the coding of a whole set of masks from the pixel values that occur in it.

    255 is foreground beside 0 alone and void beside class indices. `class_names` are the (value, name) pairs of a
    class-name file, which settle what is otherwise guessed. Raises LimnerError where the values are no coding.
    """
    seen = sorted(set(values))
    if class_names:
        return _named_labels(seen, class_names)
    if len(seen) > MAX_CLASSES:
        raise LimnerError(
            f"the masks hold {len(seen)} different pixel values. A mask has one value for each class (at most {MAX_CLASSES}): "
            "were they saved as JPEG or smoothed? Export them again as PNG without smoothing."
        )
    if len(seen) == 1 or (len(seen) == 2 and seen[0] == 0):
        return Labels(("background", "foreground"), (0, seen[-1] or 255))
    void = tuple(v for v in seen if v == VOID)
    indices = [v for v in seen if v != VOID]
    if indices[-1] >= MAX_CLASSES:
        raise LimnerError(
            f"the masks hold the pixel values {seen[:12]}: neither 0 and one other, nor class indices from 0 to {MAX_CLASSES - 1}. "
            "Name them in a classes.txt beside the images (each line: the value and the class name), or export the masks again."
        )
    names = tuple("background" if v == 0 else "foreground" if indices[-1] == 1 else f"class {v}" for v in range(indices[-1] + 1))
    return Labels(names, tuple(range(indices[-1] + 1)), void)


def _named_labels(seen: Sequence[int], class_names: Sequence[tuple[int, str]]) -> Labels:
    void = {value for value, name in class_names if name.lower() in VOID_NAMES}
    named = [(value, name) for value, name in class_names if value not in void]
    unnamed = sorted(set(seen) - void - {value for value, _ in named})
    if unnamed == [VOID]:
        void.add(VOID)
    elif unnamed:
        raise LimnerError(
            f"the masks hold the pixel values {unnamed[:12]}, which the class-name file does not name. "
            "Add a line for each (the value and the name), or the name 'void' for pixels to leave out."
        )
    names = tuple("background" if value == 0 and name.lower() == "background" else name for value, name in named)
    return Labels(names, tuple(value for value, _ in named), tuple(sorted(void)))
