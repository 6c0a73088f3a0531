"""COCO's annotation files: which image has which objects, and of which class."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.data.sample import AnnotationMask, decode_rle, polygon_area
from limner.errors import LimnerError


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """One image of an annotation file, by the name that the file gives it."""

    table: Path
    name: str
    mask: AnnotationMask


@dataclass(frozen=True, slots=True)
class _Annotation:
    image: object
    class_index: int
    size: float
    segmentation: Any


def category_names(tables: Mapping[Path, Mapping[str, Any]]) -> tuple[tuple[int, str], ...]:
    """The background and the categories of all files by their names, in the order of their ids.
    Raises LimnerError where one has no name.
    """
    found: dict[str, float] = {}
    for path, table in tables.items():
        for category in _records(path, table, "categories"):
            name = str(_field(path, "categories", category, "name", str))
            found[name] = min(
                found.get(name, float("inf")),
                float(_field(path, "categories", category, "id", int)),
            )
    names = sorted(
        (name for name in found if name.lower() != "background"),
        key=lambda name: (found[name], name),
    )
    return ((0, "background"), *((index, name) for index, name in enumerate(names, start=1)))


def annotated_images(
    path: Path, table: Mapping[str, Any], names: Sequence[tuple[int, str]]
) -> Iterator[AnnotatedImage]:
    """The images of one file with their masks, the largest object drawn first.

    Raises LimnerError for an object of no image, of no category, or without a drawing: it would
    silently be background.
    """
    index_of = {name: index for index, name in names}
    for key in ("categories", "images"):
        counted = Counter(record.get("id") for record in _records(path, table, key))
        if twice := [id for id, count in counted.items() if count > 1 or id is None]:
            raise LimnerError(
                f"{path} has {counted[twice[0]]} {key} of the id {twice[0]!r}. Each has its "
                "own: export it again, or join files by new ids."
            )
    categories = {
        category["id"]: index_of.get(str(category["name"]), 0)
        for category in _records(path, table, "categories")
    }
    shapes: dict[object, list[_Annotation]] = {}
    for annotation in _records(path, table, "annotations"):
        shape = _shape(path, annotation, categories)
        shapes.setdefault(shape.image, []).append(shape)
    for image in _records(path, table, "images"):
        name = str(_field(path, "images", image, "file_name", str))
        size_px = (
            int(_field(path, "images", image, "height", int)),
            int(_field(path, "images", image, "width", int)),
        )
        drawn = sorted(shapes.pop(image.get("id"), []), key=lambda shape: -shape.size)
        yield AnnotatedImage(
            path,
            name,
            AnnotationMask(
                path,
                name,
                size_px,
                json.dumps([[shape.class_index, shape.segmentation] for shape in drawn]),
            ),
        )
    if shapes:
        lost = sum(map(len, shapes.values()))
        raise LimnerError(
            f"{path} has {lost} annotations of images that it does not list (such as image_id "
            f"{next(iter(shapes))!r}). Export it again."
        )


def _shape(
    path: Path, annotation: Mapping[str, Any], categories: Mapping[object, int]
) -> _Annotation:
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
    return _Annotation(
        annotation.get("image_id"), categories[category], _size(segmentation), segmentation
    )


def _size(segmentation: Any) -> float:
    """The pixels of an object; 0 where it cannot be told, which its drawing will complain of."""
    try:
        if isinstance(segmentation, Mapping):
            counts = segmentation["counts"]
            return float(sum((counts if isinstance(counts, list) else decode_rle(counts))[1::2]))
        return max(polygon_area(polygon) for polygon in segmentation)
    except (KeyError, TypeError, ValueError):
        return 0.0


def _records(path: Path, table: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    records = table.get(key)
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise LimnerError(
            f"{path} has no list of {key}. A COCO file lists images, annotations and "
            "categories: export it again."
        )
    return records


def _field(path: Path, key: str, record: Mapping[str, Any], name: str, kind: type) -> Any:
    value = record.get(name)
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, kind) or isinstance(value, bool) or value == "":
        raise LimnerError(
            f"{path}: {key} {record.get('id', '')!r} has no usable {name} ({value!r}). Export "
            "the file again."
        )
    return value
