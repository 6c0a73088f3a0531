"""Predictions of many files, written as masks, maps of uncertainty, one JSON and one picture; the least certain first."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.folder import image_files
from limner.data.images import STACK_SUFFIXES, page_count, read_image, write_jpeg, write_png
from limner.data.pictures import COLUMNS, contact_sheet, overlay, shrink
from limner.errors import LimnerError
from limner.inference.predictor import Predictor

SHOWN = 4 * COLUMNS
UNCERTAINTY = "uncertainty"


def predict_folder(
    predictor: Predictor,
    images: Path,
    out: Path,
    models: Sequence[Path],
    progress: Callable[[Iterable[Path], int], Iterable[Path]],
) -> tuple[list[dict[str, Any]], list[str]]:
    """Write `<name>.png` and `uncertainty/<name>.png` for each image, `predictions.json` and `overview.jpg`; what was written, and what failed.

    In the JSON and in the picture those come first whose predicted Dice is lowest. A map of uncertainty is 0 where the mask is certain and 255
    where all classes are alike. A file that cannot be read does not stop the rest. Raises LimnerError where there is no image or `out` holds anything.
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
    if any(target.parts[0] == UNCERTAINTY for target in targets.values()):
        raise LimnerError(f"{images} has a folder {UNCERTAINTY}, whose masks would lie among the maps of uncertainty. Rename it.")
    out.mkdir(parents=True, exist_ok=True)
    records: list[dict[str, Any]] = []
    failures: list[str] = []
    pictures: list[tuple[float, int, UInt8[ndarray, "h w 3"]]] = []
    for path in progress(paths, len(paths)):
        try:
            pages = page_count(path) if path.suffix.lower() in STACK_SUFFIXES else 1
            for page in range(pages):
                image = read_image(path, page=page)
                target = targets[path] if pages == 1 else targets[path].with_stem(f"{targets[path].stem}#{page + 1}")
                prediction = predictor.predict(image)
                doubt = Path(UNCERTAINTY) / target
                for path_, pixels in (
                    (target, predictor.labels.to_pixels(prediction.class_index)),
                    (doubt, (prediction.uncertainty * 255).round().astype(np.uint8)),
                ):
                    (out / path_).parent.mkdir(parents=True, exist_ok=True)
                    write_png(out / path_, pixels)
                records.append(
                    {
                        "image": str(path.resolve()),
                        "page": page,
                        "mask": target.as_posix(),
                        "uncertainty": doubt.as_posix(),
                        "predicted_dice": _rounded(prediction.predicted_dice),
                        "unusual": prediction.unusual,
                        "unusualness": _rounded(prediction.unusualness),
                        "mean_entropy": _rounded(float(prediction.uncertainty.mean())),
                    }
                )
                pictures.append((_doubt(records[-1]), len(pictures), overlay(*shrink(image, prediction.class_index), predictor.labels)))
                pictures = sorted(pictures, key=lambda one: one[:2])[:SHOWN]
        except LimnerError as error:
            failures.append(str(error))
    records.sort(key=_doubt)
    about = {"models": [str(model.resolve()) for model in models], "classes": predictor.labels.names, "predictions": records, "failed": failures}
    (out / "predictions.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    if pictures:
        write_jpeg(out / "overview.jpg", contact_sheet([picture for _, _, picture in pictures]))
    return records, failures


def _doubt(record: Mapping[str, Any]) -> float:
    """What predictions are ordered by: the predicted Dice, or certainty where none was fitted."""
    return record["predicted_dice"] if record["predicted_dice"] is not None else -record["mean_entropy"]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
