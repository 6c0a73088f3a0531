"""Predictions of many files, written as masks, one JSON and one picture."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from jaxtyping import UInt8
from numpy import ndarray

from limner.data.folder import image_files
from limner.data.images import STACK_SUFFIXES, page_count, read_image, write_jpeg, write_png
from limner.data.pictures import COLUMNS, contact_sheet, overlay, shrink
from limner.errors import LimnerError
from limner.inference.predictor import Predictor


def predict_folder(
    predictor: Predictor,
    images: Path,
    out: Path,
    model: Path,
    progress: Callable[[Iterable[Path], int], Iterable[Path]],
) -> tuple[int, list[str]]:
    """Write `<name>.png` for each image, `predictions.json` and `overview.jpg`; how many were written, and what failed.

    A file that cannot be read does not stop the rest. Raises LimnerError where there is no image or `out` holds anything.
    """
    paths = [images] if images.is_file() else image_files(images) if images.is_dir() else []
    if not paths:
        raise LimnerError(f"{images} {'holds no image' if images.exists() else 'is not there'}. Give an image or a folder of images.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise LimnerError(f"{out} is not empty. Nothing is overwritten: name a new folder with --out.")
    base = images if images.is_dir() else images.parent
    targets = {path: path.relative_to(base).with_suffix(".png") for path in paths}
    if len(set(targets.values())) < len(targets):
        raise LimnerError(f"{images} holds images that differ in their ending alone, whose masks would bear the same name. Rename them.")
    out.mkdir(parents=True, exist_ok=True)
    records: list[dict[str, str | int | float]] = []
    failures: list[str] = []
    pictures: list[UInt8[ndarray, "h w 3"]] = []
    for path in progress(paths, len(paths)):
        try:
            pages = page_count(path) if path.suffix.lower() in STACK_SUFFIXES else 1
            for page in range(pages):
                image = read_image(path, page=page)
                target = targets[path] if pages == 1 else targets[path].with_stem(f"{targets[path].stem}#{page + 1}")
                prediction = predictor.predict(image)
                (out / target).parent.mkdir(parents=True, exist_ok=True)
                write_png(out / target, predictor.labels.to_pixels(prediction.class_index))
                records.append({"image": str(path.resolve()), "page": page, "mask": target.as_posix(), "mean_entropy": round(prediction.mean_entropy, 6)})
                if len(pictures) < 4 * COLUMNS:
                    small, mask = shrink(image, prediction.class_index)
                    pictures.append(overlay(small, mask, predictor.labels))
        except LimnerError as error:
            failures.append(str(error))
    about = {"model": str(model.resolve()), "classes": predictor.labels.names, "predictions": records, "failed": failures}
    (out / "predictions.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    if pictures:
        write_jpeg(out / "overview.jpg", contact_sheet(pictures))
    return len(records), failures
