"""Predictions of many files, written as masks, maps of uncertainty, one JSON and one picture; the least certain first.

What is done stands in a journal, so that the same call goes on where one was stopped.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.folder import image_files
from limner.data.images import STACK_SUFFIXES, as_colours, page_count, read_image, read_mask, write_jpeg, write_png
from limner.data.parallel import in_order
from limner.data.pictures import CELL_PX, COLUMNS, contact_sheet, overlay, shrink
from limner.data.preprocess import Box
from limner.data.regions import TILE_PX, LargeTiff, large_picture, packed, shrunk, write_packed, write_tiles
from limner.errors import LimnerError
from limner.files import write_whole
from limner.inference.predictor import Predictor

SHOWN = 4 * COLUMNS
UNCERTAINTY = "uncertainty"
JOURNAL = "unfinished.jsonl"

Record = dict[str, Any]


class Done(NamedTuple):
    """What a folder of predictions holds: records, the least certain first, what failed, and how many files an earlier call had done."""

    records: list[Record]
    failures: list[str]
    before: int


def predict_folder(predictor: Predictor, images: Path, out: Path, models: Sequence[Path], progress: Callable[[Iterable[Any], int], Iterable[Any]]) -> Done:
    """Write `<name>.png` and `uncertainty/<name>.png` for each image, `predictions.json` and `overview.jpg`.

    In the JSON and in the picture those come first whose predicted Dice is lowest. A map of uncertainty is 0 where the mask is certain and 255
    where all classes are alike. An image too large to be in memory gives tiled TIFFs. A file that cannot be read does not stop the rest. Where `out`
    holds what such a call had done when it was stopped, only the rest is done. Raises LimnerError where there is no image or `out` holds
    anything else.
    """
    paths = [images] if images.is_file() else image_files(images) if images.is_dir() else []
    if not paths:
        raise LimnerError(f"{images} {'holds no image' if images.exists() else 'is not there'}. Give an image or a folder of images.")
    targets = _targets(paths, images if images.is_dir() else images.parent)
    how = {"models": [str(model.resolve()) for model in models], "classes": list(predictor.labels.names), "choices": str(predictor.choices)}
    journal = out / JOURNAL
    done = _read_journal(journal, how, out)
    out.mkdir(parents=True, exist_ok=True)
    left = [path for path in paths if str(path.resolve()) not in done]
    with journal.open("a", encoding="utf-8", errors="surrogateescape") as file:
        if not done:
            file.write(json.dumps(how) + "\n")
        for path, found in progress(in_order(lambda path: (path, _predict_file(predictor, path, out, targets[path])), left), len(left)):
            line = {"file": str(path.resolve()), "failed" if isinstance(found, str) else "records": found}
            file.write(json.dumps(line) + "\n")
            file.flush()
            done[line["file"]] = line
    lines = [done[str(path.resolve())] for path in paths]
    records = sorted((record for line in lines for record in line.get("records", [])), key=_doubt)
    failures = [line["failed"] for line in lines if "failed" in line]
    about = {"models": how["models"], "classes": how["classes"], "predictions": records, "failed": failures}
    write_whole(out / "predictions.json", json.dumps(about, indent=2) + "\n")
    if records:
        write_jpeg(out / "overview.jpg", contact_sheet([_picture(record, out, predictor) for record in records[:SHOWN]]))
    journal.unlink()
    return Done(records, failures, len(paths) - len(left))


def _targets(paths: Sequence[Path], base: Path) -> dict[Path, Path]:
    """Where each image's mask goes, relative to the folder of predictions. Raises LimnerError where two would bear one name."""
    targets = {path: path.relative_to(base).with_suffix(".png") for path in paths}
    if len(set(targets.values())) < len(targets):
        raise LimnerError(f"{base} holds images that differ in their ending alone, whose masks would bear the same name. Rename them.")
    if any(target.parts[0] == UNCERTAINTY for target in targets.values()):
        raise LimnerError(f"{base} has a folder {UNCERTAINTY}, whose masks would lie among the maps of uncertainty. Rename it.")
    return targets


def _read_journal(journal: Path, how: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """What an earlier call had done, by file; its failures are tried again. Raises LimnerError where `out` holds something else."""
    if not journal.is_file():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise LimnerError(f"{out} is not empty. Nothing is overwritten: name a new folder with --out.")
        return {}
    lines = []
    for text in journal.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:  # the last one, cut off by a loss of power
            break
    if not lines or lines[0] != how:
        raise LimnerError(f"{out} holds unfinished predictions of other models or settings. Finish them with those, or name a new folder with --out.")
    return {line["file"]: line for line in lines[1:] if "records" in line}


def _predict_file(predictor: Predictor, path: Path, out: Path, target: Path) -> list[Record] | str:
    """Write the masks of one file, of which there are several in a stack; what was written, or why nothing was."""
    try:
        if large := large_picture(path):
            return [_predict_large(predictor, path, large, out, target.with_suffix(".tif"))]
        pages = page_count(path) if path.suffix.lower() in STACK_SUFFIXES else 1
        return [_predict_image(predictor, path, page, out, target if pages == 1 else target.with_stem(f"{target.stem}#{page + 1}")) for page in range(pages)]
    except LimnerError as error:
        return str(error)


def _predict_image(predictor: Predictor, path: Path, page: int, out: Path, target: Path) -> Record:
    prediction = predictor.predict(read_image(path, page=page))
    doubt, uncertainty = Path(UNCERTAINTY) / target, prediction.uncertainty
    for relative, pixels in ((target, predictor.labels.to_pixels(prediction.class_index)), (doubt, _grey(uncertainty))):
        (out / relative).parent.mkdir(parents=True, exist_ok=True)
        write_png(out / relative, pixels)
    return _record(path, page, target, doubt, prediction.predicted_dice, prediction.unusualness, float(uncertainty.mean()))


def _predict_large(predictor: Predictor, path: Path, picture: LargeTiff, out: Path, target: Path) -> Record:
    """Masks as tiled TIFFs (of a coloured set the class indices), written as they come; the uncertainty is kept compressed until the mask is whole."""
    doubt, doubts, sums, labels = Path(UNCERTAINTY) / target, list[bytes](), list[float](), predictor.labels
    for relative in (target, doubt):
        (out / relative).parent.mkdir(parents=True, exist_ok=True)
    bands, judge = predictor.stream(picture, TILE_PX)

    def masks() -> Iterator[UInt8[ndarray, "_ w"]]:
        for band in bands:
            doubts.extend(packed(_grey(band.uncertainty)))
            sums.append(float(band.uncertainty.sum(dtype=np.float64)))
            yield band.class_index if labels.coloured and not labels.binary else labels.to_pixels(band.class_index)

    write_tiles(out / target, picture.size_px, masks())
    write_packed(out / doubt, picture.size_px, doubts)
    record = _record(path, 0, target, doubt, *judge(), sum(sums) / (picture.size_px[0] * picture.size_px[1]))
    left_out = [name for name in ("largest", "holes", "specks") if getattr(predictor.choices.postprocessing, name)]
    return record | ({"left_out": left_out} if left_out else {})


def _record(path: Path, page: int, target: Path, doubt: Path, predicted_dice: float | None, unusualness: float | None, entropy: float) -> Record:
    return {
        "image": str(path.resolve()),
        "page": page,
        "mask": target.as_posix(),
        "uncertainty": doubt.as_posix(),
        "predicted_dice": _rounded(predicted_dice),
        "unusual": unusualness is not None and unusualness > 1,
        "unusualness": _rounded(unusualness),
        "mean_entropy": _rounded(entropy),
    }


def _picture(record: Record, out: Path, predictor: Predictor) -> UInt8[ndarray, "h w 3"]:
    """A record's image with its mask, at the size of a cell."""
    path, mask, labels = Path(record["image"]), out / record["mask"], predictor.labels
    large = large_picture(path)
    if large is None:
        return overlay(*shrink(read_image(path, page=record["page"]), labels.from_pixels(read_mask(mask).values)), labels)
    height, width = large.size_px
    size = max(1, height * CELL_PX // max(height, width)), max(1, width * CELL_PX // max(height, width))
    drawn, columns = LargeTiff(mask), np.arange(size[1]) * width // size[1]
    rows = np.stack([drawn.read(Box(row * height // size[0], 0, 1, width))[0, columns, 0] for row in range(size[0])])
    return overlay(as_colours(shrunk(large, size)), rows if labels.coloured and not labels.binary else labels.from_pixels(rows), labels)


def _grey(uncertainty: ndarray) -> UInt8[ndarray, "h w"]:
    return (uncertainty * 255).round().astype(np.uint8)


def _doubt(record: Mapping[str, Any]) -> float:
    """What predictions are ordered by: the predicted Dice, or certainty where none was fitted."""
    return record["predicted_dice"] if record["predicted_dice"] is not None else -record["mean_entropy"]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
