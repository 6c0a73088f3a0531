"""Label Studio's export as JSON: a list of tasks, each an image with its annotations."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limner.data.annotated_images import (
    AnnotatedImage,
    AnnotatedSet,
    find_image,
    no_area_findings,
    sample_id,
)
from limner.data.annotation_tools import (
    LABEL_STUDIO,
    annotation_files,
    require_one_tool,
)
from limner.data.class_names import read_class_names
from limner.data.findings import Finding
from limner.data.folder_listing import FolderListing
from limner.data.image_file import has_image_suffix
from limner.data.layout_match import LayoutMatch
from limner.data.named_files import NamedFiles, portable_path
from limner.data.shapes.label_studio import AREA_KINDS, region_kind
from limner.errors import LimnerError
from limner.plurals import count_noun

Json = Mapping[str, Any]
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
"""Label Studio puts this before the name of an uploaded file."""
STROKE_MASK = re.compile(r"task-(\d+)-annotation-(\d+)-by-[^-]*-(.+)-\d+\.png", re.IGNORECASE)
"""The file of a stroke in the export as masks: its task, its annotation, and the names of the
labelling interface's tool and of the label.
"""


@dataclass(slots=True)
class _Reading:
    """What is noticed while the tasks are read."""

    files: NamedFiles
    without_area: Counter[str] = field(default_factory=Counter)
    several: list[Path] = field(default_factory=list)
    """Images with several annotations."""


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """Label Studio: its export as JSON, beside the images or above them (polygons, rectangles,
    ellipses, brushes)
    """
    files = annotation_files(listing)
    paths = files.by_tool.get(LABEL_STUDIO, ())
    if not paths:
        return None
    require_one_tool(listing, LABEL_STUDIO, paths)
    reading = _Reading(NamedFiles.of(listing))
    images = [
        image
        for path in paths
        for task in files.contents[path]
        if (image := _read_task(path, task, reading))
    ]
    return AnnotatedSet(
        tool=LABEL_STUDIO,
        files=paths,
        images=images,
        stated=[name for _, name in read_class_names(listing.root)],
        derived=[path for path in listing.images() if STROKE_MASK.fullmatch(path.name)],
        findings=(
            *reading.files.findings(),
            *no_area_findings(LABEL_STUDIO, reading.without_area, paths[0]),
            *several_findings(reading.several),
        ),
    ).to_match(listing)


def _read_task(path: Path, task: Json, reading: _Reading) -> AnnotatedImage | None:
    """The image of a task with its regions; None for a task that nobody has annotated."""
    if "data" not in task:
        raise LimnerError(
            f"{path} is Label Studio's export as JSON-MIN, which leaves out what is needed. Export "
            "it as JSON."
        )
    image = find_task_image(path, task, reading.files)
    annotations = [each for each in task.get("annotations", ()) if not each.get("was_cancelled")]
    if not annotations:
        return None
    if len(annotations) > 1:
        reading.several.append(image)
    chosen = next((each for each in annotations if each.get("ground_truth")), annotations[-1])
    regions = [each for each in chosen.get("result", ()) if "value" in each]
    kinds = [region_kind(region) for region in regions]
    reading.without_area.update(
        kind for kind in kinds if kind not in AREA_KINDS and kind not in {"choices", "labels"}
    )
    drawn = [region for region, kind in zip(regions, kinds, strict=True) if kind in AREA_KINDS]
    return AnnotatedImage(
        sample_id(image, reading.files.root),
        image,
        path,
        _size(path, image, drawn),
        [
            (_class_name(path, image, region), {key: region[key] for key in ("type", "value")})
            for region in drawn
        ],
    )


def find_task_image(path: Path, task: Json, files: NamedFiles) -> Path:
    """The image that a task names: by a path, an address, or the name of an uploaded file.

    Raises LimnerError where there is none.
    """
    texts = [text for text in task["data"].values() if isinstance(text, str)]
    named = [text for text in texts if has_image_suffix(portable_path(text).name)] or texts
    for name in named:
        short = _UPLOADED.sub("", portable_path(name).name)
        for candidate in (name, short):
            image = find_image(files, candidate, path)
            if image.is_file():
                return image
    raise LimnerError(
        f"{path} has a task (id {task.get('id')}) of the image {(named or ['without a name'])[0]!r}"
        ", which is not there. Put the images below the folder of the export."
    )


def _size(path: Path, image: Path, regions: Sequence[Json]) -> tuple[int, int] | None:
    """Height and width as the regions state them. Raises LimnerError for a turned image."""
    if any(region.get("image_rotation") for region in regions):
        raise LimnerError(
            f"{path} has regions that were drawn on {image} after it was turned in Label Studio. "
            "Turn the image back there, or turn the file itself."
        )
    sizes = {(region.get("original_height"), region.get("original_width")) for region in regions}
    if len(sizes) > 1:
        raise LimnerError(
            f"{path} has regions of {image} for images of several sizes: "
            f"{', '.join(f'{width}x{height}' for height, width in sizes)}. Each image has one: "
            "export it again."
        )
    height, width = next(iter(sizes), (None, None))
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def _class_name(path: Path, image: Path, region: Json) -> str:
    """The class of a region. Raises LimnerError where it has none, or several."""
    value, kind = region["value"], region_kind(region)
    names = value.get(f"{kind}labels") or value.get("labels") or []
    if len(names) != 1:
        raise LimnerError(
            f"{path} has a {kind} on {image} with {count_noun(len(names), 'label')}. Each region "
            "has one, its class: give it one in Label Studio."
        )
    return str(names[0]).strip()


def several_findings(
    images: Sequence[Path],
    taken: str = "The ground truth is taken, and where none is marked the last.",
) -> Iterator[Finding]:
    """Report images with annotations of several people, and which is taken."""
    if images:
        message = (
            f"{count_noun(len(images), 'image has', 'images have')} annotations of several people, "
            f"such as {images[0]}. {taken}"
        )
        yield Finding("several-annotations", "warning", str(images[0]), message)
