"""CVAT's export "CVAT for images 1.1": an XML of images with their shapes."""

from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

from limner.data.annotated_images import (
    AnnotatedImage,
    AnnotatedSet,
    find_image,
    no_area_findings,
    sample_id,
)
from limner.data.annotation_tools import CVAT, annotation_files, require_one_tool
from limner.data.folder_listing import FolderListing
from limner.data.layout_match import LayoutMatch
from limner.data.named_files import NamedFiles
from limner.data.shapes.cvat import AREA_KINDS
from limner.data.split_names import split_from_names
from limner.errors import LimnerError

OTHER_KINDS = frozenset({"polyline", "points", "cuboid", "skeleton"})


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """CVAT: annotations.xml of "CVAT for images 1.1" with the images (polygons, boxes, ellipses,
    masks)
    """
    paths = annotation_files(listing).by_tool.get(CVAT, ())
    if not paths:
        return None
    require_one_tool(listing, CVAT, paths)
    files, without_area = NamedFiles.of(listing), Counter[str]()
    images: list[AnnotatedImage] = []
    stated: list[str] = []
    for path in paths:
        root = _parse(path)
        stated += (label.findtext("name") or "" for label in root.iter("label"))
        images += (_read(path, element, files, without_area) for element in root.iter("image"))
    return AnnotatedSet(
        tool=CVAT,
        files=paths,
        images=images,
        stated=list(dict.fromkeys(filter(None, stated))),
        stated_in="its list of labels",
        findings=(*files.findings(), *no_area_findings(CVAT, without_area, paths[0])),
    ).to_match(listing)


def _parse(path: Path) -> ElementTree.Element:
    """Parse the XML. Raises LimnerError where it is damaged, or of a video."""
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise LimnerError(f"{path} is no whole XML ({error}). Export it again.") from error
    if root.find("track") is not None:
        raise LimnerError(
            f'{path} holds the tracks of a video. Export it as "CVAT for images 1.1", with the '
            "images."
        )
    return root


def _read(
    path: Path, element: ElementTree.Element, files: NamedFiles, without_area: Counter[str]
) -> AnnotatedImage:
    name, subset = element.get("name", ""), element.get("subset", "")
    split = split_from_names([subset]) if subset else None
    image = find_image(files, name, path, split)
    shapes = [child for child in element if child.tag in AREA_KINDS]
    without_area.update(child.tag for child in element if child.tag in OTHER_KINDS)
    shapes.sort(key=lambda child: int(child.get("z_order", 0)))
    try:
        size_px = int(element.get("height", "")), int(element.get("width", ""))
    except ValueError as error:
        raise LimnerError(
            f"{path} gives the image {name!r} no whole width and height. Export it again."
        ) from error
    objects = [(child.get("label", ""), {"kind": child.tag, **child.attrib}) for child in shapes]
    return AnnotatedImage(sample_id(image, files.root), image, path, size_px, objects, split)
