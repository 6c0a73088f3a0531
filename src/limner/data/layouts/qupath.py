"""QuPath's export of annotations as GeoJSON: a file for each image, of its name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limner.data.annotated_images import (
    AnnotatedImage,
    AnnotatedSet,
    ImageObjects,
    images_by_name,
    read_each,
)
from limner.data.annotation_tools import QUPATH, annotation_files, require_one_tool
from limner.data.class_names import read_class_names
from limner.data.folder_listing import FolderListing
from limner.data.image_file import without_suffix
from limner.data.layout_match import LayoutMatch
from limner.data.shapes.geojson import AREA_KINDS
from limner.data.tables import read_json
from limner.errors import LimnerError

UNCLASSIFIED = "object"
"""The class of annotations without one, where none has any."""


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """QuPath: x.geojson beside x.tif, or in a folder of its own (polygons with holes, in pixels)"""
    paths = annotation_files(listing).by_tool.get(QUPATH, ())
    if not paths:
        return None
    require_one_tool(listing, QUPATH, paths)
    named = images_by_name(listing)
    images, findings = read_each(QUPATH, listing, paths, lambda path: _read(path, named))
    _require_classes(images)
    return AnnotatedSet(
        tool=QUPATH,
        files=paths,
        images=images,
        stated=[name for _, name in read_class_names(listing.root)],
        findings=findings,
    ).to_match(listing)


def _read(path: Path, images: Mapping[str, Sequence[Path]]) -> ImageObjects:
    features = _features(path)
    geometries = [feature.get("geometry") or {} for feature in features]
    objects = [
        (_class_name(feature), {key: geometry[key] for key in ("type", "coordinates")})
        for feature, geometry in zip(features, geometries, strict=True)
        if geometry.get("type") in AREA_KINDS
    ]
    without_area = [
        str(each.get("type")) for each in geometries if each.get("type") not in AREA_KINDS
    ]
    return ImageObjects(_find_image(path, images), None, objects, without_area)


def _find_image(path: Path, images: Mapping[str, Sequence[Path]]) -> Path:
    """The image of the file's name: beside it, else the only one. Raises LimnerError for none."""
    name = without_suffix(path.name)
    named = images.get(name, [])
    beside = [image for image in named if image.parent == path.parent]
    if len(beside or named) != 1:
        what = f"{len(beside or named)} images bear" if named else "no image bears"
        raise LimnerError(
            f"{path} holds annotations of an image of its name, and {what} it. Name the file as "
            f"its image, such as {name}.geojson for {name}.tif, and put it beside the image."
        )
    return (beside or named)[0]


def _features(path: Path) -> list[Mapping[str, Any]]:
    content = read_json(path)
    if isinstance(content, dict):
        content = content["features"] if content["type"] == "FeatureCollection" else [content]
    return list(content)


def _class_name(feature: Mapping[str, Any]) -> str:
    """The class of an annotation; QuPath joins a class and its parts by ": "."""
    classification = (feature.get("properties") or {}).get("classification") or {}
    names = classification.get("names")
    name = ": ".join(map(str, names)) if names else classification.get("name")
    return str(name) if name else UNCLASSIFIED


def _require_classes(images: list[AnnotatedImage]) -> None:
    """Raise LimnerError where some annotations have a class and others have none."""
    names = {name for image in images for name, _ in image.objects}
    if UNCLASSIFIED in names and len(names) > 1:
        file = next(
            image.file for image in images if UNCLASSIFIED in {name for name, _ in image.objects}
        )
        raise LimnerError(
            f"{file} has an annotation without a class, and others have one. Set its class in "
            "QuPath, or delete it."
        )
