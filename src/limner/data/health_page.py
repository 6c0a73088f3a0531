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

from limner.data.folder import Dataset
from limner.data.health import Facts, Finding, Health
from limner.data.images import encode_jpeg
from limner.data.parallel import in_order
from limner.data.pictures import overlay, shrink
from limner.data.samples import Sample
from limner.errors import LimnerError
from limner.files import write_whole
from limner.labels import VOID, Labels

SHOWN = 6
"""Pictures of each code, and messages beside them before the rest is folded away."""
GALLERY = 12


@dataclass(frozen=True, slots=True)
class _Picture:
    """A sample as the page shows it: the JPEG in base64, and its caption."""

    caption: str
    jpeg: str


def write_health(folder: Path, dataset: Dataset, health: Health) -> Path:
    """Write findings.json and index.html, in place of those of an earlier check; give the page's path."""
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / "findings.json").is_file()):
        raise LimnerError(f"{folder} is in use and holds no earlier check. Nothing is overwritten: name another folder with --out.")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("findings.json", json.dumps(record(dataset, health), indent=2) + "\n"), ("index.html", _page(dataset, health))):
        write_whole(folder / name, content)
    return folder / "index.html"


def record(dataset: Dataset, health: Health) -> dict[str, Any]:
    """What a check found, as JSON holds it."""
    labels = asdict(health.labels) if health.labels else None
    return {"data": str(dataset.root), "layout": dataset.layout, "samples": len(dataset.samples), "labels": labels, "findings": health.as_json()}


def _page(dataset: Dataset, health: Health) -> str:
    from jinja2 import Environment, StrictUndefined

    template = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        resources.files("limner.data").joinpath("health_page.html").read_text(encoding="utf-8")
    )
    samples = {sample.id: sample for sample in dataset.samples}
    groups = health.by_code()
    shown = {code: [id for finding in findings[:SHOWN] for id in finding.ids[:2]][: 2 * SHOWN] for code, findings in groups.items()}
    spread = [fact.id for fact in health.facts[:: max(1, len(health.facts) // GALLERY)]][:GALLERY]
    wanted = list(dict.fromkeys([id for ids in shown.values() for id in ids] + spread))
    pictures = dict(zip(wanted, in_order(lambda id: _picture(samples[id], health.labels), wanted), strict=True))
    return template.render(
        name=dataset.root.resolve().name,
        dataset=dataset,
        health=health,
        sizes=_sizes(health.facts),
        classes=list(_classes(health)),
        groups=[(code, findings, _found(pictures, shown[code])) for code, findings in groups.items()],
        gallery=_found(pictures, spread),
        shown=SHOWN,
        short=lambda finding: short(finding, dataset.root),
    )


def short(finding: Finding, root: Path) -> str:
    """The message with paths from the dataset's folder on."""
    return finding.message.removeprefix(f"{root}/").replace(f" {root}/", " ")


def _found(pictures: dict[str, _Picture | None], ids: Iterable[str]) -> list[_Picture]:
    return [picture for id in dict.fromkeys(ids) if (picture := pictures[id])]


def _picture(sample: Sample, labels: Labels | None) -> _Picture | None:
    """The image with its mask drawn in, or beside it where their sizes differ; None where the image cannot be read."""
    try:
        image = sample.read_image((512, 512))
    except LimnerError:
        return None
    caption = f"{sample.id}{f' · {sample.split}' if sample.split else ''}{f' · group {sample.group}' if sample.group else ''}"
    try:
        class_index = sample.class_index(labels) if labels else None
    except LimnerError:
        class_index = None
    if class_index is None or labels is None or abs(class_index.shape[0] / class_index.shape[1] - image.shape[0] / image.shape[1]) > 0.05:
        return _Picture(f"{caption} · without its mask", _jpeg(shrink(image, np.zeros(image.shape[:2], np.uint8))[0]))
    small, mask = shrink(image, class_index)
    return _Picture(caption, _jpeg(overlay(small, mask, labels)))


def _jpeg(pixels: UInt8[ndarray, "h w 3"]) -> str:
    return base64.b64encode(encode_jpeg(pixels)).decode("ascii")


def _sizes(facts: Sequence[Facts]) -> str:
    if not facts:
        return "none could be read"
    heights, widths = (sorted(fact.size_px[axis] for fact in facts) for axis in (0, 1))
    middle = len(facts) // 2
    if (heights[0], widths[0]) == (heights[-1], widths[-1]):
        return f"all {widths[0]} × {heights[0]} px"
    return f"{widths[0]} to {widths[-1]} px wide (median {widths[middle]}), {heights[0]} to {heights[-1]} px high (median {heights[middle]})"


def _classes(health: Health) -> Iterator[dict[str, Any]]:
    """A row for each class: its colour on the page, its pixel values, its share of all pixels, and how many masks have it."""
    if health.labels is None:
        return
    labels = health.labels
    pixels, masks = dict[int, float](), dict[int, int]()
    whole = sum(fact.size_px[0] * fact.size_px[1] for fact in health.facts)
    for fact in health.facts:
        for index, share in labels.shares(fact.mask).items():
            pixels[index] = pixels.get(index, 0.0) + share * fact.size_px[0] * fact.size_px[1]
            masks[index] = masks.get(index, 0) + 1
    for index, name in enumerate(labels.names):
        colour = "#{:02x}{:02x}{:02x}".format(*labels.colour(index)) if index in labels.scored else ""
        yield {"name": name, "values": labels.spell_class(index), "colour": colour, "share": pixels.get(index, 0.0) / whole, "masks": masks.get(index, 0)}
    if VOID in pixels:
        yield {"name": "void", "values": labels.spell_class(VOID), "colour": "", "share": pixels[VOID] / whole, "masks": masks[VOID]}
