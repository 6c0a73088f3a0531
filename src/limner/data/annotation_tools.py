"""Which tool wrote the annotation files of a folder, told by what they hold."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from limner.data.findings import Finding
from limner.data.folder_listing import FolderListing
from limner.data.tables import read_json
from limner.errors import LimnerError
from limner.plurals import count_noun

COCO, LABELME, YOLO = "COCO", "labelme", "YOLO"
LABEL_STUDIO, CVAT, VIA = "Label Studio", "CVAT", "VIA"
SUPERVISELY, QUPATH, IMAGEJ = "Supervisely", "QuPath", "ImageJ"
RUN_LENGTHS = "run lengths"
DICOM_SEG = "DICOM SEG"
DARWIN = "Darwin"
OF_MANY_IMAGES = frozenset({COCO, LABEL_STUDIO, VIA})
"""Tools whose files are of many images each."""
JSON_SUFFIXES = frozenset({".json", ".geojson"})
XML_HEAD_BYTES = 4096
"""Of an XML file, in which its outermost element is."""


@dataclass(frozen=True, slots=True)
class AnnotationFiles:
    """The annotation files of a folder."""

    by_tool: Mapping[str, Sequence[Path]]
    damaged: Sequence[Path]
    """Files that hold no JSON, though their names say so."""
    contents: Mapping[Path, Any]
    """What the files hold that are of many images each, and may be large."""


@lru_cache(maxsize=1)
def annotation_files(listing: FolderListing) -> AnnotationFiles:
    """Find the annotation files below a folder, and the tool that wrote each.

    Of the last folder this is kept, since each layout asks for it; `forget_annotation_files` frees
    the memory.
    """
    by_tool: dict[str, list[Path]] = defaultdict(list)
    damaged: list[Path] = []
    contents: dict[Path, Any] = {}
    for path in listing.files({".xml"}):
        if _is_cvat(path):
            by_tool[CVAT].append(path)
    for path in listing.files(JSON_SUFFIXES):
        content = read_json(path)
        if content is None:
            damaged.append(path)
        elif tool := tool_of(content):
            by_tool[tool].append(path)
            if tool in OF_MANY_IMAGES:
                contents[path] = content
    return AnnotationFiles(by_tool, damaged, contents)


def forget_annotation_files() -> None:
    """Free what `annotation_files` keeps."""
    annotation_files.cache_clear()


def tool_of(content: Any) -> str:
    """The tool that writes such JSON; an empty text where none is known."""
    if isinstance(content, list):
        if content and all(map(_is_feature, content)):
            return QUPATH
        return LABEL_STUDIO if content and all(map(_is_task, content)) else ""
    if not isinstance(content, dict):
        return ""
    keys = content.keys()
    if {"images", "annotations", "categories"} <= keys:
        return COCO
    if isinstance(content.get("shapes"), list) and keys & {"imagePath", "imageData", "flags"}:
        return LABELME
    if "_via_img_metadata" in keys or (content and all(map(_is_via_image, content.values()))):
        return VIA
    if isinstance(content.get("objects"), list) and isinstance(content.get("size"), dict):
        return SUPERVISELY
    if isinstance(content.get("item"), dict) and isinstance(content.get("annotations"), list):
        return DARWIN
    if content.get("type") == "FeatureCollection" or _is_feature(content):
        return QUPATH
    return ""


def _is_feature(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == "Feature"


def _is_task(item: Any) -> bool:
    """Whether an item is a task of Label Studio, in its export as JSON or as JSON-MIN."""
    return isinstance(item, dict) and (
        isinstance(item.get("data"), dict) or {"annotation_id", "annotator"} <= item.keys()
    )


def _is_via_image(item: Any) -> bool:
    return isinstance(item, dict) and {"filename", "regions", "file_attributes"} <= item.keys()


def _is_cvat(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b"<annotations>" in file.read(XML_HEAD_BYTES)
    except OSError:
        return False


def require_one_tool(listing: FolderListing, tool: str, files: Sequence[Path]) -> None:
    """Raise LimnerError where another tool's annotations are in the same folder.

    Args:
        listing: The dataset's folder.
        tool: The one whose files are read.
        files: These.
    """
    others = {
        other: [path for path in paths if path not in files]
        for other, paths in annotation_files(listing).by_tool.items()
        if other != tool
    }
    for other, paths in others.items():
        if paths:
            raise LimnerError(
                f"{listing.root} holds annotations of two tools: "
                f"{count_noun(len(files), 'file')} of {tool}, such as {files[0]}, and "
                f"{count_noun(len(paths), 'file')} of {other}, such as {paths[0]}. Only one of "
                "them can be the truth: move the other out of the folder."
            )


def damaged_findings(listing: FolderListing) -> Iterator[Finding]:
    """Report files that may be annotations and cannot be read."""
    if damaged := annotation_files(listing).damaged:
        are = "file is" if len(damaged) == 1 else "files are"
        message = (
            f"{len(damaged)} {are} no JSON, though the name says so, such as {damaged[0]}. "
            "Annotations in it would be lost: export it again, or remove it if it holds none."
        )
        yield Finding("damaged-json", "error", str(damaged[0]), message)
