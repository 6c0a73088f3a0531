"""Projects of Supervisely: meta.json, and in each dataset img/ beside ann/."""

from pathlib import Path
from typing import Any

from limner.data.annotated_images import AnnotatedSet, ImageObjects, read_each
from limner.data.annotation_tools import SUPERVISELY, annotation_files, require_one_tool
from limner.data.folder_listing import FolderListing
from limner.data.layout_match import LayoutMatch
from limner.data.shapes.supervisely import AREA_KINDS
from limner.data.tables import read_json_object
from limner.errors import LimnerError

IMAGES, ANNOTATIONS, META = "img", "ann", "meta.json"
KEPT = ("geometryType", "points", "bitmap")


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """Supervisely: meta.json with img/x.jpg and ann/x.jpg.json in each set (polygons, bitmaps)"""
    paths = [
        path
        for path in annotation_files(listing).by_tool.get(SUPERVISELY, ())
        if path.parent.name == ANNOTATIONS
    ]
    if not paths:
        return None
    require_one_tool(listing, SUPERVISELY, paths)
    images, findings = read_each(SUPERVISELY, listing, paths, _read, folders_below=2)
    return AnnotatedSet(
        tool=SUPERVISELY,
        files=paths,
        images=images,
        stated=_classes(listing.root),
        stated_in=META,
        findings=findings,
    ).to_match(listing)


def _read(path: Path) -> ImageObjects:
    content = read_json_object(path)
    kinds = [item.get("geometryType") for item in content["objects"]]
    objects = [
        (_class_name(path, item), {key: item[key] for key in KEPT if key in item})
        for item in content["objects"]
        if item.get("geometryType") in AREA_KINDS
    ]
    size = content["size"]
    return ImageObjects(
        path.parent.with_name(IMAGES) / path.name.removesuffix(".json"),
        (int(size["height"]), int(size["width"])),
        objects,
        [str(kind) for kind in kinds if kind not in AREA_KINDS],
    )


def _classes(root: Path) -> list[str]:
    """The classes of the project in their order; none where it has no meta.json."""
    classes = read_json_object(root / META).get("classes") or []
    return [str(each["title"]) for each in classes if isinstance(each, dict) and "title" in each]


def _class_name(path: Path, item: dict[str, Any]) -> str:
    name = item.get("classTitle")
    if not isinstance(name, str):
        raise LimnerError(
            f"{path} has an object without a class (classTitle). Export the project again."
        )
    return name
