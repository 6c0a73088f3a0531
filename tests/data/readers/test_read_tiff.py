import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from limner.data.images import (
    page_count,
    read_image,
    read_mask,
)
from limner.data.readers import tiff_images
from limner.data.sample import Sample
from limner.errors import LimnerError
from limner.labels import Labels

RNG = np.random.default_rng(0)


IMAGE = RNG.integers(0, 256, (6, 9, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tile": (16, 16)},
        {"bigtiff": True},
        {"compression": "lzw"},
        {"compression": "zlib", "predictor": True},
        {"byteorder": ">"},
        {"rowsperstrip": 2},
    ],
)
def test_tiffs_of_every_kind_hold_the_same(tmp_path: Path, options: dict[str, object]) -> None:
    tifffile.imwrite(tmp_path / "x.tif", IMAGE, photometric="rgb", **options)
    assert (read_image(tmp_path / "x.tif") == IMAGE).all()


def test_planes_that_lie_apart_are_joined(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "x.tif", IMAGE.transpose(2, 0, 1), photometric="rgb", planarconfig="separate"
    )
    assert (read_image(tmp_path / "x.tif") == IMAGE).all()


def test_a_stack_is_read_page_by_page(tmp_path: Path) -> None:
    stack = RNG.integers(0, 255, (5, 6, 9)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", stack, photometric="minisblack")
    assert page_count(tmp_path / "x.tif") == 5
    assert all(
        (read_mask(tmp_path / "x.tif", page=page).values == stack[page]).all() for page in range(5)
    )
    with pytest.raises(LimnerError, match=r"x\.tif has 5 images; number 6"):
        read_image(tmp_path / "x.tif", page=5)


def test_a_stack_written_image_by_image_is_a_stack(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for value in range(5):
            file.write(np.full((6, 9), value, np.uint8), contiguous=False)
    assert page_count(tmp_path / "x.tif") == 5
    assert (read_mask(tmp_path / "x.tif", page=3).values == 3).all()


def test_images_of_several_sizes_in_one_file_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for height in (6, 6, 8):
            file.write(np.zeros((height, 9), np.uint8), contiguous=False)
    with pytest.raises(LimnerError, match=r"x\.tif holds images of 2 sizes"):
        read_image(tmp_path / "x.tif")


def write_pyramid(path: Path, sizes: list[int], **options: Any) -> np.ndarray:
    """Write an image of 96x128 and smaller copies, none of them marked."""
    whole = RNG.integers(0, 255, (96, 128, 3)).astype(np.uint8)
    with tifffile.TiffWriter(path) as file:
        for size in sizes:
            level = whole[::size, ::size]
            file.write(level, photometric="rgb", metadata=None, contiguous=False, **options)
    return whole


@pytest.mark.parametrize("sizes", [[1, 2, 4], [4, 2, 1], [1, 3], [1, 5, 7]])
def test_a_pyramid_without_marks_is_its_largest_image(tmp_path: Path, sizes: list[int]) -> None:
    whole = write_pyramid(tmp_path / "x.tif", sizes)
    assert page_count(tmp_path / "x.tif") == 1
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), whole)


def test_the_label_and_the_overview_of_a_slide_are_no_images(tmp_path: Path) -> None:
    slide = RNG.integers(0, 255, (96, 128, 3)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for pixels in (slide, slide[::3, ::3], slide[::2, ::2], slide[:40, :100]):
            file.write(pixels, photometric="rgb", metadata=None, description="Aperio Image Library")
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), slide)


def test_a_transparency_page_is_no_image_and_says_what_is_valid(tmp_path: Path) -> None:
    grey = (np.arange(54).reshape(6, 9) * 100).astype(np.uint16)
    grey[:, :2] = 60_000
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        for pixels in (grey, grey[::-1]):
            file.write(pixels, metadata=None, contiguous=False)
            file.write(pixels < 60_000, photometric=4, subfiletype=4, metadata=None)
    assert page_count(tmp_path / "x.tif") == 2
    for page, rows in ((0, slice(None)), (1, slice(None, None, -1))):
        image = read_image(tmp_path / "x.tif", page=page)[rows, :, 0]
        assert (image[:, :2] == 0).all()
        assert (image[:, 2:].min(), image[:, 2:].max()) == (0, 255)
        mask = read_mask(tmp_path / "x.tif", page=page)
        assert mask.void is not None
        np.testing.assert_array_equal(mask.void[rows], grey == 60_000)


@pytest.mark.parametrize(
    ("dtype", "text", "empty"),
    [
        ("int16", "-9999", -9999),
        ("uint16", "65535 ", 65535),
        ("float32", "-3.4028235e+38", -3.4028235e38),
        # As ESRI writes the lowest float32, which is beyond it
        ("float32", "-3.4028235677973366e+38", np.finfo(np.float32).min),
        ("float32", "nan", np.nan),
        ("float32", "-1.#IND", np.nan),
        ("float64", "1e+300", 1e300),
        ("float64", "", np.nan),
        ("int32", "-32768.0", -32768),
    ],
)
def test_pixels_without_data_have_no_part_in_the_contrast(
    tmp_path: Path, dtype: str, text: str, empty: float
) -> None:
    grey = (np.arange(54).reshape(6, 9) * 40).astype(dtype)
    void = np.zeros(grey.shape, bool)
    void[:2, :4] = True
    holed = np.where(void, np.array(empty).astype(dtype), grey)
    tags = [(42113, "s", 0, text, True)] if text else []
    tifffile.imwrite(tmp_path / "x.tif", holed, extratags=tags)
    image = read_image(tmp_path / "x.tif")[..., 0]
    assert (image[void] == 0).all()
    assert (image[~void].min(), image[~void].max()) == (0, 255)
    assert (np.diff(image[~void].astype(int)) > 0).all()
    mask = read_mask(tmp_path / "x.tif")
    assert mask.void is not None
    np.testing.assert_array_equal(mask.void, void)
    np.testing.assert_array_equal(mask.values[~void], grey[~void])


def test_a_nodata_that_is_no_number_or_no_value_of_the_type_changes_nothing(
    tmp_path: Path,
) -> None:
    for text in ("none", "-9999", "3.5", "1e999"):
        tags = [(42113, "s", 0, text, True)]
        tifffile.imwrite(tmp_path / "x.tif", IMAGE, extratags=tags, photometric="rgb")
        np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), IMAGE)


def test_a_colour_is_no_nodata_for_one_of_its_channels(tmp_path: Path) -> None:
    pixels = np.full((6, 9, 3), (255, 10, 10), np.uint8)
    pixels[0] = 255
    tags = [(42113, "s", 0, "255", True)]
    tifffile.imwrite(tmp_path / "x.tif", pixels, extratags=tags, photometric="rgb")
    image = read_image(tmp_path / "x.tif")
    assert image[1, 0].tolist() == [255, 10, 10]
    assert (image[0] == 0).all()


def test_a_mask_is_void_where_it_has_no_data(tmp_path: Path) -> None:
    values = np.repeat(np.array([[-1, 4, 9]], np.int16), 4, axis=0)
    Image.fromarray(IMAGE).save(tmp_path / "x.png")
    labels = Labels.from_values(("background", "foreground"), (4, 9))
    for name, pixels, expected in (
        ("some.tif", values, [255, 0, 1]),
        ("all.tif", np.full((4, 3), -1, np.int16), [255, 255, 255]),
    ):
        tags = [(42113, "s", 0, "-1", True)]
        tifffile.imwrite(tmp_path / name, pixels, extratags=tags)
        sample = Sample("x", tmp_path / "x.png", tmp_path / name)
        assert sample.class_index(labels)[0].tolist() == expected


def test_each_channel_of_bands_has_its_own_contrast_however_they_are_stored(
    tmp_path: Path,
) -> None:
    bands = (
        RNG.integers(0, 200, (3, 40, 50)).astype(np.uint16)
        * np.array([1, 30, 300], "u2")[:, None, None]
    )
    write = tifffile.imwrite
    write(tmp_path / "planar.tif", bands, photometric="minisblack", planarconfig="separate")
    contiguous = np.moveaxis(bands, 0, -1)
    write(tmp_path / "together.tif", contiguous, photometric="minisblack", planarconfig="contig")
    write(tmp_path / "pages.tif", bands, imagej=True, metadata={"axes": "CYX"})
    images = [read_image(path) for path in sorted(tmp_path.glob("*.tif"))]
    assert images[0].shape == (40, 50, 3)
    assert images[0].reshape(-1, 3).max(0).tolist() == [255] * 3
    assert all((image == images[0]).all() for image in images)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "uint16", "int16", "int32", "float32"])
def test_dark_on_light_is_turned_round_in_numbers_of_every_kind(tmp_path: Path, dtype: str) -> None:
    grey = ((np.arange(54).reshape(6, 9) - 20) * 4).clip(0 if dtype[0] in "bu" else None)
    tifffile.imwrite(tmp_path / "x.tif", grey.astype(dtype), photometric="miniswhite")
    image = read_image(tmp_path / "x.tif")[..., 0].ravel().astype(int)
    assert (np.diff(image) <= 0).all()
    assert image[0] > image[-1]


def test_fewer_than_8_bits_are_spread_over_the_greys_of_an_image_alone(tmp_path: Path) -> None:
    # 4 bits, both of a byte's halves: 0, 1 .. 15
    for kind, expected in (("minisblack", 17), ("miniswhite", -17)):
        packed = np.array([[0x01, 0x23, 0x45, 0x67], [0x89, 0xAB, 0xCD, 0xEF]], np.uint8)
        tifffile.imwrite(
            tmp_path / "x.tif",
            packed.tobytes() and iter([packed.tobytes()]),
            shape=(2, 8),
            dtype=np.uint8,
            bitspersample=4,
            photometric=kind,
            metadata=None,
            compression="none",
        )
        image = read_image(tmp_path / "x.tif")[..., 0].ravel().astype(int)
        assert set(np.diff(image)) == {expected}
        if kind == "minisblack":
            assert read_mask(tmp_path / "x.tif").values.ravel().tolist() == list(range(16))


def test_a_colour_map_of_8_bits_has_the_colours_of_one_of_16(tmp_path: Path) -> None:
    indices = (np.arange(54).reshape(6, 9) % 3).astype(np.uint8)
    colours = np.zeros((3, 256), np.uint16)
    colours[:, 1], colours[:, 2] = (200, 0, 30), (0, 90, 255)
    for name, entries in (("8.tif", colours), ("16.tif", colours * 257)):
        tifffile.imwrite(tmp_path / name, indices, photometric="palette", colormap=entries)
        assert read_image(tmp_path / name)[0, :3].tolist() == [
            [0, 0, 0],
            [200, 0, 30],
            [0, 90, 255],
        ]
        assert read_mask(tmp_path / name).to_colours().values[0, 2] == 0x005AFF


def test_a_strip_that_is_missing_but_not_left_out_is_damage(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", IMAGE, photometric="rgb", rowsperstrip=3)
    with tifffile.TiffFile(tmp_path / "x.tif", mode="r+b") as file:
        file.pages.first.tags["StripByteCounts"].overwrite((81, 0))
    with pytest.raises(LimnerError, match="damaged: the file ends before its pixels do"):
        read_image(tmp_path / "x.tif")


@pytest.mark.parametrize(
    "options",
    [
        {"imagej": True},
        {"imagej": True, "truncate": True},
        {"metadata": None},
        {"metadata": {"axes": "ZYX"}, "truncate": True},
        {"metadata": None, "bigtiff": True, "byteorder": ">"},
        {"ome": True, "metadata": {"axes": "ZYX"}},
        {"volumetric": True, "tile": (1, 16, 16)},
    ],
)
def test_a_stack_whose_end_was_cut_off_is_damaged(tmp_path: Path, options: dict[str, Any]) -> None:
    stack = RNG.integers(0, 255, (5, 16, 16)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", stack, photometric="minisblack", **options)
    content = (tmp_path / "x.tif").read_bytes()
    (tmp_path / "x.tif").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(LimnerError, match=r"x\.tif is damaged"):
        for page in range(page_count(tmp_path / "x.tif")):
            read_image(tmp_path / "x.tif", page=page)


def test_a_volume_too_large_to_be_decoded_for_each_slice_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = np.zeros((4, 16, 16), np.uint8)
    tifffile.imwrite(
        tmp_path / "x.tif", volume, volumetric=True, tile=(1, 16, 16), photometric="minisblack"
    )
    monkeypatch.setattr(tiff_images, "MAX_VOLUME_BYTES", 1000)
    with pytest.raises(
        LimnerError, match=r"a volume of 4 slices and 1,024 bytes on one page\. Export a stack"
    ):
        read_image(tmp_path / "x.tif")


def test_claims_of_billions_of_slices_are_not_listed(tmp_path: Path) -> None:
    for depth, message in ((2**31, "a volume of 2,147,483,648 slices"), (2**9, "is damaged")):
        tifffile.imwrite(
            tmp_path / "x.tif",
            np.zeros((4, 16, 16), np.uint8),
            volumetric=True,
            tile=(1, 16, 16),
            photometric="minisblack",
        )
        with tifffile.TiffFile(tmp_path / "x.tif", mode="r+b") as file:
            file.pages.first.tags["ImageDepth"].overwrite(depth)
        with pytest.raises(LimnerError, match=message):
            read_image(tmp_path / "x.tif")
    tifffile.imwrite(
        tmp_path / "y.tif",
        np.zeros((16, 16), np.uint8),
        description='{"shape": [90000000, 16, 16]}',
    )
    with pytest.raises(LimnerError, match=r"y\.tif is damaged"):
        page_count(tmp_path / "y.tif")


def test_colours_of_another_kind_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", IMAGE, photometric="cielab")
    with pytest.raises(LimnerError, match="colours of the kind CIELAB"):
        read_image(tmp_path / "x.tif")


def test_colours_of_a_ycbcr_tiff_are_those_that_a_viewer_shows(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (200, 0, 0)).convert("YCbCr").save(tmp_path / "x.tif")
    assert np.abs(read_image(tmp_path / "x.tif")[0, 0].astype(int) - (200, 0, 0)).max() <= 3


def test_tiles_far_larger_than_their_image_are_not_decoded(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.zeros((16, 16, 3), np.uint8),
        tile=(8192, 8192),
        compression="zlib",
        photometric="rgb",
    )
    with pytest.raises(LimnerError, match="its tiles have 8192x8192 pixels, more than all of it"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("channels", [2, 4, 7])
def test_channels_that_are_no_colours_are_read_as_they_are(tmp_path: Path, channels: int) -> None:
    pixels = RNG.integers(0, 255, (6, 9, channels)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", pixels, photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif"), pixels)


@pytest.mark.parametrize("writer", ["imagej", "ome"])
def test_the_channels_of_a_microscope_are_those_of_one_image(tmp_path: Path, writer: str) -> None:
    planes = RNG.integers(0, 4000, (5, 6, 9)).astype(np.uint16)
    planes[3] *= 10
    for count in (3, 5):
        tifffile.imwrite(
            tmp_path / "x.tif", planes[5 - count :], **{writer: True}, metadata={"axes": "CYX"}
        )
        image = read_image(tmp_path / "x.tif")
        assert image.shape == (6, 9, count)
        assert page_count(tmp_path / "x.tif") == 1
        assert (
            image.reshape(-1, count).max(0).tolist() == [255] * count
            # Each channel fills its range
        )
    with pytest.raises(LimnerError, match=r"x\.tif holds 5 planes that it calls channels"):
        read_mask(tmp_path / "x.tif")


def test_a_fourth_band_is_kept_and_a_solid_alpha_is_not(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 255, (6, 9, 4)).astype(np.uint8)
    for solid, channels in ((False, 4), (True, 3)):
        pixels[..., 3] = 255 if solid else pixels[..., 3]
        tifffile.imwrite(
            tmp_path / "x.tif", pixels, photometric="rgb", extrasamples=["unspecified"]
        )
        assert read_image(tmp_path / "x.tif").shape == (6, 9, channels)


def test_a_stack_of_channels_is_as_many_images(tmp_path: Path) -> None:
    planes = RNG.integers(0, 255, (4, 2, 6, 9)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", planes, imagej=True, metadata={"axes": "ZCYX"})
    assert page_count(tmp_path / "x.tif") == 4
    np.testing.assert_array_equal(
        read_image(tmp_path / "x.tif", page=2), planes[2].transpose(1, 2, 0)
    )


@pytest.mark.alone
def test_pages_without_pixels_are_not_followed(tmp_path: Path) -> None:
    """In a damaged TIFF they may lead from one to the next for hours."""
    # A width, and nothing else
    page = struct.pack("<HHHII", 1, 256, 4, 1, 16)
    chain = b"".join(page + struct.pack("<I", 8 + 18 * (number + 1)) for number in range(200_000))
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", 8) + chain)
    start = time.monotonic()
    with pytest.raises(LimnerError, match=r"a\.tif is damaged"):
        read_image(tmp_path / "a.tif")
    assert time.monotonic() - start < 2
