import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from limner.data.sample import Sample
from limner.data.split_record import SplitRecord, image_content, read_contents


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "abcd":
        (tmp_path / f"{name}.png").write_text(f"the pixels of {name}")
    return tmp_path


def samples(folder: Path, names: str = "abcd", **fields: int) -> list[Sample]:
    return [
        Sample(name, folder / f"{name}.png", folder / f"{name}.png", **fields) for name in names
    ]


def record(folder: Path) -> SplitRecord:
    ids = {"train": ["a", "b"], "val": ["c"], "test": ["d"]}
    return SplitRecord(ids, read_contents(samples(folder)))


def sides(record: SplitRecord, members: list[Sample]) -> dict[str, str]:
    """The ids of each side that has some."""
    assigned = record.assign(members, read_contents(members))
    return {side: "".join(s.id for s in group) for side, group in assigned.items() if group}


def test_a_folder_that_is_as_it_was_is_split_as_it_was(folder: Path) -> None:
    assert sides(record(folder), samples(folder)) == {"train": "ab", "val": "c", "test": "d"}


def test_an_image_of_the_same_name_and_other_content_is_new(folder: Path) -> None:
    known = record(folder)
    (folder / "d.png").write_text("of another patient")
    assert sides(known, samples(folder)) == {"train": "ab", "val": "c", "new": "d"}


def test_an_image_is_known_under_another_name(folder: Path) -> None:
    known = record(folder)
    (folder / "d.png").rename(folder / "e.png")
    assert sides(known, samples(folder, "abce"))["test"] == "e"


def test_a_copy_of_what_was_trained_on_counts_as_trained_on(folder: Path) -> None:
    shutil.copy(folder / "a.png", folder / "d.png")
    known = record(folder)
    (folder / "d.png").rename(folder / "z.png")
    assert sides(known, samples(folder, "az"))["train"] == "az"


def test_two_names_of_one_image_that_lie_in_two_splits_keep_them(folder: Path) -> None:
    shutil.copy(folder / "a.png", folder / "d.png")
    assert sides(record(folder), samples(folder)) == {"train": "ab", "val": "c", "test": "d"}


def test_a_record_of_names_alone_goes_by_names(folder: Path) -> None:
    known = SplitRecord({"train": ["a"], "val": ["b"], "test": ["c"]})
    (folder / "c.png").write_text("changed")
    expected = {"train": "a", "val": "b", "test": "c", "new": "d"}
    assert sides(known, samples(folder)) == expected


def test_the_pages_of_one_file_are_several_images(folder: Path) -> None:
    first, second = (samples(folder, "a", page=page, pages=2)[0] for page in (0, 1))
    assert image_content(first, b"1") != image_content(second, b"1")


def test_a_file_that_is_gone_has_no_content(folder: Path) -> None:
    (folder / "b.png").unlink()
    assert read_contents(samples(folder)).keys() == {"a", "c", "d"}


def test_what_an_earlier_model_was_trained_on_is_not_new(folder: Path) -> None:
    known = record(folder)
    next_one = SplitRecord({"train": ["a"], "val": ["b"]}, read_contents(samples(folder, "ab")))
    assert sides(next_one, samples(folder))["new"] == "cd"
    after = replace(next_one, earlier=sorted(known.seen_contents()))
    assert sides(after, samples(folder)) == {"train": "ac", "val": "b", "new": "d"}
    assert after.seen_contents() == known.seen_contents()
