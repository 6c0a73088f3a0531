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
from limner.data.tables import read_json_object

Role = Literal["image", "mask"]

PICTURES = frozenset(
    {".gif", ".j2k", ".jp2", ".pbm", ".pgm", ".pnm", ".ppm", ".tga", ".avif", ".npy"}
)
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
_YOLO_TO_PNG = """\
from pathlib import Path
from PIL import Image, ImageDraw, ImageOps
names, used = {names!r}, set()
for images, labels, masks, ending in {folders!r}:
    Path(masks).mkdir(parents=True, exist_ok=True)
    for path in sorted(Path(images).iterdir()):
        if path.suffix.lower() not in {suffixes!r}:
            continue
        with Image.open(path) as image:
            width, height = ImageOps.exif_transpose(image).size
        mask, objects = Image.new("L", (width, height)), []
        text = Path(labels) / f"{{path.stem}}.txt"
        for line in text.read_text().splitlines() if text.is_file() else []:
            number, *values = line.split() or [""]
            x = [int(float(value) * width) for value in values[::2]]
            y = [int(float(value) * height) for value in values[1::2]]
            if x:
                area = (max(x) - min(x)) * (max(y) - min(y))
                objects.append((area, int(number), list(zip(x, y))))
        for _, number, points in sorted(objects, key=lambda each: -each[0]):
            ImageDraw.Draw(mask).polygon(points, fill=number + 1, outline=number + 1)
            used.add(number)
        mask.save(Path(masks) / f"{{path.stem}}{{ending}}.png")
lines = ["[classes]", "background = 0"]
for number in sorted(used):
    name = names[number] if number < len(names) else f"class {{number}}"
    lines.append(f'"{{name}}" = {{number + 1}}')
Path({labels_file!r}).write_text("\\n".join(lines) + "\\n", encoding="utf-8")"""
"""Smaller objects lie on top, and coordinates lose their fractions, as YOLO draws them."""


@dataclass(frozen=True, slots=True)
class UnreadFile:
    """A file that would be the image or the mask of a pair if it were read."""

    role: Role
    file: Path
    partner: Path
    """The other file of the pair."""
    folder: Path
    """Of the images or masks, that `file` lies in or below."""


def unread_findings(root: Path, unread: Sequence[UnreadFile]) -> Iterator[Finding]:
    """Report the files of each kind together, with the lines that convert them.

    Args:
        root: The dataset's folder.
        unread: All such files of the set.
    """
    kinds: dict[tuple[Role, str], list[UnreadFile]] = defaultdict(list)
    for item in unread:
        kinds[item.role, item.file.suffix.lower()].append(item)
    for (role, suffix), items in kinds.items():
        if suffix == ".txt":
            yield _yolo_finding(root, items)
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
        what = "labelme's JSON" if "shapes" in read_json_object(first) else "JSON"
        advice = "Export it as PNG, or all of them as COCO, whose polygons are read."
    return _finding(role, items, what, cure, advice)


def _yolo_finding(root: Path, items: Sequence[UnreadFile]) -> Finding:
    # An image without an object has an empty text
    lines = next(filter(None, (_read_lines(item.file) for item in items)), [])
    if not lines or not all(_YOLO_LINE.fullmatch(line) for line in lines):
        return _finding("mask", items, "a text", "", "Export a mask image, such as a PNG.")
    if any(len(line.split()) == 5 for line in lines):
        advice = "A box has no outline: export polygons, or draw masks."
        return _finding("mask", items, "a text of boxes, as YOLO has for detection", "", advice)
    cure = _YOLO_TO_PNG.format(
        names=_yolo_names(root),
        folders=sorted({_yolo_folders(item) for item in items}),
        suffixes=sorted({item.partner.suffix.lower() for item in items}),
        labels_file=str(root.absolute() / "labels.toml"),
    )
    return _finding("mask", items, "a text of polygons, as YOLO has for segmentation", cure, "")


def _yolo_folders(item: UnreadFile) -> tuple[str, str, str, str]:
    """The folders of the image, of its text, and of the mask to be made, and the mask's ending."""
    images, texts = item.partner.parent.absolute(), item.file.parent.absolute()
    if images == texts:
        return str(images), str(texts), str(images), "_mask"
    below = item.file.parent.relative_to(item.folder)
    masks = item.folder.absolute().with_name("masks") / below
    return str(images), str(texts), str(masks), ""


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


def _yolo_names(root: Path) -> list[str]:
    """The class names of a YOLO set, by their numbers; none where it names none."""
    if lines := _read_lines(root / "classes.txt"):
        return lines
    for file in ("data.yaml", "dataset.yaml"):
        text = "\n".join(_read_lines(root / file))
        if listed := re.search(r"^names:\s*\[(.*?)\]", text, re.MULTILINE | re.DOTALL):
            return [name.strip().strip("'\"") for name in listed[1].split(",")]
        if block := re.search(r"^names:\s*\n((?:(?:-|\d+:).*\n?)+)", text, re.MULTILINE):
            names = (re.sub(r"^(-|\d+:)\s*", "", line) for line in block[1].splitlines())
            return [name.strip().strip("'\"") for name in names]
    return []
