"""Every format against the tool's own library: how many pixels differ, in and out.

    python benchmarks/formats.py --peers-python PEERS --nnunet-python NNUNET
        --ultralytics-python ULTRALYTICS --supervisely-python SUPERVISELY --write

PEERS is a Python with labelme, supervision, datumaro, label-studio-sdk and ome-zarr, NNUNET with
nnunetv2, ULTRALYTICS with ultralytics, SUPERVISELY with supervisely. Without them their rows are
left out. `--write` puts the table into docs/formats.md.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from limner.data.check import check
from limner.data.images import read_mask, read_values
from limner.data.scan import scan
from limner.data.shapes.coco import decode_rle
from limner.labels import Labels
from limner.review.formats.write import write_format
from limner.review.kept_masks import KeptMask
from limner.review.predictions import Entry, Predictions

Json = dict[str, Any]
HERE = Path(__file__).parent
COUNT, HEIGHT, WIDTH = 40, 96, 128
NAMES = ("background", "bug", "leaf")
LABELS = Labels.from_values(NAMES, (0, 1, 2))
RNG = np.random.default_rng(0)
START, END = "<!-- the table begins -->", "<!-- the table ends -->"


@dataclass(frozen=True, slots=True)
class Row:
    """What was compared: the format, the way, the other side, and what differs."""

    name: str
    way: str
    other_side: str
    images: int
    differ: int


@dataclass(frozen=True, slots=True)
class Peers:
    """Python programs of environments that hold other tools."""

    tools: str | None
    nnunet: str | None
    ultralytics: str | None
    supervisely: str | None = None

    def run(self, command: str, folder: Path, python: str | None = None) -> dict[str, np.ndarray]:
        """Run a command of `format_peers.py`, and give what it drew."""
        script = str(HERE / "format_peers.py")
        program = str(python or self.tools)
        subprocess.run([program, script, command, str(folder)], check=True, capture_output=True)
        content = np.load(folder / "out.npz")
        return {name: content[name] for name in content.files}

    def version_of(self, package: str, python: str | None = None) -> str:
        code = f"from importlib.metadata import version; print(version({package!r}))"
        done = subprocess.run(
            [str(python or self.tools), "-c", code], capture_output=True, text=True, check=True
        )
        return f"{package} {done.stdout.strip()}"


def masks() -> dict[str, np.ndarray]:
    """Masks of two classes with holes, single pixels, and parts at the border."""
    from scipy import ndimage

    drawn = {}
    for number in range(COUNT):
        smooth = ndimage.gaussian_filter(
            np.random.default_rng(number).normal(size=(HEIGHT, WIDTH)), 3
        )
        mask = np.where(smooth > 0.07, 1, 0) + np.where(smooth < -0.08, 2, 0)
        mask[0, 0], mask[-1, -1], mask[20, ::7] = 1, 2, 1
        drawn[f"x{number:02}"] = mask.astype(np.uint8)
    return drawn


def polygons(number: int) -> list[tuple[int, np.ndarray]]:
    """Classes and random polygons with fractions, which overlap and leave the image."""
    rng = np.random.default_rng(1000 + number)
    drawn = []
    for _ in range(12):
        middle, count = rng.uniform(0, (WIDTH, HEIGHT)), int(rng.integers(3, 14))
        angles = np.sort(rng.uniform(0, 2 * np.pi, count))
        radii = rng.uniform(2, 40, count)
        points = middle + np.stack([np.cos(angles), np.sin(angles)], 1) * radii[:, None]
        drawn.append((int(rng.integers(1, 3)), points.round(3)))
    return drawn


def save_images(folder: Path, names: list[str], suffix: str = ".png") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        noise = RNG.integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        Image.fromarray(noise).save(folder / f"{name}{suffix}")


def write(folder: Path, format_name: str, drawn: dict[str, np.ndarray]) -> Path:
    """Write masks with limner, as those of a review."""
    source = folder / "source"
    save_images(source, list(drawn))
    entries = tuple(
        Entry(name, str(source / f"{name}.png"), 0, source / f"{name}.png", 0.0) for name in drawn
    )
    predictions = Predictions(source, LABELS, entries, (), "x", from_limner=False)
    kept = (KeptMask(entry.id, entry, drawn[entry.id]) for entry in entries)
    write_format(kept, predictions, folder / "set", format_name)
    return folder / "set"


def read(folder: Path) -> dict[str, np.ndarray]:
    """Read a set with limner: the class index of each image by its name."""
    dataset = scan(folder)
    labels = check(dataset).labels
    assert labels is not None and labels.names == NAMES, labels
    return {sample.image.stem: sample.class_index(labels) for sample in dataset.samples}


def differing(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> int:
    assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
    return sum(int((ours[name] != theirs[name]).sum()) for name in ours)


def coco_in(folder: Path, _peers: Peers) -> Row:
    """Polygons in several pieces, drawn by pycocotools."""
    from pycocotools import mask as coco

    images, annotations, theirs = [], [], {}
    for number in range(COUNT):
        name = f"x{number:02}"
        images.append(
            {"id": number + 1, "file_name": f"{name}.png", "height": HEIGHT, "width": WIDTH}
        )
        theirs[name] = np.zeros((HEIGHT, WIDTH), np.uint8)
        shapes = polygons(number)[:4]
        # In the four quarters of the image: one within another is a hole
        quarters = [(x, y) for x in (0, WIDTH / 2) for y in (0, HEIGHT / 2)]
        pieces = [
            (points / 2 + quarter).ravel().tolist()
            for (_, points), quarter in zip(shapes, quarters, strict=True)
        ]
        category = shapes[0][0]
        annotation = {"id": number + 1, "image_id": number + 1, "category_id": category}
        annotations.append(annotation | {"segmentation": pieces, "iscrowd": 0})
        drawn = coco.decode(coco.merge(coco.frPyObjects(pieces, HEIGHT, WIDTH)))
        theirs[name][drawn > 0] = category
    save_images(folder, list(theirs))
    categories = [{"id": index, "name": NAMES[index]} for index in (1, 2)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    return Row(
        "COCO polygons",
        "in",
        f"pycocotools {version('pycocotools')}",
        COUNT,
        differing(read(folder), theirs),
    )


def via_in(folder: Path, _peers: Peers) -> Row:
    """VIA's own export to COCO makes its polygons pycocotools'."""
    from pycocotools import mask as coco

    theirs, content = {}, {}
    for number in range(COUNT):
        name = f"x{number:02}.png"
        mask, regions = np.zeros((HEIGHT, WIDTH), np.uint8), []
        for category, points in polygons(number):
            drawn = coco.decode(coco.frPyObjects([points.ravel().tolist()], HEIGHT, WIDTH))
            mask[drawn[..., 0] > 0] = category
            x, y = points.T.tolist()
            shape = {"name": "polygon", "all_points_x": x, "all_points_y": y}
            attributes = {"class": NAMES[category]}
            regions.append({"shape_attributes": shape, "region_attributes": attributes})
        theirs[Path(name).stem] = mask
        content[name] = {"filename": name, "regions": regions, "file_attributes": {}}
    save_images(folder, list(theirs))
    (folder / "via.json").write_text(json.dumps({"_via_img_metadata": content}))
    library = f"pycocotools {version('pycocotools')}"
    return Row("VIA polygons", "in", library, COUNT, differing(read(folder), theirs))


def run_lengths_in(folder: Path, _peers: Peers) -> Row:
    """The lengths of runs are those that pycocotools counts, whose first one is of background."""
    from pycocotools import mask as coco

    drawn = masks()
    lines = ["id,class,rle"]
    for name, mask in drawn.items():
        for index in (1, 2):
            encoded = coco.encode(np.asfortranarray(mask == index).astype(np.uint8))
            counts = decode_rle(encoded["counts"].decode())
            ends = np.cumsum(counts)
            runs = zip(ends[0::2] + 1, counts[1::2], strict=False)
            lines.append(f"{name},{NAMES[index]},{' '.join(f'{at} {n}' for at, n in runs)}")
    save_images(folder, list(drawn))
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    library = f"pycocotools {version('pycocotools')}"
    return Row("Run lengths (CSV)", "in", library, COUNT, differing(read(folder), drawn))


def coco_out(format_name: str) -> Callable[[Path, Peers], Row]:
    def compare(folder: Path, _peers: Peers) -> Row:
        import contextlib
        import io

        from pycocotools.coco import COCO

        drawn = masks()
        path = write(folder, format_name, drawn) / "annotations.json"
        with contextlib.redirect_stdout(io.StringIO()):
            content = COCO(str(path))
        theirs = {}
        for image in content.loadImgs(content.getImgIds()):
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            for annotation in content.loadAnns(content.getAnnIds(image["id"])):
                mask[content.annToMask(annotation) > 0] = annotation["category_id"]
            theirs[Path(image["file_name"]).stem] = mask
        return Row(
            format_name,
            "out",
            f"pycocotools {version('pycocotools')}",
            COUNT,
            differing(drawn, theirs),
        )

    return compare


def yolo_in(folder: Path, peers: Peers) -> Row:
    names = [f"x{number:02}" for number in range(COUNT)]
    save_images(folder / "images", names)
    (folder / "labels").mkdir()
    for number, name in enumerate(names):
        lines = []
        for category, points in polygons(number):
            inside = np.clip(points / (WIDTH, HEIGHT), 0, 1)
            lines.append(" ".join(map(str, [category - 1, *inside.ravel().round(6).tolist()])))
        (folder / "labels" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (folder / "data.yaml").write_text("train: images\nval: images\nnames: [bug, leaf]\n")
    theirs = peers.run("yolo-ultralytics", folder, peers.ultralytics)
    library = peers.version_of("ultralytics", peers.ultralytics)
    return Row("YOLO", "in", library, COUNT, differing(read(folder), theirs))


def yolo_out(folder: Path, peers: Peers) -> Iterator[Row]:
    from scipy import ndimage

    drawn = masks()
    path = write(folder, "yolo", drawn)
    save_images(path / "images", list(drawn))
    # Holes are filled, which is said when they are written; larger parts lie below
    expected = {}
    for name, mask in drawn.items():
        parts = []
        for index in (1, 2):
            numbers, count = ndimage.label(mask == index)
            parts += [
                (index, ndimage.binary_fill_holes(numbers == number))
                for number in range(1, count + 1)
            ]
        expected[name] = np.zeros_like(mask)
        for index, inside in sorted(parts, key=lambda part: -int(part[1].sum())):
            expected[name][inside] = index
    for command, package, python in (
        ("yolo-ultralytics", "ultralytics", peers.ultralytics),
        ("yolo", "supervision", peers.tools),
    ):
        if python:
            differ = differing(expected, peers.run(command, path, python))
            library = peers.version_of(package, python)
            yield Row("YOLO (holes filled)", "out", library, COUNT, differ)


def labelme_in(folder: Path, peers: Peers) -> Row:
    names = [f"x{number:02}" for number in range(COUNT)]
    save_images(folder, names)
    for number, name in enumerate(names):
        rng = np.random.default_rng(number)
        shapes = [
            {"label": NAMES[category], "points": points.tolist(), "shape_type": "polygon"}
            for category, points in polygons(number)
        ]
        for kind, count in (
            ("rectangle", 2),
            ("circle", 2),
            ("line", 2),
            ("linestrip", 5),
            ("point", 1),
        ):
            points = rng.uniform((0, 0), (WIDTH, HEIGHT), (count, 2)).round(3)
            shapes.append({"label": NAMES[1], "points": points.tolist(), "shape_type": kind})
        content = {"version": "6", "flags": {}, "shapes": shapes, "imagePath": f"{name}.png"}
        content |= {"imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
        (folder / f"{name}.json").write_text(json.dumps(content))
    return _with_labelme(folder, peers, "in", None)


def labelme_out(folder: Path, peers: Peers) -> Row:
    drawn = masks()
    path = write(folder, "labelme", drawn)
    return _with_labelme(path, peers, "out", drawn)


def _with_labelme(path: Path, peers: Peers, way: str, drawn: dict[str, np.ndarray] | None) -> Row:
    ours = read(path) if drawn is None else drawn
    (path / "classes.json").write_text(json.dumps(NAMES))
    theirs = peers.run("labelme", path)
    return Row("labelme", way, peers.version_of("labelme"), COUNT, differing(ours, theirs))


def cvat_in(folder: Path, peers: Peers) -> Row:
    drawn = masks()
    np.savez(folder / "in.npz", **drawn)
    (folder / "classes.json").write_text(json.dumps(NAMES))
    peers.run("cvat-write", folder)
    return Row(
        "CVAT for images",
        "in",
        peers.version_of("datumaro"),
        COUNT,
        differing(read(folder / "set"), drawn),
    )


def cvat_out(format_name: str, command: str) -> Callable[[Path, Peers], Row]:
    def compare(folder: Path, peers: Peers) -> Row:
        drawn = masks()
        path = write(folder, format_name, drawn)
        (folder / "classes.json").write_text(json.dumps(NAMES))
        shutil.copytree(
            folder / "source", path / ("images" if command == "cvat-read" else "JPEGImages")
        )
        theirs = peers.run(command, folder)
        return Row(
            format_name, "out", peers.version_of("datumaro"), COUNT, differing(drawn, theirs)
        )

    return compare


def brush_tasks(folder: Path, peers: Peers, drawn: Mapping[str, np.ndarray]) -> list[Json]:
    """The images in `folder`, and tasks with strokes that Label Studio's encoder made."""
    planes = {
        f"{name}-{i}": (mask == i).astype(np.uint8) for name, mask in drawn.items() for i in (1, 2)
    }
    np.savez(folder / "in.npz", **planes)
    encoded = peers.run("brush-encode", folder)
    shutil.rmtree(folder)
    save_images(folder, list(drawn))
    tasks = []
    for number, name in enumerate(drawn):
        result = [
            {
                "type": "brushlabels",
                "from_name": "brush",
                "to_name": "image",
                "original_width": WIDTH,
                "original_height": HEIGHT,
                "value": {
                    "format": "rle",
                    "rle": encoded[f"{name}-{index}"].tolist(),
                    "brushlabels": [NAMES[index]],
                },
            }
            for index in (1, 2)
        ]
        annotation = {"id": 100 + number, "completed_by": 1, "result": result}
        tasks.append(
            {"id": number + 1, "data": {"image": f"{name}.png"}, "annotations": [annotation]}
        )
    return tasks


def brush_in(folder: Path, peers: Peers) -> Row:
    drawn = masks()
    tasks = brush_tasks(folder, peers, drawn)
    (folder / "export.json").write_text(json.dumps(tasks))
    library = peers.version_of("label-studio-sdk")
    return Row("Label Studio brush", "in", library, COUNT, differing(read(folder), drawn))


def brush_masks_in(folder: Path, peers: Peers) -> Row:
    """The masks and the table of tasks that Label Studio's own converter writes."""
    drawn = masks()
    tasks = brush_tasks(folder, peers, drawn)
    (folder / "in.json").write_text(json.dumps(tasks))
    peers.run("brush-export", folder)
    (folder / "in.json").unlink()
    library = peers.version_of("label-studio-sdk")
    return Row("Label Studio masks", "in", library, COUNT, differing(read(folder), drawn))


def brush_out(folder: Path, peers: Peers) -> Row:
    drawn = masks()
    tasks = json.loads((write(folder, "label-studio", drawn) / "tasks.json").read_text())
    regions = {
        "{}-{}".format(
            Path(task["data"]["image"]).stem, NAMES.index(region["value"]["brushlabels"][0])
        ): region
        for task in tasks
        for region in task["annotations"][0]["result"]
    }
    (folder / "in.json").write_text(json.dumps(regions))
    decoded = peers.run("brush-decode", folder)
    theirs = {name: np.zeros((HEIGHT, WIDTH), np.uint8) for name in drawn}
    for key, inside in decoded.items():
        name, _, index = key.rpartition("-")
        theirs[name][inside] = int(index)
    library = peers.version_of("label-studio-sdk")
    return Row("Label Studio brush", "out", library, COUNT, differing(drawn, theirs))


def imagej_in(folder: Path, _peers: Peers) -> Row:
    """Polygons, drawn by rasterio at the middles of pixels, as ImageJ does."""
    import roifile
    from rasterio.features import rasterize

    save_images(folder, [f"x{number:02}" for number in range(COUNT)])
    theirs = {}
    for number in range(COUNT):
        name, theirs_mask = f"x{number:02}", np.zeros((HEIGHT, WIDTH), np.uint8)
        regions = []
        for index, (category, points) in enumerate(polygons(number)):
            region = roifile.ImagejRoi.frompoints(points + 0.137, name=str(index))
            region.properties = {"class": NAMES[category]}
            regions.append(region)
            ring = region.coordinates().tolist()
            geometry = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
            inside = rasterize([(geometry, 1)], out_shape=theirs_mask.shape).astype(bool)
            theirs_mask[inside] = category
        roifile.roiwrite(folder / f"{name}.zip", regions)
        theirs[name] = theirs_mask
    return Row(
        "ImageJ", "in", f"roifile {version('roifile')}", COUNT, differing(read(folder), theirs)
    )


def imagej_out(folder: Path, _peers: Peers) -> Row:
    """Read with roifile, and drawn by rasterio at the middles of pixels."""
    import roifile
    from rasterio.features import rasterize

    drawn = masks()
    path = write(folder, "imagej", drawn)
    theirs = {}
    for name in drawn:
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        for region in roifile.roiread(path / f"{name}.zip"):
            rings = region.coordinates(multi=True)
            rings = rings if isinstance(rings, list) else [rings]
            closed = [[*ring.tolist(), ring[0].tolist()] for ring in rings]
            geometry = {"type": "Polygon", "coordinates": closed}
            inside = rasterize([(geometry, 1)], out_shape=mask.shape).astype(bool)
            mask[inside] = NAMES.index(region.properties["class"])
        theirs[name] = mask
    return Row(
        "ImageJ",
        "out",
        f"roifile {version('roifile')}, rasterio {version('rasterio')}",
        COUNT,
        differing(drawn, theirs),
    )


def qupath(folder: Path, _peers: Peers) -> Row:
    """Polygons with holes, drawn by rasterio at the middles of pixels."""
    from rasterio.features import rasterize

    drawn = masks()
    path = write(folder, "qupath", drawn)
    theirs = {}
    for name in drawn:
        content = json.loads((path / f"{name}.geojson").read_text())
        shapes = [
            (each["geometry"], NAMES.index(each["properties"]["classification"]["name"]))
            for each in content["features"]
        ]
        theirs[name] = rasterize(shapes, out_shape=(HEIGHT, WIDTH)).astype(np.uint8)
    return Row(
        "QuPath GeoJSON", "out", f"rasterio {version('rasterio')}", COUNT, differing(drawn, theirs)
    )


def voc_in(folder: Path, _peers: Peers) -> Row:
    """Colours of Pascal VOC by Pillow's polygons, with a labelmap.txt."""
    theirs = {}
    colours = {1: (128, 0, 0), 2: (0, 128, 0)}
    save_images(folder / "JPEGImages", [f"x{number:02}" for number in range(COUNT)])
    (folder / "SegmentationClass").mkdir()
    for number in range(COUNT):
        name = f"x{number:02}"
        picture, classes = Image.new("RGB", (WIDTH, HEIGHT)), Image.new("L", (WIDTH, HEIGHT))
        for category, points in polygons(number):
            flat = points.ravel().tolist()
            ImageDraw.Draw(picture).polygon(flat, fill=colours[category])
            ImageDraw.Draw(classes).polygon(flat, fill=category)
        picture.save(folder / "SegmentationClass" / f"{name}.png")
        theirs[name] = np.asarray(classes)
    (folder / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nbug:128,0,0::\nleaf:0,128,0::\n"
    )
    return Row(
        "CVAT masks, Pascal VOC",
        "in",
        f"Pillow {version('pillow')}",
        COUNT,
        differing(read(folder), theirs),
    )


def nnunet_out(folder: Path, peers: Peers) -> Row:
    drawn = masks()
    path = write(folder, "nnunet", drawn)
    base = folder / "raw" / "Dataset001_x"
    shutil.copytree(path, base)
    code = (
        "from nnunetv2.experiment_planning import verify_dataset_integrity as it;"
        f"it.verify_dataset_integrity({str(base)!r}, 2)"
    )
    environment = {
        "nnUNet_raw": str(folder / "raw"),
        "nnUNet_preprocessed": str(folder),
        "nnUNet_results": str(folder),
    }
    subprocess.run(
        [str(peers.nnunet), "-c", code], check=True, env=environment, capture_output=True
    )
    theirs = {name: np.asarray(Image.open(base / "labelsTr" / f"{name}.png")) for name in drawn}
    library = peers.version_of("nnunetv2", peers.nnunet) + ", its integrity check"
    return Row("nnU-Net", "out", library, COUNT, differing(drawn, theirs))


def volumes(folder: Path, _peers: Peers) -> Iterator[Row]:
    """Volumes and microscope files: every value of every slice."""
    import mrcfile
    import nibabel
    import nrrd
    from pylibCZIrw import czi as zeiss

    from limner.data.readers.anatomy import slice_order

    voxels = RNG.integers(0, 4000, (WIDTH, HEIGHT, COUNT)).astype(np.uint16)
    affine = np.diag([0.5, 0.7, 2.0, 1.0])
    order = slice_order(affine)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), folder / "x.nii.gz")
    stored = np.asarray(nibabel.load(folder / "x.nii.gz").dataobj)
    expected = [order.to_image(stored[:, :, page]) for page in range(COUNT)]
    yield _values("NIfTI", folder / "x.nii.gz", f"nibabel {version('nibabel')}", expected)
    directions = np.diag([-0.5, -0.7, 2.0])
    header = {"space": "left-posterior-superior", "space directions": directions}
    nrrd.write(str(folder / "x.nrrd"), voxels, header)
    stored, _ = nrrd.read(str(folder / "x.nrrd"))
    expected = [order.to_image(stored[:, :, page]) for page in range(COUNT)]
    yield _values("NRRD", folder / "x.nrrd", f"pynrrd {version('pynrrd')}", expected)
    planes = np.ascontiguousarray(voxels.T)
    with mrcfile.new(folder / "x.mrc") as file:
        file.set_data(planes)
    yield _values(
        "MRC",
        folder / "x.mrc",
        f"mrcfile {version('mrcfile')}",
        list(mrcfile.read(folder / "x.mrc")),
    )
    with zeiss.create_czi(str(folder / "x.czi"), compression_options="zstd1:") as file:
        for page in range(COUNT):
            file.write(planes[page][..., None], plane={"Z": page})
    with zeiss.open_czi(str(folder / "x.czi")) as file:
        expected = [file.read(plane={"Z": page})[..., 0] for page in range(COUNT)]
    yield _values("CZI", folder / "x.czi", f"pylibCZIrw {version('pylibCZIrw')}", expected)


def microscopes(folder: Path, _peers: Peers) -> Iterator[Row]:
    """Files of the published forms, which no library writes, as the libraries read them."""
    import liffile
    import nd2
    from oiffile import OifFile

    sys.path.append(str(HERE.parent / "tests"))
    from microscope_files import write_lif, write_nd2, write_oib

    planes = RNG.integers(0, 4000, (COUNT, HEIGHT, WIDTH)).astype(np.uint16)
    write_lif(folder / "x.lif", {"a": ("ZYX", planes)})
    expected = list(liffile.imread(folder / "x.lif"))
    yield _values("LIF", folder / "x.lif", f"liffile {version('liffile')}", expected)
    write_nd2(folder / "x.nd2", planes[..., None], um=0.5)
    write_oib(folder / "x.oib", planes[:, None], um=0.5)
    with OifFile(folder / "x.oib") as file:
        expected = list(file.asarray(0)[0])
    yield _values("OIB", folder / "x.oib", f"oiffile {version('oiffile')}", expected)
    yield _values(
        "ND2", folder / "x.nd2", f"nd2 {version('nd2')}", list(nd2.imread(folder / "x.nd2"))
    )


def _values(name: str, path: Path, library: str, expected: list[np.ndarray]) -> Row:
    differ = sum(
        int((read_values(path, page=page)[..., 0] != plane).sum())
        for page, plane in enumerate(expected)
    )
    return Row(name, "in", library, len(expected), differ)


def volumes_out(folder: Path, _peers: Peers) -> Row:
    """The masks of volumes of one slice, with their places."""
    import nibabel

    drawn = masks()
    affine = np.array([[0, -0.5, 0, 9], [-0.7, 0, 0, 8], [0, 0, 2, 7], [0, 0, 0, 1.0]])
    for name in drawn:
        voxels = RNG.integers(0, 4000, (HEIGHT, WIDTH, 1)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(voxels, affine), folder / f"{name}.nii.gz")
    entries = tuple(Entry(name, str(folder / f"{name}.nii.gz"), 0, folder, 0.0) for name in drawn)
    predictions = Predictions(folder, LABELS, entries, (), "x", from_limner=False)
    kept = (KeptMask(entry.id, entry, drawn[entry.id]) for entry in entries)
    write_format(kept, predictions, folder / "out", "nifti")
    differ = 0
    for name, mask in drawn.items():
        volume = nibabel.load(folder / "out" / f"{name}.nii.gz")
        assert np.allclose(volume.affine, affine)
        # Rows of this volume run to the left and its columns to the back, as they are shown
        differ += int((np.asarray(volume.dataobj)[:, :, 0] != mask).sum())
    return Row("NIfTI", "out", f"nibabel {version('nibabel')}", COUNT, differ)


def tiffs(folder: Path, _peers: Peers) -> Iterator[Row]:
    import rasterio
    import tifffile
    from rasterio.features import rasterize

    drawn = masks()
    path = write(folder / "ome", "ome-tiff", drawn)
    theirs = {name: tifffile.imread(path / f"{name}.ome.tif") for name in drawn}
    yield Row("OME-TIFF", "out", f"tifffile {version('tifffile')}", COUNT, differing(drawn, theirs))
    place = rasterio.Affine(0.5, 0, 400000, 0, -0.5, 5800000)
    form = {"driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": 1, "dtype": "uint8"}
    (folder / "maps").mkdir()
    for name, mask in drawn.items():
        target = folder / "maps" / f"{name}.tif"
        with rasterio.open(target, "w", **form, crs="EPSG:32633", transform=place) as file:
            file.write(mask, 1)
    ours = {name: read_mask(folder / "maps" / f"{name}.tif").values for name in drawn}
    yield Row("GeoTIFF", "in", f"rasterio {version('rasterio')}", COUNT, differing(ours, drawn))
    entries = tuple(
        Entry(name, str(folder / "maps" / f"{name}.tif"), 0, folder, 0.0) for name in drawn
    )
    predictions = Predictions(folder, LABELS, entries, (), "x", from_limner=False)
    kept = [KeptMask(entry.id, entry, drawn[entry.id]) for entry in entries]
    write_format(iter(kept), predictions, folder / "geotiff", "geotiff")
    theirs = {}
    for name in drawn:
        with rasterio.open(folder / "geotiff" / f"{name}.tif") as file:
            assert file.transform == place and file.crs.to_epsg() == 32633
            theirs[name] = file.read(1)
    yield Row("GeoTIFF", "out", f"rasterio {version('rasterio')}", COUNT, differing(drawn, theirs))
    differ = 0
    for entry in kept:
        alone = replace(predictions, entries=(entry.entry,))
        target = folder / "geojson" / entry.entry.id
        write_format(iter([entry]), alone, target, "geojson")
        content = json.loads((target / "masks.geojson").read_text())
        shapes = [
            (each["geometry"], NAMES.index(each["properties"]["class"]))
            for each in content["features"]
        ]
        theirs_here = rasterize(shapes, out_shape=(HEIGHT, WIDTH), transform=place)
        differ += int((theirs_here != drawn[entry.entry.id]).sum())
    yield Row("GeoJSON in a map", "out", f"rasterio {version('rasterio')}", COUNT, differ)


def segmentations(folder: Path, _peers: Peers) -> Iterator[Row]:
    """A CT series and its segmentation, written by highdicom, and one that highdicom reads."""
    import highdicom

    sys.path.append(str(HERE.parent / "tests"))
    from data.layouts.test_dicom_seg_layout import segmentation, slices
    from dicom_files import save_dicom

    (folder / "in").mkdir()
    images = slices(COUNT)
    height, width = images[0].Rows, images[0].Columns
    drawn = RNG.integers(0, 3, (COUNT, height, width)).astype(np.uint8)
    paths = [
        save_dicom(folder / "in" / f"x{number:02}.dcm", image)
        for number, image in enumerate(images)
    ]
    segmentation(images, drawn).save_as(folder / "in" / "seg.dcm")
    dataset = scan(folder / "in")
    labels = check(dataset).labels
    assert labels is not None and labels.names == ("background", "cyst", "tumour")
    place = np.array([0, 2, 1])
    differ = sum(
        int((place[sample.class_index(labels)] != drawn[int(sample.image.stem[1:])]).sum())
        for sample in dataset.samples
    )
    library = f"highdicom {version('highdicom')}"
    yield Row("DICOM SEG", "in", library, len(dataset.samples), differ)
    entries = tuple(Entry(path.stem, str(path), 0, path, 0.0) for path in paths)
    predictions = Predictions(folder, LABELS, entries, (), "x", from_limner=False)
    kept = (KeptMask(entry.id, entry, drawn[int(entry.id[1:])]) for entry in entries)
    write_format(kept, predictions, folder / "out", "dicom-seg")
    differ = 0
    for number, image in enumerate(images):
        written = highdicom.seg.segread(folder / "out" / f"x{number:02}.dcm")
        pixels = written.get_pixels_by_source_instance(
            [image.SOPInstanceUID], combine_segments=True
        )
        differ += int((pixels[0] != drawn[number]).sum())
    yield Row("DICOM SEG", "out", library, COUNT, differ)


def darwin_in(folder: Path, _peers: Peers) -> Row:
    """Polygons, drawn by V7's own rasteriser from corners that are rounded, as darwin-py does."""
    from upolygon import draw_polygon

    names = [f"x{number:02}" for number in range(COUNT)]
    save_images(folder / "images", names)
    target = folder / "releases" / "latest" / "annotations"
    target.mkdir(parents=True)
    theirs = {}
    for number, name in enumerate(names):
        annotations, mask = [], np.zeros((HEIGHT, WIDTH), np.uint8)
        for category, points in polygons(number):
            inside = np.clip(points, 0, (WIDTH - 1, HEIGHT - 1))
            path = [{"x": x, "y": y} for x, y in inside.tolist()]
            annotations.append({"name": NAMES[category], "polygon": {"paths": [path]}})
            draw_polygon(mask, [inside.round().astype(int).ravel().tolist()], category)
        slot = {"slot_name": "0", "type": "image", "width": WIDTH, "height": HEIGHT}
        item = {"name": f"{name}.png", "path": "/", "slots": [slot]}
        content = {"version": "2.0", "item": item, "annotations": annotations}
        (target / f"{name}.json").write_text(json.dumps(content))
        theirs[name] = mask
    library = f"upolygon {version('upolygon')}"
    return Row("Darwin", "in", library, COUNT, differing(read(folder), theirs))


def slides(folder: Path, _peers: Peers) -> Row:
    """A slide as Aperio writes it, all of it and in parts."""
    from openslide import OpenSlide

    from limner.data.large_images import open_large_image
    from limner.data.views import Box

    sys.path.append(str(HERE.parent / "tests"))
    from slides import draw_tissue, write_slide

    differ = 0
    for number in range(COUNT):
        path = write_slide(folder / f"{number}.svs", draw_tissue(4 * HEIGHT, 4 * WIDTH, number)[0])
        with OpenSlide(path) as slide:
            whole = np.asarray(slide.read_region((0, 0), 0, slide.dimensions))[..., :3]
        differ += int((read_values(path) != whole).any(axis=2).sum())
        ours, box = open_large_image(path), Box(50, 70, 200, 150)
        assert ours is not None
        differ += int((ours.read(box) != box.crop(whole)).any(axis=2).sum())
    return Row("SVS", "in", f"openslide-python {version('openslide-python')}", COUNT, differ)


def supervisely_in(folder: Path, peers: Peers) -> Row:
    """Polygons with holes, and bitmaps over them."""
    drawn = masks()
    # A few parts of each mask lie over the polygons
    np.savez(folder / "in.npz", **{name: np.where(mask == 1, 1, 0) for name, mask in drawn.items()})
    shapes = {}
    for number, name in enumerate(drawn):
        shapes[name] = []
        for category, points in polygons(number)[:6]:
            inside = np.clip(points, 0, (WIDTH - 1, HEIGHT - 1)).astype(int)
            hole = (inside.mean(axis=0) + (inside - inside.mean(axis=0)) / 3).astype(int)
            shapes[name].append((category, inside.tolist(), [hole.tolist()]))
    (folder / "in.json").write_text(json.dumps(shapes))
    (folder / "classes.json").write_text(json.dumps(NAMES))
    theirs = peers.run("supervisely-write", folder, peers.supervisely)
    library = peers.version_of("supervisely", peers.supervisely)
    return Row("Supervisely", "in", library, COUNT, differing(read(folder / "set"), theirs))


def zarr_in(folder: Path, peers: Peers) -> Row:
    """Images with labels, of the two versions in use."""
    drawn = masks()
    np.savez(folder / "in.npz", **drawn)
    theirs = peers.run("zarr-write", folder)
    dataset = scan(folder / "set")
    ours = {
        sample.id: np.dstack([read_values(sample.image), sample.read_mask().values[..., None]])
        for sample in dataset.samples
    }
    library = peers.version_of("ome-zarr")
    return Row("OME-Zarr", "in", library, len(ours), differing(ours, theirs))


OWN: tuple[Callable[[Path, Peers], Row], ...] = (
    coco_in,
    coco_out("coco"),
    coco_out("coco-polygons"),
    via_in,
    run_lengths_in,
    voc_in,
    imagej_in,
    imagej_out,
    qupath,
    darwin_in,
    slides,
    volumes_out,
)
WITH_TOOLS: tuple[Callable[[Path, Peers], Row], ...] = (
    labelme_in,
    labelme_out,
    brush_in,
    brush_masks_in,
    brush_out,
    cvat_in,
    cvat_out("cvat-xml", "cvat-read"),
    cvat_out("cvat", "voc-read"),
    zarr_in,
)
SEVERAL = (yolo_out, volumes, microscopes, tiffs, segmentations)


def rows(peers: Peers) -> Iterator[Row]:
    """Compare every format; what a missing environment would show is left out."""
    jobs = [*OWN, *(WITH_TOOLS if peers.tools else ())]
    jobs += [nnunet_out] if peers.nnunet else []
    jobs += [yolo_in] if peers.ultralytics else []
    jobs += [supervisely_in] if peers.supervisely else []
    for job in jobs:
        with tempfile.TemporaryDirectory() as folder:
            yield job(Path(folder), peers)
    for several in SEVERAL:
        with tempfile.TemporaryDirectory() as folder:
            yield from several(Path(folder), peers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers-python")
    parser.add_argument("--nnunet-python")
    parser.add_argument("--ultralytics-python")
    parser.add_argument("--supervisely-python")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    peers = Peers(
        arguments.peers_python,
        arguments.nnunet_python,
        arguments.ultralytics_python,
        arguments.supervisely_python,
    )
    lines = [
        "| format | way | the other side | images | pixels that differ |",
        "|---|---|---|---|---|",
    ]
    for row in rows(peers):
        cells = row.name, row.way, row.other_side, str(row.images), f"{row.differ:,}"
        lines.append(f"| {' | '.join(cells)} |")
        print(lines[-1], flush=True)
    if arguments.write:
        path = HERE.parent / "docs" / "formats.md"
        before, _, rest = path.read_text().partition(START)
        after = rest.partition(END)[2]
        table = "\n".join(lines)
        path.write_text(f"{before}{START}\n{table}\n{END}{after}")


if __name__ == "__main__":
    main()
