from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from limner.data.resize_ceiling import ResizeCeiling
from limner.data.scan import scan
from limner.labels import Labels
from shapes import disc

BINARY = Labels.from_values(("background", "foreground"), (0, 255))


def test_the_ceiling_rises_with_the_size_and_is_1_at_the_masks_own(
    pairs: Callable[..., Path],
) -> None:
    samples = scan(pairs({f"m{i}": disc(96, radius=20 + i) for i in range(6)})).samples
    ceiling = ResizeCeiling(samples, BINARY)
    ceilings = [ceiling((side, side), "resize")["foreground"] for side in (8, 16, 32, 48, 96)]
    assert ceilings == sorted(ceilings)
    assert ceilings[0] < 0.97 and ceilings[-1] == 1.0


def test_a_thin_line_is_lost_before_a_disc(pairs: Callable[..., Path]) -> None:
    line = np.zeros((96, 96), np.uint8)
    line[:, 40] = 2
    samples = scan(
        pairs({f"m{i}": np.maximum(line, disc(96, value=1, radius=25 + i)) for i in range(3)})
    ).samples
    labels = Labels.from_values(("background", "disc", "line"), (0, 1, 2))
    ceiling = ResizeCeiling(samples, labels)((32, 32), "resize")
    assert ceiling["line"] < 0.5 < 0.9 < ceiling["disc"]


def test_a_class_that_no_mask_has_is_left_out(pairs: Callable[..., Path]) -> None:
    samples = scan(pairs({"m": disc(20)})).samples
    labels = Labels.from_values(("background", "foreground", "vein"), (0, 255, 7))
    ceiling = ResizeCeiling(samples, labels)((20, 20), "resize")
    assert ceiling == {"foreground": pytest.approx(1.0)}


def test_a_second_size_reads_no_mask_again(pairs: Callable[..., Path]) -> None:
    root = pairs({f"m{i}": disc(96, radius=20 + i) for i in range(6)})
    samples = scan(root).samples
    ceiling = ResizeCeiling(samples, BINARY)
    ceiling((16, 16), "resize")
    expected = ResizeCeiling(samples, BINARY)((32, 32), "resize")
    for sample in samples:
        assert isinstance(sample.mask, Path)
        sample.mask.unlink()
    assert ceiling((32, 32), "resize") == expected
