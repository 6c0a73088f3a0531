"""What each way to install limner takes: seconds, megabytes, and what works afterwards.

Each is installed into a new environment, without a cache, from a wheel of this checkout. Then the
commands that it is for are run on the sample set.

python benchmarks/install.py --work /tmp/install --cpu-torch torch==2.13.0
"""

import argparse
import csv
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ("sample lesions", "check lesions")
TRAIN = (*SAMPLE, "train lesions --minutes 1", "predict runs/lesions lesions -o masks")
WAYS: dict[str, tuple[str, bool, Sequence[str]]] = {
    "limner": ("", False, SAMPLE),
    "limner[serve]": ("[serve]", False, SAMPLE),
    "limner[review]": ("[review]", False, SAMPLE),
    "limner[train], torch for processors": ("[train]", True, TRAIN),
    "limner[studio], torch for processors": ("[studio]", True, TRAIN),
    "limner[all], torch for processors": ("[all]", True, TRAIN),
    "limner[all]": ("[all]", False, TRAIN),
}
"""The extra, whether PyTorch's build for processors is installed first, and what is run."""
COLUMNS = ("way", "install_s", "size_mb", "packages", "first_mask_s", "python")


def main() -> None:
    """Install in each way that the table does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--csv", type=Path, default=ROOT / "benchmarks" / "install.csv")
    parser.add_argument("--cpu-torch", default="torch", help="how pip finds the smaller build")
    parser.add_argument("--only", nargs="*", default=list(WAYS))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    wheel = build_wheel(options.work)
    done = read_done(options.csv)
    for way in options.only:
        if way in done:
            continue
        extra, on_cpu, commands = WAYS[way]
        torch = options.cpu_torch if on_cpu else None
        row = install(options.work / "environment", f"{wheel}{extra}", torch)
        first = run_commands(options.work / "environment", options.work / "user", commands)
        append(options.csv, [way, *row, first, sys.version.split()[0]])


def build_wheel(work: Path) -> Path:
    """A wheel of this checkout."""
    folder = work / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(environment: Path, what: str, torch: str | None) -> list[object]:
    """Seconds, megabytes and the number of packages of a new environment."""
    shutil.rmtree(environment, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    empty = size_mb(environment)
    began = time.monotonic()
    python = environment / "bin" / "python"
    if torch:
        pip(python, "install", "--no-cache-dir", torch)
    pip(python, "install", "--no-cache-dir", what)
    seconds = time.monotonic() - began
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format", "freeze"], check=True, capture_output=True
    )
    packages = len(listed.stdout.splitlines())
    return [round(seconds), round(size_mb(environment) - empty), packages]


def run_commands(environment: Path, user: Path, commands: Sequence[str]) -> int:
    """Run commands in a new folder; the seconds of all of them."""
    shutil.rmtree(user, ignore_errors=True)
    user.mkdir()
    began = time.monotonic()
    for command in commands:
        subprocess.run(
            [environment / "bin" / "limner", *command.split()],
            cwd=user,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    return round(time.monotonic() - began)


def pip(python: object, *arguments: object) -> None:
    """Run pip of an environment."""
    words = [python, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    subprocess.run([str(word) for word in words], check=True)


def size_mb(folder: Path) -> float:
    """Megabytes of the files below a folder."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return sum(path.stat().st_size for path in files) / 1e6


def read_done(path: Path) -> set[str]:
    """The ways that a table has."""
    if not path.exists():
        return set()
    with path.open(newline="") as file:
        return {row["way"] for row in csv.DictReader(file)}


def append(path: Path, row: Sequence[object]) -> None:
    """Add a row, with the headings where the table is new."""
    is_new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(COLUMNS)
        writer.writerow(row)
    print(*row, sep="  ", flush=True)


if __name__ == "__main__":
    main()
