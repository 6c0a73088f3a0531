import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from limner.data.shapes.bordered import draw_bordered_polygon

# Many corners lie in the image, and some far outside
CORNERS = st.lists(
    st.tuples(*[st.one_of(st.integers(-4, 24), st.integers(0, 20), st.integers(-300, 300))] * 2),
    min_size=1,
    max_size=8,
)


@given(CORNERS, st.integers(1, 20), st.integers(1, 20))
def test_a_polygon_is_drawn_as_by_opencv(
    corners: list[tuple[int, int]], height: int, width: int
) -> None:
    expected = np.zeros((height, width), np.uint8)
    cv2.fillPoly(expected, [np.array(corners, np.int32)], 1)
    mask = np.zeros((height, width), np.uint8)
    draw_bordered_polygon(np.array(corners, np.int64), (height, width)).paint(mask, 1)
    assert (mask == expected).all()
