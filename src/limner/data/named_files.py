"""Find the files that a table or an annotation file names.

The name may be a path of Windows or of another machine, or a URL. It then means the file of that
name in the set, if there is one alone.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from unicodedata import normalize
from urllib.parse import parse_qs, unquote, urlsplit

from limner.data.findings import Finding, file_finding
from limner.data.folder_listing import FolderListing
from limner.data.image_file import has_image_suffix, without_suffix
from limner.data.sample import Split
from limner.data.split_names import split_from_names


@dataclass(frozen=True, slots=True)
class _Lookup:
    """A name that is not a path in the set, and the files that it may mean."""

    table: Path
    name: str
    candidates: tuple[Path, ...]


@dataclass(slots=True)
class NamedFiles:
    """Finds files by the names that tables of one set have for them, and remembers how."""

    root: Path
    by_name: dict[str, list[Path]]
    _lookups: dict[tuple[Path, str], _Lookup] = field(default_factory=dict)
    _names: dict[tuple[Path, Path], list[str]] = field(default_factory=dict)
    """By table and file, the names that were looked up."""

    @classmethod
    def of(cls, listing: FolderListing) -> "NamedFiles":
        """Index the images of a folder by their names."""
        by_name: dict[str, list[Path]] = defaultdict(list)
        for path in listing.images():
            by_name[normalize("NFC", path.name)].append(path)
        return cls(listing.root, by_name)

    def find(self, name: str, table: Path, split: Split | None = None) -> Path:
        """Find the file beside the table, at the top, or the only one with that path's end.

        Where several have as much of the path, the split decides. A file that is not there is
        reported when it is read.
        """
        beside = table.parent / name
        for path in (beside, self.root / name):
            if _is_file(path):
                return path
        if (table, name) in self._lookups:
            return self._lookups[table, name].candidates[0]
        # A name that leaves out the folders above is an ordinary one
        same_name = self.by_name.get(name.rpartition("/")[2], [])
        if (
            len(same_name) == 1
            and _ends_in(same_name[0], name)
            and self._may_be(same_name[0], split)
        ):
            return same_name[0]
        candidates = self._candidates(name, table, split)
        if not candidates:
            return beside
        path = candidates[0]
        if len(candidates) > 1 or not _ends_in(path, name):
            self._lookups[table, name] = _Lookup(table, name, candidates)
            self._names.setdefault((table, path), []).append(name)
        return path

    def id_of(self, name: str, table: Path, path: Path) -> str:
        """Spell a name as a sample's id: that of the file where it was looked up."""
        if (table, name) in self._lookups:
            path = path.relative_to(self.root) if path.is_relative_to(self.root) else path
            return normalize("NFC", without_suffix(path.as_posix()))
        return normalize("NFC", without_suffix(Path(name).as_posix()))

    def is_ambiguous(self, name: str, table: Path) -> bool:
        """Whether several files bear the name, or several names lead to its file."""
        lookup = self._lookups.get((table, name))
        return lookup is not None and (len(lookup.candidates) > 1 or len(self._rivals(lookup)) > 1)

    def findings(self) -> Iterator[Finding]:
        """Report the names that are not paths in the set, and what they are taken for."""
        clear: dict[Path, list[_Lookup]] = defaultdict(list)
        for lookup in self._lookups.values():
            if len(lookup.candidates) > 1:
                yield _several_files(lookup)
            elif len(names := self._rivals(lookup)) > 1:
                yield _several_names(lookup, names)
            else:
                clear[lookup.table].append(lookup)
        for table, lookups in clear.items():
            yield _looked_up(table, lookups)

    def _candidates(self, name: str, table: Path, split: Split | None) -> tuple[Path, ...]:
        """The files that share the name and most of the path before it."""
        parts = portable_path(name).parts
        if parts and parts[-1] not in self.by_name:
            # Label Studio writes spaces as %20 in paths, too
            parts = portable_path(unquote(name)).parts
        if not parts:
            return ()
        for base in (table.parent, self.root):
            if _is_file(path := base.joinpath(*parts)):
                return (path,)
        stated = split or split_from_names(parts[:-1])
        shared = {
            path: _shared_end(path, parts)
            for path in self.by_name.get(parts[-1], [])
            if self._may_be(path, stated)
        }
        most = max(shared.values(), default=0)
        return tuple(path for path, count in shared.items() if count == most)

    def _may_be(self, path: Path, split: Split | None) -> bool:
        if split is None:
            return True
        folders = path.relative_to(self.root).parts[:-1]
        return split_from_names(folders) in {split, None}

    def _rivals(self, lookup: _Lookup) -> list[str]:
        """The names in the same table that lead to the same file."""
        return self._names[lookup.table, lookup.candidates[0]]


def portable_path(name: str) -> PurePosixPath:
    """Spell a path of any system, or a URL, as a relative path.

    A URL may name the file in its query, as Label Studio's "?d=photos/1.jpg" does.
    """
    path = name.replace("\\", "/")
    if "://" in path or "?" in path:
        address = urlsplit(path)
        values = [value for values in parse_qs(address.query).values() for value in values]
        named = [text for text in (address.path, *values) if _is_image(text)]
        path = unquote(named[0] if named else address.path).replace("\\", "/")
    path = re.sub(r"^/?[A-Za-z]:", "", path)
    parts = (part for part in normalize("NFC", path).split("/") if part not in {"", ".", ".."})
    return PurePosixPath(*parts)


def _ends_in(path: Path, name: str) -> bool:
    return path.as_posix().endswith(f"/{name}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        # Such as a name that is too long
        return False


def _is_image(text: str) -> bool:
    return has_image_suffix(text)


def _shared_end(path: Path, parts: Sequence[str]) -> int:
    """How many parts two paths share, from their ends."""
    ends = zip(reversed(path.parts), reversed(parts), strict=False)
    count = 0
    for mine, other in ends:
        if normalize("NFC", mine) != other:
            break
        count += 1
    return count


def _several_files(lookup: _Lookup) -> Finding:
    first, second = lookup.candidates[:2]
    message = (
        f"names {lookup.name!r}, which is not there, and {len(lookup.candidates)} files bear that "
        f"name: {first} and {second}. Give the path of the right one, seen from the table."
    )
    return file_finding("ambiguous-name", "error", lookup.table, message)


def _several_names(lookup: _Lookup, names: Sequence[str]) -> Finding:
    other = next(name for name in names if name != lookup.name)
    message = (
        f"names {lookup.name!r}, which is not there. The one file of that name, "
        f"{lookup.candidates[0]}, is also what {other!r} would mean. Fetch the "
        "missing files, or give their paths, seen from the table."
    )
    return file_finding("ambiguous-name", "error", lookup.table, message)


def _looked_up(table: Path, lookups: Sequence[_Lookup]) -> Finding:
    first = lookups[0]
    message = (
        f"names {len(lookups)} files by paths that are not there, such as {first.name!r}. Each is "
        f"taken for the one file of that name, such as {first.candidates[0]}."
    )
    return file_finding("paths-elsewhere", "note", table, message)
