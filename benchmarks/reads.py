"""How often `limner train` opens and reads each file of a dataset, counted by the kernel (strace,
Linux).

python benchmarks/reads.py DATA [--json]

Prints for images and for masks: how often a file is opened, and how many times its size is read in
all. A header that is read from a file's first bytes counts as the share of the file that it is.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from statistics import median

SETTINGS = (
    "train.device=cpu",
    "train.compile=false",
    "train.epochs=1",
    "data.size_px=[32,32]",
    "model.widths=[4,8]",
)
CALL = re.compile(
    r"(openat|read|pread64)\((?:AT_FDCWD(?:<[^>]*>)?, \"([^\"]+)\"|\d+<([^>]+)>).*= (\d+)"
)


def main() -> None:
    """Run one training under strace and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    root = arguments.data.resolve()
    opened, read = count(root)
    rows = {}
    for kind, is_mask in (("images", False), ("masks", True)):
        files = [
            path for path in opened if ("mask" in path.lower() or "GroundTruth" in path) == is_mask
        ]
        shares = [read[path] / max(1, Path(path).stat().st_size) for path in files]
        rows[kind] = {
            "files": len(files),
            "opened_median": median([opened[path] for path in files] or [0]),
            "read_whole_median": round(median(shares or [0]), 2),
            "read_whole_most": round(max(shares, default=0), 2),
        }
    print(
        json.dumps(rows)
        if arguments.json
        else "\n".join(f"{kind}: {row}" for kind, row in rows.items())
    )


def count(root: Path) -> tuple[Counter[str], Counter[str]]:
    """How often each file below a folder was opened, and how many bytes of it were read."""
    opened, read = Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as temporary:
        log = Path(temporary) / "strace"
        settings = [part for setting in SETTINGS for part in ("--set", setting)]
        command = [
            "strace",
            "-ff",
            "-y",
            "-s",
            "0",
            "-e",
            "trace=openat,read,pread64",
            "-o",
            str(log),
        ]
        command += [
            sys.executable,
            "-m",
            "limner",
            "train",
            str(root),
            *settings,
            "--out",
            str(Path(temporary) / "run"),
        ]
        environment = {**os.environ, "LIMNER_CACHE": str(Path(temporary) / "cache")}
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        lines = (
            line
            for part in sorted(log.parent.glob("strace.*"))
            for line in part.open(errors="replace")
        )
        for line in lines:
            match = CALL.search(line)
            path = (match[2] or match[3]) if match else None
            if (
                match is None
                or path is None
                or not path.startswith(str(root))
                or not Path(path).is_file()
            ):
                continue
            if match[1] == "openat":
                opened[path] += 1
            else:
                read[path] += int(match[4])
    return opened, read


if __name__ == "__main__":
    main()
