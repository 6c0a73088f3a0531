from pathlib import Path

import numpy as np
import pytest
from jaxtyping import Bool, UInt8
from numpy import ndarray
from PIL import Image

from limner.data.synthetic import draw_lesion, write_synthetic
from limner.errors import LimnerError


def otsu_dice(image: UInt8[ndarray, "h w 3"], mask: Bool[ndarray, "h w"]) -> float:
    """The Dice of Otsu's threshold (doi:10.1109/TSMC.1979.4310076) with dark as lesion."""
    grey = np.asarray(Image.fromarray(image).convert("L"))
    counts = np.bincount(grey.ravel(), minlength=256).astype(np.float64)
    below, sums = np.cumsum(counts), np.cumsum(counts * np.arange(256))
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    dark = grey <= np.nanargmax(between)
    return float(2 * (dark & mask).sum() / max(dark.sum() + mask.sum(), 1))


def test_an_image_depends_on_seed_and_number_alone() -> None:
    first, again, other = draw_lesion(0, 3, 48), draw_lesion(0, 3, 48), draw_lesion(1, 3, 48)
    assert (first[0] == again[0]).all() and (first[1] == again[1]).all()
    assert (first[0] != other[0]).any()


def test_the_mask_is_exact_and_neither_empty_nor_full() -> None:
    for index in range(20):
        mask = draw_lesion(0, index, 48)[1]
        assert set(np.unique(mask)) == {0, 255}


def test_a_threshold_fails_on_it() -> None:
    scores = [
        otsu_dice(image, mask > 0)
        for image, mask in (draw_lesion(0, index, 96) for index in range(40))
    ]
    assert np.mean(scores) < 0.80


def test_a_folder_in_use_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").touch()
    with pytest.raises(LimnerError, match="not empty"):
        write_synthetic(tmp_path, 8, 32, 0)


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LimnerError, match="At least 4"):
        write_synthetic(tmp_path / "new", 2, 32, 0)
