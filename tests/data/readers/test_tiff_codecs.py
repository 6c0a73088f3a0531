from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from limner.data.images import read_mask
from limner.errors import LimnerError
from shapes import disc

MASK = disc(64, value=3, radius=20)


def write(path: Path, pixels: np.ndarray, codec: str, **options: Any) -> Path:
    tifffile.imwrite(
        path,
        pixels,
        compression=codec,
        compressionargs=options,
        photometric="rgb" if pixels.ndim == 3 else "minisblack",
    )
    return path


@pytest.mark.parametrize(
    ("compression", "options", "is_lossy"),
    [
        ("jpeg", {"level": 100}, True),
        ("jpeg", {"lossless": True}, False),
        ("jpegxl", {"level": 80}, True),
        ("jpegxl", {"distance": 1.0}, True),
        ("jpegxl", {"lossless": True}, False),
        ("jpeg2000", {"level": 40, "reversible": False}, True),
        ("jpeg2000", {"reversible": True}, False),
        ("webp", {"level": 60, "lossless": False}, True),
        ("webp", {"lossless": True}, False),
        ("lerc", {"level": 2.0}, True),
        ("lerc", {"level": 0.0}, False),
        ("lerc", {"level": 2.0, "compression": "zstd"}, True),
        ("lerc", {"level": 0.0, "compression": "deflate"}, False),
        ("zlib", {}, False),
        ("png", {}, False),
    ],
)
def test_a_mask_whose_codec_changed_values_is_lossy(
    tmp_path: Path, compression: str, options: dict[str, Any], is_lossy: bool
) -> None:
    pixels = np.dstack([MASK] * 3) if compression == "webp" else MASK
    path = write(tmp_path / "m.tif", pixels, compression, **options)
    try:
        mask = read_mask(path)
    except LimnerError as error:
        # Colours of a lossy WebP are no longer grey
        assert is_lossy, error
        return
    names = {"webp": "lossy WebP", "jpegxl": "lossy JPEG XL"}
    names |= {"jpeg2000": "lossy JPEG 2000", "lerc": "lossy LERC"}
    assert mask.lossy_codec == (names.get(compression, "JPEG") if is_lossy else "")
    assert is_lossy or (mask.values == MASK).all()


@pytest.mark.parametrize(("level", "is_lossy"), [(0.0, False), (0.01, True)])
def test_floats_in_lerc_are_exact_only_without_an_error(
    tmp_path: Path, level: float, is_lossy: bool
) -> None:
    path = write(tmp_path / "m.tif", MASK.astype(np.float32), "lerc", level=level)
    assert read_mask(path).lossy == is_lossy


@pytest.mark.parametrize("shape", [(64, 64), (64, 96), (30, 700), (256, 256), (5, 9)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_jpeg_xl_of_any_size_and_depth_is_known_by_its_header(
    tmp_path: Path, shape: tuple[int, int], dtype: str
) -> None:
    values = np.random.default_rng(0).integers(0, 9, shape).astype(dtype)
    for options, is_lossy in (({"lossless": True}, False), ({"distance": 2.0}, True)):
        path = write(tmp_path / "m.tif", values, "jpegxl", **options)
        assert read_mask(path).lossy == is_lossy
