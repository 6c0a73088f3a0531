"""The files of a dataset that list splits: texts such as train.txt, and CSV tables."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from limner.data.folder_listing import FolderListing
from limner.data.listed_images import SplitList
from limner.data.sample import Sample
from limner.data.split_names import SPLIT_NAMES, splits_of
from limner.data.tables import lower_case_columns, read_column_names, read_lines, read_table
from limner.errors import LimnerError

LIST_FOLDERS = frozenset(
    {"", "splits", "split", "lists", "list", "imagesets", "annotations", "meta", "images"}
    | {"imagesets/segmentation"}
)
"""In which lists such as train.txt are looked for, at the top and beside folders of images."""
IMAGE_COLUMNS = (
    *("image", "filename", "file_name", "file", "img", "image_path", "img_path", "file_path"),
    *("path", "image_name", "img_name", "image_id", "name", "id"),
)
"""In this order: where there is a file's name, an id may be the number of the line."""
SPLIT_COLUMNS = ("split", "set", "subset")
FOLD_COLUMNS = frozenset({"fold", "folds", "kfold", "fold_id", "cv_fold"})
TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
TEXT_SUFFIXES = frozenset({"", ".txt", ".lst", ".list"})
"""Of files that become lists when they are renamed."""
OTHER_SUFFIXES = TABLE_SUFFIXES | TEXT_SUFFIXES | {".json", ".yaml", ".yml", ".xls", ".xlsx"}

_FOLD = re.compile(r"k?folds?|cv|crossval")
_SPLIT_WORDS = frozenset({*SPLIT_NAMES, "split", "splits", "partition", "partitions"})
_WORDS_BESIDE = frozenset(
    {"id", "ids", "list", "lists", "file", "files", "name", "names", "filename", "filenames"}
    | {"image", "images", "img", "imgs", "mask", "masks", "seg", "segmentation", "case", "cases"}
    | {"sample", "samples", "path", "paths", "set", "sets", "subset", "subsets", "data", "table"}
    | {"index", "indices", "info", "aug", "all", "full", "final", "and", "of", "the"}
)


@dataclass(frozen=True, slots=True)
class SplitFiles:
    """The files of a dataset that list splits or seem to, in the order of their paths."""

    texts: tuple[SplitList, ...] = ()
    tables: tuple[SplitList, ...] = ()
    unread_texts: tuple[tuple[Path, str], ...] = ()
    """Lists that cannot be read, with what to do."""
    unread_tables: tuple[tuple[Path, str], ...] = ()
    """Tables that cannot be used, with what to do."""
    others: tuple[Path, ...] = ()
    """Files that are named like lists, and are none that is taken."""
    folds: tuple[Path, ...] = ()
    """Files that give the parts of a cross-validation."""


def find_split_files(
    listing: FolderListing, samples: Sequence[Sample], top: Path, left_out: Iterable[Path]
) -> SplitFiles:
    """Find the files that list splits, and read them.

    Args:
        listing: Of the dataset's folder.
        samples: Of the dataset.
        top: The folder that was given, above the dataset's or the same.
        left_out: Files that the layout has read.
    """
    folders = dict(_list_folders(listing, samples, top))
    known = set(left_out)
    candidates = {
        path: folder
        for directory, folder in folders.items()
        for path in listing.direct_files(directory)
        if path.suffix.lower() in OTHER_SUFFIXES
        and not path.name.startswith(".")
        and path not in known
    }
    texts = {path: folder for path, folder in candidates.items() if _is_list(path)}
    columns = {path: _column_names(path) for path in candidates}
    tables = {path: names for path, names in columns.items() if _column(names, IMAGE_COLUMNS)}
    reading = _Reading()
    reading.fold_tables |= {path for path in known if FOLD_COLUMNS & set(_column_names(path))}
    for path, names in tables.items():
        reading.add_table(path, names, candidates[path])
    reading.add_texts(texts)
    read = {*texts, *reading.tables_read}
    others = [path for path in candidates if path not in read and _looks_like_list(path)]
    others += _lists_elsewhere(listing, samples, {*folders, *(path.parent for path in known)})
    folds = {path for path in others if _is_of_fold(path.relative_to(top))}
    return SplitFiles(
        tuple(reading.texts),
        tuple(reading.tables),
        tuple(reading.unread_texts),
        tuple(reading.unread_tables),
        tuple(path for path in others if path not in folds),
        tuple(sorted(folds | reading.fold_tables)),
    )


class _Reading:
    """What was read so far."""

    def __init__(self) -> None:
        self.texts: list[SplitList] = []
        self.tables: list[SplitList] = []
        self.tables_read: set[Path] = set()
        self.fold_tables: set[Path] = set()
        self.unread_texts: list[tuple[Path, str]] = []
        self.unread_tables: list[tuple[Path, str]] = []

    def add_texts(self, texts: dict[Path, str]) -> None:
        """Read lists such as train.txt. trainval.txt stands for train where there is no such."""
        splits = splits_of({path: [path.stem] for path in texts if not _is_trainval(path)})
        if "train" not in splits.values():
            splits |= dict.fromkeys(filter(_is_trainval, texts), "train")
        for path, split in splits.items():
            try:
                lines = read_lines(path)
            except LimnerError as error:
                self.unread_texts.append((path, str(error)))
                continue
            if split:
                self.texts.append(SplitList(path, split, lines, texts[path], _is_trainval(path)))

    def add_table(self, path: Path, names: Sequence[str], folder: str) -> None:
        """Read a table with a column of images, where another one holds splits or folds."""
        image_column, split_column = _column(names, IMAGE_COLUMNS), _column(names, SPLIT_COLUMNS)
        if not split_column:
            self.fold_tables |= {path} if FOLD_COLUMNS & set(names) else set()
            return
        self.tables_read.add(path)
        try:
            rows = lower_case_columns(read_table(path))
        except LimnerError as error:
            self.unread_tables.append((path, str(error)))
            return
        if rows and not {image_column, split_column} <= rows[0].keys():
            message = (
                f"{path} has comments above its line of column names, and is not read. Remove them."
            )
            self.unread_tables.append((path, message))
            return
        self._add_rows(path, [(row[image_column], row[split_column]) for row in rows], folder)
        self.fold_tables |= {path} if FOLD_COLUMNS & set(names) else set()

    def _add_rows(self, path: Path, rows: Sequence[tuple[str, str]], folder: str) -> None:
        stated = {value for _, value in rows if value}
        splits = splits_of({value: [value] for value in stated})
        unknown = sorted(value for value, split in splits.items() if not split)
        if len(unknown) == len(stated):
            # A column of that name may hold anything; numbers are folds
            self.tables_read.remove(path)
            self.fold_tables |= {path} if stated and all(map(str.isdigit, stated)) else set()
            return
        if unknown:
            message = (
                f"{path} gives the split {unknown[0]!r}, which is none of train, val and test. "
                "Give one of these to each image."
            )
            self.unread_tables.append((path, message))
            return
        by_split: dict[str, list[str]] = {}
        for image, value in rows:
            if value and image:
                by_split.setdefault(value, []).append(image)
        for value, images in by_split.items():
            if split := splits[value]:
                self.tables.append(SplitList(path, split, images, folder))


def _list_folders(
    listing: FolderListing, samples: Sequence[Sample], top: Path
) -> Iterator[tuple[Path, str]]:
    """The folders in which lists may lie, with the folder that their names may begin in."""
    root = listing.root
    above = [folder for folder in (root, *root.parents) if folder.is_relative_to(top)]
    image_folders = {sample.image.parent for sample in samples}
    beside = {
        parent
        for folder in image_folders
        for parent in (folder, *folder.parents)
        if parent.is_relative_to(root) and ".." not in parent.relative_to(root).parts
    }
    for base in sorted({*above, *beside}):
        prefix = base.relative_to(root).as_posix() if base in beside and base != root else ""
        yield base, prefix
        for folder in listing.direct_folders(base):
            if folder.name.lower() in LIST_FOLDERS:
                yield folder, prefix
            if folder.name.lower() == "imagesets":
                for inner in listing.direct_folders(folder):
                    if f"imagesets/{inner.name.lower()}" in LIST_FOLDERS:
                        yield inner, prefix


def _lists_elsewhere(
    listing: FolderListing, samples: Sequence[Sample], folders: Collection[Path]
) -> list[Path]:
    """Lists in folders in which none is looked for, where texts do not describe images."""
    of_images = {file.parent for sample in samples for file in sample.files()}
    return [
        path
        for path in listing.files({".txt"})
        if _is_list(path)
        and path.parent not in folders
        and path.parent not in of_images
        # VOC's other folders have lists of all images, for other tasks
        and "imagesets" not in (part.lower() for part in path.parts)
    ]


def _is_of_fold(path: Path) -> bool:
    words = re.findall(r"[a-z]+", path.with_suffix("").as_posix().lower())
    return any(_FOLD.fullmatch(word) for word in words)


def _is_list(path: Path) -> bool:
    return path.suffix.lower() == ".txt" and path.stem.lower() in SPLIT_NAMES


def _is_trainval(path: Path) -> bool:
    return path.stem.lower() == "trainval"


def _looks_like_list(path: Path) -> bool:
    """Whether a file's name is made of the words of which names of lists are."""
    words = re.findall(r"[a-z]+", path.stem.lower())
    telling = [word for word in words if word in _SPLIT_WORDS or _FOLD.fullmatch(word)]
    return bool(telling) and all(word in telling or word in _WORDS_BESIDE for word in words)


def _column_names(path: Path) -> list[str]:
    return read_column_names(path) if path.suffix.lower() in TABLE_SUFFIXES else []


def _column(names: Sequence[str], wanted: Sequence[str]) -> str:
    """The first of the wanted columns that a table has; empty where it has none."""
    return next((name for name in wanted if name in names), "")
