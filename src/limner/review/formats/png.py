"""PNG masks in the dataset's own pixel values."""

from collections.abc import Iterator, Sequence

from limner.data.storage import Storage
from limner.data.writers.png import encode_png
from limner.labels import VOID
from limner.plurals import count_noun
from limner.review.kept_masks import KeptMask
from limner.review.predictions import Predictions
from limner.review.void import with_void


def write(out: Storage, masks: Iterator[KeptMask], predictions: Predictions) -> Sequence[str]:
    """Write one PNG for each mask.

    Returns the value of void, in words, where the set has none of its own.
    """
    labels, void = with_void(predictions.labels), 0
    for kept in masks:
        void += bool((kept.mask == VOID).any())
        out.write_bytes(f"{kept.name}.png", encode_png(labels.to_source_pixels(kept.mask)))
    if not void or predictions.labels.void_values:
        return ()
    value = labels.format_range(labels.void_values[0])
    return (f"{count_noun(void, 'mask has', 'masks have')} void, which is written as {value}",)
