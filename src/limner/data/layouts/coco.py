"""COCO's annotation files (arXiv:1405.0312): which image has which objects, and of which class."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.data.annotation_mask import AnnotationMask
from limner.data.annotation_tools import COCO, annotation_files, require_one_tool
from limner.data.class_names import ClassNames
from limner.data.findings import Finding
from limner.data.folder_listing import FolderListing
from limner.data.layout_match import LayoutMatch
from limner.data.named_files import NamedFiles
from limner.data.sample import Sample, Split
from limner.data.shapes.coco import has_hole, segmentation_area
from limner.data.split_names import splits_of
from limner.errors import LimnerError
from limner.plurals import count_noun

Json = Mapping[str, Any]

ID_FIELDS = (
    ("categories", "id"),
    ("images", "id"),
    ("annotations", "image_id"),
    ("annotations", "category_id"),
)
"""Records are matched by these fields."""


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """COCO: a JSON of images, annotations and categories (at the top, in annotations/, or beside
    the images)
    """
    files_of_tools = annotation_files(listing)
    paths = files_of_tools.by_tool.get(COCO, ())
    if not paths:
        return None
    require_one_tool(listing, COCO, paths)
    tables = {path: files_of_tools.contents[path] for path in paths}
    class_names = _category_names(tables)
    files = NamedFiles.of(listing)
    splits = _splits(listing, tables)
    named = [
        (path, mask, files.find(mask.image_name, path, splits[path]))
        for path, table in tables.items()
        for mask in _annotation_masks(path, table, class_names)
    ]
    samples = []
    for path, mask, image in named:
        if files.is_ambiguous(mask.image_name, path):
            continue
        split = splits[path]
        prefix = f"{split}/" if split else ""
        id = prefix + files.id_of(mask.image_name, path, image)
        samples.append(Sample(id, image, mask, split))
    return LayoutMatch(
        "COCO",
        tuple(samples),
        class_names,
        findings=(*files.findings(), *_hole_findings(tables)),
        lists=tuple(tables),
    )


def _hole_findings(tables: Mapping[Path, Json]) -> Iterator[Finding]:
    """Say which polygons are taken as holes, which pycocotools would fill."""
    for path, table in tables.items():
        holes = [each for each in table["annotations"] if has_hole(each.get("segmentation"))]
        if holes:
            have = count_noun(len(holes), "annotation has", "annotations have")
            message = (
                f"{path}: {have} a polygon within another one, such as the id "
                f"{holes[0].get('id')!r}. It is taken as a hole, as most programs mean it; "
                "pycocotools fills it. Export run lengths to say it plainly."
            )
            yield Finding("polygon-within-polygon", "note", str(path), message)


def _splits(listing: FolderListing, tables: Iterable[Path]) -> dict[Path, Split | None]:
    """The split of each annotation file. A single file is a set without splits."""
    names = {path: (path.stem, *path.relative_to(listing.root).parts[:-1]) for path in tables}
    return splits_of(names) if len(names) > 1 else dict.fromkeys(names)


@dataclass(frozen=True, slots=True)
class _Object:
    """One annotation, checked."""

    image_id: object
    class_index: int
    area: float
    segmentation: Any


def _category_names(tables: Mapping[Path, Json]) -> ClassNames:
    """The background and the categories of all files, by their class indices.

    A category is known by its name, since files number them differently. They are in the order of
    their lowest ids. Raises LimnerError where a category has no name.
    """
    lowest_ids: dict[str, float] = {}
    for path, table in tables.items():
        for category in _records(path, table, "categories"):
            name = str(_field(path, "categories", category, "name", str))
            id = float(_field(path, "categories", category, "id", int))
            lowest_ids[name] = min(lowest_ids.get(name, float("inf")), id)
    unused = _root_categories(tables)
    names = sorted(
        (name for name in lowest_ids if name.lower() != "background" and name not in unused),
        key=lambda name: (lowest_ids[name], name),
    )
    return ((0, "background"), *enumerate(names, start=1))


def _root_categories(tables: Mapping[Path, Json]) -> set[str]:
    """Names of categories that hold others and no object, as Roboflow writes them."""
    parents, used = set[str](), set[str]()
    for path, table in tables.items():
        of_objects = [each.get("category_id") for each in _records(path, table, "annotations")]
        ids = {id for id in of_objects if not isinstance(id, list | dict)}
        for category in _records(path, table, "categories"):
            parents.add(str(category.get("supercategory")))
            if not isinstance(category.get("id"), list | dict) and category.get("id") in ids:
                used.add(str(category.get("name")))
    return parents - used


def _annotation_masks(path: Path, table: Json, class_names: ClassNames) -> Iterator[AnnotationMask]:
    """The masks of all images of one file, the largest object of each first.

    Raises LimnerError for an object of an unknown image or category, and for one without a
    segmentation: it would silently be background.
    """
    _check_ids(path, table)
    index_of = {name: index for index, name in class_names}
    categories = {
        category["id"]: index_of.get(str(category["name"]), 0)
        for category in _records(path, table, "categories")
    }
    objects: dict[object, list[_Object]] = defaultdict(list)
    for annotation in _records(path, table, "annotations"):
        item = _object(path, annotation, categories)
        objects[item.image_id].append(item)
    for image in _records(path, table, "images"):
        name = str(_field(path, "images", image, "file_name", str))
        height = int(_field(path, "images", image, "height", int))
        width = int(_field(path, "images", image, "width", int))
        ordered = sorted(objects.pop(image.get("id"), []), key=lambda item: -item.area)
        shapes = json.dumps([[item.class_index, item.segmentation] for item in ordered])
        yield AnnotationMask(path, name, (height, width), shapes)
    if objects:
        raise LimnerError(
            f"{path} has {sum(map(len, objects.values()))} annotations of images that it does "
            f"not list (such as image_id {next(iter(objects))!r}). Export it again."
        )


def _check_ids(path: Path, table: Json) -> None:
    """Raise LimnerError where an id is neither a number nor a text, or two are the same."""
    for key, name in ID_FIELDS:
        for record in _records(path, table, key):
            if isinstance(record.get(name), list | dict):
                raise LimnerError(
                    f"{path} has {key} of the {name} {record[name]!r}, which is neither a number "
                    "nor a text. Export it again."
                )
    for key in ("categories", "images"):
        counts = Counter(record.get("id") for record in _records(path, table, key))
        bad_ids = [id for id, count in counts.items() if count > 1 or id is None]
        if bad_ids:
            raise LimnerError(
                f"{path} has {counts[bad_ids[0]]} {key} of the id {bad_ids[0]!r}. Each has its "
                "own: export it again, or join files by new ids."
            )


def _object(path: Path, annotation: Json, categories: Mapping[object, int]) -> _Object:
    category = annotation.get("category_id")
    if category not in categories:
        raise LimnerError(
            f"{path} has an annotation of the category {category!r}, which it does not list. "
            f"Known are {', '.join(map(repr, categories))}."
        )
    segmentation = annotation.get("segmentation")
    if not segmentation:
        raise LimnerError(
            f"{path} has an annotation (id {annotation.get('id')!r}) that is only a box. Each "
            "object needs polygons or run lengths: draw it."
        )
    return _Object(
        annotation.get("image_id"),
        categories[category],
        segmentation_area(segmentation),
        segmentation,
    )


def _records(path: Path, table: Json, key: str) -> list[dict[str, Any]]:
    records = table.get(key)
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise LimnerError(
            f"{path} has no list of {key}. A COCO file lists images, annotations and "
            "categories: export it again."
        )
    return records


def _field(path: Path, key: str, record: Json, name: str, kind: type) -> Any:
    value = record.get(name)
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, kind) or isinstance(value, bool) or value == "":
        raise LimnerError(
            f"{path}: {key} {record.get('id', '')!r} has no usable {name} ({value!r}). Export "
            "the file again."
        )
    return value
