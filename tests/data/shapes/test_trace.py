import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from limner.data.shapes.bordered import draw_bordered_polygon
from limner.data.shapes.centres import draw_pixel_centres
from limner.data.shapes.coco import draw_segmentation
from limner.data.shapes.trace import pixel_path, trace_parts

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 24), st.integers(1, 24)))


@given(MASKS)
def test_outlines_drawn_again_are_the_mask(mask: np.ndarray) -> None:
    parts = trace_parts(mask)
    outlines = [each for part in parts for each in (part.outline, *part.holes)]
    drawn = np.zeros(mask.shape, np.uint8)
    draw_pixel_centres([each.astype(float) for each in outlines], mask.shape).paint(drawn, 1)
    assert (drawn == mask).all()


@given(MASKS)
def test_parts_are_those_that_touch_by_an_edge(mask: np.ndarray) -> None:
    numbers, count = ndimage.label(mask)
    parts = trace_parts(mask)
    assert len(parts) == count
    for number, part in enumerate(parts, start=1):
        drawn = np.zeros(mask.shape, np.uint8)
        outlines = [part.outline.astype(float), *(hole.astype(float) for hole in part.holes)]
        draw_pixel_centres(outlines, mask.shape).paint(drawn, 1)
        assert (drawn == (numbers == number)).all()


@given(MASKS)
def test_pycocotools_draws_the_filled_outline_exactly(mask: np.ndarray) -> None:
    filled = ndimage.binary_fill_holes(mask)
    drawn = np.zeros(mask.shape, np.uint8)
    for part in trace_parts(filled):
        polygon = part.outline.ravel().tolist()
        draw_segmentation([polygon], mask.shape).paint(drawn, 1)
    assert (drawn == filled).all()


@given(MASKS)
def test_a_path_on_the_pixels_drawn_with_its_border_is_the_filled_part(mask: np.ndarray) -> None:
    filled = ndimage.binary_fill_holes(mask)
    drawn = np.zeros(mask.shape, np.uint8)
    for part in trace_parts(filled):
        draw_bordered_polygon(pixel_path(part.outline), mask.shape).paint(drawn, 1)
    assert (drawn == filled).all()


def test_straight_edges_have_no_corners_between() -> None:
    mask = np.zeros((8, 9), bool)
    mask[2:6, 3:7] = True
    mask[4, 5] = False
    (part,) = trace_parts(mask)
    assert part.outline.tolist() == [[3, 2], [7, 2], [7, 6], [3, 6]]
    assert len(part.holes) == 1 and len(part.holes[0]) == 4
    assert trace_parts(np.zeros((3, 3), bool)) == []
