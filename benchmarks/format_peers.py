"""What annotation tools themselves draw and write, in an environment of their own.

    python benchmarks/format_peers.py COMMAND FOLDER

FOLDER holds `in.json` or the tool's files; the masks are written to `out.npz`, by image. It needs
labelme, supervision, datumaro, label-studio-sdk and ome-zarr, some of which are GPL, and not
limner.
"""

import json
import sys
from pathlib import Path

import numpy as np


def draw_labelme(folder: Path) -> dict[str, np.ndarray]:
    """The classes of labelme's own files, by its own function."""
    from labelme.utils import shapes_to_label

    names = json.loads((folder / "classes.json").read_text())
    drawn = {}
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_text())
        if "shapes" not in content:
            continue
        size = content["imageHeight"], content["imageWidth"], 3
        shapes = [_with_mask(shape) for shape in content["shapes"]]
        classes, _ = shapes_to_label(size, shapes, {name: i for i, name in enumerate(names)})
        drawn[path.stem] = classes.astype(np.uint8)
    return drawn


def _with_mask(shape: dict) -> dict:
    """Decode the mask of a shape, which labelme does when it loads a file."""
    if shape.get("mask"):
        from labelme.utils import img_b64_to_arr

        return {**shape, "mask": img_b64_to_arr(shape["mask"]).astype(bool)}
    return shape


def read_yolo(folder: Path) -> dict[str, np.ndarray]:
    """The masks of YOLO's polygons, by supervision."""
    import cv2
    import supervision

    found = supervision.DetectionDataset.from_yolo(
        str(folder / "images"), str(folder / "labels"), str(folder / "data.yaml"), force_masks=True
    )
    drawn = {}
    for path, _, detections in found:
        mask = np.zeros(cv2.imread(path).shape[:2], np.uint8)
        if detections.mask is not None:
            order = np.argsort([-inside.sum() for inside in detections.mask], kind="stable")
            for index in order:
                mask[detections.mask[index]] = detections.class_id[index] + 1
        drawn[Path(path).stem] = mask
    return drawn


def draw_yolo(folder: Path) -> dict[str, np.ndarray]:
    """The masks of YOLO's polygons, by Ultralytics."""
    import cv2
    from ultralytics.data.utils import polygons2masks_overlap

    drawn = {}
    for path in sorted((folder / "images").iterdir()):
        height, width = cv2.imread(str(path)).shape[:2]
        rows = [
            np.array(line.split(), float)
            for line in (folder / "labels" / f"{path.stem}.txt").read_text().splitlines()
        ]
        segments = [row[1:].reshape(-1, 2) * (width, height) for row in rows]
        numbers, order = polygons2masks_overlap((height, width), segments)
        classes = np.array([0, *(int(rows[index][0]) + 1 for index in order)])
        drawn[path.stem] = classes[numbers].astype(np.uint8)
    return drawn


def read_datumaro(folder: Path, kind: str) -> dict[str, np.ndarray]:
    import datumaro

    names = json.loads((folder / "classes.json").read_text())
    dataset = datumaro.Dataset.import_from(str(folder / "set"), kind)
    categories = dataset.categories()[datumaro.AnnotationType.label]
    drawn = {}
    for item in dataset:
        mask = np.zeros(item.media.size, np.uint8)
        for annotation in sorted(item.annotations, key=lambda each: getattr(each, "z_order", 0)):
            if annotation.type == datumaro.AnnotationType.mask:
                name = categories[annotation.label].name
                mask[annotation.image.astype(bool)] = names.index(name)
        drawn[item.id] = mask
    return drawn


def write_datumaro(folder: Path) -> dict[str, np.ndarray]:
    """Write CVAT's XML, with a mask for each class."""
    import datumaro

    names = json.loads((folder / "classes.json").read_text())
    content = np.load(folder / "in.npz")
    items = []
    for name in content.files:
        mask = content[name]
        annotations = [
            datumaro.Mask(mask == index, label=index - 1)
            for index in range(1, len(names))
            if (mask == index).any()
        ]
        media = datumaro.Image.from_numpy(np.zeros((*mask.shape, 3), np.uint8))
        items.append(datumaro.DatasetItem(name, media=media, annotations=annotations))
    dataset = datumaro.Dataset.from_iterable(items, categories=names[1:])
    dataset.export(str(folder / "set"), "cvat", save_media=True)
    return {}


def encode_brush(folder: Path) -> dict[str, np.ndarray]:
    """The run lengths of Label Studio, by its own encoder."""
    from label_studio_sdk.converter.brush import mask2rle

    content = np.load(folder / "in.npz")
    return {name: np.array(mask2rle(content[name] * 255)) for name in content.files}


def decode_brush(folder: Path) -> dict[str, np.ndarray]:
    from label_studio_sdk.converter.brush import decode_rle

    regions = json.loads((folder / "in.json").read_text())
    drawn = {}
    for name, region in regions.items():
        height, width = region["original_height"], region["original_width"]
        drawn[name] = decode_rle(region["value"]["rle"]).reshape(height, width, 4)[..., 3] > 0
    return drawn


def export_brush(folder: Path) -> dict[str, np.ndarray]:
    """Write the masks of strokes, and the table of their tasks."""
    from label_studio_sdk.converter import Converter

    config = """<View><Image name="image" value="$image"/><BrushLabels name="brush" toName="image">
        <Label value="any"/></BrushLabels></View>"""
    converter = Converter(config, str(folder))
    export = folder / "export"
    export.mkdir()
    for output, kind in ((export, "BRUSH_TO_PNG"), (export / "result.csv", "CSV")):
        converter.convert(str(folder / "in.json"), str(output), kind, is_dir=False)
    return {}


def write_ome_zarr(folder: Path) -> dict[str, np.ndarray]:
    """Write images of two channels with labels, of two versions; read both by its own reader."""
    import zarr
    from ome_zarr.format import FormatV04, FormatV05
    from ome_zarr.io import parse_url
    from ome_zarr.reader import Reader
    from ome_zarr.writer import write_image, write_labels

    masks = np.load(folder / "in.npz")
    rng = np.random.default_rng(0)
    read = {}
    for number, name in enumerate(masks.files):
        version = FormatV05() if number % 2 else FormatV04()
        path = folder / "set" / f"{name}.ome.zarr"
        group = zarr.open_group(str(path), mode="w", zarr_format=version.zarr_format)
        pixels = rng.integers(0, 4000, (2, *masks[name].shape)).astype(np.uint16)
        write_image(pixels, group, axes="cyx", fmt=version)
        write_labels(masks[name], group, name="classes", axes="yx", fmt=version)
        image, *others = Reader(parse_url(str(path)))()
        labels = next(node for node in others if node.zarr.basename() == "classes")
        planes = [*np.asarray(image.data[0]), np.asarray(labels.data[0])]
        read[name] = np.dstack(planes)
    return read


def write_supervisely(folder: Path) -> dict[str, np.ndarray]:
    """Write a project of polygons with holes and of bitmaps, and draw it with the SDK."""
    import supervisely as sly

    masks, polygons = np.load(folder / "in.npz"), json.loads((folder / "in.json").read_text())
    names = json.loads((folder / "classes.json").read_text())
    classes = [sly.ObjClass(name, sly.AnyGeometry) for name in names[1:]]
    project = sly.Project(str(folder / "set"), sly.OpenMode.CREATE)
    project.set_meta(sly.ProjectMeta(obj_classes=sly.ObjClassCollection(classes)))
    dataset = project.create_dataset("a")
    rng = np.random.default_rng(0)
    drawn = {}
    for name in masks.files:
        height, width = masks[name].shape
        labels = []
        for category, exterior, interior in polygons[name]:
            rings = [[sly.PointLocation(y, x) for x, y in ring] for ring in (exterior, *interior)]
            labels.append(sly.Label(sly.Polygon(rings[0], rings[1:]), classes[category - 1]))
        labels += [
            sly.Label(sly.Bitmap(masks[name] == index), classes[index - 1])
            for index in (1, 2)
            if (masks[name] == index).any()
        ]
        annotation = sly.Annotation((height, width), labels)
        pixels = rng.integers(0, 255, (height, width, 3)).astype(np.uint8)
        dataset.add_item_np(f"{name}.png", pixels, annotation)
        drawn[name] = np.zeros((height, width), np.uint8)
        for label in annotation.labels:
            label.geometry.draw(drawn[name], 1 + classes.index(label.obj_class))
    return drawn


COMMANDS = {
    "labelme": draw_labelme,
    "yolo": read_yolo,
    "yolo-ultralytics": draw_yolo,
    "cvat-read": lambda folder: read_datumaro(folder, "cvat"),
    "voc-read": lambda folder: read_datumaro(folder, "voc_segmentation"),
    "cvat-write": write_datumaro,
    "brush-encode": encode_brush,
    "brush-decode": decode_brush,
    "brush-export": export_brush,
    "zarr-write": write_ome_zarr,
    "supervisely-write": write_supervisely,
}


def main() -> None:
    command, folder = sys.argv[1], Path(sys.argv[2])
    np.savez(folder / "out.npz", **COMMANDS[command](folder))


if __name__ == "__main__":
    main()
