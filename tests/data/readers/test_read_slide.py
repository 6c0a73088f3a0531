from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from limner.data.image_file import classify
from limner.data.images import decode_image, image_size, pixel_size, read_image
from limner.data.large_images import open_large_image
from limner.data.readers.pixel_size import PixelSize
from limner.data.views import Box
from limner.errors import LimnerError
from slides import MPP, draw_tissue, write_slide


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    return write_slide(tmp_path / "x.svs", draw_tissue(150, 210)[0])


def test_a_slide_is_read_at_full_resolution_as_openslide_and_tifffile_do(slide: Path) -> None:
    image = read_image(slide)
    with openslide.OpenSlide(slide) as other:
        assert other.properties["openslide.vendor"] == "aperio"
        region = other.read_region((0, 0), 0, (210, 150))
    assert image.shape == (150, 210, 3)
    assert np.array_equal(image, np.asarray(region)[..., :3])
    # Two decoders of JPEG
    assert np.abs(image.astype(int) - tifffile.imread(slide, key=0)).max() <= 4


def test_parts_are_those_of_the_whole(slide: Path) -> None:
    part = open_large_image(slide)
    assert part is not None and (part.size_px, part.channels) == ((150, 210), 3)
    box = Box(37, 60, 90, 101)
    assert np.array_equal(part.read(box), box.crop(read_image(slide)))


def test_size_and_pixel_size_are_those_of_the_scanner(slide: Path) -> None:
    assert image_size(slide) == (150, 210)
    assert pixel_size(slide) == PixelSize(MPP, MPP, "µm")


@pytest.mark.parametrize("suffix", [".svs", ".ndpi", ".mrxs", ".scn", ".bif"])
def test_a_slide_is_known_by_its_suffix(suffix: str) -> None:
    # MIRAX slides begin as the JPEG of a thumbnail does
    assert classify(f"x{suffix}", b"\xff\xd8\xff\xe0" + bytes(100)) == "image"


def test_a_thumbnail_without_the_slide_is_not_taken_for_it(tmp_path: Path) -> None:
    from PIL import Image

    path = tmp_path / "x.mrxs"
    Image.new("RGB", (40, 30)).save(path, "JPEG")
    with pytest.raises(LimnerError, match=r"x\.mrxs is no whole slide that OpenSlide knows"):
        read_image(path)


def test_a_slide_that_was_cut_off_is_named(slide: Path) -> None:
    content = slide.read_bytes()
    slide.write_bytes(content[: len(content) // 2])
    with pytest.raises(LimnerError, match=r"x\.svs (is no whole slide|is damaged)"):
        read_image(slide)


def test_a_damaged_tile_is_named(slide: Path) -> None:
    with tifffile.TiffFile(slide) as file:
        offset, count = file.pages[0].dataoffsets[0], file.pages[0].databytecounts[0]
    with slide.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(count))
    part = open_large_image(slide)
    assert part is not None
    with pytest.raises(LimnerError, match=r"x\.svs is damaged: .* Copy or export it again\."):
        part.read(Box(0, 0, 20, 20))


def test_a_slide_that_was_sent_is_refused(slide: Path) -> None:
    with pytest.raises(LimnerError, match="read from a file alone"):
        decode_image(slide.read_bytes(), "x.svs", 10**6)
