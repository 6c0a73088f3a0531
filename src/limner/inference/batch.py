"""Predictions of many files, written as masks, maps of uncertainty, one JSON and one picture; the
least certain first.

Of each file that is done a record is kept until all are, so that the same call goes on where one
was stopped, on whatever machines it ran.
"""

import errno
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

from limner.data.images import (
    STACK_SUFFIXES,
    encode_jpeg,
    encode_mask_png,
    encode_png,
    page_count,
    read_image,
    read_predicted_mask,
    to_rgb,
)
from limner.data.large_images import (
    TILE_PX,
    ArrayImage,
    TiledTiff,
    compress_tiles,
    downsample,
    open_large_image,
    write_compressed_tiles,
    write_tiled_tiff,
)
from limner.data.overlays import CELL_PX, COLUMNS, contact_sheet, draw_overlay, shrink_pair
from limner.data.parallel import map_in_order
from limner.data.preprocess import Box
from limner.data.storage import Storage, relative_prefix
from limner.errors import LimnerError, is_out_of_memory
from limner.files import sha256_of_file
from limner.inference.predictor import BAND_ROWS, Predictor

SHOWN = 4 * COLUMNS
TRIES = 3
"""How often an image is predicted that changes meanwhile."""
UNCERTAINTY, UNFINISHED = "uncertainty", "unfinished"

Record = dict[str, Any]
MapFunction = Callable[[Callable[[str], Record], Iterable[str]], Iterable[Record]]
"""What calls a function for each of many names, at once or elsewhere."""


class BatchResult(NamedTuple):
    """What a folder of predictions holds: records, the least certain first, what failed, and how
    many files an earlier call had done.
    """

    records: list[Record]
    failures: list[str]
    resumed: int


def predict_folder(
    predictor: Predictor,
    images: Storage,
    names: Sequence[str],
    out: Storage,
    models: Mapping[str, str],
    progress: Callable[[Iterable[Any], int], Iterable[Any]],
    spread: MapFunction = map_in_order,
) -> BatchResult:
    """Write `<name>.png` and `uncertainty/<name>.png` for each image, `predictions.json` and
    `overview.jpg`. `models` gives the SHA-256 of each file.

    In the JSON and in the picture those come first whose predicted Dice is lowest. A map of
    uncertainty is 0 where the mask is certain and 255 where all classes are alike. An image too
    large to be in memory gives tiled TIFFs. A file that cannot be read does not stop the rest.
    Where `out` holds what the same call had done when it was stopped, only the rest is done, and
    what was changed since. What `out` holds is no image to predict. Raises LimnerError where there
    is no image, `out` holds anything else, or another process predicts into it.
    """
    own = relative_prefix(out, images)
    names = [name for name in names if not (own and name.startswith(own))]
    if not names:
        raise LimnerError(
            f"{images.path_of('')} holds no image. Give an image or a folder of images."
        )
    with out.exclusive() as alone:
        if not alone:
            raise LimnerError(
                f"another process predicts into {out.path_of('')}. Wait for it, or stop it "
                "first; then the same command goes on from there."
            )
        targets = mask_names(names)
        how = {
            "images": images.path_of(""),
            "models": dict(models),
            "classes": list(predictor.labels.names),
            "choices": str(predictor.settings),
        }
        done = {
            name: line
            for name, line in _begun(out, how).items()
            if name in targets and line["stamp"] == images.fingerprint(name)
        }
        left = [name for name in names if name not in done]
        for line in progress(spread(PredictFile(predictor, images, out, targets), left), len(left)):
            done[line["file"]] = line
        lines = [done[name] for name in names]
        records = sorted(
            (record for line in lines for record in line.get("records", [])), key=_doubt
        )
        failures = [line["failed"] for line in lines if "failed" in line]
        labels = asdict(predictor.labels)
        about = {
            "models": list(models),
            "classes": how["classes"],
            "labels": labels,
            "predictions": records,
            "failed": failures,
        }
        out.write_bytes("predictions.json", (json.dumps(about, indent=2) + "\n").encode())
        if records:
            sources = {
                id(record): line["file"] for line in lines for record in line.get("records", [])
            }
            sheet = contact_sheet(
                [
                    _picture(record, images, sources[id(record)], out, predictor)
                    for record in records[:SHOWN]
                ]
            )
            out.write_bytes("overview.jpg", encode_jpeg(sheet, 92))
        out.remove_folder(UNFINISHED)
        return BatchResult(records, failures, len(names) - len(left))


@dataclass(frozen=True, slots=True)
class PredictFile:
    """What is done for one file: its masks and its record are written, and the record is given; or
    why there are none.
    """

    predictor: Predictor
    images: Storage
    out: Storage
    targets: Mapping[str, str]

    def __call__(self, name: str) -> Record:
        try:
            for _ in range(TRIES):
                stamp = self.images.fingerprint(name)
                try:
                    with self.images.local_file(name) as path:
                        records = [
                            record | {"image_sha256": sha256_of_file(path)}
                            for record in self._predict(name, path)
                        ]
                except LimnerError:
                    if self.images.fingerprint(name) == stamp:
                        raise
                    # It is not the file that could not be read any more
                    continue
                if self.images.fingerprint(name) == stamp:
                    break
            else:
                raise LimnerError(
                    f"{self.images.path_of(name)} was changed each time that it was looked "
                    "at. Let it be written whole first."
                )
        except LimnerError as error:
            return {"file": name, "failed": str(error)}
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            return {
                "file": name,
                "failed": (
                    f"{self.images.path_of(name)}: its mask would bear a name that is too long "
                    "here. Rename it."
                ),
            }
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return {
                "file": name,
                "failed": (
                    f"{self.images.path_of(name)} needs more memory than there is. Export it as a "
                    "TIFF in tiles, or cut it."
                ),
            }
        line = {"file": name, "stamp": stamp, "records": records}
        self.out.write_bytes(
            f"{UNFINISHED}/{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()}.json",
            json.dumps(line).encode(),
        )
        return line

    def _predict(self, name: str, path: Path) -> list[Record]:
        target = PurePosixPath(self.targets[name])
        if large := open_large_image(path):
            return [self._large(name, large, target.with_suffix(".tif").as_posix())]
        pages = page_count(path) if path.suffix.lower() in STACK_SUFFIXES else 1
        each = [
            target if pages == 1 else target.with_stem(f"{target.stem}#{page + 1}")
            for page in range(pages)
        ]
        if pages > 1 and (taken := {mask.as_posix() for mask in each} & set(self.targets.values())):
            raise LimnerError(
                f"{self.images.path_of(name)}: its mask {min(taken)} would be that of another "
                "image. Rename one of them."
            )
        return [self._page(name, path, page, mask.as_posix()) for page, mask in enumerate(each)]

    def _page(self, name: str, path: Path, page: int, target: str) -> Record:
        """One image, of which there are several in a stack; its probabilities, four bytes for each
        pixel and class, are there for a band at a time.
        """
        image = read_image(path, page=page)
        class_index, doubt, sums = (
            np.empty(image.shape[:2], np.uint8),
            np.empty(image.shape[:2], np.uint8),
            list[float](),
        )
        bands, judge = self.predictor.stream(ArrayImage(image), BAND_ROWS)
        for top, band in zip(range(0, len(image), BAND_ROWS), bands, strict=True):
            rows = slice(top, top + BAND_ROWS)
            class_index[rows], doubt[rows] = band.mask, _grey(band.uncertainty)
            sums.append(float(band.uncertainty.sum(dtype=np.float64)))
        labels = self.predictor.labels
        self.out.write_bytes(
            target,
            encode_mask_png(
                labels.to_pixels(self.predictor.settings.postprocessing(class_index, labels))
            ),
        )
        self.out.write_bytes(f"{UNCERTAINTY}/{target}", encode_png(doubt))
        return self._record(name, page, target, *judge(), sum(sums) / doubt.size)

    def _large(self, name: str, picture: TiledTiff, target: str) -> Record:
        """Masks as tiled TIFFs (of a coloured set the class indices), written as they come; the
        uncertainty waits on disk until the mask is whole.
        """
        sums, labels = list[float](), self.predictor.labels
        bands, judge = self.predictor.stream(picture, TILE_PX)

        with (
            tempfile.TemporaryDirectory() as folder,
            (Path(folder) / "waiting").open("w+b") as waiting,
        ):
            lengths = list[int]()

            def masks() -> Iterator[UInt8[ndarray, "_ w"]]:
                for band in bands:
                    lengths.extend(
                        waiting.write(tile) for tile in compress_tiles(_grey(band.uncertainty))
                    )
                    sums.append(float(band.uncertainty.sum(dtype=np.float64)))
                    yield (
                        band.mask
                        if labels.coloured and not labels.binary
                        else labels.to_pixels(band.mask)
                    )

            drawn, doubt = Path(folder) / "mask.tif", Path(folder) / "uncertainty.tif"
            write_tiled_tiff(drawn, picture.size_px, masks())
            waiting.seek(0)
            write_compressed_tiles(doubt, picture.size_px, map(waiting.read, lengths))
            self.out.upload(target, drawn)
            self.out.upload(f"{UNCERTAINTY}/{target}", doubt)
        record = self._record(
            name, 0, target, *judge(), sum(sums) / (picture.size_px[0] * picture.size_px[1])
        )
        left_out = [
            step
            for step in ("keep_largest", "fill_holes", "remove_small")
            if getattr(self.predictor.settings.postprocessing, step)
        ]
        return record | ({"left_out": left_out} if left_out else {})

    def _record(
        self,
        name: str,
        page: int,
        target: str,
        predicted_dice: float | None,
        unusualness: float | None,
        entropy: float,
    ) -> Record:
        return {
            "image": self.images.path_of(name),
            "page": page,
            "mask": target,
            "uncertainty": f"{UNCERTAINTY}/{target}",
            "predicted_dice": _rounded(predicted_dice),
            "unusual": unusualness is not None and unusualness > 1,
            "unusualness": _rounded(unusualness),
            "mean_entropy": _rounded(entropy),
        }


def mask_names(names: Sequence[str]) -> dict[str, str]:
    """Where each image's mask goes, relative to the folder of predictions. Raises LimnerError where
    two would bear one name.
    """
    targets = {name: PurePosixPath(name).with_suffix(".png").as_posix() for name in names}
    first: dict[str, str] = {}
    for name, target in targets.items():
        if (other := first.setdefault(target, name)) != name:
            raise LimnerError(
                f"the masks of {other} and {name} would bear the same name. Rename one of them."
            )
    if taken := next(
        (name for name in names if name.split("/")[0] in {UNCERTAINTY, UNFINISHED} and "/" in name),
        None,
    ):
        raise LimnerError(
            f"there is a folder {taken.split('/')[0]}, whose masks would lie among what "
            "limner keeps under that name. Rename it."
        )
    return targets


def _begun(out: Storage, how: Mapping[str, Any]) -> dict[str, Record]:
    """What an earlier call had done, by file; its failures are tried again. Raises LimnerError
    where `out` holds something else.
    """
    begun = out.read_bytes(f"{UNFINISHED}/how.json")
    if begun is None:
        if not out.is_empty():
            raise LimnerError(
                f"{out.path_of('')} is not empty. Nothing is overwritten: name a new folder "
                "with --out."
            )
        out.write_bytes(f"{UNFINISHED}/how.json", json.dumps(how).encode())
        return {}
    if _json(begun) != how:
        raise LimnerError(
            f"{out.path_of('')} holds unfinished predictions of other images, models or "
            "settings. Finish them with those, or name a new folder with --out."
        )
    lines = (
        _json(out.read_bytes(name))
        for name in out.list_files(UNFINISHED)
        if name.endswith(".json") and name != f"{UNFINISHED}/how.json"
    )
    return {line["file"]: line for line in lines if line}


def _json(content: bytes | None) -> Record:
    """What was written; nothing where a loss of power cut it off."""
    try:
        found: Record = json.loads(content or b"{}")
    except ValueError:
        return {}
    return found


def _picture(
    record: Record, images: Storage, name: str, out: Storage, predictor: Predictor
) -> UInt8[ndarray, "h w 3"]:
    """A record's image with its mask, at the size of a cell."""
    labels = predictor.labels
    with images.local_file(name) as path, out.local_file(record["mask"]) as mask:
        large = open_large_image(path)
        if large is None:
            return draw_overlay(
                *shrink_pair(
                    read_image(path, page=record["page"]), read_predicted_mask(mask, labels)
                ),
                labels,
            )
        height, width = large.size_px
        size = (
            max(1, height * CELL_PX // max(height, width)),
            max(1, width * CELL_PX // max(height, width)),
        )
        drawn, columns = TiledTiff(mask), np.arange(size[1]) * width // size[1]
        rows = np.stack(
            [
                drawn.read(Box(row * height // size[0], 0, 1, width))[0, columns, 0]
                for row in range(size[0])
            ]
        )
        return draw_overlay(
            to_rgb(downsample(large, size)),
            rows if labels.coloured and not labels.binary else labels.from_pixels(rows),
            labels,
        )


def _grey(uncertainty: ndarray) -> UInt8[ndarray, "h w"]:
    return (uncertainty * 255).round().astype(np.uint8)


def _doubt(record: Mapping[str, Any]) -> float:
    """What predictions are ordered by: the predicted Dice, or certainty where none was fitted."""
    return (
        record["predicted_dice"]
        if record["predicted_dice"] is not None
        else -record["mean_entropy"]
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
