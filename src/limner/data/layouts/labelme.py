"""labelme's annotation files: a JSON for each image, with the shapes that were drawn on it."""

from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from limner.data.annotated_images import AnnotatedImage, AnnotatedSet, find_image, sample_id
from limner.data.annotation_tools import (
    LABELME,
    annotation_files,
    require_one_tool,
)
from limner.data.class_names import read_class_names
from limner.data.folder_listing import FolderListing
from limner.data.image_file import IMAGE_SUFFIXES
from limner.data.layout_match import LayoutMatch
from limner.data.named_files import NamedFiles
from limner.data.sample import Split
from limner.data.split_names import splits_of
from limner.data.tables import read_json_object
from limner.errors import LimnerError


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """labelme: x.jpg with x.json (shapes: polygons, rectangles, circles, lines, points, masks)"""
    paths = annotation_files(listing).by_tool.get(LABELME, ())
    if not paths:
        return None
    require_one_tool(listing, LABELME, paths)
    files = NamedFiles.of(listing)
    splits = splits_of({path: path.relative_to(listing.root).parts[:-1] for path in paths})
    return AnnotatedSet(
        tool=LABELME,
        files=paths,
        images=[_read(path, files, splits[path]) for path in paths],
        stated=[name for _, name in read_class_names(listing.root)],
        findings=tuple(files.findings()),
    ).to_match(listing)


def _read(path: Path, files: NamedFiles, split: Split | None) -> AnnotatedImage:
    content = read_json_object(path)
    image = _find_image(path, content, files)
    height, width = content.get("imageHeight"), content.get("imageWidth")
    size_px = (height, width) if isinstance(height, int) and isinstance(width, int) else None
    objects = []
    for shape in content["shapes"]:
        if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
            raise LimnerError(
                f"{path} has a shape without a label ({shape!r:.80}). Each shape has the name of "
                "its class: give it one in labelme."
            )
        kept = {key: shape[key] for key in ("shape_type", "points", "mask") if key in shape}
        objects.append((shape["label"].strip(), kept))
    return AnnotatedImage(sample_id(image, files.root), image, path, size_px, objects, split)


def _find_image(path: Path, content: dict[str, Any], files: NamedFiles) -> Path:
    """The image that the file names, or that bears its name; labelme writes paths of Windows too.

    Raises LimnerError where there is none.
    """
    name = PureWindowsPath(str(content.get("imagePath") or path.name)).as_posix()
    # People move images and files together, and leave the path as it was
    as_named, moved = path.parent / name, path.with_name(PurePosixPath(name).name)
    if not as_named.is_file() and moved.is_file():
        return moved
    image = find_image(files, name, path)
    if image.is_file():
        return image
    beside = (path.with_suffix(suffix) for suffix in sorted(IMAGE_SUFFIXES))
    image_of_its_name = next((file for file in beside if file.is_file()), None)
    if image_of_its_name is None:
        inside = " It holds the image itself, too: save that from labelme as a file." * bool(
            content.get("imageData")
        )
        raise LimnerError(
            f"{path} is of the image {name!r}, which is not there. Put the image beside it.{inside}"
        )
    return image_of_its_name
