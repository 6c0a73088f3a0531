from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from dataset_folders import save_image
from limner.data.check import check
from limner.data.images import exif_orientation, image_size, read_image, read_mask
from limner.data.scan import scan
from limner.errors import LimnerError
from shapes import disc

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (21, 34, 3)).astype(np.uint8)


def test_a_gif_mask_has_the_values_of_its_palette(tmp_path: Path) -> None:
    # As Carvana has them: two colours, black and white
    Image.fromarray(disc() > 0).save(tmp_path / "a_mask.gif")
    mask = read_mask(tmp_path / "a_mask.gif").to_colours()
    assert (mask.values == np.where(disc() > 0, 0xFFFFFF, 0)).all()


def test_the_first_frame_of_an_animation_is_taken_and_told(tmp_path: Path) -> None:
    frames = [Image.fromarray(IMAGE[..., number]) for number in range(3)]
    (tmp_path / "images").mkdir()
    frames[0].save(tmp_path / "images/a.gif", save_all=True, append_images=frames[1:])
    save_image(tmp_path / "masks/a.png", (IMAGE[..., 0] > 99).astype(np.uint8) * 255)
    assert (read_image(tmp_path / "images/a.gif") == IMAGE[..., :1]).all()
    (note,) = [each for each in check(scan(tmp_path)).findings if each.code == "parts-left-out"]
    assert note.message.endswith("images/a.gif: 2 more frames. The first frame is taken.")


@pytest.mark.parametrize("suffix", ["jp2", "j2k"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_2000_is_read_exactly(tmp_path: Path, suffix: str, dtype: type, channels: int) -> None:
    pixels = RNG.integers(0, np.iinfo(dtype).max, (21, 34, channels)).astype(dtype)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(imagecodecs.jpeg2k_encode(pixels.squeeze(), level=0, codecformat=suffix))
    assert image_size(path) == (21, 34)
    image = read_image(path)
    if dtype == np.uint8:
        assert (image == pixels).all()
    if channels == 1:
        assert (read_mask(path).values == pixels[..., 0]).all()


def test_a_lossy_jpeg_2000_is_no_exact_mask(tmp_path: Path) -> None:
    coded = imagecodecs.jpeg2k_encode(disc(), level=30, reversible=False, codecformat="jp2")
    (tmp_path / "a.jp2").write_bytes(coded)
    assert read_mask(tmp_path / "a.jp2").lossy_codec == "lossy JPEG 2000"


def test_avif_is_read_and_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    smooth = np.tile(np.arange(48, dtype=np.uint8)[:, None, None] * 4, (1, 32, 3))
    Image.fromarray(smooth).save(tmp_path / "a.avif", quality=100, exif=exif)
    path = tmp_path / "a.avif"
    assert exif_orientation(path) == 6 and image_size(path) == (32, 48)
    difference = read_image(path).astype(int) - np.rot90(smooth, -1)
    assert np.abs(difference).max() <= 4


@pytest.mark.parametrize("suffix", ["gif", "jp2", "avif"])
def test_a_cut_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(IMAGE).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(LimnerError, match=rf"a\.{suffix}"):
        read_image(path)
