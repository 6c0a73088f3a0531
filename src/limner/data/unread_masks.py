"""Images and masks that are there, as files that are not read: what they are, and how to turn them
into files that are.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from limner.data.file_kinds import kind_by_name
from limner.data.findings import Finding

Role = Literal["image", "mask"]

PICTURES = frozenset({".pbm", ".pgm", ".pnm", ".ppm", ".tga", ".npy"})
"""Suffixes that the printed lines turn into PNG."""
ANNOTATIONS = frozenset({".txt", ".json", ".xml"})
"""Suffixes of files that may describe the objects of one image."""
MASK_SUFFIXES = ANNOTATIONS | frozenset(
    {".csv", ".tsv", ".bin", ".dat", ".data", ".pkl", ".pickle", ".pt", ".pth", ".parquet"}
    | {".jsonl", ".geojson", ".yaml", ".yml", ".roi"}
)
"""Suffixes that files in a folder of masks may have, and that are not read."""
TABLES = frozenset({".csv", ".tsv"})

_YOLO_LINE = re.compile(r"\d+(\s+-?[\d.]+(e-?\d+)?)+")
_TO_PNG = """\
from pathlib import Path
from PIL import Image
for folder in {folders!r}:
    for path in sorted(Path(folder).iterdir()):
        if path.suffix.lower() == {suffix!r}:
            with Image.open(path) as image:
                image.save(path.with_suffix(".png"))"""
_ARRAY_TO_PNG = """\
from pathlib import Path
import numpy as np
from PIL import Image
for folder in {folders!r}:
    for path in sorted(Path(folder).glob("*.npy")):
        array = np.load(path, allow_pickle=False)
        whole = array.astype(np.uint16 if array.max() > 255 else np.uint8)
        assert (whole == array).all(), f"{{path}} holds no whole numbers"
        Image.fromarray(whole.squeeze()).save(path.with_suffix(".png"))"""


@dataclass(frozen=True, slots=True)
class UnreadFile:
    """A file that would be the image or the mask of a pair if it were read."""

    role: Role
    file: Path
    partner: Path
    """The other file of the pair."""
    folder: Path
    """Of the images or masks, that `file` lies in or below."""


def unread_findings(unread: Sequence[UnreadFile]) -> Iterator[Finding]:
    """Report the files of each kind together, with the lines that convert them."""
    kinds: dict[tuple[Role, str], list[UnreadFile]] = defaultdict(list)
    for item in unread:
        kinds[item.role, item.file.suffix.lower()].append(item)
    for (role, suffix), items in kinds.items():
        if suffix == ".txt":
            yield _text_finding(items)
        else:
            yield _file_finding(role, suffix, items)


def _file_finding(role: Role, suffix: str, items: Sequence[UnreadFile]) -> Finding:
    folders = sorted({str(item.file.parent.absolute()) for item in items})
    first = items[0].file
    kind = kind_by_name(first.name)
    what, advice = (
        (kind.name, kind.cure)
        if kind
        else (
            f"a file with the suffix {suffix}",
            "Export it as PNG.",
        )
    )
    cure = ""
    if suffix == ".npy" and not first.stem.endswith("_seg"):
        what, cure = "a NumPy array", _ARRAY_TO_PNG.format(folders=folders)
    elif suffix == ".npy":
        what = "Cellpose's _seg.npy, a pickle that may run any program"
        advice = "Export the masks as PNG in Cellpose (save_masks, or the menu File)."
    elif suffix in TABLES:
        what, advice = "a table", "Save the mask that it holds as PNG."
    elif suffix in PICTURES:
        cure = _TO_PNG.format(folders=folders, suffix=suffix)
    elif suffix == ".json":
        what = "JSON of no tool that limner knows"
        advice = "Export it as PNG, or all of them as COCO."
    return _finding(role, items, what, cure, advice)


def _text_finding(items: Sequence[UnreadFile]) -> Finding:
    # An image without an object has an empty text
    lines = next(filter(None, (_read_lines(item.file) for item in items)), [])
    if not lines or not all(_YOLO_LINE.fullmatch(line) for line in lines):
        return _finding("mask", items, "a text", "", "Export a mask image, such as a PNG.")
    advice = "A box has no outline: export polygons, or draw masks."
    return _finding("mask", items, "a text of boxes, as YOLO has for detection", "", advice)


def _finding(role: Role, items: Sequence[UnreadFile], what: str, cure: str, advice: str) -> Finding:
    first = items[0]
    mend = (
        "These lines of Python make masks of them:"
        if role == "mask"
        else ("These lines of Python make images of them:")
    )
    message = (
        f"{len(items)} {role}s are in a format that is not read. {first.file}, the {role} of "
        f"{first.partner}, is {what}. {mend if cure else advice}"
    )
    return Finding(
        f"unread-{role}", "error", str(first.file), "\n".join([message, *cure.splitlines()])
    )


def _read_lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError):
        return []
