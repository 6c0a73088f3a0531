"""Which values a mask holds, and which share of its pixels has each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from limner.data.mask_pixels import MaskPixels, PixelKind
from limner.data.readers.decoded import WhiteIsZero
from limner.data.sample import Sample
from limner.labels import VOID, Labels


@dataclass(frozen=True, slots=True)
class ValueHistogram:
    """The share of a mask's pixels that has each value.

    The values are grey levels, palette indices or colours (0xRRGGBB), as `kind` says. `palette`
    gives the colour of each index that occurs. `lossy_codec` smeared its values.
    `white_is_zero` says what was done with the values where the file stores white as 0.
    """

    file: str
    shares: Mapping[int, float]
    kind: PixelKind = "grey"
    palette: Mapping[int, int] = field(default_factory=dict)
    lossy_codec: str = ""
    white_is_zero: WhiteIsZero | None = None
    void_share: float = 0.0
    """The share of pixels without data, which have no value."""

    @property
    def lossy(self) -> bool:
        """Whether a codec smeared the values."""
        return bool(self.lossy_codec)

    def to_colours(self) -> "ValueHistogram":
        """Give the histogram of the colours that a viewer shows."""
        if self.kind == "colour":
            return self
        shares: dict[int, float] = {}
        for value, share in self.shares.items():
            colour = self._colour_of(value)
            shares[colour] = shares.get(colour, 0.0) + share
        return replace(self, shares=shares, kind="colour", palette={})

    def _colour_of(self, value: int) -> int:
        return self.palette.get(value, 0) if self.kind == "palette" else min(value, 255) * 0x010101


Histograms = Sequence[ValueHistogram]
"""Of all masks of a dataset."""


def value_histogram(sample: Sample, mask: MaskPixels) -> ValueHistogram:
    """Count the share of a mask's pixels that has each value."""
    pixels = mask.values.ravel() if mask.void is None else mask.values[~mask.void]
    if mask.values.itemsize > 2:
        values, counts = np.unique(pixels, return_counts=True)
    else:
        counts_by_value = np.bincount(pixels)
        values = np.flatnonzero(counts_by_value)
        counts = counts_by_value[values]
    shares = {
        int(value): float(count / mask.values.size)
        for value, count in zip(values, counts, strict=True)
    }
    palette = {value: mask.palette[value] for value in shares if value < len(mask.palette)}
    return ValueHistogram(
        str(sample.mask),
        shares,
        mask.kind,
        palette,
        mask.lossy_codec,
        mask.white_is_zero,
        void_share=1 - pixels.size / mask.values.size,
    )


def class_shares(labels: Labels, mask: ValueHistogram) -> dict[int, float]:
    """Give the share of a mask's pixels that each class index has, `VOID` among them.

    Values without a class are left out.
    """
    shares: dict[int, float] = {VOID: mask.void_share} if mask.void_share else {}
    for value, share in (mask.to_colours() if labels.coloured else mask).shares.items():
        class_index = labels.class_of(value)
        if class_index is not None:
            shares[class_index] = shares.get(class_index, 0.0) + share
    return shares
