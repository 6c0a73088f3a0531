"""Images with the objects that a tool's files state, as samples of one set of classes."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import normalize

from limner.data.annotation_mask import AnnotationMask
from limner.data.class_names import ClassNames
from limner.data.image_file import without_suffix
from limner.data.label_coding import VOID_NAMES
from limner.data.sample import Sample, Split
from limner.errors import LimnerError
from limner.labels import MAX_NAMED_CLASSES, VOID
from limner.name_list import list_some

BACKGROUND = "background"
BACKGROUND_NAMES = frozenset({BACKGROUND, "_background_", "__background__"})
"""Names of the background, in lower case."""
IGNORED_NAMES = VOID_NAMES | {"__ignore__"}
"""Names of what counts nowhere, in lower case."""


@dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """An image, and its objects in the order in which they are painted.

    Each object is the name of its class and a shape, in the form of the tool. `size_px` are height
    and width as the file states them; None where it states none.
    """

    id: str
    image: Path
    file: Path
    size_px: tuple[int, int] | None
    objects: Sequence[tuple[str, Any]]
    split: Split | None = None


def annotated_samples(
    rule: str,
    images: Sequence[AnnotatedImage],
    stated: Sequence[str] = (),
    stated_in: str = "the class-name file",
) -> tuple[tuple[Sample, ...], ClassNames]:
    """Make samples of annotated images, and number their classes.

    Args:
        rule: The tool whose shapes they are, of `shapes.rules.RULES`.
        images: In any order.
        stated: The names of the classes in their order, where a file of the set has them. Else
            they are in the order of the alphabet.
        stated_in: Which file that is.

    Raises LimnerError where an object's class is not among the stated ones, and for too many
    classes.
    """
    names = list(_class_names(images, stated, stated_in))
    if len(names) >= MAX_NAMED_CLASSES:
        raise LimnerError(
            f"the annotations name {len(names)} classes. At most {MAX_NAMED_CLASSES - 1} are "
            f"possible beside the background: {list_some(names)}. Join some of them."
        )
    index_of = {name: index for index, name in enumerate(names, start=1)}
    samples = [_sample(rule, image, index_of) for image in images]
    return tuple(samples), ((0, BACKGROUND), *((index, name) for name, index in index_of.items()))


def sample_id(path: Path, root: Path) -> str:
    """The id of an image: its path in the set, without the suffix."""
    return normalize("NFC", without_suffix(path.relative_to(root).as_posix()))


def _class_names(
    images: Iterable[AnnotatedImage], stated: Sequence[str], stated_in: str
) -> Iterable[str]:
    """The classes in their order, without background and what counts nowhere."""
    special = BACKGROUND_NAMES | IGNORED_NAMES
    if not stated:
        used = {name for image in images for name, _ in image.objects}
        return sorted(name for name in used if name.lower() not in special)
    for image in images:
        for name, _ in image.objects:
            if name not in stated and name.lower() not in special:
                raise LimnerError(
                    f"{image.file} has an object of the class {name!r}, which {stated_in} does not "
                    f"list. Known are {list_some(list(stated))}: add the class there, or rename it."
                )
    return dict.fromkeys(name for name in stated if name.lower() not in special)


def _sample(rule: str, image: AnnotatedImage, index_of: dict[str, int]) -> Sample:
    def value(name: str) -> int:
        return VOID if name.lower() in IGNORED_NAMES else index_of.get(name, 0)

    shapes = json.dumps([[value(name), shape] for name, shape in image.objects])
    mask = AnnotationMask(image.file, image.image.name, image.size_px, shapes, rule)
    return Sample(image.id, image.image, mask, image.split)
