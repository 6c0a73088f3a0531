"""How often `limner train` opens and reads each file of a dataset, counted by the kernel.

python benchmarks/reads.py DATA [--set KEY=VALUE ...] [--json]

It needs Linux and strace. For images and for masks it prints how often a file is opened, and how
many times its size is read in all. A header that is read from a file's first bytes counts as the
share of the file that it is. Validation files are read more often than the others: they choose how
the model is used.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

SETTINGS = ("train.device=cpu", "train.compile=false", "train.epochs=1", "model.widths=[4,8]")
SIZE = "data.size_px=[32,32]"
"""Unless --set gives a size, or `--set plan` lets the plan choose it."""
CALL = re.compile(
    r"(openat|read|pread64|readv|preadv|preadv2|mmap)\("
    r"(?:AT_FDCWD(?:<[^>]*>)?, \"([^\"]+)\"|(?:NULL, \d+, [A-Z_|]+, [A-Z_|]+, )?\d+<([^>]+)>)"
    r".* = (\d+)"
)


class Reading(NamedTuple):
    """A successful call on one file: its name, the file, and how many bytes were read."""

    name: str
    path: str
    read_bytes: int


def main() -> None:
    """Run one training under strace and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    chosen = [setting for setting in arguments.settings if setting != "plan"]
    if "plan" not in arguments.settings and not any("data.size_px" in each for each in chosen):
        chosen.append(SIZE)
    opened, read = count_reads(arguments.data.resolve(), [*SETTINGS, *chosen])
    rows = {
        kind: summarise(
            [path for path in opened if is_mask(path) == (kind == "masks")], opened, read
        )
        for kind in ("images", "masks")
    }
    if arguments.json:
        print(json.dumps(rows))
    else:
        print("\n".join(f"{kind}: {row}" for kind, row in rows.items()))


def is_mask(path: str) -> bool:
    """Whether a file of the dataset is a mask, by its name."""
    return "mask" in path.lower() or "GroundTruth" in path


def summarise(
    files: Sequence[str], opened: Counter[str], read: Counter[str]
) -> dict[str, int | float]:
    """How often these files are opened, and how often their size is read."""
    shares = [read[path] / max(1, Path(path).stat().st_size) for path in files]
    return {
        "files": len(files),
        "opened_median": median([opened[path] for path in files] or [0]),
        "read_whole_median": round(median(shares or [0]), 2),
        "read_whole_most": round(max(shares, default=0), 2),
    }


def count_reads(root: Path, settings: Sequence[str]) -> tuple[Counter[str], Counter[str]]:
    """How often each file below a folder was opened, and how many bytes of it were read."""
    opened, read = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as temporary:
        for call in trace_training(root, settings, Path(temporary)):
            if call.name == "mmap":
                sys.exit(f"{call.path} is mapped into memory, which this script cannot count")
            if call.name == "openat":
                opened[call.path] += 1
            else:
                read[call.path] += call.read_bytes
    return opened, read


def trace_training(root: Path, settings: Sequence[str], temporary: Path) -> Iterator[Reading]:
    """Train once, and give the calls of every process and thread on files below a folder."""
    log = temporary / "strace"
    # A file for each thread, so that no line is cut in two by another thread's
    strace = ["strace", "-ff", "-y", "-s", "0", "-o", str(log)]
    strace += ["-e", "trace=openat,read,pread64,readv,preadv,preadv2,mmap"]
    train = [sys.executable, "-m", "limner", "train", str(root), "--out", str(temporary / "run")]
    train += [part for setting in settings for part in ("--set", setting)]
    environment = {**os.environ, "LIMNER_CACHE": str(temporary / "cache")}
    subprocess.run([*strace, *train], env=environment, check=True, stdout=subprocess.DEVNULL)
    for part in sorted(temporary.glob("strace.*")):
        for line in part.open(errors="replace"):
            match = CALL.search(line)
            path = (match[2] or match[3]) if match else None
            if match and path and path.startswith(f"{root}/") and Path(path).is_file():
                # The result of mmap is an address
                read_bytes = 0 if match[1] == "mmap" else int(match[4])
                yield Reading(match[1], path, read_bytes)


if __name__ == "__main__":
    main()
