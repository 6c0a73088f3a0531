import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from limner.data.shapes.cut import cut_geometries
from limner.data.shapes.geojson import draw_geojson_geometry
from limner.data.views import Box

SIZE_PX = (40, 50)
# No edge goes through the centre of a pixel, where the last digit would decide
coordinate = st.integers(-60, 160).map(lambda value: 0.37 * value + 0.013)
ring = st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=12)
polygon = st.lists(ring, min_size=1, max_size=3)


@given(
    st.lists(polygon, min_size=1, max_size=3),
    st.integers(0, 39),
    st.integers(0, 49),
    st.integers(1, 40),
    st.integers(1, 50),
)
def test_what_is_cut_is_what_the_whole_is_there(
    polygons: list, top: int, left: int, height: int, width: int
) -> None:
    box = Box(top, left, min(height, SIZE_PX[0] - top), min(width, SIZE_PX[1] - left))
    geometry = {"type": "MultiPolygon", "coordinates": polygons}
    whole, part = np.zeros(SIZE_PX, np.uint8), np.zeros((box.height, box.width), np.uint8)
    draw_geojson_geometry(geometry, SIZE_PX).paint(whole, 1)
    for class_index, shape in next(cut_geometries([(1, geometry)], [box])):
        draw_geojson_geometry(shape, (box.height, box.width)).paint(part, class_index)
    assert np.array_equal(part, box.crop(whole))


def test_a_box_gets_the_shapes_that_reach_it_with_few_corners() -> None:
    angles = np.linspace(0, 2 * np.pi, 10_000, endpoint=False)
    circle = (np.stack([np.cos(angles), np.sin(angles)], axis=1) * 1000 + 2000).tolist()
    small = [[(10, 10), (20, 10), (20, 20)]]
    shapes = [
        (1, {"type": "Polygon", "coordinates": [circle]}),
        (2, {"type": "Polygon", "coordinates": small}),
    ]
    first, second, third = cut_geometries(
        shapes, [Box(0, 0, 100, 100), Box(1900, 1900, 100, 100), Box(0, 4000, 9, 9)]
    )
    assert [class_index for class_index, _ in first] == [2] and not third
    ((class_index, shape),) = second
    assert class_index == 1 and len(shape["coordinates"][0][0]) < 20
    assert draw_geojson_geometry(shape, (100, 100)).pixels.all()
