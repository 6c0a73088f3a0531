"""The result of a check as an HTML page for people, and as JSON for programs."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from limner.data.check import CheckResult
from limner.data.check_masks import ClassCounts, count_classes
from limner.data.dataset import Dataset
from limner.data.findings import Finding
from limner.data.html_page import css_colour, embed_jpeg, render_page
from limner.data.overlays import draw_overlay, shrink_pair
from limner.data.parallel import map_in_order
from limner.data.sample import Sample
from limner.data.sample_info import SampleInfo
from limner.data.split_folders import SplitFolders, official_splits
from limner.errors import LimnerError
from limner.files import require_own_folder, write_atomic
from limner.labels import VOID, Labels

SHOWN = 6
"""Messages of each code before the rest is folded away; of each, two pictures at most."""
GALLERY = 12
"""Pictures of the gallery, spread over the set."""
PICTURE_PX = (512, 512)
MAX_ASPECT_DIFFERENCE = 0.05
"""A mask whose height by width differs more from its image's is not drawn into it."""


@dataclass(frozen=True, slots=True)
class _Picture:
    """A sample as the page shows it: the JPEG in base64, and its caption."""

    caption: str
    jpeg: str


@dataclass(frozen=True, slots=True)
class _ClassRow:
    """A class as the page lists it."""

    name: str
    pixel_values: str
    colour: str
    """As CSS has it; empty where the class is not drawn."""
    share: float
    """Of all pixels."""
    masks: int
    """How many masks have it."""


def write_check(folder: Path, dataset: Dataset, result: CheckResult) -> Path:
    """Write findings.json and index.html, in place of those of an earlier check.

    Returns the path of the page. Raises LimnerError where the folder holds anything else.
    """
    require_own_folder(folder, "findings.json")
    folder.mkdir(parents=True, exist_ok=True)
    findings = json.dumps(check_to_json(dataset, result), indent=2) + "\n"
    write_atomic(folder / "findings.json", findings)
    write_atomic(folder / "index.html", _render(dataset, result))
    return folder / "index.html"


def check_to_json(dataset: Dataset, result: CheckResult) -> dict[str, Any]:
    """Give the result of a check as JSON holds it."""
    return {
        "data": str(dataset.root),
        "layout": dataset.layout,
        "samples": len(dataset.samples),
        "splits": {
            side: asdict(SplitFolders.of(dataset.root, samples))
            for side, samples in official_splits(dataset.samples).items()
        },
        "labels": asdict(result.labels) if result.labels else None,
        "findings": result.to_json(),
    }


def short_message(finding: Finding, root: Path) -> str:
    """The message of a finding, with paths relative to the dataset's folder."""
    return finding.message.removeprefix(f"{root}/").replace(f" {root}/", " ")


def _render(dataset: Dataset, result: CheckResult) -> str:
    samples = {sample.id: sample for sample in dataset.samples}
    groups = result.by_code()
    ids_by_code = {
        code: [id for finding in findings[:SHOWN] for id in finding.ids[:2]]
        for code, findings in groups.items()
    }
    step = max(1, len(result.sample_info) // GALLERY)
    gallery = [info.id for info in result.sample_info[::step]][:GALLERY]
    ids = list(dict.fromkeys([*chain.from_iterable(ids_by_code.values()), *gallery]))
    drawn = map_in_order(lambda id: _draw_sample(samples[id], result.labels), ids)
    pictures = dict(zip(ids, drawn, strict=True))
    return render_page(
        "limner.data",
        "check_page.html",
        name=dataset.root.resolve().name,
        dataset=dataset,
        result=result,
        sizes=_describe_sizes(result.sample_info),
        classes=_class_rows(result),
        groups=[
            (code, findings, _pictures_of(pictures, ids_by_code[code]))
            for code, findings in groups.items()
        ],
        gallery=_pictures_of(pictures, gallery),
        shown=SHOWN,
        short=lambda finding: short_message(finding, dataset.root),
    )


def _pictures_of(pictures: dict[str, _Picture | None], ids: Iterable[str]) -> list[_Picture]:
    return [picture for id in dict.fromkeys(ids) if (picture := pictures[id])]


def _draw_sample(sample: Sample, labels: Labels | None) -> _Picture | None:
    """Draw the mask into the image, where it can be read and fits; None where the image cannot be
    read.
    """
    try:
        image = sample.read_image(PICTURE_PX)
    except LimnerError:
        return None
    caption = _caption(sample)
    try:
        class_index = sample.class_index(labels) if labels else None
    except LimnerError:
        class_index = None
    if labels is None or class_index is None or not _fits(class_index.shape, image.shape):
        small, _ = shrink_pair(image, np.zeros(image.shape[:2], np.uint8))
        return _Picture(f"{caption} · without its mask", embed_jpeg(small))
    small, mask = shrink_pair(image, class_index)
    return _Picture(caption, embed_jpeg(draw_overlay(small, mask, labels)))


def _fits(mask_shape: tuple[int, ...], image_shape: tuple[int, ...]) -> bool:
    """Whether a mask has the aspect of an image, which may have been read at a reduced scale."""
    difference = mask_shape[0] / mask_shape[1] - image_shape[0] / image_shape[1]
    return abs(difference) <= MAX_ASPECT_DIFFERENCE


def _caption(sample: Sample) -> str:
    split = f" · {sample.split}" if sample.split else ""
    group = f" · group {sample.group}" if sample.group else ""
    return f"{sample.id}{split}{group}"


def _describe_sizes(infos: Sequence[SampleInfo]) -> str:
    if not infos:
        return "none could be read"
    heights, widths = (sorted(info.size_px[axis] for info in infos) for axis in (0, 1))
    middle = len(infos) // 2
    if (heights[0], widths[0]) == (heights[-1], widths[-1]):
        return f"all {widths[0]} × {heights[0]} px"
    return (
        f"{widths[0]} to {widths[-1]} px wide (median {widths[middle]}), {heights[0]} to "
        f"{heights[-1]} px high (median {heights[middle]})"
    )


def _class_rows(result: CheckResult) -> list[_ClassRow]:
    """A row for each class, and one for void where a mask has it."""
    if result.labels is None:
        return []
    counts = count_classes(result.sample_info, result.labels)
    classes = [*range(len(result.labels.names))] + [VOID] * (VOID in counts.pixels)
    return [_class_row(class_index, result.labels, counts) for class_index in classes]


def _class_row(class_index: int, labels: Labels, counts: ClassCounts) -> _ClassRow:
    return _ClassRow(
        name="void" if class_index == VOID else labels.names[class_index],
        pixel_values=labels.format_class(class_index),
        colour=css_colour(labels.colour(class_index)) if class_index in labels.scored else "",
        share=counts.pixels.get(class_index, 0) / counts.total_pixels,
        masks=len(counts.holders.get(class_index, ())),
    )
