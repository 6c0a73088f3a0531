"""Images with the objects that a tool's files state, as samples of one set of classes."""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import normalize

from limner.data.annotation_mask import AnnotationMask
from limner.data.annotation_tools import damaged_findings
from limner.data.findings import Finding
from limner.data.folder_listing import FolderListing
from limner.data.image_file import without_suffix
from limner.data.label_coding import VOID_NAMES
from limner.data.layout_match import LayoutMatch
from limner.data.named_files import NamedFiles
from limner.data.sample import Sample, Split
from limner.data.split_names import splits_of
from limner.errors import LimnerError
from limner.labels import MAX_NAMED_CLASSES, VOID
from limner.name_list import list_some
from limner.plurals import count_noun

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


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedSet:
    """What a tool's files in a folder state."""

    tool: str
    """As `shapes.rules.RULES` has it."""
    files: Sequence[Path]
    images: Sequence[AnnotatedImage]
    stated: Sequence[str] = ()
    """The names of the classes in their order, where a file of the set has them. Else they are in
    the order of the alphabet.
    """
    stated_in: str = "the class-name file"
    derived: Sequence[Path] = ()
    """Images that the tool made of its annotations, and that are none of the set."""
    findings: Sequence[Finding] = ()

    def to_match(self, listing: FolderListing) -> LayoutMatch:
        """Make samples of the images, and number their classes.

        Raises LimnerError where an image is annotated twice, an object's class is not among the
        stated ones, and for too many classes.
        """
        self._require_single()
        names = list(self._class_names())
        if len(names) >= MAX_NAMED_CLASSES:
            raise LimnerError(
                f"the annotations name {len(names)} classes. At most {MAX_NAMED_CLASSES - 1} are "
                f"possible beside the background: {list_some(names)}. Join some of them."
            )
        index_of = {name: index for index, name in enumerate(names, start=1)}
        annotated = {image.image for image in self.images}
        # Segmentations of DICOM are files of images too
        known = annotated.union(self.files, self.derived)
        others = [path for path in listing.images() if path not in known]
        return LayoutMatch(
            self.tool,
            tuple(_sample(self.tool, image, index_of) for image in self.images),
            ((0, BACKGROUND), *((index, name) for name, index in index_of.items())),
            set_aside=(*others, *self.files, *self.derived),
            findings=(
                *self.findings,
                *damaged_findings(listing),
                *not_annotated_findings(others, self.tool),
            ),
            lists=tuple(self.files),
        )

    def _require_single(self) -> None:
        first: dict[Path, AnnotatedImage] = {}
        for image in self.images:
            if (other := first.setdefault(image.image, image)) is not image:
                where = f"in {image.file}"
                if other.file != image.file:
                    where = f"in {other.file} and {where}"
                raise LimnerError(
                    f"{image.image} is annotated twice, {where}. Remove one of them, or unite them "
                    f"in {self.tool}."
                )

    def _class_names(self) -> Iterable[str]:
        """The classes in their order, without background and what counts nowhere."""
        special = BACKGROUND_NAMES | IGNORED_NAMES
        if not self.stated:
            used = {name for image in self.images for name, _ in image.objects}
            return sorted(name for name in used if name.lower() not in special)
        for image in self.images:
            for name, _ in image.objects:
                if name not in self.stated and name.lower() not in special:
                    raise LimnerError(
                        f"{image.file} has an object of the class {name!r}, which "
                        f"{self.stated_in} does not list. Known are "
                        f"{list_some(list(self.stated))}: add the class there, or rename it."
                    )
        return dict.fromkeys(name for name in self.stated if name.lower() not in special)


@dataclass(frozen=True, slots=True)
class ImageObjects:
    """What a file of one image states: the image, its size, its objects, and what has no area."""

    image: Path
    size_px: tuple[int, int] | None
    objects: Sequence[tuple[str, Any]]
    without_area: Sequence[str]
    """The kinds of shapes that cover no area."""


def read_each(
    tool: str,
    listing: FolderListing,
    paths: Sequence[Path],
    read: Callable[[Path], ImageObjects],
    folders_below: int = 1,
) -> tuple[list[AnnotatedImage], tuple[Finding, ...]]:
    """Read the files of a tool that writes one for each image.

    Args:
        tool: Whose files they are.
        listing: The dataset's folder.
        paths: The files, at least one.
        read: Reads one.
        folders_below: How many ends of a file's path say nothing of its split: the file's name, and
            the tool's own folder.

    Returns:
        The images, and what there is to say of shapes that are left out.
    """
    parts = {path: path.relative_to(listing.root).parts[:-folders_below] for path in paths}
    splits = splits_of(parts)
    without_area = Counter[str]()
    images = []
    for path in paths:
        found = read(path)
        without_area.update(found.without_area)
        id = sample_id(found.image, listing.root)
        images.append(
            AnnotatedImage(id, found.image, path, found.size_px, found.objects, splits[path])
        )
    return images, tuple(no_area_findings(tool, without_area, paths[0]))


def images_by_name(listing: FolderListing) -> dict[str, list[Path]]:
    """The images of a folder by their names without suffix."""
    named: dict[str, list[Path]] = defaultdict(list)
    for image in listing.images():
        named[without_suffix(image.name)].append(image)
    return named


def find_image(files: NamedFiles, name: str, table: Path, split: Split | None = None) -> Path:
    """Find the image that a file names, by a path without detours such as "../"."""
    return Path(os.path.normpath(files.find(name, table, split)))


def sample_id(image: Path, root: Path) -> str:
    """The id of an image: its path in the set, without the suffix."""
    path = image.relative_to(root) if image.is_relative_to(root) else Path(image.name)
    return normalize("NFC", without_suffix(path.as_posix()))


def _sample(rule: str, image: AnnotatedImage, index_of: dict[str, int]) -> Sample:
    def value(name: str) -> int:
        return VOID if name.lower() in IGNORED_NAMES else index_of.get(name, 0)

    shapes = json.dumps([[value(name), shape] for name, shape in image.objects])
    mask = AnnotationMask(image.file, image.image.name, image.size_px, shapes, rule)
    return Sample(image.id, image.image, mask, image.split)


def not_annotated_findings(images: Sequence[Path], tool: str) -> Iterator[Finding]:
    """Report images of which the tool's files say nothing: not that they show no object."""
    if images:
        message = (
            f"{count_noun(len(images), 'image is', 'images are')} not annotated in {tool}, such "
            f"as {images[0]}, and left out. Annotate the rest, or segment it with limner predict "
            "once there is a model."
        )
        yield Finding("not-annotated", "note", str(images[0]), message)


def no_area_findings(tool: str, kinds: Counter[str], example: Path) -> Iterator[Finding]:
    """Report shapes that cover no area, such as points, and are left out.

    Args:
        tool: Whose shapes they are.
        kinds: How many there are of each kind.
        example: A file that has some.
    """
    if kinds:
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        message = (
            f"{count_noun(kinds.total(), 'shape')} of {tool} cover no area and are left out "
            f"({listed}), such as in {example}. Draw these objects as polygons or masks if they "
            "belong to a class."
        )
        yield Finding("shapes-without-area", "warning", str(example), message)
