import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from limner.data import duplicates
from limner.data.duplicates import connected_components, near_duplicates, thumbnail
from limner.data.synthetic import draw_lesion

COUNT = 24
COUNT_ALIKE = 4 * duplicates.CANDIDATES_PER_IMAGE


@pytest.fixture(scope="module")
def lesions() -> list[np.ndarray]:
    """Images of similar things, as a real set holds them."""
    return [draw_lesion(3, index, 128)[0] for index in range(COUNT)]


def jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=50)
    return Image.open(buffer).convert("RGB")


def cropped(image: Image.Image) -> Image.Image:
    w, h = image.size
    return image.crop((round(0.05 * w), 0, w, round(0.95 * h)))


CHANGES = {
    "resized": lambda image: image.resize((90, 90), Image.Resampling.BILINEAR),
    "flipped": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "rotated": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "JPEG quality 50": jpeg,
    "cropped 5 %": cropped,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.9),
    "all of it": lambda image: jpeg(
        cropped(ImageEnhance.Brightness(image.transpose(Image.Transpose.TRANSVERSE)).enhance(0.9))
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_each_changed_copy_is_found_and_nothing_else(
    change: str, lesions: list[np.ndarray]
) -> None:
    copies = [np.asarray(CHANGES[change](Image.fromarray(image))) for image in lesions]
    pairs = near_duplicates(np.stack([thumbnail(image) for image in lesions + copies]))
    assert {(pair.first, pair.second) for pair in pairs} == {(i, i + COUNT) for i in range(COUNT)}


def test_blank_images_are_no_copies_of_each_other() -> None:
    blank = [thumbnail(np.full((20, 30, 3), value, np.uint8)) for value in (9, 9, 200)]
    assert near_duplicates(np.stack(blank)) == []


def test_many_similar_images_are_linked_without_comparing_all_closely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # So that the images are several chunks of rows
    monkeypatch.setattr(duplicates, "CHUNK_ROWS", 32)
    rng = np.random.default_rng(0)
    scene = rng.integers(30, 220, (64, 64)).astype(np.int16)
    frames = [np.clip(scene + rng.integers(-3, 4, (64, 64)), 0, 255) for _ in range(COUNT_ALIKE)]
    pairs = near_duplicates(np.stack(frames).astype(np.uint8))
    lowest = connected_components(COUNT_ALIKE, ((pair.first, pair.second) for pair in pairs))
    assert len(set(lowest)) == 1


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_components_are_what_links_reach(count: int, links: list[tuple[int, int]]) -> None:
    links = [(a % count, b % count) for a, b in links]
    reach = np.eye(count, dtype=bool)
    for a, b in links:
        reach[a, b] = reach[b, a] = True
    for _ in range(count):
        reach = reach | (reach.astype(int) @ reach > 0)
    assert connected_components(count, links) == [int(np.argmax(row)) for row in reach]
