from pathlib import Path

import pytest

from dataset_folders import save_images
from limner.data.check import check
from limner.data.scan import scan
from limner.errors import LimnerError


@pytest.mark.parametrize(
    ("suffix", "content", "name"),
    [
        (".json", "{}", "JSON of no tool that limner knows. Export it as PNG, or all of them"),
        (".txt", "0 0.5 0.5 0.1 0.1", "a text of boxes, as YOLO has for detection. A box has no"),
        (".txt", "hello", "a text. Export a mask image"),
        (".xml", "<annotation/>", "a file with the suffix .xml. Export it as PNG"),
    ],
)
def test_annotations_beside_their_images_are_named(
    tmp_path: Path, suffix: str, content: str, name: str
) -> None:
    save_images(tmp_path, "a.jpg", "b.jpg")
    for stem in ("a", "b"):
        (tmp_path / stem).with_suffix(suffix).write_text(content)
    assert scan(tmp_path).layout == "images beside annotations that are not read"
    (error,) = check(scan(tmp_path)).errors
    assert error.message.startswith(
        f"2 masks are in a format that is not read. {tmp_path}/a{suffix}, the mask of "
        f"{tmp_path}/a.jpg, is {name}"
    )


def test_a_text_beside_one_of_many_images_is_no_annotation(tmp_path: Path) -> None:
    save_images(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    (tmp_path / "a.txt").touch()
    with pytest.raises(LimnerError, match="in no layout"):
        scan(tmp_path)
