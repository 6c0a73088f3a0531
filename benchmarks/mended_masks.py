"""What mending the masks that `limner audit` ranks worst brings on test images.

    python benchmarks/mended_masks.py nuclei=WORK/nuclei --minutes 2 --seeds 3

Each set is a folder with train/ and test/, as zero_config.py makes them in
its --work. A tenth of the training
masks is spoilt (spoilt_masks.py), a cross-validation is trained on what is there then, and audited.
As many of the worst as were spoilt are mended: their true masks are put back, as a reviewer would
draw them. Networks are trained on the spoilt masks, on the mended ones and on the true ones, and
scored on the test images, whose masks are true. Each training adds a row; one that has a row is not
made again.
"""

import argparse
import csv
import shutil
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from label_audit import average_precision
from zero_config import execute, limner, score_folder
from zero_sets import read_coding

from limner.inference.audit_record import AUDIT_FILE, AuditFile

HERE = Path(__file__).parent
MASKS = ("spoilt", "mended", "true")


@dataclass(frozen=True)
class Row:
    """One training: its set, which masks it saw, and its mean test Dice."""

    set: str
    masks: str
    minutes: str
    seed: str
    dice: float
    spoilt: int
    mended: int
    """How many of the masks that were put back had been spoilt."""
    average_precision: float
    """Of the audit's ranking."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--csv", type=Path, default=HERE / "mended_masks.csv")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", default="2", help="of each training")
    parser.add_argument("--audit-minutes", default="6", help="of the cross-validation")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    for name, folder in (entry.split("=", 1) for entry in arguments.data):
        measure(name, Path(folder), arguments)


def measure(name: str, folder: Path, arguments: argparse.Namespace) -> None:
    """Make the rows of a set that are missing."""
    work = arguments.work / name
    spoilt, mended, precision = prepare(folder / "train", work, arguments.audit_minutes)
    present = {
        (row["set"], row["masks"], row["minutes"], row["seed"]) for row in rows_of(arguments.csv)
    }
    for seed in map(str, range(arguments.seeds)):
        for masks in MASKS:
            if (name, masks, arguments.minutes, seed) in present:
                continue
            run, drawn = work / f"run-{masks}-{seed}", work / f"drawn-{masks}-{seed}"
            for left in (run, drawn):
                shutil.rmtree(left, ignore_errors=True)
            limner(
                *("train", work / masks, "--minutes", arguments.minutes, "--out", run),
                f"--set=train.seed={seed}",
            )
            limner("predict", run, folder / "test" / "images", "--out", drawn)
            dice = score_folder(folder / "test", drawn, read_coding(folder / "train"))
            row = Row(
                name, masks, arguments.minutes, seed, round(dice, 4), spoilt, mended, precision
            )
            append(arguments.csv, row)


def prepare(train: Path, work: Path, audit_minutes: str) -> tuple[int, int, float]:
    """Make the three sets of a folder, where they are not there yet.

    Returns:
        How many masks were spoilt, how many of these were mended, and the average precision.
    """
    if not (work / "mended").is_dir():
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        script = str(HERE / "spoilt_masks.py")
        execute([sys.executable, script, str(train), str(work / "spoilt")])
        # The same files and forms, with the masks as they are
        execute([sys.executable, script, str(train), str(work / "true"), "--share", "0"])
        limner(
            *("train", work / "spoilt", "--folds", "3", "--minutes", audit_minutes),
            *("--out", work / "folds"),
        )
        limner("audit", work / "spoilt", "--model", work / "folds", "--out", work / "audit")
        shutil.copytree(work / "spoilt", work / "part")
        for id in worst(work):
            shutil.copy(work / "true" / "masks" / f"{id}.png", work / "part" / "masks")
        (work / "part").rename(work / "mended")
    spoilt = spoilt_ids(work)
    masks = AuditFile.read(work / "audit" / AUDIT_FILE).masks
    precision = average_precision(
        np.array([mask.probability for mask in masks]),
        np.array([mask.id in spoilt for mask in masks]),
    )
    return len(spoilt), len(spoilt & set(worst(work))), round(precision, 4)


def worst(work: Path) -> list[str]:
    """The ids of the masks that are ranked worst, as many as were spoilt."""
    masks = AuditFile.read(work / "audit" / AUDIT_FILE).masks
    ranked = sorted(masks, key=lambda mask: -mask.probability)
    return [mask.id for mask in ranked[: len(spoilt_ids(work))]]


def spoilt_ids(work: Path) -> set[str]:
    with (work / "spoilt" / "spoilt.csv").open(newline="") as file:
        return {row["id"] for row in csv.DictReader(file)}


def rows_of(table: Path) -> list[dict[str, str]]:
    if not table.exists():
        return []
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def append(table: Path, row: Row) -> None:
    """Add a row to the table, and print it."""
    is_new = not table.exists()
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerow(asdict(row))
    print(asdict(row), flush=True)


if __name__ == "__main__":
    main()
