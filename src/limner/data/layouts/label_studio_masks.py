"""Label Studio's masks (BRUSH_TO_PNG): a file for each stroke of a task, and a table of tasks."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.data.annotated_images import (
    BACKGROUND_NAMES,
    IGNORED_NAMES,
    not_annotated_findings,
    sample_id,
)
from limner.data.annotation_mask import AnnotationMask
from limner.data.annotation_tools import LABEL_STUDIO, annotation_files, require_one_tool
from limner.data.folder_listing import FolderListing
from limner.data.layout_match import LayoutMatch
from limner.data.layouts.label_studio import STROKE_MASK, find_task_image, several_findings
from limner.data.named_files import NamedFiles
from limner.data.sample import Sample
from limner.data.tables import read_column_names, read_table
from limner.data.united_mask import UnitedMask
from limner.errors import LimnerError
from limner.labels import VOID
from limner.plurals import count_noun

Json = Mapping[str, Any]
TOOL = "Label Studio's masks"
TABLE_COLUMNS = frozenset({"id", "annotator", "annotation_id"})
"""What Label Studio's CSV has, whatever its tasks hold."""


@dataclass(frozen=True, slots=True)
class _Stroke:
    """A mask file, and what its name says."""

    path: Path
    task: str
    annotation: int
    name: str
    """The names of the tool in the labelling interface and of the label, joined by "-"."""


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """Label Studio's BRUSH_TO_PNG: task-1-annotation-2-by-3-tag-cell-0.png and so on, with the
    images and the project's CSV or JSON
    """
    strokes = list(_strokes(listing))
    exports = annotation_files(listing).by_tool.get(LABEL_STUDIO, ())
    contents = annotation_files(listing).contents
    # The export as JSON holds the strokes themselves, and the order in which they were drawn
    if not strokes or any("annotations" in task for path in exports for task in contents[path]):
        return None
    tables = [path for path in listing.files({".csv"}) if _is_table(path)]
    if not exports and not tables:
        raise LimnerError(
            f"{count_noun(len(strokes), 'file')}, such as {strokes[0].path}, were exported from "
            "Label Studio as masks. Their names tell the task and not the image. Export the "
            "project as JSON too, and put that file beside the folder of masks."
        )
    require_one_tool(listing, LABEL_STUDIO, exports)
    files = NamedFiles.of(listing)
    tasks = {
        str(task["id"]): (path, task)
        for path in (*exports, *tables)
        for task in (contents[path] if path in exports else read_table(path))
        if "id" in task
    }
    _require_tasks(strokes, tasks)
    images = {
        id: find_task_image(path, {"data": task, **task}, files)
        for id, (path, task) in tasks.items()
    }
    return _to_match(listing, _last_strokes(strokes), tasks, images)


def _strokes(listing: FolderListing) -> Iterator[_Stroke]:
    for path in listing.images():
        if match := STROKE_MASK.fullmatch(path.name):
            task, annotation, name = match.groups()
            yield _Stroke(path, task, int(annotation), name)


def _is_table(path: Path) -> bool:
    return set(read_column_names(path)) >= TABLE_COLUMNS


def _require_tasks(strokes: Sequence[_Stroke], tasks: Mapping[str, tuple[Path, Json]]) -> None:
    for stroke in strokes:
        if stroke.task not in tasks:
            tables = {path for path, _ in tasks.values()}
            raise LimnerError(
                f"{stroke.path} is a mask of the task {stroke.task}, which is not in "
                f"{', '.join(sorted(map(str, tables)))}. Export masks and tasks again, at one time."
            )


def _last_strokes(strokes: Sequence[_Stroke]) -> dict[str, dict[int, list[_Stroke]]]:
    """The strokes of each task, by their annotations, the last of which comes last."""
    by_task: dict[str, dict[int, list[_Stroke]]] = defaultdict(lambda: defaultdict(list))
    for stroke in sorted(strokes, key=lambda stroke: (stroke.annotation, stroke.path)):
        by_task[stroke.task][stroke.annotation].append(stroke)
    return by_task


def _to_match(
    listing: FolderListing,
    strokes: Mapping[str, Mapping[int, Sequence[_Stroke]]],
    tasks: Mapping[str, tuple[Path, Json]],
    images: Mapping[str, Path],
) -> LayoutMatch:
    drawn = {id: list(found.values())[-1] for id, found in strokes.items()}
    names = {
        stroke.path: _class_name(stroke, tasks[id][1])
        for id, found in drawn.items()
        for stroke in found
    }
    special = BACKGROUND_NAMES | IGNORED_NAMES
    classes = sorted({name for name in names.values() if name.lower() not in special})
    value_of = {name: index for index, name in enumerate(classes, start=1)} | {
        name: VOID if name.lower() in IGNORED_NAMES else 0
        for name in names.values()
        if name.lower() in special
    }
    samples = []
    for id, image in images.items():
        table, task = tasks[id]
        values = {stroke.path: value_of[names[stroke.path]] for stroke in drawn.get(id, ())}
        masks = {path: value for path, value in values.items() if value}
        if masks:
            mask = UnitedMask(tuple(masks), tuple(masks.values()))
            samples.append(Sample(sample_id(image, listing.root), image, mask))
        elif "annotator" in task:
            empty = AnnotationMask(table, image.name, None, "[]", LABEL_STUDIO)
            samples.append(Sample(sample_id(image, listing.root), image, empty))
    taken = {sample.image for sample in samples}
    files = [stroke.path for stroke in _strokes(listing)]
    others = [path for path in listing.images() if path not in taken and path not in files]
    several = [images[id] for id, found in strokes.items() if len(found) > 1]
    return LayoutMatch(
        TOOL,
        tuple(samples),
        ((0, "background"), *((index, name) for index, name in enumerate(classes, start=1))),
        set_aside=(*others, *files),
        findings=(
            *several_findings(several, "The last is taken."),
            *not_annotated_findings(others, LABEL_STUDIO),
        ),
        lists=tuple({path for path, _ in tasks.values()}),
    )


def _class_name(stroke: _Stroke, task: Json) -> str:
    """The label of a stroke: what stands behind the name of the labelling interface's tool.

    The task has that as a column, where anything was drawn with it.
    """
    tools = [name for name in task if stroke.name.startswith(f"{name}-")]
    tool = max(tools, key=len, default=stroke.name.partition("-")[0])
    return stroke.name[len(tool) + 1 :].strip()
