import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from limner.data import large_images, tiled_tiff
from limner.data.images import read_image
from limner.data.tiled_tiff import TiledTiff
from limner.data.views import Box
from limner.errors import LimnerError

KINDS = {
    "tiled colour": {"tile": (32, 48), "photometric": "rgb", "compression": "zlib"},
    "strips of colour": {"rowsperstrip": 7, "photometric": "rgb"},
    "one strip": {"photometric": "rgb"},
    "jpeg tiles": {"tile": (32, 32), "photometric": "ycbcr", "compression": "jpeg"},
    "grey": {"tile": (16, 16), "photometric": "minisblack"},
    "a solid fourth channel": {
        "tile": (32, 32),
        "photometric": "rgb",
        "extrasamples": ["unspecified"],
    },
    "with alpha": {"tile": (32, 32), "photometric": "rgb", "extrasamples": ["unassalpha"]},
}


def write_tiff(path: Path, kind: str, height: int = 90, width: int = 131) -> Path:
    channels = {"grey": 1, "with alpha": 4, "a solid fourth channel": 4}.get(kind, 3)
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, channels)).astype(np.uint8)
    pixels[..., 3:] = 255
    tifffile.imwrite(path, pixels[..., 0] if channels == 1 else pixels, **KINDS[kind])
    return path


def rasterio_kind(path: Path, **options: object) -> None:
    """Write what GDAL writes beside pixels: nodata, an internal mask, and tiles left out."""
    mask = options.pop("mask", None)
    pixels = np.random.default_rng(0).integers(1, 255, (3, 90, 131)).astype(np.uint8)
    pixels[:, 40:50] = 7
    pixels[0, 60:70] = 7
    with (
        warnings.catch_warnings(),
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
    ):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            height=90,
            width=131,
            count=3,
            dtype="uint8",
            tiled=True,
            blockxsize=32,
            blockysize=16,
            interleave="pixel",
            **options,
        ) as file:
            file.write(pixels[:, :48, :96], window=Window(0, 0, 96, 48))
            if mask:
                file.write_mask(pixels[1] > 99)


@pytest.mark.parametrize(
    "options",
    [
        {"nodata": 7, "compress": "deflate"},
        {"nodata": 7, "photometric": "rgb", "sparse_ok": True},
        {"sparse_ok": True, "compress": "lzw"},
        {"mask": True, "photometric": "rgb", "compress": "deflate"},
        {"mask": True, "nodata": 255},
    ],
)
def test_parts_of_a_geotiff_leave_out_what_the_whole_does(
    tmp_path: Path, options: dict[str, object]
) -> None:
    rasterio_kind(tmp_path / "a.tif", **options)
    whole, image = read_image(tmp_path / "a.tif"), TiledTiff(tmp_path / "a.tif")
    assert (whole == 0).any()
    for box in (Box(0, 0, 90, 131), Box(30, 80, 25, 40), Box(89, 0, 1, 131)):
        np.testing.assert_array_equal(image.read(box), box.crop(whole))


def test_a_model_s_channels_settle_what_the_last_band_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(1, 255, (90, 60, 4)).astype(np.uint8)
    for kind in ("unspecified", "unassalpha"):
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=[kind])
        for channels, expected in ((None, 4), (3, 3), (4, 4), (6, 4)):
            whole = read_image(tmp_path / "a.tif", channels=channels)
            assert TiledTiff(tmp_path / "a.tif", channels).channels == expected == whole.shape[2]


def test_the_largest_image_of_a_pyramid_without_marks_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = np.random.default_rng(0).integers(0, 255, (96, 128, 3)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for step in (4, 1, 2):
            file.write(whole[::step, ::step], photometric="rgb", tile=(16, 16), metadata=None)
    monkeypatch.setattr(large_images, "LARGE_PIXELS", 5000)
    image = large_images.open_large_image(tmp_path / "a.tif", 3)
    assert image is not None
    np.testing.assert_array_equal(image.read(Box(0, 0, 96, 128)), whole)


def test_a_file_of_images_of_several_sizes_is_refused_part_by_part_too(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for height in (40, 50):
            file.write(np.zeros((height, 40), np.uint8), metadata=None)
    with pytest.raises(LimnerError, match=r"a\.tif holds images of 2 sizes"):
        TiledTiff(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", KINDS)
def test_parts_are_those_of_the_whole(kind: str, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", kind)
    whole, image = read_image(path), TiledTiff(path)
    assert (image.size_px, image.channels) == (whole.shape[:2], whole.shape[2])
    rng = np.random.default_rng(1)
    for _ in range(30):
        top, left = rng.integers(0, 90), rng.integers(0, 131)
        box = Box(
            int(top),
            int(left),
            int(rng.integers(1, 91 - top)),
            int(rng.integers(1, 132 - left)),
        )
        np.testing.assert_array_equal(image.read(box), box.crop(whole))


def test_what_was_decoded_is_kept_only_up_to_a_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tiff(tmp_path / "a.tif", "tiled colour")
    monkeypatch.setattr(tiled_tiff, "CACHE_BYTES", 3 * 32 * 48 * 3)
    image = TiledTiff(path)
    np.testing.assert_array_equal(image.read(Box(0, 0, 90, 131)), read_image(path))
    assert len(image._segments._cache) <= 3


@pytest.mark.parametrize(
    ("pixels", "options", "message"),
    [
        (np.zeros((40, 40), np.uint16), {}, "pixels of type uint16 in 16 bits"),
        (
            np.zeros((3, 40, 40), np.uint8),
            {"photometric": "rgb", "planarconfig": "separate"},
            "planes one after the other",
        ),
        (np.zeros((2, 40, 40), np.uint8), {"photometric": "minisblack"}, "several images"),
        (np.zeros((40, 40), np.uint8), {"extratags": [(274, 3, 1, 6, True)]}, "a turn"),
        (
            np.zeros((40, 40), np.uint8),
            {"photometric": "miniswhite"},
            "colours of the kind MINISWHITE",
        ),
        (
            np.zeros((40, 40, 3), np.uint8),
            {"photometric": "ycbcr", "compression": "zlib"},
            "colours of the kind YCBCR",
        ),
    ],
)
def test_what_cannot_be_read_in_parts_is_refused_with_a_cure(
    pixels: np.ndarray, options: dict[str, object], message: str, tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    with pytest.raises(LimnerError, match=rf"{message}.*Export it as"):
        TiledTiff(tmp_path / "a.tif")


def test_of_one_strip_that_is_not_compressed_no_more_is_read_than_is_asked_for(
    tmp_path: Path,
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3000, 3000, 3), np.uint8), rowsperstrip=3000)
    image = TiledTiff(tmp_path / "a.tif")
    tracemalloc.start()
    image.read(Box(1000, 1000, 100, 100))
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_fourth_channel_that_is_solid_at_the_top_alone_is_kept(tmp_path: Path) -> None:
    pixels = np.full((90, 60, 4), 255, np.uint8)
    pixels[30:] = 7
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unspecified"], tile=(16, 16)
    )
    assert TiledTiff(tmp_path / "a.tif").channels == read_image(tmp_path / "a.tif").shape[2] == 4


def test_a_compressed_part_as_large_as_the_image_is_refused_with_a_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((90, 90, 3), np.uint8), rowsperstrip=90, compression="zlib"
    )
    monkeypatch.setattr(tiled_tiff, "MAX_SEGMENT_BYTES", 20_000)
    with pytest.raises(
        LimnerError, match=r"compressed in parts of 24,300 bytes.*Export it in tiles"
    ):
        TiledTiff(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", ["tiled colour", "strips of colour", "jpeg tiles"])
def test_a_damaged_part_is_refused_by_the_file_s_name(kind: str, tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", kind)
    content = path.read_bytes()
    path.write_bytes(
        content[: len(content) // 2]
        if content[4:8] == b"\x08\0\0\0"
        else content[: len(content) - 3000]
    )
    with pytest.raises((LimnerError, tifffile.TiffFileError)):
        TiledTiff(path).read(Box(0, 0, 90, 131))
