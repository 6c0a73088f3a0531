from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conftest import disc
from limner.data.folder import scan
from limner.data.health import check, require_sound
from limner.errors import LimnerError


def codes(root: Path) -> dict[str, str]:
    return {finding.code: finding.severity for finding in check(scan(root)).findings}


def test_a_sound_set_has_no_finding(lesions: Path) -> None:
    health = check(scan(lesions))
    assert health.findings == ()
    assert len(health.facts) == 24
    assert require_sound(health).binary


def test_independent_problems_are_reported_together(pairs: Callable[..., Path]) -> None:
    root = pairs({name: disc() for name in "abcdef"} | {"empty": np.zeros((16, 16), np.uint8), "full": np.full((16, 16), 255, np.uint8)})
    (root / "masks" / "a.png").unlink()
    (root / "images" / "b.png").unlink()
    (root / "images" / "c.png").write_text("broken")
    (root / "masks" / "d.png").write_bytes((root / "masks" / "d.png").read_bytes()[:60])
    Image.fromarray(disc(20)).save(root / "masks" / "e.png")
    Image.new("RGB", (16, 16), (9, 9, 9)).save(root / "images" / "f.png")
    assert codes(root) == {
        "missing-mask": "error",
        "missing-image": "error",
        "unreadable-image": "error",
        "unreadable-mask": "error",
        "size-differs": "error",
        "blank-image": "warning",
        "empty-mask": "warning",
        "full-mask": "warning",
    }


def test_a_size_that_differs_names_both_sizes_and_the_cure(pairs: Callable[..., Path]) -> None:
    root = pairs({"a": disc()})
    Image.fromarray(disc(20)[:, :10]).save(root / "masks" / "a.png")
    (finding,) = check(scan(root)).errors
    assert "is 10x20 but its image is 16x16" in finding.message
    assert "export this mask again" in finding.message


def test_a_transposed_mask_is_recognised(pairs: Callable[..., Path]) -> None:
    root = pairs({"a": disc(20)[:, :10]})
    Image.fromarray(disc(20)[:10]).save(root / "masks" / "a.png")
    assert "transposed" in check(scan(root)).errors[0].message


def test_masks_without_any_foreground_are_an_error(pairs: Callable[..., Path]) -> None:
    assert codes(pairs({name: np.zeros((16, 16), np.uint8) for name in "ab"}))["absent-class"] == "error"


def test_mask_values_that_are_no_coding_are_an_error(pairs: Callable[..., Path]) -> None:
    assert codes(pairs({"a": np.arange(256, dtype=np.uint8).reshape(16, 16)})) == {"mask-values": "error"}


def test_two_files_of_one_name_are_an_error(pairs: Callable[..., Path]) -> None:
    root = pairs({"a": disc()})
    Image.new("RGB", (16, 16)).save(root / "images" / "a.jpg")
    assert codes(root)["same-name"] == "error"


def test_a_folder_without_pairs_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    assert codes(tmp_path) == {"no-pairs": "error"}


def test_an_unsound_set_is_not_trained_on(pairs: Callable[..., Path]) -> None:
    root = pairs({"a": disc(), "b": disc()})
    (root / "masks" / "a.png").unlink()
    with pytest.raises(LimnerError, match=r"1 error:\n.*has no mask"):
        require_sound(check(scan(root)))
