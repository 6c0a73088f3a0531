import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from limner.data.shapes.centres import draw_pixel_centres

COORDINATES = st.floats(-5, 25, allow_nan=False, width=32)
OUTLINES = st.lists(
    st.lists(st.tuples(COORDINATES, COORDINATES), min_size=3, max_size=6), max_size=3
)


def is_within(x: float, y: float, outline: list[tuple[float, float]]) -> bool:
    """Whether a ray from a point to the left crosses an outline an odd number of times."""
    crossings = 0
    for (x0, y0), (x1, y1) in zip(outline[-1:] + outline[:-1], outline, strict=True):
        if (y0 <= y < y1) or (y1 <= y < y0):
            crossings += x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x
    return crossings % 2 == 1


def draw(outlines: list[list[tuple[float, float]]], height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    draw_pixel_centres([np.array(points) for points in outlines], (height, width)).paint(mask, 1)
    return mask


@given(OUTLINES)
def test_a_pixel_is_drawn_whose_centre_lies_within(
    outlines: list[list[tuple[float, float]]],
) -> None:
    expected = [
        [sum(is_within(x + 0.5, y + 0.5, each) for each in outlines) % 2 for x in range(20)]
        for y in range(15)
    ]
    assert (draw(outlines, 15, 20) == np.array(expected)).mean() > 0.99


def test_squares_that_touch_share_no_pixel() -> None:
    left = [(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0)]
    right = [(x + 4, y) for x, y in left]
    assert draw([left], 8, 8).sum() == 16
    assert (draw([left], 8, 8) & draw([right], 8, 8)).sum() == 0


def test_an_outline_within_another_is_a_hole() -> None:
    square = [(0.0, 0.0), (6.0, 0.0), (6.0, 6.0), (0.0, 6.0)]
    hole = [(2.0, 2.0), (4.0, 2.0), (4.0, 4.0), (2.0, 4.0)]
    assert draw([square, hole], 8, 8).sum() == 32
