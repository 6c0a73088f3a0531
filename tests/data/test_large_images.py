import logging
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from limner.data import large_images
from limner.data.large_images import ArrayImage, downsample, open_large_image
from limner.data.resize import resize_image
from limner.data.tiled_tiff import TiledTiff


def test_only_large_tiffs_are_read_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((90, 131), np.uint8))
    (tmp_path / "b.tif").write_bytes(b"nonsense")
    assert (
        open_large_image(path)
        is open_large_image(tmp_path / "b.tif")
        is open_large_image(tmp_path / "c.png")
        is None
    )
    monkeypatch.setattr(large_images, "LARGE_PIXELS", 1000)
    assert isinstance(open_large_image(path), TiledTiff)


@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 40))
def test_shrinking_by_bands_is_shrinking_at_once(height: int, width: int, h: int, w: int) -> None:
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)
    with mock.patch.object(large_images, "BAND_PIXELS", 13 * width):
        small = downsample(ArrayImage(image), (h, w))
    assert small.shape == (h, w, 3)
    assert np.abs(small.astype(int) - resize_image(image, (h, w))).max() <= 1


def test_tifffile_says_nothing_of_a_damaged_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((20, 20), np.uint8))
    content = (tmp_path / "x.tif").read_bytes()
    (tmp_path / "x.tif").write_bytes(content[:120])
    logging.getLogger("tifffile").setLevel(logging.NOTSET)
    assert open_large_image(tmp_path / "x.tif") is None
    assert caplog.records == []
