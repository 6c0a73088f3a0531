"""Run lengths as Kaggle's competitions have them: start and length in turn.

Pixels are numbered from 1, from top to bottom and then from left to right.
"""

import numpy as np

from limner.data.shapes.part import ShapePart


def draw_run_lengths(text: str, size_px: tuple[int, int]) -> ShapePart:
    """Draw the runs of a text.

    Args:
        text: Numbers, parted by spaces.
        size_px: Height and width of the image.

    Raises ValueError for an odd count of numbers, and for runs outside of the image.
    """
    numbers = np.array(text.split(), np.int64)
    if len(numbers) % 2:
        raise ValueError(f"its run lengths are {len(numbers)} numbers, and pairs are needed")
    starts, lengths = numbers[0::2] - 1, numbers[1::2]
    height, width = size_px
    if (starts < 0).any() or (lengths < 0).any() or (starts + lengths > height * width).any():
        raise ValueError(f"its run lengths reach beyond the {height * width} pixels of its image")
    steps = np.zeros(height * width + 1, np.int64)
    np.add.at(steps, starts, 1)
    np.add.at(steps, starts + lengths, -1)
    return ShapePart(0, 0, (np.cumsum(steps[:-1]) > 0).reshape(width, height).T)
