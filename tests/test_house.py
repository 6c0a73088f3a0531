"""The limits that the code keeps: the size of files, functions and lines, and the words it
avoids.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "benchmarks"))

import house  # noqa: E402

SOURCES = house.files(ROOT / "src" / "limner")
FUNCTIONS = [f for path in SOURCES if path.suffix == ".py" for f in house.functions(path)]


def test_no_file_is_longer_than_400_lines() -> None:
    long = [path.name for path in SOURCES if len(path.read_text().splitlines()) > house.FILE]
    assert not long


def test_no_line_is_longer_than_100_columns() -> None:
    tests = house.files(ROOT / "tests") + house.files(ROOT / "benchmarks")
    assert not [f"{path}:{line}" for path in SOURCES + tests for line in house.long_lines(path)]


def test_nine_of_ten_functions_have_40_lines_at_most_and_none_has_more_than_60() -> None:
    lengths = sorted(function.lines for function in FUNCTIONS)
    assert lengths[int(0.9 * len(lengths))] <= house.FUNCTION
    assert not [function.place for function in FUNCTIONS if function.lines > house.MOST]


def test_no_function_outside_the_command_line_takes_more_than_6_arguments() -> None:
    outside = (function for function in FUNCTIONS if "/cli/" not in function.place)
    assert not [f.place for f in outside if f.arguments > house.ARGUMENTS]


def test_lines_and_arguments_are_counted_without_docstring_and_self(tmp_path: Path) -> None:
    file = tmp_path / "long.py"
    body = "\n".join("    x = 1" for _ in range(70))
    file.write_text(f'def long(self, a, b, *, c):\n    """Doc."""\n{body}\n')
    (function,) = house.functions(file)
    assert (function.lines, function.arguments) == (71, 3)
