from pathlib import Path

import pytest

from limner.data.tables import lower_case_columns, read_json_object, read_lines, read_table
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


@pytest.mark.parametrize("text", ["[1]", "{", "", "[" * 100_000])
def test_a_file_without_a_json_object_holds_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    assert read_json_object(tmp_path / "x.json") == {}
