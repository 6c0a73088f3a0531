"""Accepted and mended masks become the next revision of a dataset: a new folder, in which every
mask knows where it is from.
"""

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import UInt
from numpy import ndarray

from limner.data.check import check, require_valid
from limner.data.images import (
    STACK_SUFFIXES,
    encode_png,
    encode_tiff,
    image_size,
    page_count,
    read_image,
)
from limner.data.parallel import Progress
from limner.data.sample import AnnotationMask, Sample
from limner.data.scan import scan
from limner.errors import LimnerError
from limner.files import atomic_folder, printable_name, write_atomic
from limner.labels import Labels, dump_labels
from limner.review.predictions import Entry, Predictions
from limner.review.queue import task_key
from limner.review.store import ReviewStore, VerdictEvent
from limner.review.verdicts import (
    ReviewedEntry,
    agreement,
    describe_difference,
    reviewed_entries,
    reviewed_mask,
    safe_file_name,
)

PROVENANCE, MANIFEST = "provenance.jsonl", "dataset.csv"
SHOWN = 8
"""Conflicts that are spelled out."""


@dataclass(frozen=True, slots=True)
class MergeResult:
    """How many samples the new revision has from where."""

    before: int
    added: int
    replaced: int
    rejected: int
    left: int
    """Entries that nobody decided on, or in which something was drawn since."""
    agreement: tuple[float, ...]
    """The Dice between the two masks of each entry that two people kept."""


@dataclass(frozen=True, slots=True)
class _ReviewedMask:
    """A mask that goes into the new revision."""

    id: str
    entry: Entry
    event: VerdictEvent
    sha256: str
    """Of the image."""


def merge(
    predictions: Predictions,
    store: ReviewStore,
    data: Path,
    out: Path,
    *,
    prefer: str | None = None,
    replacing: bool = False,
    progress: Progress | None = None,
) -> MergeResult:
    """Write `out`: the samples of `data`, and those whose masks were accepted or mended, with a
    line each in provenance.jsonl.

    Where two reviewers differ, the mask of `prefer` counts. With `replacing`, reviewed masks take
    the place of those that `data` has of the same images. Raises LimnerError for all conflicts
    together: two people who differ, images that were changed or are gone, names that another image
    has, images that `data` has with another mask; and where `out` is there.
    """
    if out.exists():
        raise LimnerError(
            f"{out} is there already. Nothing is overwritten: name a new folder with --out."
        )
    dataset = scan(data)
    labels = require_valid(check(dataset, progress))
    if labels.names != predictions.labels.names:
        raise LimnerError(
            f"{data} has the classes {', '.join(labels.names)}, and the predictions have "
            f"{', '.join(predictions.labels.names)}. They must agree."
        )
    found = reviewed_entries(predictions, store)
    if not found:
        raise LimnerError(
            f"nobody has decided on any mask of {predictions.folder} yet. Begin with: limner "
            f"review {predictions.folder}"
        )
    conflicts = [
        f"{one.entry.id}: {describe_difference(predictions, store, one)}"
        for one in found
        if not one.is_settled(prefer)
    ]
    reviewed, rejected = list[_ReviewedMask](), 0
    for outcome in found:
        event = outcome.event_of(prefer)
        if event.verdict == "rejected":
            rejected += 1
            continue
        try:
            with predictions.image_file(outcome.entry) as path:
                content = _content(path, outcome.entry.page)[1]
                if predictions.image_hash(outcome.entry) != event.image_hash:
                    raise LimnerError(
                        "its image was changed since it was reviewed. Restore it, or review "
                        "it again."
                    )
                size_px = image_size(path)
            height, width = reviewed_mask(predictions, store, outcome.entry, event).shape
        except LimnerError as error:
            conflicts.append(f"{outcome.entry.id}: {error}")
            continue
        if size_px != (height, width):
            conflicts.append(
                f"{outcome.entry.id}: the image is {size_px[1]}x{size_px[0]} px and its mask "
                f"{width}x{height}"
            )
            continue
        id = (
            PurePosixPath(outcome.entry.id).with_suffix("").as_posix()
            if predictions.from_limner
            else outcome.entry.id
        )
        reviewed.append(
            _ReviewedMask(id, outcome.entry, event, hashlib.sha256(content).hexdigest())
        )
    there = {sample.id: sample for sample in dataset.samples}
    by_content: dict[str, list[str]] = {}
    for sample in dataset.samples:
        by_content.setdefault(
            hashlib.sha256(_content(sample.image, sample.page)[1]).hexdigest(), []
        ).append(sample.id)
    new, replaced, seen = (
        list[_ReviewedMask](),
        dict[str, _ReviewedMask](),
        dict[str, _ReviewedMask](),
    )
    for one in reviewed:
        mask = reviewed_mask(predictions, store, one.entry, one.event)
        twin = seen.setdefault(one.sha256, one)
        if twin is not one:
            if not np.array_equal(mask, reviewed_mask(predictions, store, twin.entry, twin.event)):
                conflicts.append(
                    f"{one.id}: it is the same image as {twin.id}, and their masks differ"
                )
            continue
        known = by_content.get(one.sha256, [])
        others = (
            []
            if replacing
            else [id for id in known if not np.array_equal(there[id].class_index(labels), mask)]
        )
        if others:
            conflicts.append(
                f"{one.id}: {data} has this image as {others[0]}, with another mask; "
                "--replace takes the reviewed one"
            )
        elif known:
            replaced |= dict.fromkeys(known, one)
        elif one.id in there:
            conflicts.append(f"{one.id}: {data} has another image of that name")
        else:
            new.append(one)
    if conflicts:
        more = f"\n  and {len(conflicts) - SHOWN} more" if len(conflicts) > SHOWN else ""
        raise LimnerError(
            f"{len(conflicts)} conflicts, and nothing was written:\n  "
            + "\n  ".join(conflicts[:SHOWN])
            + more
        )
    with atomic_folder(out) as part:
        _write(part, labels, dataset.samples, new, replaced, _earlier(data), predictions, store)
    return MergeResult(
        len(there),
        len(new),
        len(replaced),
        rejected,
        _left(predictions, store, found),
        tuple(agreement(predictions, store, found)),
    )


def _left(predictions: Predictions, store: ReviewStore, found: Sequence[ReviewedEntry]) -> int:
    states, decided = store.states(), {one.entry.id for one in found}
    drafts = {key for key, state in states.items() if state.draft}
    return sum(
        entry.id not in decided or any(task_key(entry, turn) in drafts for turn in (1, 2))
        for entry in predictions.entries
    )


def _write(
    part: Path,
    labels: Labels,
    samples: Sequence[Sample],
    new: Sequence[_ReviewedMask],
    replaced: Mapping[str, _ReviewedMask],
    earlier: Sequence[str],
    predictions: Predictions,
    store: ReviewStore,
) -> None:
    official = any(sample.split for sample in samples)
    rows, lines = list[dict[str, str]](), list(earlier)
    for sample in samples:
        row = _put(part, sample.id, *_content(sample.image, sample.page))
        if sample.id in replaced:
            row["mask"] = _put_mask(
                part,
                sample.id,
                labels.to_source_pixels(
                    reviewed_mask(
                        predictions, store, replaced[sample.id].entry, replaced[sample.id].event
                    )
                ),
            )
            lines.append(_line(sample.id, replaced[sample.id], predictions))
        elif isinstance(sample.mask, AnnotationMask) or _is_stack(sample.mask):
            row["mask"] = _put_mask(
                part, sample.id, labels.to_source_pixels(sample.class_index(labels))
            )
        else:
            target = part / "masks" / f"{safe_file_name(sample.id)}{sample.mask.suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(sample.mask, target)
            row["mask"] = target.relative_to(part).as_posix()
        rows.append({**row, "split": sample.split or "", "group": sample.group or ""})
    for one in new:
        with predictions.image_file(one.entry) as path:
            row = _put(part, one.id, *_content(path, one.entry.page))
        row["mask"] = _put_mask(
            part,
            one.id,
            labels.to_source_pixels(reviewed_mask(predictions, store, one.entry, one.event)),
        )
        rows.append({**row, "split": "train" if official else "", "group": one.entry.group or ""})
        lines.append(_line(one.id, one, predictions))
    table = io.StringIO()
    writer = csv.DictWriter(table, ["id", "image", "mask", "split", "group"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(part / "labels.toml", dump_labels(labels))
    write_atomic(part / PROVENANCE, "".join(f"{line}\n" for line in lines))
    write_atomic(part / MANIFEST, table.getvalue(), lasting=True)


def _content(path: Path, page: int) -> tuple[str, bytes]:
    """An image's file and its ending; of a stack one image, as PNG, or as TIFF where it has other
    channels than colours.
    """
    if not _is_stack(path):
        return path.suffix, path.read_bytes()
    pixels = read_image(path, page=page)
    return (".png", encode_png(pixels)) if pixels.shape[2] == 3 else (".tif", encode_tiff(pixels))


def _is_stack(path: Path) -> bool:
    return path.suffix.lower() in STACK_SUFFIXES and page_count(path) > 1


def _put(part: Path, id: str, suffix: str, content: bytes) -> dict[str, str]:
    target = part / "images" / f"{safe_file_name(id)}{suffix}"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, content)
    return {"id": printable_name(id), "image": target.relative_to(part).as_posix()}


def _put_mask(part: Path, id: str, pixels: UInt[ndarray, "h w *c"]) -> str:
    target = part / "masks" / f"{safe_file_name(id)}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(target, encode_png(pixels))
    return target.relative_to(part).as_posix()


def _line(id: str, one: _ReviewedMask, predictions: Predictions) -> str:
    event = one.event
    told: dict[str, Any] = {
        "id": printable_name(id),
        "image": one.entry.image,
        "image_sha256": one.sha256,
        "models": list(predictions.models),
        "base_hash": event.base_hash,
        "mask_hash": event.mask_hash,
        "verdict": event.verdict,
        "reviewer": event.reviewer,
        "at": event.at,
        "event": event.hash,
    }
    return json.dumps(told)


def _earlier(data: Path) -> list[str]:
    """What earlier revisions said of their masks."""
    path = data / PROVENANCE
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
