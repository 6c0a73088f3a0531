import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from limner.data.duplicates import thumbnail
from limner.data.fingerprints import (
    FINGERPRINT_BYTES,
    fingerprints,
    nearest_copies,
    pack_fingerprints,
    unpack_fingerprints,
)


def picture(seed: int) -> Image.Image:
    small = np.random.default_rng(seed).integers(20, 230, (7, 8, 3), np.uint8)
    return Image.fromarray(small).resize((128, 96), Image.Resampling.BICUBIC)


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def thumbnails(*images: Image.Image) -> np.ndarray:
    return np.stack([thumbnail(np.asarray(image.convert("RGB"))) for image in images])


def copies(*images: Image.Image, same_names: list[int] | None = None) -> list[int | None]:
    known = fingerprints(thumbnails(*map(picture, range(12))))
    names = np.array(same_names or [-1] * len(images))
    return nearest_copies(thumbnails(*images), known, names)


CHANGES = {
    "jpeg": lambda image: as_jpeg(image, 60),
    "smaller": lambda image: image.resize((70, 52)),
    "larger": lambda image: image.resize((300, 220)),
    "square": lambda image: image.resize((64, 64)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "grey": lambda image: image.convert("L"),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned": lambda image: image.transpose(Image.Transpose.ROTATE_90),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_image_is_known_after_a_change(change: str) -> None:
    assert copies(*(CHANGES[change](picture(seed)) for seed in range(12))) == list(range(12))


def test_other_images_are_no_copies_also_under_the_same_names() -> None:
    others = [picture(seed) for seed in range(100, 112)]
    assert copies(*others) == copies(*others, same_names=list(range(12))) == [None] * 12


def test_an_image_of_the_same_name_may_be_changed_more() -> None:
    pixels = np.asarray(picture(4)).astype(int)
    noise = np.random.default_rng(0).normal(0, 60, pixels.shape)
    noisy = Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).resize((40, 30))
    assert copies(noisy) == [None] and copies(noisy, same_names=[4]) == [4]


def test_an_image_that_shows_nothing_is_no_copy() -> None:
    grey = Image.new("RGB", (64, 64), (90, 90, 90))
    assert copies(grey, same_names=[0]) == [None]
    known = fingerprints(thumbnails(grey, picture(0)))
    assert nearest_copies(thumbnails(picture(0), grey), known, np.array([-1, 0])) == [1, None]


def test_a_record_holds_44_characters_of_an_image_at_most() -> None:
    known = fingerprints(thumbnails(*map(picture, range(12))))
    text = pack_fingerprints(known)
    assert len(text) <= 12 * 44 and known.shape == (12, FINGERPRINT_BYTES)
    np.testing.assert_array_equal(unpack_fingerprints(text), known)
