"""How large the parts of the code are: files, functions, arguments, long lines.

python benchmarks/house.py [ROOT] [--over]

A function's length is counted without its docstring, an argument list without self and cls.
`--over` names each place that passes a limit. tests/test_house.py holds the limits.
"""

import argparse
import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

LINE, FILE, FUNCTION, MOST, ARGUMENTS = 100, 400, 40, 60, 6
SOURCES = (".py", ".js", ".css")


@dataclass(frozen=True)
class Function:
    """One function: where it is, how long it is without its docstring, and how many arguments it
    takes.
    """

    place: str
    lines: int
    arguments: int


def files(root: Path) -> list[Path]:
    """The source files below a folder."""
    found = (path for path in sorted(root.rglob("*")) if path.suffix in SOURCES)
    return [path for path in found if "__pycache__" not in path.parts]


def functions(path: Path) -> Iterator[Function]:
    """The functions of a Python file, nested ones too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        lines = (node.end_lineno or 0) - node.lineno + 1
        first = node.body[0]
        if ast.get_docstring(node) is not None and len(node.body) > 1:
            lines -= (first.end_lineno or 0) - first.lineno + 1
        every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        arguments = sum(argument.arg not in {"self", "cls"} for argument in every)
        yield Function(f"{path}:{node.lineno} {node.name}", lines, arguments)


def long_lines(path: Path) -> list[int]:
    """The numbers of the lines that are longer than the limit."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [number for number, line in enumerate(lines, start=1) if len(line) > LINE]


def main() -> None:
    """Print the table, and what is over a limit where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=Path("src/limner"))
    parser.add_argument("--over", action="store_true")
    arguments = parser.parse_args()
    paths = files(arguments.root)
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    every = [f for path in paths if path.suffix == ".py" for f in functions(path)]
    outside = [f for f in every if "/cli/" not in f.place]
    sizes = sorted(function.lines for function in every)
    wide = {path: long_lines(path) for path in paths}
    largest = max(lengths, key=lambda path: lengths[path])
    print(f"files                 {len(paths)}")
    print(f"lines                 {sum(lengths.values())}")
    print(f"file, median          {median(lengths.values()):g}")
    print(f"file, largest         {lengths[largest]} ({largest.name})")
    print(f"functions             {len(every)}")
    print(f"function, median      {median(sizes):g}")
    print(f"function, nine tenths {sizes[int(0.9 * len(sizes))]}")
    print(f"function, largest     {sizes[-1]}")
    print(
        f"arguments, most       {max(function.arguments for function in outside)} (outside the "
        "command line)"
    )
    print(
        f"over {ARGUMENTS} arguments      "
        f"{sum(function.arguments > ARGUMENTS for function in outside)}"
    )
    print(f"lines over {LINE}        {sum(map(len, wide.values()))}")
    if arguments.over:
        for path in paths:
            if lengths[path] > FILE:
                print(f"{path}: {lengths[path]} lines")
            for number in wide[path]:
                print(f"{path}:{number}: over {LINE} columns")
        for function in every:
            wide_list = function in outside and function.arguments > ARGUMENTS
            if function.lines > FUNCTION or wide_list:
                print(f"{function.place}: {function.lines} lines, {function.arguments} arguments")


if __name__ == "__main__":
    main()
