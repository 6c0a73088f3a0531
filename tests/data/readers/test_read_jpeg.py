from pathlib import Path

import numpy as np
from PIL import Image

from limner.data.images import (
    read_image,
)
from limner.data.resize import resize_image


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([y * 255 / height, x * 255 / width, 128 + 0 * y], axis=2).astype(np.uint8)


def test_a_jpeg_at_reduced_scale_is_turned_as_the_whole(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(smooth(400, 640)).save(tmp_path / "x.jpg", exif=exif, quality=95)
    whole, reduced = (
        read_image(tmp_path / "x.jpg"),
        read_image(tmp_path / "x.jpg", at_least_px=(100, 50)),
    )
    assert whole.shape == (640, 400, 3)
    assert reduced.shape[0] >= 100 and reduced.shape[1] >= 50 and reduced.shape[0] < 640
    assert np.abs(resize_image(whole, reduced.shape[:2]).astype(int) - reduced).max() < 6
