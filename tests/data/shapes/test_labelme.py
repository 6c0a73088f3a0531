import base64
import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from limner.data.shapes.labelme import draw_labelme_shape

COORDINATES = st.floats(-10, 70, allow_nan=False, width=32)
POINTS = st.lists(st.tuples(COORDINATES, COORDINATES), min_size=4, max_size=7)
SIZE_PX = (50, 60)


def draw(shape: dict[str, object]) -> np.ndarray:
    mask = np.zeros(SIZE_PX, np.uint8)
    draw_labelme_shape(shape, SIZE_PX).paint(mask, 1)
    return mask


@given(POINTS, st.sampled_from(["polygon", "rectangle", "circle", "point", "line", "linestrip"]))
def test_a_shape_is_what_pillow_draws_on_the_whole_image(
    points: list[tuple[float, float]], kind: str
) -> None:
    count = {"rectangle": 2, "circle": 2, "line": 2, "point": 1}.get(kind, len(points))
    points = points[:count]
    canvas = Image.new("L", SIZE_PX[::-1])
    whole = ImageDraw.Draw(canvas)
    (x, y), (x1, y1) = points[0], points[-1]
    radius = math.dist((x, y), (x1, y1)) if kind == "circle" else 5
    match kind:
        case "polygon":
            whole.polygon(points, fill=1, outline=1)
        case "rectangle":
            box = (min(x, x1), min(y, y1), max(x, x1), max(y, y1))
            whole.rectangle(box, fill=1, outline=1)
        case "circle" | "point":
            box = (x - radius, y - radius, x + radius, y + radius)
            whole.ellipse(box, fill=1, outline=1)
        case _:
            whole.line(points, fill=1, width=10)
    assert (draw({"shape_type": kind, "points": points}) == np.asarray(canvas)).all()


def test_a_square_has_its_border() -> None:
    square = [[0, 0], [4, 0], [4, 4], [0, 4]]
    assert draw({"points": square}).sum() == 25


def encode(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_a_mask_fills_its_box_with_both_corners() -> None:
    pixels = np.array([[1, 0, 1], [0, 1, 0]], np.uint8) * 255
    mask = draw({"shape_type": "mask", "points": [[5, 7], [7, 8]], "mask": encode(pixels)})
    assert (mask[7:9, 5:8] == pixels / 255).all()
    assert mask.sum() == 3


@pytest.mark.parametrize(
    ("shape", "complaint"),
    [
        ({"shape_type": "points", "points": [[1, 1]]}, "no rule for the area .* 'points'"),
        ({"shape_type": "circle", "points": [[1, 1]]}, "a circle has 1 points in place of 2"),
        ({"points": [[1, 1], [2, 2]]}, "a polygon has 2 points, and needs 3"),
        ({"points": [[1, 1], [2e9, 2], [3, 3]]}, "far outside"),
        (
            {"shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": encode(np.eye(3) > 0)},
            "a mask of 3x3 px is to fill a box of 2x2",
        ),
        (
            {"shape_type": "mask", "points": [[58, 0], [60, 2]], "mask": encode(np.eye(3) > 0)},
            "a mask lies outside",
        ),
    ],
)
def test_what_has_no_rule_is_refused(shape: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        draw(shape)
