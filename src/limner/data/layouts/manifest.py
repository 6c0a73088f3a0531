"""CSV tables that list images, masks, splits and groups."""

from collections.abc import Iterator
from pathlib import Path

from limner.data.folder_listing import FolderListing
from limner.data.image_file import without_suffix
from limner.data.layout_match import LayoutMatch
from limner.data.sample import Sample, Split
from limner.data.split_names import SPLIT_NAMES, split_from_names
from limner.data.tables import Row, lower_case_columns, read_table
from limner.errors import LimnerError


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """CSV: one or more tables with the columns image and mask (and split, group, id), their paths
    relative to them
    """
    tables = {
        path: rows
        for path in listing.direct_files()
        if path.suffix.lower() == ".csv" and (rows := _manifest_rows(path))
    }
    if not tables:
        return None
    names = " ".join(path.name for path in tables)
    samples = [sample for path, rows in tables.items() for sample in _samples(path, rows)]
    return LayoutMatch(f"CSV manifest {names}", tuple(samples))


def _manifest_rows(path: Path) -> list[Row]:
    """The lines of a manifest; none where the file is another table."""
    try:
        rows = lower_case_columns(read_table(path))
    except LimnerError:
        return []
    return rows if rows and {"image", "mask"} <= rows[0].keys() else []


def _samples(path: Path, rows: list[Row]) -> Iterator[Sample]:
    table_split = split_from_names([path.stem])
    for number, row in enumerate(rows, start=2):
        yield Sample(
            row.get("id") or without_suffix(Path(row["image"]).as_posix()),
            path.parent / row["image"],
            path.parent / row["mask"],
            _row_split(path, number, row) or table_split,
            row.get("group") or None,
        )


def _row_split(path: Path, number: int, row: Row) -> Split | None:
    """The split that a line states. Raises LimnerError for an unknown one or a missing file."""
    split = row.get("split", "").lower()
    unknown_split = split and split not in SPLIT_NAMES
    if unknown_split or not Path(row["image"]).name or not Path(row["mask"]).name:
        cause = f"the split {split!r}" if unknown_split else "no image or no mask"
        raise LimnerError(
            f"{path}, line {number}, gives {cause}. A line holds an image, its mask "
            "and, if any, train, val or test."
        )
    return SPLIT_NAMES.get(split)
