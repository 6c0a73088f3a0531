from collections.abc import Callable
from pathlib import Path
from unicodedata import normalize

import pytest

from dataset_folders import save_images
from limner.data.check import check
from limner.data.scan import scan
from limner.errors import LimnerError
from shapes import disc

KINDS = ("images", "masks")


def groups(root: Path, pattern: str = "") -> list[str | None]:
    return [sample.group for sample in scan(root, pattern).samples]


@pytest.fixture
def same_names(tmp_path: Path) -> Path:
    """Two images of one file name."""
    save_images(tmp_path, "images/p0/1.png", "masks/p0/1.png", "images/p1/1.png", "masks/p1/1.png")
    return tmp_path


@pytest.mark.parametrize("name", ["images/p0/1.png", "p0/1", "images/p0/1"])
def test_groups_csv_may_name_an_image_by_its_path_or_id(same_names: Path, name: str) -> None:
    (same_names / "groups.csv").write_text(f"image,group\n{name},Anna\n")
    assert groups(same_names) == ["Anna", None]


def test_a_file_name_of_two_images_is_ambiguous(same_names: Path) -> None:
    (same_names / "groups.csv").write_text("image,group\n1.png,Anna\n")
    with pytest.raises(LimnerError, match=r"line 2: several images bear the name '1\.png'"):
        scan(same_names)


def test_groups_csv_comes_before_the_pattern(pairs: Callable[..., Path]) -> None:
    root = pairs({name: disc() for name in ("anna_1", "anna_2", "bert_1", "odd")})
    assert groups(root, r"^([a-z]+)_") == ["anna", "anna", "bert", None]
    (root / "groups.csv").write_text("image,group\nodd.png,bert\n")
    assert groups(root, r"^([a-z]+)_") == ["anna", "anna", "bert", "bert"]


def test_a_pattern_without_parentheses_is_the_group(pairs: Callable[..., Path]) -> None:
    assert groups(pairs({"anna_1": disc(), "bert_1": disc()}), r"^[a-z]+") == ["anna", "bert"]


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [("(", "is not a regular expression"), ("[0-9]{9}", "matches no name, such as a")],
)
def test_a_pattern_that_cannot_be_used_says_why(
    pairs: Callable[..., Path], pattern: str, complaint: str
) -> None:
    with pytest.raises(LimnerError, match=complaint):
        scan(pairs({"a": disc()}), pattern)


def test_a_table_in_another_encoding_is_named(pairs: Callable[..., Path]) -> None:
    root = pairs({"a": disc()})
    (root / "groups.csv").write_bytes(b"image,group\na.png,Jos\xe9\n")
    with pytest.raises(LimnerError, match=r"groups\.csv cannot be read.*table in UTF-8"):
        scan(root)


def test_groups_csv_without_any_pair_is_no_error(tmp_path: Path) -> None:
    save_images(tmp_path, "images/a.png", "masks/b.png")
    (tmp_path / "groups.csv").write_text("image,group\na.png,Anna\n")
    assert [finding.code for finding in check(scan(tmp_path)).findings] == [
        "missing-image",
        "missing-mask",
        "no-pairs",
    ]


def test_images_in_no_group_are_noted_where_others_have_one(pairs: Callable[..., Path]) -> None:
    root = pairs({name: disc(radius=3 + i) for i, name in enumerate(("anna-1", "anna-2", "Ben_1"))})
    findings = check(scan(root, "^([a-z]+)-")).findings
    (ungrouped,) = (finding for finding in findings if finding.code == "ungrouped")
    assert "1 image is in no group" in ungrouped.message
    assert ungrouped.file.endswith("Ben_1.png")


@pytest.mark.parametrize(
    "name", [r"images\p0\1.png", r"D:\set\images\p0\1.png", "https://example.org/images/p0/1.png?v"]
)
def test_groups_csv_may_have_paths_of_other_machines(same_names: Path, name: str) -> None:
    (same_names / "groups.csv").write_text(f"image,group\n{name},Anna\n")
    assert groups(same_names) == ["Anna", None]


def test_groups_csv_may_write_accents_in_another_form(tmp_path: Path) -> None:
    save_images(tmp_path, *(f"{folder}/{normalize('NFD', 'zoë')}.png" for folder in KINDS))
    (tmp_path / "groups.csv").write_text(f"image,group\n{normalize('NFC', 'zoë')},Anna\n")
    assert groups(tmp_path) == ["Anna"]
    (tmp_path / "groups.csv").write_text(f"image,group\n{normalize('NFD', 'zoë')},Anna\n")
    assert groups(tmp_path) == ["Anna"]
