"""Reviewed masks as other tools read them: PNG, COCO, Label Studio's brush, CVAT's masks, and the
folder of nnU-Net.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray

from limner.data.writers.png import encode_mask_png, encode_png
from limner.errors import LimnerError
from limner.files import atomic_folder, write_atomic
from limner.labels import VOID, Labels
from limner.review.predictions import Entry, Predictions
from limner.review.store import ReviewStore, VerdictEvent
from limner.review.verdicts import (
    ReviewedEntry,
    describe_difference,
    reviewed_entries,
    reviewed_mask,
    safe_file_name,
)

BRUSH_BITS = (3, 4, 8, 16)
"""The widths in which Label Studio's packing writes how long a run is."""


@dataclass(frozen=True, slots=True)
class KeptMask:
    """One mask that people kept."""

    name: str
    """Its path without ending, unique."""
    entry: Entry
    event: VerdictEvent
    mask: UInt8[ndarray, "h w"]


def write_masks(
    predictions: Predictions, store: ReviewStore, out: Path, form: str, prefer: str | None = None
) -> int:
    """Write the accepted and mended masks into a new folder; how many.

    Where two reviewers differ, the mask of `prefer` counts. Raises LimnerError for an unknown form,
    a folder that is there, two people who differ with nobody preferred, and names that would be
    one.
    """
    if form not in EXPORTERS:
        raise LimnerError(f"--format {form} is not known. Choose one of {', '.join(EXPORTERS)}.")
    if out.exists():
        raise LimnerError(
            f"{out} is there already. Nothing is overwritten: name a new folder with --out."
        )
    found = reviewed_entries(predictions, store)
    if differ := [one for one in found if not one.is_settled(prefer)]:
        example = f"{differ[0].entry.id} ({describe_difference(predictions, store, differ[0])})"
        raise LimnerError(
            f"two people differ about {len(differ)} masks, such as {example}. Say whose count "
            "with --prefer NAME."
        )
    kept = [one for one in found if one.event_of(prefer).verdict != "rejected"]
    if not kept:
        raise LimnerError(
            f"no mask of {predictions.folder} was accepted or mended yet. Begin with: limner "
            f"review {predictions.folder}"
        )
    with atomic_folder(out) as part:
        EXPORTERS[form](part, _masks(predictions, store, kept, prefer), predictions)
    return len(kept)


def _masks(
    predictions: Predictions, store: ReviewStore, found: Sequence[ReviewedEntry], prefer: str | None
) -> Iterator[KeptMask]:
    for one in found:
        event = one.event_of(prefer)
        name = (
            PurePosixPath(one.entry.id).with_suffix("").as_posix()
            if predictions.from_limner
            else one.entry.id
        )
        yield KeptMask(
            safe_file_name(name),
            one.entry,
            event,
            reviewed_mask(predictions, store, one.entry, event),
        )


def _image_name(one: KeptMask) -> str:
    """Unique, in folders where there are any."""
    return one.name + PurePosixPath(one.entry.image).suffix


def _png(part: Path, kept: Iterator[KeptMask], predictions: Predictions) -> None:
    """One PNG for each, in the set's own coding."""
    for one in kept:
        _put(part / f"{one.name}.png", encode_png(predictions.labels.to_source_pixels(one.mask)))


def _coco(part: Path, kept: Iterator[KeptMask], predictions: Predictions) -> None:
    """annotations.json: of each image and class one annotation, as run lengths (COCO's own,
    compressed).
    """
    from pycocotools import mask as coco

    images, annotations = list[dict[str, Any]](), list[dict[str, Any]]()
    for number, one in enumerate(kept, start=1):
        height, width = one.mask.shape
        images.append(
            {"id": number, "file_name": _image_name(one), "height": height, "width": width}
        )
        for index in predictions.labels.scored:
            lengths = coco.encode(np.asfortranarray((one.mask == index).astype(np.uint8)))
            if not (area := int(coco.area(lengths))):
                continue
            shape = {"size": [height, width], "counts": lengths["counts"].decode("ascii")}
            box = [float(value) for value in coco.toBbox(lengths)]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": index,
                    "iscrowd": 0,
                    "area": area,
                    "bbox": box,
                    "segmentation": shape,
                }
            )
    categories = [
        {"id": index, "name": predictions.labels.names[index]}
        for index in predictions.labels.scored
    ]
    _put(
        part / "annotations.json",
        json.dumps(
            {"images": images, "annotations": annotations, "categories": categories}
        ).encode(),
    )


def _label_studio(part: Path, kept: Iterator[KeptMask], predictions: Predictions) -> None:
    """tasks.json to import, with brush regions; and the labelling interface that they are for."""
    tasks = []
    for one in kept:
        height, width = one.mask.shape
        regions = [
            {
                "from_name": "tag",
                "to_name": "image",
                "type": "brushlabels",
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": {
                    "format": "rle",
                    "rle": encode_brush(one.mask == index),
                    "brushlabels": [predictions.labels.names[index]],
                },
            }
            for index in predictions.labels.scored
            if (one.mask == index).any()
        ]
        tasks.append({"data": {"image": _image_name(one)}, "annotations": [{"result": regions}]})
    colours = "".join(
        (
            f"<Label value={quoteattr(predictions.labels.names[index])} "
            f'background="#{"".join(f"{c:02x}" for c in predictions.labels.colour(index))}"/>'
        )
        for index in predictions.labels.scored
    )
    _put(part / "tasks.json", json.dumps(tasks).encode())
    _put(
        part / "interface.xml",
        (
            '<View><Image name="image" value="$image"/><BrushLabels name="tag" '
            f'toName="image">{colours}</BrushLabels></View>\n'
        ).encode(),
    )


def encode_brush(inside: Bool[ndarray, "h w"]) -> list[int]:
    """A mask as Label Studio packs its brush: the bytes of an RGBA picture, 0 or 255 in all
    channels, as runs in a stream of bits.

    32 bits say how many bytes there are, 5 how wide one is (less 1), four times 4 the widths in
    which lengths are written (less 1); then of each run a 1, which of the widths, the length less
    1, and the byte.
    """
    flat = np.repeat(inside.ravel(), 4)
    edges = np.flatnonzero(np.diff(flat)) + 1
    starts, ends = np.concatenate([[0], edges]), np.concatenate([edges, [len(flat)]])
    bits = [f"{len(flat):032b}", f"{7:05b}", *(f"{width - 1:04b}" for width in BRUSH_BITS)]
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        byte = "11111111" if flat[start] else "00000000"
        for at in range(start, end, 1 << BRUSH_BITS[-1]):
            length = min(end - at, 1 << BRUSH_BITS[-1]) - 1
            which = next(place for place, width in enumerate(BRUSH_BITS) if length < 1 << width)
            bits.append(f"1{which:02b}{length:0{BRUSH_BITS[which]}b}{byte}")
    stream = "".join(bits)
    stream += "0" * (-len(stream) % 8)
    return [int(stream[at : at + 8], 2) for at in range(0, len(stream), 8)]


def _cvat(part: Path, kept: Iterator[KeptMask], predictions: Predictions) -> None:
    """CVAT's "Segmentation mask 1.1": a table of colours, and pictures of the classes and of their
    connected parts. Zip the folder to import it.
    """
    from scipy import ndimage

    labels = predictions.labels
    if unnamed := [
        labels.names[index]
        for index in labels.scored
        if labels.names[index].startswith("#") or ":" in labels.names[index]
    ]:
        raise LimnerError(
            f"CVAT's table of classes cannot hold the name {unnamed[0]}. Write png or coco instead, or name the classes in a labels.toml "
            "beside the masks, with the values and the order that they have."
        )
    table = np.array(
        [_voc_colour(index + (labels.names[0] != "background")) for index in range(256)], np.uint8
    )
    table[VOID] = 0
    shades, names = np.array([_voc_colour(number) for number in range(256)], np.uint8), list[str]()
    for one in kept:
        objects, count = np.zeros(one.mask.shape, np.int64), 0
        for index in labels.scored:
            parts, found = ndimage.label(one.mask == index)
            objects[parts > 0] = parts[parts > 0] + count
            count += found
        _put(part / "SegmentationClass" / f"{one.name}.png", encode_png(table[one.mask]))
        if (
            count < 256
            # There are no more of Pascal VOC's colours, and others are not imported; then each
            # class is
            # one object
        ):
            _put(part / "SegmentationObject" / f"{one.name}.png", encode_png(shades[objects]))
        names.append(one.name)
    rows = ["# label:color_rgb:parts:actions", "background:0,0,0::"]
    rows += [
        f"{labels.names[index]}:{','.join(map(str, table[index].tolist()))}::"
        for index in labels.scored
    ]
    _put(part / "labelmap.txt", ("\n".join(rows) + "\n").encode())
    _put(part / "ImageSets" / "Segmentation" / "default.txt", ("\n".join(names) + "\n").encode())


def _voc_colour(number: int) -> tuple[int, int, int]:
    """Pascal VOC's colour of a class: of its number the bits, by threes, are the highest bits of
    red, green and blue. 0 is black.
    """
    red, green, blue = (
        sum((number >> 3 * place + channel & 1) << 7 - place for place in range(8))
        for channel in range(3)
    )
    return red, green, blue


def _nnunet(part: Path, kept: Iterator[KeptMask], predictions: Predictions) -> None:
    """The raw folder of nnU-Net version 2: pictures and masks as PNG, class indices in these, and
    dataset.json.

    Colours are one file, as nnU-Net's reader of natural images takes them; of images of other
    channels each has a file of its own.
    """
    labels, names, channels = predictions.labels, list[str](), set[int]()
    for one in kept:
        name = one.name.replace("/", "_")
        if name in names:
            raise LimnerError(
                f"two masks would be called {name}, for nnU-Net knows no folders. Rename one "
                "of the images."
            )
        names.append(name)
        image = predictions.image(one.entry)
        channels.add(image.shape[2])
        if len(channels) > 1:
            raise LimnerError(
                f"{one.entry.name} has {image.shape[2]} channels, and the images before it "
                "have others. nnU-Net needs the same in all."
            )
        for channel, plane in enumerate(
            [image] if image.shape[2] == 3 else np.moveaxis(image, 2, 0)
        ):
            _put(
                part / "imagesTr" / f"{name}_{channel:04d}.png",
                encode_png(np.ascontiguousarray(plane)),
            )
        _put(
            part / "labelsTr" / f"{name}.png",
            encode_mask_png(
                np.where(one.mask == VOID, len(labels.names), one.mask).astype(np.uint8)
            ),
        )
    _put(
        part / "dataset.json",
        (
            json.dumps(_nnunet_description(labels, len(names), channels.pop()), indent=2) + "\n"
        ).encode(),
    )


def _nnunet_description(labels: Labels, count: int, channels: int) -> dict[str, Any]:
    classes: dict[str, int] = {name: index for index, name in enumerate(labels.names)}
    if labels.void_values:
        classes["ignore"] = len(labels.names)
    named = (
        ("R", "G", "B") if channels == 3 else [f"channel {channel}" for channel in range(channels)]
    )
    return {
        "channel_names": {str(channel): name for channel, name in enumerate(named)},
        "labels": classes,
        "numTraining": count,
        "file_ending": ".png",
    }


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, content)


EXPORTERS: dict[str, Callable[[Path, Iterator[KeptMask], Predictions], None]] = {
    "png": _png,
    "coco": _coco,
    "label-studio": _label_studio,
    "cvat": _cvat,
    "nnunet": _nnunet,
}
