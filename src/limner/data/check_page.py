"""The health of a dataset as one page that a person looks at, and as JSON for a program."""

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.check import CheckResult, Finding, SampleInfo
from limner.data.overlays import draw_overlay, shrink_pair
from limner.data.parallel import map_in_order
from limner.data.sample import Sample
from limner.data.scan import Dataset
from limner.data.writers.jpeg import encode_jpeg
from limner.errors import LimnerError
from limner.files import write_atomic
from limner.labels import VOID, Labels

SHOWN = 6
"""Pictures of each code, and messages beside them before the rest is folded away."""
GALLERY = 12


@dataclass(frozen=True, slots=True)
class _Picture:
    """A sample as the page shows it: the JPEG in base64, and its caption."""

    caption: str
    jpeg: str


def write_check(folder: Path, dataset: Dataset, health: CheckResult) -> Path:
    """Write findings.json and index.html, in place of those of an earlier check; give the page's
    path.
    """
    if folder.is_file() or (
        folder.is_dir() and any(folder.iterdir()) and not (folder / "findings.json").is_file()
    ):
        raise LimnerError(
            f"{folder} is in use and holds no earlier check. Nothing is overwritten: name "
            "another folder with --out."
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("findings.json", json.dumps(check_to_json(dataset, health), indent=2) + "\n"),
        ("index.html", _page(dataset, health)),
    ):
        write_atomic(folder / name, content)
    return folder / "index.html"


def check_to_json(dataset: Dataset, health: CheckResult) -> dict[str, Any]:
    """What a check found, as JSON holds it."""
    labels = asdict(health.labels) if health.labels else None
    return {
        "data": str(dataset.root),
        "layout": dataset.layout,
        "samples": len(dataset.samples),
        "labels": labels,
        "findings": health.to_json(),
    }


def _page(dataset: Dataset, health: CheckResult) -> str:
    from jinja2 import Environment, StrictUndefined

    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(
        resources.files("limner.data").joinpath("check_page.html").read_text(encoding="utf-8")
    )
    samples = {sample.id: sample for sample in dataset.samples}
    groups = health.by_code()
    shown = {
        code: [id for finding in findings[:SHOWN] for id in finding.ids[:2]][: 2 * SHOWN]
        for code, findings in groups.items()
    }
    spread = [
        fact.id for fact in health.sample_info[:: max(1, len(health.sample_info) // GALLERY)]
    ][:GALLERY]
    wanted = list(dict.fromkeys([id for ids in shown.values() for id in ids] + spread))
    pictures = dict(
        zip(
            wanted,
            map_in_order(lambda id: _picture(samples[id], health.labels), wanted),
            strict=True,
        )
    )
    return template.render(
        name=dataset.root.resolve().name,
        dataset=dataset,
        health=health,
        sizes=_sizes(health.sample_info),
        classes=list(_classes(health)),
        groups=[
            (code, findings, _pictures_of(pictures, shown[code]))
            for code, findings in groups.items()
        ],
        gallery=_pictures_of(pictures, spread),
        shown=SHOWN,
        short=lambda finding: short_message(finding, dataset.root),
    )


def short_message(finding: Finding, root: Path) -> str:
    """The message with paths from the dataset's folder on."""
    return finding.message.removeprefix(f"{root}/").replace(f" {root}/", " ")


def _pictures_of(pictures: dict[str, _Picture | None], ids: Iterable[str]) -> list[_Picture]:
    return [picture for id in dict.fromkeys(ids) if (picture := pictures[id])]


def _picture(sample: Sample, labels: Labels | None) -> _Picture | None:
    """The image with its mask drawn in, or beside it where their sizes differ; None where the image
    cannot be read.
    """
    try:
        image = sample.read_image((512, 512))
    except LimnerError:
        return None
    caption = f"{sample.id}{f' · {sample.split}' if sample.split else ''}{f' · group {sample.group}' if sample.group else ''}"
    try:
        class_index = sample.class_index(labels) if labels else None
    except LimnerError:
        class_index = None
    if (
        class_index is None
        or labels is None
        or abs(class_index.shape[0] / class_index.shape[1] - image.shape[0] / image.shape[1]) > 0.05
    ):
        return _Picture(
            f"{caption} · without its mask",
            _jpeg(shrink_pair(image, np.zeros(image.shape[:2], np.uint8))[0]),
        )
    small, mask = shrink_pair(image, class_index)
    return _Picture(caption, _jpeg(draw_overlay(small, mask, labels)))


def _jpeg(pixels: UInt8[ndarray, "h w 3"]) -> str:
    return base64.b64encode(encode_jpeg(pixels)).decode("ascii")


def _sizes(facts: Sequence[SampleInfo]) -> str:
    if not facts:
        return "none could be read"
    heights, widths = (sorted(fact.size_px[axis] for fact in facts) for axis in (0, 1))
    middle = len(facts) // 2
    if (heights[0], widths[0]) == (heights[-1], widths[-1]):
        return f"all {widths[0]} × {heights[0]} px"
    return (
        f"{widths[0]} to {widths[-1]} px wide (median {widths[middle]}), {heights[0]} to "
        f"{heights[-1]} px high (median {heights[middle]})"
    )


def _classes(health: CheckResult) -> Iterator[dict[str, Any]]:
    """A row for each class: its colour on the page, its pixel values, its share of all pixels, and
    how many masks have it.
    """
    if health.labels is None:
        return
    labels = health.labels
    pixels, masks = dict[int, float](), dict[int, int]()
    whole = sum(fact.size_px[0] * fact.size_px[1] for fact in health.sample_info)
    for fact in health.sample_info:
        for index, share in labels.class_shares(fact.mask).items():
            pixels[index] = pixels.get(index, 0.0) + share * fact.size_px[0] * fact.size_px[1]
            masks[index] = masks.get(index, 0) + 1
    for index, name in enumerate(labels.names):
        colour = (
            "#{:02x}{:02x}{:02x}".format(*labels.colour(index)) if index in labels.scored else ""
        )
        yield {
            "name": name,
            "values": labels.format_class(index),
            "colour": colour,
            "share": pixels.get(index, 0.0) / whole,
            "masks": masks.get(index, 0),
        }
    if VOID in pixels:
        yield {
            "name": "void",
            "values": labels.format_class(VOID),
            "colour": "",
            "share": pixels[VOID] / whole,
            "masks": masks[VOID],
        }
