import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from limner.data.shapes.coco import (
    decode_rle,
    draw_segmentation,
    polygon_area,
    segmentation_area,
)


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 1))
)
def test_compressed_run_lengths_are_drawn_as_pycocotools_encoded_them(mask: np.ndarray) -> None:
    from pycocotools import mask as coco_mask

    encoded = coco_mask.encode(np.asfortranarray(mask))
    segmentation = {"size": list(mask.shape), "counts": encoded["counts"].decode()}
    assert (draw_segmentation(segmentation, mask.shape).pixels == (mask == 1)).all()
    assert segmentation_area(segmentation) == mask.sum()


@pytest.mark.parametrize(("counts", "complaint"), [("0!", "character '!'"), ("P", "end within")])
def test_damaged_run_lengths_are_refused(counts: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        decode_rle(counts)


NUMBERS = st.floats(-12, 40, width=32) | st.integers(0, 300).map(lambda number: number / 10)


@given(st.lists(NUMBERS, min_size=6, max_size=12).filter(lambda numbers: len(numbers) % 2 == 0))
def test_a_polygon_is_drawn_as_by_pycocotools(numbers: list[float]) -> None:
    from pycocotools import mask as coco_mask

    expected = coco_mask.decode(coco_mask.frPyObjects([numbers], 20, 30))[..., 0]
    mask = np.zeros((20, 30), np.uint8)
    draw_segmentation([numbers], (20, 30)).paint(mask, 1)
    assert (mask == expected).all()


def test_a_polygon_that_repeats_another_is_no_hole() -> None:
    square = [2, 2, 6, 2, 6, 6, 2, 6]
    assert draw_segmentation([square, square], (8, 8)).pixels.sum() == 16


def test_the_area_of_a_polygon_is_that_of_the_shoelace_formula() -> None:
    assert polygon_area([0, 0, 4, 0, 4, 3]) == 6
    assert polygon_area([0, 0, 4, 0, 4]) == polygon_area([0, 0, 4, float("nan"), 4, 3]) == 0


@pytest.mark.parametrize("segmentation", [{"counts": "!"}, {}, [], [["x"]]])
def test_the_area_of_a_malformed_segmentation_is_0(segmentation: object) -> None:
    assert segmentation_area(segmentation) == 0
