"""TIFFs of every kind, as rasterio (GDAL) and tifffile write them, against what these read."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from rasterio.errors import NotGeoreferencedWarning
from rasterio.shutil import copy
from rasterio.windows import Window

from limner.data.image_file import open_image
from limner.data.images import page_count
from limner.data.readers.decoded import DecodedImage, DecodeOptions

HEIGHT, WIDTH = 45, 70
SIZE = HEIGHT, WIDTH
TILES = {"tiled": True, "blockxsize": 16, "blockysize": 32}


def decode(path: Path, page: int = 0) -> DecodedImage:
    """The numbers as they stand in the file, as for a mask."""
    with open_image(path) as image:
        return image.decode_upright(DecodeOptions(page, as_stored=True))


def draw(dtype: str = "uint8", bands: int = 1, most: float | None = None) -> np.ndarray:
    """Bands of smooth numbers over most of what the type can hold."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = np.stack([np.sin(y / (5 + b)) + np.cos(x / (7 + b)) + 2 for b in range(bands)]) / 4
    if np.dtype(dtype).kind == "f":
        return ((waves - 0.3) * (most or 1e3)).astype(dtype)
    limits = np.iinfo(dtype)
    span = float(most or limits.max) - max(float(limits.min), -1e4)
    return (waves * span + max(float(limits.min), -1e4)).astype(dtype)


def write_geotiff(path: Path, pixels: np.ndarray, **options: Any) -> None:
    """Write as GDAL does. `mask` is an internal mask; `interpretation` and `palette` are GDAL's."""
    mask, palette = options.pop("mask", None), options.pop("palette", None)
    profile = {"driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": len(pixels)}
    with (
        warnings.catch_warnings(),
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
    ):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **profile, dtype=pixels.dtype.name, **options) as file:
            file.write(pixels)
            if palette:
                file.write_colormap(1, palette)
            if mask is not None:
                file.write_mask(mask)


def read_geotiff(path: Path, *, is_rgb: bool) -> tuple[np.ndarray, np.ndarray]:
    """What rasterio reads: numbers and where they are valid, both (h, w, bands)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as file:
            pixels = file.read()
            valid = np.stack([file.dataset_mask()] * len(pixels)) if is_rgb else file.read_masks()
    valid = (valid != 0) & ~np.isnan(pixels)
    return np.moveaxis(pixels, 0, -1), np.moveaxis(valid, 0, -1)


COMPRESSIONS = ["none", "lzw", "deflate", "zstd", "lzma", "packbits", "lerc", "lerc_deflate"]
LAYOUTS = {"strips": {}, "tiles": TILES, "planar tiles": {**TILES, "interleave": "band"}}
GEOTIFFS: dict[str, tuple[np.ndarray, Mapping[str, Any]]] = {
    **{
        f"3 bands {compression} in {name}": (
            draw(bands=3),
            {"compress": compression, "interleave": "pixel", **layout},
        )
        for compression in COMPRESSIONS
        for name, layout in LAYOUTS.items()
    },
    **{
        f"{dtype} of {bands} bands": (draw(dtype, bands), {"compress": "deflate"})
        for dtype in ("int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
        for bands in (1, 2, 5)
    },
    **{
        f"{dtype} {compression} with predictor {predictor}": (
            draw(dtype),
            {"compress": compression, "predictor": predictor, **TILES},
        )
        for dtype, predictor in (("uint8", 2), ("uint16", 2), ("int32", 2), ("float32", 3))
        for compression in ("lzw", "zstd")
    },
    **{
        f"{bits} bits": (draw(dtype, most=(1 << bits) - 1), {"nbits": bits})
        for bits, dtype in (
            (2, "uint8"),
            (4, "uint8"),
            (7, "uint8"),
            (10, "uint16"),
            (12, "uint16"),
        )
    },
    "1 bit": ((draw() > 99).astype(np.uint8), {"nbits": 1}),
    "1 bit as a fax": ((draw() > 99).astype(np.uint8), {"nbits": 1, "compress": "ccittfax4"}),
    "big-endian": (draw("uint16", 3), {"endianness": "big"}),
    "big-endian floats": (draw("float64"), {"endianness": "big", **TILES}),
    "BigTIFF": (draw(bands=3), {"bigtiff": "yes"}),
    "a palette": (
        draw(most=5),
        {"photometric": "palette", "palette": {n: (9 * n, 20 * n, 255 - n) for n in range(9)}},
    ),
    "lossless WebP": (draw(bands=3), {"compress": "webp", "webp_lossless": True}),
    "nodata of 8 bits": (draw(), {"nodata": int(draw()[0, 5, 5])}),
    "nodata of int16": (draw("int16"), {"nodata": int(draw("int16")[0, 5, 5])}),
    "nodata of uint16 in bands": (draw("uint16", 5), {"nodata": int(draw("uint16", 5)[2, 5, 5])}),
    "nodata of float32": (
        np.where(draw() > 99, -3.4028234663852886e38, draw("float32")).astype("f4"),
        {"nodata": -3.4028234663852886e38},
    ),
    "nodata that no pixel has": (draw(), {"nodata": None}),
    "nodata of RGB": (draw(bands=3) // 64 * 64, {"nodata": 64, "photometric": "rgb"}),
    "NaN as nodata": (
        np.where(draw() > 99, np.nan, draw("float32")).astype("f4"),
        {"nodata": np.nan},
    ),
    "NaN": (np.where(draw() > 99, np.nan, draw("float64", 2)), {}),
    "an internal mask": (draw(bands=3), {"mask": draw()[0] > 99, "photometric": "rgb"}),
    "an internal mask of deep bands": (draw("int16", 5), {"mask": draw()[0] > 99, **TILES}),
    **{
        f"NaN in {where} bands of {compression} in {interleave}s": (
            np.where(
                draw(bands=3) > np.array(limits)[:, None, None], np.nan, draw("float32", 3)
            ).astype("f4"),
            {"compress": compression, "interleave": interleave, **TILES},
        )
        for where, limits in (("all", (99, 99, 99)), ("some", (99, 255, 140)))
        for compression in ("lerc", "lerc_zstd", "deflate")
        for interleave in ("pixel", "band")
    },
}


@pytest.mark.parametrize("name", GEOTIFFS)
def test_a_geotiff_is_read_as_gdal_reads_it(name: str, tmp_path: Path) -> None:
    pixels, options = GEOTIFFS[name]
    write_geotiff(tmp_path / "x.tif", pixels, **options)
    expected, expected_valid = read_geotiff(
        tmp_path / "x.tif", is_rgb=options.get("photometric") == "rgb"
    )
    decoded = decode(tmp_path / "x.tif")
    stored = decoded.pixels.reshape(expected.shape)
    valid = np.ones(stored.shape, bool) if decoded.valid is None else decoded.valid
    np.testing.assert_array_equal(valid.reshape(stored.shape), expected_valid)
    np.testing.assert_array_equal(stored[expected_valid], expected[expected_valid])
    if colours := options.get("palette"):
        assert decoded.palette is not None
        assert all(tuple(decoded.palette[n]) == colours[n] for n in colours)


def test_tiles_that_gdal_left_out_hold_nodata(tmp_path: Path) -> None:
    for nodata, dtype in ((7, "uint8"), (None, "uint8"), (-9999, "int16"), (np.nan, "float32")):
        path = tmp_path / f"{nodata}.tif"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(
                path,
                "w",
                driver="GTiff",
                height=HEIGHT,
                width=WIDTH,
                count=1,
                dtype=dtype,
                nodata=nodata,
                sparse_ok=True,
                compress="deflate",
                **TILES,
            ) as file:
                file.write(draw(dtype)[:, :32, :16], window=Window(16, 0, 16, 32))
        expected, valid = read_geotiff(path, is_rgb=False)
        decoded = decode(path)
        found = np.ones(SIZE, bool) if decoded.valid is None else decoded.valid
        np.testing.assert_array_equal(found, valid[..., 0])
        np.testing.assert_array_equal(decoded.pixels, expected[..., 0])


def test_a_cloud_optimised_geotiff_is_its_largest_image_with_its_mask(tmp_path: Path) -> None:
    pixels = np.kron(draw(bands=3), np.ones((1, 12, 12), np.uint8))
    with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            tmp_path / "plain.tif",
            "w",
            driver="GTiff",
            height=540,
            width=840,
            count=3,
            dtype="uint8",
        ) as file:
            file.write(pixels)
            file.write_mask(pixels[0] > 99)
        copy(tmp_path / "plain.tif", tmp_path / "x.tif", driver="COG", blocksize=128)
    decoded = decode(tmp_path / "x.tif")
    assert page_count(tmp_path / "x.tif") == 1
    np.testing.assert_array_equal(decoded.pixels, np.moveaxis(pixels, 0, -1))
    assert decoded.valid is not None
    np.testing.assert_array_equal(decoded.valid[..., 1], pixels[0] > 99)


def planes(axes: str, dtype: str = "uint16") -> np.ndarray:
    """An array of some axes, of which each plane is like no other."""
    sizes = {"T": 2, "Z": 3, "C": 2, "Y": HEIGHT, "X": WIDTH, "S": 3, "Q": 2}
    shape = [sizes[axis] for axis in axes]
    return np.random.default_rng(len(axes)).integers(0, 255, shape).astype(dtype)


STACKS: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    **{
        f"OME {axes}": (planes(axes), {"ome": True, "metadata": {"axes": axes}})
        for axes in ("YX", "CYX", "ZYX", "TYX", "CZYX", "ZCYX", "TCYX", "TZCYX", "CTZYX", "ZTCYX")
    },
    **{
        f"OME {axes} in colours": (
            planes(axes, "uint8"),
            {"ome": True, "metadata": {"axes": axes}, "photometric": "rgb"},
        )
        for axes in ("YXS", "ZYXS", "CYXS")
    },
    "OME in tiles": (
        planes("ZCYX"),
        {"ome": True, "metadata": {"axes": "ZCYX"}, "tile": (16, 16), "compression": "zlib"},
    ),
    **{
        f"ImageJ {axes}": (planes(axes), {"imagej": True, "metadata": {"axes": axes}})
        for axes in ("YX", "CYX", "ZYX", "ZCYX", "TZCYX", "TZYX")
    },
    "ImageJ ZYXS": (planes("ZYXS", "uint8"), {"imagej": True, "photometric": "rgb"}),
    "ImageJ floats": (planes("ZCYX", "float32"), {"imagej": True, "metadata": {"axes": "ZCYX"}}),
    "ImageJ on one page": (
        planes("ZCYX"),
        {"imagej": True, "metadata": {"axes": "ZCYX"}, "truncate": True},
    ),
    "tifffile CYX": (planes("CYX"), {"metadata": {"axes": "CYX"}, "photometric": "minisblack"}),
    "tifffile QYX": (planes("QYX"), {"photometric": "minisblack"}),
    "tifffile CZYX": (planes("CZYX"), {"metadata": {"axes": "CZYX"}}),
    "tifffile on one page": (planes("ZYX"), {"metadata": {"axes": "ZYX"}, "truncate": True}),
    "tifffile on one big-endian page": (
        planes("CZYX", "float32"),
        {"metadata": {"axes": "CZYX"}, "truncate": True, "byteorder": ">"},
    ),
    "a volume on one page": (planes("ZYX"), {"volumetric": True, "tile": (1, 16, 32)}),
    "a volume of deep tiles": (
        planes("ZYX", "uint8"),
        {"volumetric": True, "tile": (2, 16, 16), "compression": "zlib"},
    ),
    "a volume in colours": (
        planes("ZYXS", "uint8"),
        {"volumetric": True, "tile": (3, 32, 32), "photometric": "rgb"},
    ),
    "pages without metadata": (planes("ZYX"), {"metadata": None, "photometric": "minisblack"}),
    "samples as planes": (
        planes("SYX", "uint8"),
        {"photometric": "minisblack", "planarconfig": "separate", "metadata": None},
    ),
}


def images_of(stack: np.ndarray, axes: str) -> np.ndarray:
    """Bring the axes of a series into the order image, row, column, channel."""
    outer = [axis for axis in axes if axis not in "YXCS"]
    order = [*outer, "Y", "X", *(axis for axis in "CS" if axis in axes)]
    ordered = stack.transpose([axes.index(axis) for axis in order])
    channels = int(np.prod(ordered.shape[len(outer) + 2 :], dtype=int))
    return ordered.reshape(-1, *SIZE, channels)


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_is_read_by_its_axes(name: str, tmp_path: Path) -> None:
    pixels, options = STACKS[name]
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, pixels, **{"photometric": "minisblack", **options})
    with tifffile.TiffFile(path) as file:
        expected = images_of(file.series[0].asarray(), file.series[0].axes)
    assert page_count(path) == len(expected)
    for page, image in enumerate(expected):
        np.testing.assert_array_equal(decode(path, page).pixels.reshape(image.shape), image)
