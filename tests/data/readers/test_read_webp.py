from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data.images import exif_orientation, image_size, read_image
from limner.errors import LimnerError

RNG = np.random.default_rng(0)


IMAGE = RNG.integers(0, 256, (6, 9, 3)).astype(np.uint8)


def test_an_animation_is_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(IMAGE), Image.fromarray(IMAGE[::-1].copy())]
    frames[0].save(tmp_path / "x.webp", save_all=True, append_images=frames[1:], lossless=True)
    with pytest.raises(LimnerError, match="animation of 2 frames"):
        read_image(tmp_path / "x.webp")


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("metadata", ["none", "exif", "xmp", "both"])
def test_a_header_says_what_pillow_says(
    tmp_path: Path, lossless: bool, mode: str, metadata: str
) -> None:
    pixels = RNG.integers(0, 256, (33, 20, len(mode))).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    options: dict[str, object] = {"lossless": lossless}
    if metadata in {"exif", "both"}:
        options["exif"] = exif
    if metadata in {"xmp", "both"}:
        options["xmp"] = b'<rdf:Description tiff:Orientation="8"/>'
    path = tmp_path / "x.webp"
    Image.fromarray(pixels).save(path, **options)
    expected = {"none": 1, "exif": 6, "xmp": 8, "both": 6}[metadata]
    assert exif_orientation(path) == expected
    assert image_size(path) == ((20, 33) if expected > 4 else (33, 20))
    with Image.open(path) as opened:
        assert opened.getexif().get(0x0112, 1) == expected


@pytest.mark.parametrize("kept", [11, 14, 25, 60, -1])
def test_a_header_of_a_cut_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "x.webp"
    Image.fromarray(IMAGE).save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(LimnerError, match=r"x\.webp "):
        image_size(path)
