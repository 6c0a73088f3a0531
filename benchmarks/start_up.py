"""How long a command takes that predicts one image, and what its imports take.

    python benchmarks/start_up.py MODEL.safetensors MODEL.onnx IMAGE [--before SRC] [--rounds 5]

Each command is a process of its own, from its start to its end. The first `predict` of a
model.safetensors on a machine exports it, and keeps that: the row "first" has an empty cache, the
row "then" has what was kept. SRC is the `src` folder of an earlier build. All run in turn, and the
medians are printed. Then the seconds that each library's own modules took to import, by
`python -X importtime`.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median

MOST_LIBRARIES = 8
IMPORTED = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+([\w.]+)")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("exported", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--before", type=Path, metavar="SRC")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    builds = {"now": Path(__file__).resolve().parent.parent / "src"}
    if arguments.before:
        builds["before"] = arguments.before
    commands = {
        "--help": ["--help"],
        "first predict, .safetensors": ["predict", arguments.model, arguments.image],
        "then predict, .safetensors": ["predict", arguments.model, arguments.image],
        "first predict, .onnx": ["predict", arguments.exported, arguments.image],
        "then predict, .onnx": ["predict", arguments.exported, arguments.image],
    }
    seconds: dict[tuple[str, str], list[float]] = {}
    for _ in range(arguments.rounds):
        for build, source in builds.items():
            with tempfile.TemporaryDirectory() as cache:
                for name, command in commands.items():
                    took, _ = run([*map(str, command)], source, cache)
                    seconds.setdefault((name, build), []).append(took)
    print(f"| command | {' | '.join(f'{build}, s' for build in builds)} |")
    print("|---|" + "---|" * len(builds))
    for name in commands:
        print(f"| {name} | {' | '.join(f'{median(seconds[name, b]):.2f}' for b in builds)} |")
    with tempfile.TemporaryDirectory() as cache:
        for name, command in commands.items():
            _, report = run([*map(str, command)], builds["now"], cache, "-X", "importtime")
            print(f"{name}: {describe_imports(report)}")


def run(command: list[str], source: Path, cache: str, *options: str) -> tuple[float, str]:
    """Run a command of limner; return its seconds and what it wrote to stderr."""
    with tempfile.TemporaryDirectory() as out:
        where = ["--out", f"{out}/masks"] if command[0] == "predict" else []
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *options, "-m", "limner", *command, *where],
            env={
                **os.environ,
                "PYTHONPATH": str(source),
                "LIMNER_CACHE": cache,
                # Else each command would compile its modules anew
                "PYTHONDONTWRITEBYTECODE": "",
            },
            check=True,
            capture_output=True,
            text=True,
        )
        return time.perf_counter() - started, done.stderr


def describe_imports(report: str) -> str:
    """The libraries whose own modules took longest, such as "torch 1.20 s, numpy 0.10 s"."""
    library_us: Counter[str] = Counter()
    for match in IMPORTED.finditer(report):
        library_us[match[2].partition(".")[0]] += int(match[1])
    return ", ".join(
        f"{name} {us / 1e6:.2f} s" for name, us in library_us.most_common(MOST_LIBRARIES)
    )


if __name__ == "__main__":
    main()
