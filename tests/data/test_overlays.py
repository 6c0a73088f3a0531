import numpy as np
import pytest

from limner.data.overlays import (
    CAPTION_PX,
    CELL_PX,
    COLUMNS,
    contact_sheet,
    draw_overlay,
    outline_of,
    shrink_pair,
)
from limner.labels import Labels


def test_an_overlay_outlines_the_class_and_leaves_the_rest() -> None:
    image, mask = np.full((12, 12, 3), 100, np.uint8), np.zeros((12, 12), np.uint8)
    mask[3:9, 3:9] = 1
    labels = Labels.from_values(("background", "foreground"), (0, 255))
    overlay = draw_overlay(image, mask, labels)
    assert tuple(overlay[3, 5]) == labels.colour(1)
    edge = outline_of(mask == 0)
    assert (overlay[edge] == 255).all() and (overlay[(mask == 0) & ~edge] == 100).all()
    assert (overlay[5, 5] != 100).any() and tuple(overlay[5, 5]) != labels.colour(1)


def test_captions_stand_below_the_images() -> None:
    image = np.full((50, 50, 3), 255, np.uint8)
    plain = contact_sheet([image] * 2)
    sheet = contact_sheet([image] * 2, [("a", "0.91"), ("a very long name of a file.jpg" * 3, "")])
    assert sheet.shape == (plain.shape[0] + CAPTION_PX, plain.shape[1], 3)
    below = sheet[CELL_PX:]
    for column in range(2):
        assert (below[:, column * CELL_PX : (column + 1) * CELL_PX].max() > 200) and (
            below[:, (column + 1) * CELL_PX - 2 : (column + 1) * CELL_PX].max() < 60
        ), "each caption stays below its image"


@pytest.mark.parametrize("count", [1, COLUMNS, COLUMNS + 1])
def test_a_contact_sheet_has_a_cell_for_each_image(count: int) -> None:
    sheet = contact_sheet([np.full((50, 300, 3), 255, np.uint8)] * count)
    assert sheet.shape == (-(-count // COLUMNS) * CELL_PX, min(count, COLUMNS) * CELL_PX, 3)


@pytest.mark.parametrize("size", [(1, 1), (1000, 3), (37, 500)])
def test_an_image_fits_its_cell(size: tuple[int, int]) -> None:
    image, mask = shrink_pair(np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8))
    assert image.shape[:2] == mask.shape
    assert max(mask.shape) <= CELL_PX
