"""Which images the lines of split lists name."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from limner.data.file_kinds import KINDS
from limner.data.image_file import has_image_suffix, without_suffix
from limner.data.layouts.folders import IMAGE_FOLDERS
from limner.data.sample import Sample, Split


@dataclass(frozen=True, slots=True)
class SplitList:
    """The images that one file gives to one split, as its lines name them."""

    file: Path
    split: Split
    lines: Sequence[str]
    folder: str = ""
    """That the names may begin in, seen from the dataset's; empty for that itself."""
    yields_to_val: bool = False
    """Whether images of the validation split are in it as well, as in trainval.txt."""


@dataclass(slots=True)
class ListedImages:
    """The splits that lists give to images, and the lines that name none."""

    splits: dict[str, set[Split]] = field(default_factory=lambda: defaultdict(set))
    """By the ids of samples."""
    lines: dict[Path, int] = field(default_factory=lambda: defaultdict(int))
    """How many lines each file has."""
    unmatched: dict[Path, list[str]] = field(default_factory=lambda: defaultdict(list))
    """The lines of each file that name no image."""
    ambiguous: dict[Path, list[str]] = field(default_factory=lambda: defaultdict(list))
    """The lines of each file that name several images."""


def match_lists(
    root: Path, samples: Sequence[Sample], lists: Sequence[SplitList], unpaired: Iterable[Path] = ()
) -> ListedImages:
    """Find the images that lists name. What names one of the `unpaired` files is not unmatched.

    A line names an image by its id or its path. Only a line that names none so may name one by its
    file name, its stem or its first word, where no other image and no other line fits.
    """
    names = _ImageNames.of(root, samples)
    keys = {(part.folder, _clean(line)) for part in lists for line in part.lines}
    exact = {key: id for key in keys if (id := names.exact(*key))}
    claims: dict[str, set[str]] = defaultdict(set)
    loose = {key: id for key in keys - exact.keys() if (id := names.loose(key[1]))}
    for (_, line), id in loose.items():
        claims[id].add(line)
    taken = set(exact.values())
    loose = {key: id for key, id in loose.items() if id not in taken and len(claims[id]) == 1}
    without_pair = {without_suffix(normalize("NFC", path.name)) for path in unpaired}
    listed = ListedImages()
    for part in sorted(lists, key=lambda part: part.yields_to_val):
        for line in part.lines:
            key = (part.folder, _clean(line))
            id = exact.get(key) or loose.get(key)
            listed.lines[part.file] += 1
            if not id and names.are_several(key[1]):
                listed.ambiguous[part.file].append(line)
            elif not id and without_pair.isdisjoint(_bare_names(key[1])):
                listed.unmatched[part.file].append(line)
            elif id and not (part.yields_to_val and "val" in listed.splits[id]):
                listed.splits[id].add(part.split)
    return listed


@dataclass(frozen=True, slots=True)
class _ImageNames:
    """The names of images with the ids of the samples that bear them."""

    exact_names: tuple[Mapping[str, set[str]], ...]
    """Ids, then paths, then paths without their suffix."""
    loose_names: tuple[Mapping[str, set[str]], ...]
    """File names, then stems."""

    @classmethod
    def of(cls, root: Path, samples: Sequence[Sample]) -> "_ImageNames":
        ids, paths, bare_paths, names, stems = (defaultdict[str, set[str]](set) for _ in range(5))
        for sample in samples:
            id, image = normalize("NFC", sample.id), sample.image
            for name in {id, id.partition("#")[0]}:
                ids[name].add(sample.id)
            path = image.relative_to(root) if image.is_relative_to(root) else image
            for name in _paths(PurePosixPath(normalize("NFC", path.as_posix())), id):
                paths[name].add(sample.id)
                bare_paths[without_suffix(name)].add(sample.id)
            name = normalize("NFC", image.name)
            names[name].add(sample.id)
            stems[without_suffix(name)].add(sample.id)
        return cls((ids, paths, bare_paths), (names, stems))

    def exact(self, folder: str, line: str) -> str | None:
        """Find the id of the image of this id or path; None where there is none or several."""
        for name in (f"{folder}/{line}", line) if folder else (line,):
            if id := _look_up(name, self.exact_names):
                return id
        return None

    def loose(self, line: str) -> str | None:
        """Find the id of the one image that a line may name otherwise."""
        tables = (*self.exact_names, *self.loose_names)
        return next((id for name in _loose_names(line) if (id := _look_up(name, tables))), None)

    def are_several(self, line: str) -> bool:
        """Whether several images bear the name that a line gives."""
        tables = (*self.exact_names, *self.loose_names)
        borne = (table[name] for name in _loose_names(line) for table in tables if name in table)
        return len(next(borne, set[str]())) > 1


def _look_up(name: str, tables: Sequence[Mapping[str, set[str]]]) -> str | None:
    found = next((table[name] for table in tables if name in table), set[str]())
    return next(iter(found)) if len(found) == 1 else None


def _clean(line: str) -> str:
    return normalize("NFC", line.replace("\\", "/")).removeprefix("./")


def _paths(path: PurePosixPath, id: str) -> Iterator[str]:
    """The path of an image, as it is and below its folder of images."""
    yield path.as_posix()
    yield f"{id}{path.suffix}"
    for index, part in enumerate(path.parts[:-1]):
        if part.lower() in (*IMAGE_FOLDERS, "jpegimages"):
            yield "/".join(path.parts[index + 1 :])


def _bare_names(line: str) -> set[str]:
    """The stems that a line may name."""
    first_word = re.split(r"[\s,;]+", line)[0]
    names = (PurePosixPath(text).name for text in (line, first_word))
    return {stem for name in names for stem in (name, without_suffix(name))}


def _loose_names(line: str) -> Iterator[str]:
    """What else a line may name: without quotes, the ends of a path, the first word."""
    unquoted = line.strip("\"'")
    # After the image a line may name its mask
    first_word = re.split(r"[\s,;]+", unquoted)[0].strip("\"'")
    for text in dict.fromkeys((unquoted, first_word)):
        yield from _ends(text)


def _ends(text: str) -> Iterator[str]:
    """A path and its ends, the longest first, each with and without the suffix of a picture."""
    parts = PurePosixPath(text).parts
    suffix = PurePosixPath(text).suffix.lower()
    for start in range(len(parts)):
        name = "/".join(parts[start:])
        yield name
        if has_image_suffix(name) or suffix in KINDS:
            yield without_suffix(name)
