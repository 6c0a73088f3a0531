"""The same 40 images and masks in every layout are one dataset: names, classes, pixels, splits."""

import base64
import io
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from limner.data.check import check
from limner.data.sample import Sample
from limner.data.scan import scan
from limner.errors import LimnerError
from limner.labels import Labels
from limner.recipe import Recipe
from limner.review.formats.write import write_format
from limner.review.kept_masks import predicted_masks
from limner.review.predictions import Entry, Predictions
from limner.training.pipeline import split_dataset
from zarr_stores import write_labels, write_store

HEIGHT, WIDTH = 20, 24
NAMES = ("background", "bug", "leaf")
Scenes = dict[str, tuple[np.ndarray, np.ndarray]]
"""An image and its mask, by name."""


@pytest.fixture(scope="session")
def scenes() -> Scenes:
    """Forty images with parts of two classes: with single pixels, at the border, without holes."""
    drawn = {}
    for number in range(40):
        rng = np.random.default_rng(number)
        smooth = ndimage.gaussian_filter(rng.normal(size=(HEIGHT, WIDTH)), 2)
        first = ndimage.binary_fill_holes(smooth > 0.12)
        mask = np.where(first, 2, np.where(ndimage.binary_fill_holes(smooth < -0.12), 1, 0))
        mask[0, 0], mask[-1, -1] = 1, 2
        image = rng.integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        drawn[f"x{number:02}"] = image, mask.astype(np.uint8)
    return drawn


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def with_class_names(root: Path, scenes: Scenes, image: str, mask: str) -> None:
    """Images and index masks by patterns of their paths."""
    for name, (pixels, classes) in scenes.items():
        save(root / image.format(name), pixels)
        save(root / mask.format(name), classes)
    (root / "classes.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(NAMES)))


def folders(root: Path, scenes: Scenes) -> None:
    with_class_names(root, scenes, "images/{}.png", "masks/{}.png")


def suffixes(root: Path, scenes: Scenes) -> None:
    with_class_names(root, scenes, "{}.png", "{}_mask.png")


def manifest(root: Path, scenes: Scenes) -> None:
    with_class_names(root, scenes, "a/{}.png", "b/{}-drawn.png")
    rows = "".join(f"a/{name}.png,b/{name}-drawn.png\n" for name in scenes)
    (root / "pairs.csv").write_text(f"image,mask\n{rows}")


def deepglobe(root: Path, scenes: Scenes) -> None:
    with_class_names(root, scenes, "{}_sat.png", "{}_mask.png")


def cellpose(root: Path, scenes: Scenes) -> None:
    with_class_names(root, scenes, "{}_img.png", "{}_masks.png")


def darwin(root: Path, scenes: Scenes) -> None:
    """Masks in raster layers, whose numbers stand for annotations."""
    for name, (pixels, classes) in scenes.items():
        save(root / "images" / f"{name}.png", pixels)
        flat = classes.ravel()
        starts = np.flatnonzero(np.diff(flat.astype(int), prepend=-1))
        counts = np.diff(np.append(starts, flat.size))
        runs = np.stack([flat[starts], counts], axis=1).ravel().tolist()
        layer = {"dense_rle": runs, "mask_annotation_ids_mapping": {"u": 1, "v": 2}}
        layer["total_pixels"] = int(flat.size)
        slot = {"slot_name": "0", "type": "image", "width": WIDTH, "height": HEIGHT}
        annotations = [
            {"id": "u", "name": NAMES[1], "mask": {}},
            {"id": "v", "name": NAMES[2], "mask": {}},
            {"id": "w", "name": "__raster_layer__", "raster_layer": layer},
        ]
        item = {"name": f"{name}.png", "path": "/", "slots": [slot]}
        path = root / "releases/latest/annotations" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"version": "2.0", "item": item, "annotations": annotations}
        path.write_text(json.dumps(content))


def mmsegmentation(root: Path, scenes: Scenes) -> None:
    with_class_names(root, scenes, "img_dir/{}.png", "ann_dir/{}.png")


def class_folders(root: Path, scenes: Scenes) -> None:
    for name, (pixels, classes) in scenes.items():
        save(root / "images" / f"{name}.png", pixels)
        for index in (1, 2):
            of_class = (classes == index).astype(np.uint8) * 255
            save(root / "masks" / NAMES[index] / f"{name}.png", of_class)


def label_studio_masks(root: Path, scenes: Scenes) -> None:
    """Strokes by the numbers of their tasks, and the table that names the images."""
    rows = ["annotation_id,annotator,brush,id,image"]
    for number, (name, (pixels, classes)) in enumerate(scenes.items()):
        save(root / "images" / f"{name}.png", pixels)
        rows.append(f"{number},1,,{number},/data/upload/1/0a1b2c3d-{name}.png")
        for index in (1, 2):
            file = f"task-{number}-annotation-{number}-by-1-brush-{NAMES[index]}-0.png"
            save(root / "export" / file, (classes == index).astype(np.uint8) * 255)
    (root / "export/project.csv").write_text("\n".join(rows) + "\n")


def run_lengths(root: Path, scenes: Scenes) -> None:
    rows = ["id,class,rle"]
    for name, (pixels, classes) in scenes.items():
        save(root / f"{name}.png", pixels)
        for index in (1, 2):
            flat = np.concatenate([[False], (classes == index).T.ravel(), [False]])
            edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
            runs = " ".join(f"{start} {end - start}" for start, end in edges.reshape(-1, 2))
            rows.append(f"{name},{NAMES[index]},{runs}")
    (root / "train.csv").write_text("\n".join(rows) + "\n")


def supervisely(root: Path, scenes: Scenes) -> None:
    for name, (pixels, classes) in scenes.items():
        save(root / "ds" / "img" / f"{name}.png", pixels)
        objects = [_bitmap(NAMES[index], classes == index) for index in (1, 2)]
        content: dict[str, Any] = {"size": {"height": HEIGHT, "width": WIDTH}, "objects": objects}
        path = root / "ds" / "ann" / f"{name}.png.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    classes_of = [{"title": name, "shape": "bitmap"} for name in NAMES[1:]]
    (root / "meta.json").write_text(json.dumps({"classes": classes_of}))


def _bitmap(name: str, inside: np.ndarray) -> dict[str, Any]:
    file = io.BytesIO()
    image = Image.fromarray(inside.astype(np.uint8), "P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(file, "PNG", transparency=0)
    data = base64.b64encode(zlib.compress(file.getvalue())).decode()
    return {
        "classTitle": name,
        "geometryType": "bitmap",
        "bitmap": {"data": data, "origin": [0, 0]},
    }


def nifti(root: Path, scenes: Scenes) -> None:
    """Colours do not go into a volume that other programs read, so there the image is grey."""
    for name, (pixels, classes) in scenes.items():
        for kind, plane in (("images", pixels), ("masks", classes)):
            (root / kind).mkdir(exist_ok=True)
            voxels = plane.swapaxes(0, 1)
            if kind == "images":
                colours = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
                voxels = np.ascontiguousarray(voxels).view(colours)[..., 0]
            image = nibabel.Nifti1Image(voxels[:, :, None], np.diag([-1.0, -1.0, 1.0, 1.0]))
            nibabel.save(image, root / kind / f"{name}.nii.gz")
    (root / "classes.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(NAMES)))


def ome_zarr(root: Path, scenes: Scenes) -> None:
    for name, (pixels, classes) in scenes.items():
        group = write_store(root / f"{name}.zarr", np.moveaxis(pixels, -1, 0), "cyx")
        write_labels(group, {"classes": classes}, "yx")
    (root / "classes.txt").write_text("".join(f"{i} {name}\n" for i, name in enumerate(NAMES)))


def channel_files(root: Path, scenes: Scenes) -> None:
    """Three files of a channel each."""
    with_class_names(root, scenes, "all/{}.png", "masks/{}.png")
    for name, (pixels, _) in scenes.items():
        for index in range(3):
            save(root / "images" / f"{name}_ch{index:02}.png", pixels[..., index])
        (root / "all" / f"{name}.png").unlink()
    (root / "all").rmdir()


def exported(format_name: str, images: str = ".") -> Callable[[Path, Scenes], None]:
    """What limner writes in the format of another tool, with the images where the tool has them."""

    def write(root: Path, scenes: Scenes) -> None:
        source = root.parent / "source"
        for name, (pixels, classes) in scenes.items():
            save(source / "images" / f"{name}.png", pixels)
            save(source / "masks" / f"{name}.png", classes)
        entries = tuple(
            Entry(name, str(source / f"images/{name}.png"), 0, source / f"masks/{name}.png", 0.0)
            for name in scenes
        )
        labels = Labels.from_values(NAMES, (0, 1, 2))
        predictions = Predictions(source, labels, entries, (), "x", from_limner=False)
        root.rmdir()
        reviewed = (replace(kept, is_reviewed=True) for kept in predicted_masks(predictions))
        write_format(reviewed, predictions, root, format_name)
        for name, (pixels, _) in scenes.items():
            if format_name != "nnunet":
                save(root / images / f"{name}.png", pixels)

    return write


LAYOUTS: dict[str, Callable[[Path, Scenes], None]] = {
    "images and masks": folders,
    "suffixes": suffixes,
    "manifest": manifest,
    "mmsegmentation": mmsegmentation,
    "DeepGlobe": deepglobe,
    "Cellpose": cellpose,
    "Darwin": darwin,
    "class folders": class_folders,
    "Label Studio masks": label_studio_masks,
    "run lengths": run_lengths,
    "Supervisely": supervisely,
    "NIfTI": nifti,
    "OME-Zarr": ome_zarr,
    "files of channels": channel_files,
    "COCO": exported("coco"),
    "COCO polygons": exported("coco-polygons"),
    "Label Studio": exported("label-studio"),
    "CVAT masks": exported("cvat", "JPEGImages"),
    "CVAT XML": exported("cvat-xml"),
    "labelme": exported("labelme"),
    "YOLO": exported("yolo", "images"),
    "QuPath": exported("qupath"),
    "ImageJ": exported("imagej"),
    "nnU-Net": exported("nnunet"),
}


def sides_of(root: Path) -> dict[str, list[str]]:
    """The names of the images in each split that a training would draw."""
    dataset = scan(root)
    sides = split_dataset(dataset.samples, check(dataset), Recipe())
    return {side: [name_of(sample) for sample in samples] for side, samples in sides.items()}


def name_of(sample: Sample) -> str:
    return sample.id.rpartition("/")[2]


@pytest.fixture(scope="session")
def expected_sides(
    scenes: Scenes, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[str]]:
    root = tmp_path_factory.mktemp("plain")
    folders(root, scenes)
    return sides_of(root)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_gives_the_same_dataset(
    layout: str, scenes: Scenes, expected_sides: dict[str, list[str]], tmp_path: Path
) -> None:
    root = tmp_path / "set"
    root.mkdir()
    LAYOUTS[layout](root, scenes)
    dataset = scan(root)
    report = check(dataset)
    assert not report.errors and report.labels is not None, report.errors
    assert report.labels.names == NAMES
    assert list(map(name_of, dataset.samples)) == list(scenes)
    for sample, (image, mask) in zip(dataset.samples, scenes.values(), strict=True):
        assert np.array_equal(sample.read_image(), image)
        assert np.array_equal(sample.class_index(report.labels), mask)
    assert sides_of(root) == expected_sides


MASK_FILES = ("images and masks", "suffixes", "mmsegmentation", "class folders", "CVAT masks")


@pytest.mark.parametrize("layout", MASK_FILES)
def test_a_tool_s_file_among_masks_is_said(layout: str, scenes: Scenes, tmp_path: Path) -> None:
    """Annotations of one image do not take the place of the masks of all others."""
    root = tmp_path / "set"
    root.mkdir()
    LAYOUTS[layout](root, scenes)
    image = scan(root).samples[0].image
    content = {"shapes": [], "imagePath": image.name, "flags": {}}
    size = {"imageHeight": HEIGHT, "imageWidth": WIDTH}
    image.with_suffix(".json").write_text(json.dumps(content | size))
    with pytest.raises(LimnerError, match="annotations of labelme for 1 image, and masks in files"):
        scan(root)


def test_masks_beside_the_annotations_of_all_images_are_said(
    scenes: Scenes, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    root.mkdir()
    folders(root, scenes)
    for name in scenes:
        content = {"shapes": [], "imagePath": f"{name}.png", "flags": {}}
        size = {"imageHeight": HEIGHT, "imageWidth": WIDTH}
        (root / "images" / f"{name}.json").write_text(json.dumps(content | size))
    (finding,) = [each for each in scan(root).findings if each.code == "masks-beside-annotations"]
    assert f"{len(scenes)} images have masks in files" in finding.message


@pytest.mark.parametrize("layout", sorted(LAYOUTS.keys() - {"YOLO", "run lengths"}))
def test_a_file_that_breaks_off_is_named(layout: str, scenes: Scenes, tmp_path: Path) -> None:
    """YOLO's lines and tables of runs state no end, so that shorter ones are whole ones."""
    root = tmp_path / "set"
    root.mkdir()
    LAYOUTS[layout](root, scenes)
    images = {str(sample.image) for sample in scan(root).samples}
    lists, names = {".txt", ".csv"}, {"interface.xml", "zarr.json", "meta.json"}
    masks = sorted(
        path
        for path in root.rglob("*")
        if path.is_file()
        and str(path) not in images
        and path.suffix not in lists
        and path.name not in names
        # CVAT numbers objects there too, which no class depends on
        and path.parent.name != "SegmentationObject"
    )
    # The longest holds most annotations
    broken = max(masks, key=lambda path: path.stat().st_size)
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    try:
        messages = [error.message for error in check(scan(root)).errors]
    except LimnerError as error:
        messages = [str(error)]
    assert any(broken.name.partition("_ch")[0] in message for message in messages) or any(
        "in no layout that limner knows" in message for message in messages
    ), messages
