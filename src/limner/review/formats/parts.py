"""What several formats write: connected parts in their boxes, and what becomes of void."""

from collections.abc import Iterator

from jaxtyping import Bool
from numpy import ndarray

from limner.plurals import count_noun


def boxed_parts(
    inside: Bool[ndarray, "h w"],
) -> Iterator[tuple[int, int, Bool[ndarray, "_ _"]]]:
    """Give the connected parts, each with the row and the column at which its box begins."""
    from scipy import ndimage

    numbers, _ = ndimage.label(inside)
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        yield box[0].start, box[1].start, numbers[box] == number


def void_lost(masks: int, tool: str) -> list[str]:
    """Say of how many masks the void is lost in a format that has none; nothing for 0."""
    if not masks:
        return []
    return [f"void pixels of {count_noun(masks, 'mask')} become background: {tool} has no void"]
