"""write_format: masks in a new folder, in the format of another tool.

A new format is a new file in `formats/` and one line in `EXPORTERS`.
"""

import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from limner.data.storage import Storage
from limner.errors import LimnerError
from limner.files import atomic_file, atomic_folder, require_new
from limner.review.formats import (
    coco,
    coco_polygons,
    cvat,
    cvat_xml,
    dicom_seg,
    geojson,
    geotiff,
    imagej,
    label_studio,
    labelme,
    nifti,
    nnunet,
    ome_tiff,
    png,
    qupath,
    yolo,
)
from limner.review.kept_masks import KeptMask, predicted_masks
from limner.review.predictions import Predictions

Exporter = Callable[[Storage, Iterator[KeptMask], Predictions], Sequence[str] | None]
"""It may return what the format cannot hold, in words."""
EXPORTERS: dict[str, Exporter] = {
    "png": png.write,
    "coco": coco.write,
    "coco-polygons": coco_polygons.write,
    "label-studio": label_studio.write,
    "cvat": cvat.write,
    "cvat-xml": cvat_xml.write,
    "labelme": labelme.write,
    "yolo": yolo.write,
    "qupath": qupath.write,
    "imagej": imagej.write,
    "nnunet": nnunet.write,
    "nifti": nifti.write,
    "dicom-seg": dicom_seg.write,
    "ome-tiff": ome_tiff.write,
    "geotiff": geotiff.write,
    "geojson": geojson.write,
}
"""By the name that `--format` takes."""
OF_PLACED_IMAGES = frozenset({"dicom-seg", "geojson"})
"""Formats that only images have which state where they lie: GeoTIFF and DICOM."""
ZIP_DATE = (1980, 1, 1, 0, 0, 0)
"""Of the files in a zip, so that the same masks give the same zip."""


def require_format(format_name: str) -> None:
    """Raise LimnerError for a format that is not one of `EXPORTERS`."""
    if format_name not in EXPORTERS:
        raise LimnerError(
            f"--format {format_name} is not known. Choose one of {', '.join(EXPORTERS)}."
        )


def write_format(
    masks: Iterator[KeptMask], predictions: Predictions, out: Path, format_name: str
) -> Sequence[str]:
    """Write masks into a new folder, or into a zip where `out` is called .zip.

    Args:
        masks: What is written, sorted by their ids.
        predictions: The folder that they belong to.
        out: The new folder or zip.
        format_name: One of `EXPORTERS`.

    Returns:
        What the format cannot hold, in words.

    Raises:
        LimnerError: The format is not known, `out` exists, or a mask cannot be held by the format.
    """
    require_format(format_name)
    require_new(out)
    export = EXPORTERS[format_name]
    if out.suffix.lower() != ".zip":
        with atomic_folder(out) as folder:
            return export(Storage(folder), masks, predictions) or ()
    with TemporaryDirectory() as name:
        lost = export(Storage(name), masks, predictions) or ()
        _pack(Path(name), out)
        return lost


def write_predicted(
    predictions: Predictions, out: Path, format_name: str, image_prefix: str = ""
) -> Sequence[str]:
    """Write all masks as they were predicted. Returns and raises as `write_format` does."""
    return write_format(predicted_masks(predictions, image_prefix), predictions, out, format_name)


def _pack(folder: Path, out: Path) -> None:
    """Pack the files of a folder into a zip."""
    with atomic_file(out) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = zipfile.ZipInfo(path.relative_to(folder).as_posix(), ZIP_DATE)
                name.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(name, path.read_bytes())
