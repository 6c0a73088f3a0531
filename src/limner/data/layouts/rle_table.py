"""Tables of run lengths, as Kaggle's competitions have them: a row for each object or image."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from limner.data.annotated_images import AnnotatedImage, AnnotatedSet, sample_id
from limner.data.annotation_tools import RUN_LENGTHS
from limner.data.folder_listing import FolderListing
from limner.data.image_file import has_image_suffix, without_suffix
from limner.data.layout_match import LayoutMatch
from limner.data.sample import Split
from limner.data.split_names import splits_of
from limner.data.tables import Row, lower_case_columns, read_column_names, read_table
from limner.errors import LimnerError
from limner.name_list import list_some

IMAGE_COLUMNS = ("imageid", "image_id", "img_id", "image", "filename", "file_name", "img", "id")
RLE_COLUMNS = ("encodedpixels", "rle", "rle_mask", "mask_rle", "rle_encoding", "annotation")
CLASS_COLUMNS = ("class", "classid", "class_id", "label", "category")
NO_OBJECT = frozenset({"", "-1", "nan", "1 0"})
ONLY_CLASS = "object"


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """Run lengths: a CSV of images and their run lengths (ImageId, EncodedPixels; id, rle) beside
    the images or their folder
    """
    tables = [path for path in listing.files({".csv"}) if _holds_run_lengths(path)]
    if not tables:
        return None
    by_name: dict[str, list[Path]] = defaultdict(list)
    for image in listing.images():
        by_name[without_suffix(image.name)].append(image)
    images = [image for path in tables for image in _read(path, by_name, listing.root)]
    return AnnotatedSet(tool=RUN_LENGTHS, files=tables, images=images).to_match(listing)


def _columns(path: Path) -> tuple[str, str] | None:
    """The columns of the image and of the run lengths; None where one of them is not there."""
    names = read_column_names(path)
    image = next((name for name in IMAGE_COLUMNS if name in names), None)
    rle = next((name for name in RLE_COLUMNS if name in names), None)
    return (image, rle) if image and rle else None


def _holds_run_lengths(path: Path) -> bool:
    """Whether a table has the columns, and nothing but numbers where run lengths belong.

    Other tables have an id and an annotation too, such as one of diagnoses.
    """
    columns = _columns(path)
    if columns is None:
        return False
    cells = [row.get(columns[1], "") for row in lower_case_columns(read_table(path))]
    filled = [cell for cell in cells if cell.lower() not in NO_OBJECT]
    return bool(filled) and all(cell.replace(" ", "").isdigit() for cell in filled)


def _read(path: Path, by_name: dict[str, list[Path]], root: Path) -> list[AnnotatedImage]:
    """The images of a table. Raises LimnerError where not one file bears an image's name."""
    image_column, rle_column = _columns(path) or ("", "")
    rows = lower_case_columns(read_table(path))
    class_column = next((name for name in CLASS_COLUMNS if rows and name in rows[0]), "")
    by_image: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_image[row[image_column]].append(row)
    found = {name: _find(path, name, by_name) for name in by_image}
    splits = splits_of({image: image.relative_to(root).parts[:-1] for image in found.values()})
    return [
        _image(path, found[name], members, (rle_column, class_column), splits[found[name]], root)
        for name, members in by_image.items()
    ]


def _image(
    path: Path,
    image: Path,
    rows: Sequence[Row],
    columns: tuple[str, str],
    split: Split | None,
    root: Path,
) -> AnnotatedImage:
    rle_column, class_column = columns
    objects = [
        (row.get(class_column, "") or ONLY_CLASS, row[rle_column])
        for row in rows
        if row[rle_column].lower() not in NO_OBJECT
    ]
    return AnnotatedImage(sample_id(image, root), image, path, None, objects, split)


def _find(path: Path, name: str, by_name: dict[str, list[Path]]) -> Path:
    stem = without_suffix(Path(name).name) if has_image_suffix(name) else Path(name).name
    images = by_name.get(stem, [])
    if len(images) != 1:
        what = list_some([str(image) for image in images]) if images else "no image"
        raise LimnerError(
            f"{path} has a row of the image {name!r}, and {what} bears that name. Put each image "
            "of the table below its folder, once."
        )
    return images[0]
