"""Splits that file names or lists beside the images tell, where no folder tells any."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from unicodedata import normalize

from limner.data.findings import Finding
from limner.data.folder_listing import FolderListing
from limner.data.image_file import without_suffix
from limner.data.sample import Sample, Split
from limner.data.split_names import SPLIT_NAMES, split_from_file_name, splits_of
from limner.data.tables import read_lines
from limner.errors import LimnerError
from limner.plurals import count_noun

LIST_FOLDERS = ("", "splits", "split", "lists", "list", "ImageSets", "images")
"""In which lists such as train.txt are looked for."""
FEW_NAMES = 2
"""Fewer names may tell a split by chance."""


@dataclass(frozen=True, slots=True)
class AnnouncedSplits:
    """Samples with the splits that names or lists give them, and what is said of it."""

    samples: Sequence[Sample]
    findings: tuple[Finding, ...] = ()


def announced_splits(listing: FolderListing, samples: Sequence[Sample]) -> AnnouncedSplits:
    """Take the splits that lists or else file names give to all samples.

    Where they give them to some alone, nothing is taken, and a finding says so.

    Args:
        listing: Of the dataset's folder.
        samples: As the layout gave them. Where one has a split, nothing is looked for.
    """
    if not samples or any(sample.split for sample in samples):
        return AnnouncedSplits(samples)
    lists = list(_lists(listing))
    if lists:
        return _by_lists(lists, samples)
    return _by_names(samples)


def _by_lists(lists: Sequence[Path], samples: Sequence[Sample]) -> AnnouncedSplits:
    splits = splits_of({path: [path.stem] for path in lists})
    named = {path: _listed_names(path) for path in lists}
    of_sample: dict[str, set[Split]] = {
        sample.id: {
            split
            for path, split in splits.items()
            if split and not named[path].isdisjoint(_names_of(sample))
        }
        for sample in samples
    }
    listed = [id for id, found in of_sample.items() if found]
    if not listed:
        return AnnouncedSplits(samples)
    shown = " and ".join(str(path) for path in lists)
    unclear = [id for id, found in of_sample.items() if len(found) != 1]
    if not unclear:
        return _taken(samples, {id: min(found) for id, found in of_sample.items()}, shown)
    message = (
        f"{shown} list splits, but {count_noun(len(unclear), 'image is', 'images are')} in none "
        "of them or in several, such "
        f"as {unclear[0]}. So they are not heard, and all images are divided at random. List each "
        "image once, or move the images into folders train/, val/ and test/."
    )
    return AnnouncedSplits(
        samples, (Finding("split-lists", "warning", str(lists[0]), message, (unclear[0],)),)
    )


def _by_names(samples: Sequence[Sample]) -> AnnouncedSplits:
    of_sample = {
        sample.id: split_from_file_name(without_suffix(sample.image.name)) for sample in samples
    }
    told = {id: split for id, split in of_sample.items() if split}
    counts = Counter(told.values())
    if len(told) == len(samples) and counts["train"] and len(counts) > 1:
        return _taken(samples, told, "the names of the images")
    held_out = [id for id, split in told.items() if split != "train"]
    # Of a set that is all test images nothing is held out
    if len(held_out) < FEW_NAMES or len(held_out) == len(samples):
        return AnnouncedSplits(samples)
    message = (
        f"the names of {len(held_out)} images are those of a validation or test set, such as "
        f"{held_out[0]}, and {len(samples) - len(told)} names tell no split. All are divided at "
        "random. If the names are meant so, move the images into folders train/, val/ and test/."
    )
    return AnnouncedSplits(
        samples, (Finding("split-name", "warning", held_out[0], message, (held_out[0],)),)
    )


def _taken(samples: Sequence[Sample], splits: Mapping[str, Split], source: str) -> AnnouncedSplits:
    counts = Counter(splits.values())
    parts = ", ".join(f"{counts[split]} {split}" for split in ("train", "val", "test"))
    message = f"the splits are those that {source} tell: {parts}."
    return AnnouncedSplits(
        [replace(sample, split=splits[sample.id]) for sample in samples],
        (Finding("announced-splits", "note", "", message),),
    )


def _lists(listing: FolderListing) -> Iterator[Path]:
    """The texts that are named as splits."""
    folders = {listing.root / name for name in LIST_FOLDERS}
    for path in listing.files({".txt"}):
        if path.parent in folders and path.stem.lower() in SPLIT_NAMES.keys() - {"trainval"}:
            yield path


def _listed_names(path: Path) -> frozenset[str]:
    """The images that the lines name, with and without folders, without suffixes."""
    try:
        lines = read_lines(path)
    except LimnerError:
        return frozenset()
    names = set()
    for line in lines:
        # After the image a line may name its mask
        words = line.replace("\\", "/").replace(",", " ").split()
        for name in (line.replace("\\", "/"), *words[:1]):
            stem = without_suffix(normalize("NFC", name))
            names |= {stem, PurePosixPath(stem).name, PurePosixPath(normalize("NFC", name)).name}
    return frozenset(names)


def _names_of(sample: Sample) -> frozenset[str]:
    name = normalize("NFC", sample.image.name)
    return frozenset({sample.id.partition("#")[0], name, without_suffix(name)})
