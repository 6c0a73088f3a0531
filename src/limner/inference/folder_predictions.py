"""Predictions of many files, written as masks, maps of uncertainty, one JSON and one picture; the least certain first.

Of each file that is done a record is kept until all are, so that the same call goes on where one was stopped, on whatever machines it ran.
"""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.images import STACK_SUFFIXES, as_colours, encode_jpeg, encode_mask, encode_png, page_count, read_image, read_mask
from limner.data.parallel import in_order
from limner.data.pictures import CELL_PX, COLUMNS, contact_sheet, overlay, shrink
from limner.data.places import Place
from limner.data.preprocess import Box
from limner.data.regions import TILE_PX, LargeTiff, large_picture, packed, shrunk, write_packed, write_tiles
from limner.errors import LimnerError
from limner.inference.predictor import Predictor

SHOWN = 4 * COLUMNS
UNCERTAINTY, UNFINISHED = "uncertainty", "unfinished"

Record = dict[str, Any]
Spread = Callable[[Callable[[str], Record], Iterable[str]], Iterable[Record]]
"""What calls a function for each of many names, at once or elsewhere."""


class Done(NamedTuple):
    """What a folder of predictions holds: records, the least certain first, what failed, and how many files an earlier call had done."""

    records: list[Record]
    failures: list[str]
    before: int


def predict_folder(
    predictor: Predictor,
    images: Place,
    names: Sequence[str],
    out: Place,
    models: Sequence[str],
    progress: Callable[[Iterable[Any], int], Iterable[Any]],
    spread: Spread = in_order,
) -> Done:
    """Write `<name>.png` and `uncertainty/<name>.png` for each image, `predictions.json` and `overview.jpg`.

    In the JSON and in the picture those come first whose predicted Dice is lowest. A map of uncertainty is 0 where the mask is certain and 255
    where all classes are alike. An image too large to be in memory gives tiled TIFFs. A file that cannot be read does not stop the rest. Where `out`
    holds what such a call had done when it was stopped, only the rest is done. Raises LimnerError where there is no image or `out` holds
    anything else.
    """
    if not names:
        raise LimnerError(f"{images.spelled('')} holds no image. Give an image or a folder of images.")
    targets = targets_of(names)
    how = {"models": list(models), "classes": list(predictor.labels.names), "choices": str(predictor.choices)}
    done = _begun(out, how)
    left = [name for name in names if name not in done]
    for line in progress(spread(Work(predictor, images, out, targets), left), len(left)):
        done[line["file"]] = line
    lines = [done[name] for name in names]
    records = sorted((record for line in lines for record in line.get("records", [])), key=_doubt)
    failures = [line["failed"] for line in lines if "failed" in line]
    labels = asdict(predictor.labels)
    about = {"models": how["models"], "classes": how["classes"], "labels": labels, "predictions": records, "failed": failures}
    out.write("predictions.json", (json.dumps(about, indent=2) + "\n").encode())
    if records:
        sources = {id(record): line["file"] for line in lines for record in line.get("records", [])}
        sheet = contact_sheet([_picture(record, images, sources[id(record)], out, predictor) for record in records[:SHOWN]])
        out.write("overview.jpg", encode_jpeg(sheet, 92))
    out.remove(UNFINISHED)
    return Done(records, failures, len(names) - len(left))


@dataclass(frozen=True, slots=True)
class Work:
    """What is done for one file: its masks and its record are written, and the record is given; or why there are none."""

    predictor: Predictor
    images: Place
    out: Place
    targets: Mapping[str, str]

    def __call__(self, name: str) -> Record:
        try:
            with self.images.file(name) as path:
                line: Record = {"file": name, "records": [record | {"image_sha256": _sha256(path)} for record in self._predict(name, path)]}
        except LimnerError as error:
            return {"file": name, "failed": str(error)}
        self.out.write(f"{UNFINISHED}/{name}.json", json.dumps(line).encode())
        return line

    def _predict(self, name: str, path: Path) -> list[Record]:
        target = PurePosixPath(self.targets[name])
        if large := large_picture(path):
            return [self._large(name, large, target.with_suffix(".tif").as_posix())]
        pages = page_count(path) if path.suffix.lower() in STACK_SUFFIXES else 1
        each = [target if pages == 1 else target.with_stem(f"{target.stem}#{page + 1}") for page in range(pages)]
        return [self._page(name, path, page, mask.as_posix()) for page, mask in enumerate(each)]

    def _page(self, name: str, path: Path, page: int, target: str) -> Record:
        """One image, of which there are several in a stack."""
        prediction = self.predictor.predict(read_image(path, page=page))
        uncertainty = prediction.uncertainty
        self.out.write(target, encode_mask(self.predictor.labels.to_pixels(prediction.class_index)))
        self.out.write(f"{UNCERTAINTY}/{target}", encode_png(_grey(uncertainty)))
        return self._record(name, page, target, prediction.predicted_dice, prediction.unusualness, float(uncertainty.mean()))

    def _large(self, name: str, picture: LargeTiff, target: str) -> Record:
        """Masks as tiled TIFFs (of a coloured set the class indices), written as they come; the uncertainty is kept compressed until the mask is whole."""
        doubts, sums, labels = list[bytes](), list[float](), self.predictor.labels
        bands, judge = self.predictor.stream(picture, TILE_PX)

        def masks() -> Iterator[UInt8[ndarray, "_ w"]]:
            for band in bands:
                doubts.extend(packed(_grey(band.uncertainty)))
                sums.append(float(band.uncertainty.sum(dtype=np.float64)))
                yield band.class_index if labels.coloured and not labels.binary else labels.to_pixels(band.class_index)

        with tempfile.TemporaryDirectory() as folder:
            drawn, doubt = Path(folder) / "mask.tif", Path(folder) / "uncertainty.tif"
            write_tiles(drawn, picture.size_px, masks())
            write_packed(doubt, picture.size_px, doubts)
            self.out.put(target, drawn)
            self.out.put(f"{UNCERTAINTY}/{target}", doubt)
        record = self._record(name, 0, target, *judge(), sum(sums) / (picture.size_px[0] * picture.size_px[1]))
        left_out = [step for step in ("largest", "holes", "specks") if getattr(self.predictor.choices.postprocessing, step)]
        return record | ({"left_out": left_out} if left_out else {})

    def _record(self, name: str, page: int, target: str, predicted_dice: float | None, unusualness: float | None, entropy: float) -> Record:
        return {
            "image": self.images.spelled(name),
            "page": page,
            "mask": target,
            "uncertainty": f"{UNCERTAINTY}/{target}",
            "predicted_dice": _rounded(predicted_dice),
            "unusual": unusualness is not None and unusualness > 1,
            "unusualness": _rounded(unusualness),
            "mean_entropy": _rounded(entropy),
        }


def targets_of(names: Sequence[str]) -> dict[str, str]:
    """Where each image's mask goes, relative to the folder of predictions. Raises LimnerError where two would bear one name."""
    targets = {name: PurePosixPath(name).with_suffix(".png").as_posix() for name in names}
    if len(set(targets.values())) < len(targets):
        raise LimnerError("there are images that differ in their ending alone, whose masks would bear the same name. Rename them.")
    if taken := next((name for name in names if name.split("/")[0] in {UNCERTAINTY, UNFINISHED} and "/" in name), None):
        raise LimnerError(f"there is a folder {taken.split('/')[0]}, whose masks would lie among what limner keeps under that name. Rename it.")
    return targets


def _begun(out: Place, how: Mapping[str, Any]) -> dict[str, Record]:
    """What an earlier call had done, by file; its failures are tried again. Raises LimnerError where `out` holds something else."""
    begun = out.read(f"{UNFINISHED}/how.json")
    if begun is None:
        if not out.empty():
            raise LimnerError(f"{out.spelled('')} is not empty. Nothing is overwritten: name a new folder with --out.")
        out.write(f"{UNFINISHED}/how.json", json.dumps(how).encode())
        return {}
    if json.loads(begun) != how:
        raise LimnerError(
            f"{out.spelled('')} holds unfinished predictions of other models or settings. Finish them with those, or name a new folder with --out."
        )
    lines = [json.loads(out.read(name) or b"{}") for name in out.below(UNFINISHED) if name != f"{UNFINISHED}/how.json"]
    return {line["file"]: line for line in lines}


def _picture(record: Record, images: Place, name: str, out: Place, predictor: Predictor) -> UInt8[ndarray, "h w 3"]:
    """A record's image with its mask, at the size of a cell."""
    labels = predictor.labels
    with images.file(name) as path, out.file(record["mask"]) as mask:
        large = large_picture(path)
        if large is None:
            return overlay(*shrink(read_image(path, page=record["page"]), labels.from_pixels(read_mask(mask).values)), labels)
        height, width = large.size_px
        size = max(1, height * CELL_PX // max(height, width)), max(1, width * CELL_PX // max(height, width))
        drawn, columns = LargeTiff(mask), np.arange(size[1]) * width // size[1]
        rows = np.stack([drawn.read(Box(row * height // size[0], 0, 1, width))[0, columns, 0] for row in range(size[0])])
        return overlay(as_colours(shrunk(large, size)), rows if labels.coloured and not labels.binary else labels.from_pixels(rows), labels)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _grey(uncertainty: ndarray) -> UInt8[ndarray, "h w"]:
    return (uncertainty * 255).round().astype(np.uint8)


def _doubt(record: Mapping[str, Any]) -> float:
    """What predictions are ordered by: the predicted Dice, or certainty where none was fitted."""
    return record["predicted_dice"] if record["predicted_dice"] is not None else -record["mean_entropy"]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
