"""Projects and exports of the VGG Image Annotator (VIA, doi:10.1145/3343031.3350535)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from limner.data.annotated_images import (
    AnnotatedImage,
    AnnotatedSet,
    find_image,
    no_area_findings,
    sample_id,
)
from limner.data.annotation_tools import VIA, annotation_files, require_one_tool
from limner.data.class_names import read_class_names
from limner.data.folder_listing import FolderListing
from limner.data.layout_match import LayoutMatch
from limner.data.named_files import NamedFiles
from limner.data.shapes.via import AREA_KINDS
from limner.data.split_names import splits_of
from limner.errors import LimnerError

CLASS_ATTRIBUTES = ("class", "label", "type", "category", "name")
"""Attributes of regions that tell the class, where there are several."""
ONLY_CLASS = "object"
"""The class of regions without attributes."""


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """VIA: a project or a JSON export with the images (polygons, rectangles, circles, ellipses)"""
    annotated = annotation_files(listing)
    paths = annotated.by_tool.get(VIA, ())
    if not paths:
        return None
    require_one_tool(listing, VIA, paths)
    files, without_area = NamedFiles.of(listing), Counter[str]()
    splits = splits_of(
        {path: (path.stem, *path.relative_to(listing.root).parts[:-1]) for path in paths}
    )
    images = []
    for path in paths:
        for entry in _entries(annotated.contents[path]):
            regions = _regions(entry)
            kinds = [region["shape_attributes"].get("name") for region in regions]
            without_area.update(str(kind) for kind in kinds if kind not in AREA_KINDS)
            drawn = [each for each, kind in zip(regions, kinds, strict=True) if kind in AREA_KINDS]
            attribute = _class_attribute(path, drawn)
            split = splits[path] if len(paths) > 1 else None
            image = find_image(files, str(entry["filename"]), path, split)
            objects = [
                (_class_name(path, region, attribute), region["shape_attributes"])
                for region in drawn
            ]
            id = sample_id(image, listing.root)
            images.append(AnnotatedImage(id, image, path, None, objects, split))
    return AnnotatedSet(
        tool=VIA,
        files=paths,
        images=images,
        stated=[name for _, name in read_class_names(listing.root)],
        findings=(*files.findings(), *no_area_findings(VIA, without_area, paths[0])),
    ).to_match(listing)


def _entries(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from content.get("_via_img_metadata", content).values()


def _regions(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The regions of an image; the first version of VIA numbers them."""
    regions = entry.get("regions") or []
    return list(regions.values()) if isinstance(regions, Mapping) else list(regions)


def _class_attribute(path: Path, regions: Sequence[Mapping[str, Any]]) -> str:
    """The attribute of regions that tells their class; empty where they have none.

    Raises LimnerError where several might.
    """
    names = sorted({name for region in regions for name in region.get("region_attributes") or {}})
    if len(names) <= 1:
        return names[0] if names else ""
    known = [name for name in CLASS_ATTRIBUTES if name in {each.lower() for each in names}]
    if not known:
        raise LimnerError(
            f"{path} gives regions the attributes {', '.join(names)}, and none is called class. "
            "Rename the one that tells what a region shows to class."
        )
    return next(name for name in names if name.lower() == known[0])


def _class_name(path: Path, region: Mapping[str, Any], attribute: str) -> str:
    """The class of a region. Raises LimnerError where it has none, or several."""
    if not attribute:
        return ONLY_CLASS
    value = (region.get("region_attributes") or {}).get(attribute)
    if isinstance(value, Mapping):
        ticked = [name for name, state in value.items() if state]
        value = ticked[0] if len(ticked) == 1 else None
    if not isinstance(value, str) or not value.strip():
        raise LimnerError(
            f"{path} has a region without one value of {attribute} (but "
            f"{(region.get('region_attributes') or {}).get(attribute)!r}). Each has one, its class."
        )
    return value.strip()
