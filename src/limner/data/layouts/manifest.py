"""CSV tables that list images, masks, splits and groups."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from limner.data.folder_listing import FolderListing
from limner.data.layout_match import LayoutMatch
from limner.data.named_files import NamedFiles
from limner.data.sample import Sample, Split
from limner.data.split_names import split_from_names, splits_of
from limner.data.tables import Row, lower_case_columns, read_column_names, read_table
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
    files = NamedFiles.of(listing)
    table_splits = splits_of({path: [path.stem] for path in tables})
    tables = {path: _with_split_column(table) for path, table in tables.items()}
    stated = {row.get("split", "") for table in tables.values() for row in table}
    stated_splits = splits_of({name: [name] for name in stated})
    lines = [
        _Line.of(path, number, row, stated_splits).within(table_splits[path])
        for path, table in tables.items()
        for number, row in enumerate(table, start=2)
    ]
    found = [
        (line, files.find(line.image, line.table), files.find(line.mask, line.table))
        for line in lines
    ]
    samples = [
        Sample(
            line.id or files.id_of(line.image, line.table, image),
            image,
            mask,
            line.split,
            line.group,
        )
        for line, image, mask in found
        if not any(files.is_ambiguous(name, line.table) for name in (line.image, line.mask))
    ]
    return LayoutMatch(
        f"CSV manifest {names}",
        tuple(samples),
        findings=tuple(files.findings()),
        lists=tuple(tables),
    )


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a manifest, checked."""

    table: Path
    id: str
    image: str
    mask: str
    split: Split | None
    group: str | None

    @classmethod
    def of(cls, table: Path, number: int, row: Row, splits: Mapping[str, Split | None]) -> "_Line":
        """Check a line. Raises LimnerError for an unknown split or a missing file.

        `splits` has what is stated in the column of that name.
        """
        stated = row.get("split", "")
        unknown_split = stated and not splits[stated]
        if unknown_split or not Path(row["image"]).name or not Path(row["mask"]).name:
            cause = f"the split {stated!r}" if unknown_split else "no image or no mask"
            raise LimnerError(
                f"{table}, line {number}, gives {cause}. A line holds an image, its mask "
                "and, if any, train, val or test."
            )
        return cls(
            table,
            row.get("id", ""),
            row["image"],
            row["mask"],
            splits[stated],
            row.get("group") or None,
        )

    def within(self, table_split: Split | None) -> "_Line":
        """Return the line with the split of its table where it states none."""
        return replace(self, split=self.split or table_split)


def _with_split_column(rows: list[Row]) -> list[Row]:
    """The rows with the column split, which may be called set or subset where it holds splits."""
    if "split" in rows[0]:
        return rows
    for column in ("set", "subset"):
        if any(split_from_names([row.get(column, "")]) for row in rows):
            return [{**row, "split": row[column]} for row in rows]
    return rows


def _manifest_rows(path: Path) -> list[Row]:
    """The lines of a manifest; none where the file is another table.

    Raises LimnerError for a manifest that cannot be read.
    """
    columns = {"image", "mask"}
    if not columns <= set(read_column_names(path)):
        return []
    rows = lower_case_columns(read_table(path))
    if rows and not columns <= rows[0].keys():
        raise LimnerError(
            f"{path} has comments above its line of column names. Remove them: the first line "
            "holds the names, such as image and mask."
        )
    return rows
