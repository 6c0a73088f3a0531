from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import disc
from limner.data.cache import cache_home, prepare
from limner.data.folder import scan
from limner.data.images import read_image, resize
from limner.errors import LimnerError
from limner.labels import detect_labels

LABELS = detect_labels({0, 255})


def test_the_cache_holds_what_preprocessing_makes(lesions: Path) -> None:
    samples = scan(lesions).samples
    data = prepare(samples, LABELS, (16, 24))
    assert data.images.shape == (24, 16, 24, 3)
    assert (data.images[3] == resize(read_image(samples[3].image), (16, 24))).all()
    assert set(np.unique(data.masks)) == {0, 1}


def test_the_second_call_decodes_nothing(lesions: Path) -> None:
    samples = scan(lesions).samples
    prepare(samples, LABELS, (16, 16))
    before = {path: path.stat().st_mtime_ns for path in cache_home().rglob("*")}
    prepare(samples, LABELS, (16, 16))
    assert {path: path.stat().st_mtime_ns for path in cache_home().rglob("*")} == before


def test_a_changed_file_is_prepared_again(pairs: Callable[..., Path]) -> None:
    root = pairs({"a": disc()})
    samples = scan(root).samples
    first = np.array(prepare(samples, LABELS, (16, 16)).images)
    Image.new("RGB", (16, 16), (1, 2, 3)).save(root / "images" / "a.png")
    assert (np.array(prepare(samples, LABELS, (16, 16)).images) != first).any()


def test_a_failed_preparation_leaves_nothing_behind(pairs: Callable[..., Path]) -> None:
    root = pairs({"a": disc(), "b": disc()})
    samples = scan(root).samples
    (root / "images" / "b.png").write_text("broken")
    with pytest.raises(LimnerError, match=r"b\.png"):
        prepare(samples, LABELS, (16, 16))
    assert list(cache_home().iterdir()) == []
