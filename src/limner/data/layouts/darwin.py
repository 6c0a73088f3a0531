"""Darwin's (V7's) export as JSON: a file for each image, with polygons and masks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from limner.data.annotated_images import (
    AnnotatedSet,
    ImageObjects,
    find_image,
    read_each,
)
from limner.data.annotation_tools import DARWIN, annotation_files, require_one_tool
from limner.data.class_names import read_class_names
from limner.data.folder_listing import FolderListing
from limner.data.layout_match import LayoutMatch
from limner.data.named_files import NamedFiles
from limner.data.tables import read_json_object
from limner.errors import LimnerError
from limner.plurals import count_noun

KINDS = (
    "polygon",
    "mask",
    "raster_layer",
    "bounding_box",
    "ellipse",
    "line",
    "keypoint",
    "skeleton",
)
"""Keys of an annotation that say what it is; the first that it has counts."""


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """Darwin (V7): a JSON for each image, as darwin dataset pull writes them (polygons, masks)"""
    paths = annotation_files(listing).by_tool.get(DARWIN, ())
    if not paths:
        return None
    require_one_tool(listing, DARWIN, paths)
    files = NamedFiles.of(listing)
    images, findings = read_each(DARWIN, listing, paths, lambda path: _read(path, files))
    return AnnotatedSet(
        tool=DARWIN,
        files=paths,
        images=images,
        stated=[name for _, name in read_class_names(listing.root)],
        findings=(*findings, *files.findings()),
    ).to_match(listing)


def _read(path: Path, files: NamedFiles) -> ImageObjects:
    content = read_json_object(path)
    item = content["item"]
    slots = item.get("slots") or [{}]
    if len(slots) > 1 or slots[0].get("type", "image") not in {"image", ""}:
        raise LimnerError(
            f"{path} is about an item of {count_noun(len(slots), 'slot')} of the type "
            f"{slots[0].get('type')!r}. Items of one image are read: export the frames or slots as "
            "images of their own."
        )
    height, width = slots[0].get("height"), slots[0].get("width")
    size_px = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    image = find_image(files, str(item.get("name") or path.with_suffix("").name), path)
    found = list(_objects(path, content["annotations"]))
    return ImageObjects(
        image,
        size_px,
        [(name, shape) for name, kind, shape in found if kind in {"polygon", "mask"}],
        [kind for _, kind, _ in found if kind not in {"polygon", "mask", "raster_layer"}],
    )


def _objects(path: Path, annotations: list[dict[str, Any]]) -> Iterator[tuple[str, str, Any]]:
    """The class, the kind and the shape of each annotation.

    The masks of an image lie in one raster layer, which says by a number what is whose.
    """
    layers = [each["raster_layer"] for each in annotations if "raster_layer" in each]
    numbers = {id: n for layer in layers for id, n in layer["mask_annotation_ids_mapping"].items()}
    for annotation in annotations:
        kind = next((key for key in KINDS if key in annotation), "tag")
        name = annotation.get("name")
        if kind == "polygon":
            polygon = annotation["polygon"]
            yield str(name), kind, {"paths": polygon.get("paths") or [polygon["path"]]}
        elif kind == "mask":
            if annotation.get("id") not in numbers or len(layers) != 1:
                raise LimnerError(
                    f"{path} has a mask of the class {name!r} that its raster layer does not "
                    "speak of. Export the item again."
                )
            runs = layers[0]["dense_rle"]
            yield str(name), kind, {"runs": runs, "number": numbers[annotation["id"]]}
        else:
            yield str(name), kind, None
