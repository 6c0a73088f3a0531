import os
from pathlib import Path

import pytest

from limner.data.tables import (
    lower_case_columns,
    read_column_names,
    read_json_object,
    read_lines,
    read_table,
)
from limner.errors import LimnerError


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_columns_are_separated_by_any_of_three_characters(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"Image {delimiter}Group\n a.png{delimiter}\n", encoding="utf-8-sig")
    assert read_table(path) == [{"Image": "a.png", "Group": ""}]
    assert lower_case_columns(read_table(path)) == [{"image": "a.png", "group": ""}]


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(LimnerError, match=r"none\.csv cannot be read"):
        read_table(tmp_path / "none.csv")


def test_empty_lines_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(" a \r\n\r\nb", encoding="utf-8-sig")
    assert read_lines(tmp_path / "list.txt") == ["a", "b"]


def test_a_text_in_utf_16_is_read_by_its_mark(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\u00e9\nb", encoding="utf-16")
    (tmp_path / "table.csv").write_text("A,b\n\u00e9,2\n", encoding="utf-16")
    assert read_lines(tmp_path / "list.txt") == ["\u00e9", "b"]
    assert read_table(tmp_path / "table.csv") == [{"A": "\u00e9", "b": "2"}]
    assert read_column_names(tmp_path / "table.csv") == ["a", "b"]


def test_column_names_are_read_below_comments_and_in_any_coding(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(b"# Jos\xe9\nImage;Jos\xe9\n")
    assert read_column_names(tmp_path / "table.csv") == ["image", "jos\ufffd"]
    (tmp_path / "empty.csv").touch()
    assert read_column_names(tmp_path / "empty.csv") == []


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert read_column_names(tmp_path / "pipe") == []
    assert read_json_object(tmp_path / "pipe") == {}
    for read in (read_lines, read_table):
        with pytest.raises(LimnerError, match="cannot be read: it is not a file"):
            read(tmp_path / "pipe")


@pytest.mark.parametrize("text", ["[1]", "{", "", "[" * 100_000])
def test_a_file_without_a_json_object_holds_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    assert read_json_object(tmp_path / "x.json") == {}
