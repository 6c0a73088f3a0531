"""Splits that file names or lists beside the images tell, where no folder tells any."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from limner.data.findings import Finding, Severity, file_finding
from limner.data.folder_listing import FolderListing
from limner.data.image_file import without_suffix
from limner.data.listed_images import ListedImages, SplitList, match_lists
from limner.data.sample import Sample, Split
from limner.data.split_files import SplitFiles, find_split_files
from limner.data.split_names import split_from_file_name
from limner.name_list import list_some
from limner.plurals import count_noun

FEW_NAMES = 2
"""Fewer names may tell a split by chance."""
LINES_SHOWN = 3
_FOLD = re.compile(r"(k?fold|cv)[_-]?[0-9]+", re.IGNORECASE)
"""Names of folders that hold the parts of a cross-validation."""


@dataclass(frozen=True, slots=True)
class AnnouncedSplits:
    """Samples with the splits that names or lists give them, and what is said of it."""

    samples: Sequence[Sample]
    findings: tuple[Finding, ...] = ()


def announced_splits(
    listing: FolderListing, samples: Sequence[Sample], top: Path, read: Sequence[Path] = ()
) -> AnnouncedSplits:
    """Take the splits that lists, a table or else file names give to all samples.

    Where they give them to some alone, nothing is taken, and a finding says so. Where a sample has
    a split by the layout, nothing is taken, and lists are named.

    Args:
        listing: Of the dataset's folder.
        samples: As the layout gave them.
        top: The folder that was given, above the dataset's or the same.
        read: The lists and tables that the layout has read.
    """
    if not samples:
        return AnnouncedSplits(samples)
    files = find_split_files(listing, samples, top, read)
    lists = files.texts or files.tables
    texts_are_there = bool(files.texts or files.unread_texts)
    unread = files.unread_texts if texts_are_there else files.unread_tables
    unused, unused_unread = (files.tables, files.unread_tables) if texts_are_there else ((), ())
    if any(sample.split for sample in samples):
        announced, unused = AnnouncedSplits(samples), (*files.texts, *files.tables)
        unused_unread = (*files.unread_texts, *files.unread_tables)
    elif unread:
        announced = AnnouncedSplits(samples, tuple(_unreadable(unread)))
    elif lists:
        paired = {path for sample in samples for path in sample.files()}
        unpaired = [path for path in listing.images() if path not in paired]
        listed = match_lists(listing.root, samples, lists, unpaired)
        announced = _by_lists(samples, lists, listed)
    else:
        announced = _by_names(samples)
    findings = (
        *announced.findings,
        *_unused_unread(unused_unread),
        *_unused_lists(listing.root, announced.samples, unused),
        *_other_files(files, samples),
    )
    return replace(announced, findings=findings)


def _by_lists(
    samples: Sequence[Sample], lists: Sequence[SplitList], listed: ListedImages
) -> AnnouncedSplits:
    files = list(dict.fromkeys(part.file for part in lists))
    shown = " and ".join(str(path) for path in files)
    if not listed.splits:
        return AnnouncedSplits(samples, tuple(_without_images(listed, files, samples)))
    unmatched = tuple(_unmatched_lines(listed, samples))
    in_none = [sample.id for sample in samples if not listed.splits.get(sample.id)]
    in_several = [id for id, splits in listed.splits.items() if len(splits) > 1]
    if not in_none and not in_several:
        taken = _taken(
            samples,
            {id: min(splits) for id, splits in listed.splits.items()},
            f"{shown} {'tell' if len(files) > 1 else 'tells'}",
        )
        return replace(taken, findings=(*taken.findings, *unmatched))
    causes = [
        f"{count_noun(len(ids), 'image is', 'images are')} {where}, such as {ids[0]}"
        for ids, where in ((in_none, "in none of them"), (in_several, "in several"))
        if ids
    ]
    message = (
        f"{shown} {'list' if len(files) > 1 else 'lists'} splits, but {', and '.join(causes)}. So "
        "they are not heard, and all images are divided at random. List each image once, or move "
        "the images into folders train/, val/ and test/."
    )
    first = (in_none or in_several)[0]
    finding = Finding("split-lists", "warning", str(files[0]), message, (first,))
    return AnnouncedSplits(samples, (finding, *unmatched))


def _without_images(
    listed: ListedImages, files: Sequence[Path], samples: Sequence[Sample]
) -> Iterator[Finding]:
    """Report lists of which no line names an image."""
    lines = [line for path in files for line in listed.unmatched.get(path, [])]
    several = [line for path in files for line in listed.ambiguous.get(path, [])]
    total = sum(listed.lines.values())
    what = f"{'have' if len(files) > 1 else 'has'} {count_noun(total, 'line')}"
    what += ", none of which names one image that has a mask."
    if lines:
        what += f" {count_noun(len(lines), 'names', 'name')} none at all, such as {_quoted(lines)}."
    if several:
        what += f" {count_noun(len(several), 'names', 'name')} several, such as {_quoted(several)}."
    if not total:
        what = f"{'are' if len(files) > 1 else 'is'} empty."
    message = (
        f"{' and '.join(map(str, files))} {what} So no list tells the splits, and all images are "
        f"divided at random. Name each image by its path below the folder of images, such as "
        f"{samples[0].id}."
    )
    yield Finding("split-lists", "warning", str(files[0]), message)


def _unmatched_lines(listed: ListedImages, samples: Sequence[Sample]) -> Iterator[Finding]:
    for path, lines in listed.unmatched.items():
        message = (
            f"has {count_noun(listed.lines[path], 'line')}, of which "
            f"{count_noun(len(lines), 'names', 'name')} no image that is there: {_quoted(lines)}. "
            "Fetch these images, or mend the list."
        )
        yield file_finding("split-lists", "warning", path, message)
    for path, lines in listed.ambiguous.items():
        message = (
            f"has {count_noun(listed.lines[path], 'line')}, of which "
            f"{count_noun(len(lines), 'names', 'name')} several images: {_quoted(lines)}. Name "
            f"each image by its path below the folder of images, such as {samples[0].id}."
        )
        yield file_finding("split-lists", "warning", path, message)


def _quoted(lines: Sequence[str]) -> str:
    return list_some([repr(line) for line in lines], LINES_SHOWN)


def _unreadable(unread: Iterable[tuple[Path, str]]) -> Iterator[Finding]:
    for path, message in unread:
        text = f"{message} Until then no list is used, since the others alone would mislead."
        yield Finding("split-lists", "error", str(path), text)


def _unused_unread(unread: Iterable[tuple[Path, str]]) -> Iterator[Finding]:
    for path, message in unread:
        text = f"{message} It is not used: other lists or folders tell the splits."
        yield Finding("split-lists", "warning", str(path), text)


def _unused_lists(
    root: Path, samples: Sequence[Sample], lists: Sequence[SplitList]
) -> Iterator[Finding]:
    """Report lists beside the splits of folders or of other lists, and whether they differ."""
    # Where none is taken, the lists that were tried are named
    if not lists or not any(sample.split for sample in samples):
        return
    splits = {sample.id: sample.split_or_train for sample in samples}
    listed = match_lists(root, samples, lists)
    paths = dict.fromkeys(str(part.file) for part in lists)
    lists_are = "list splits too, and are" if len(paths) > 1 else "lists splits too, and is"
    differing = [id for id, told in listed.splits.items() if told - {splits[id]}]
    message = f"{' and '.join(paths)} {lists_are} not used: the images have splits without that."
    if differing:
        id = differing[0]
        message += (
            f" Other splits are listed for {count_noun(len(differing), 'image')}, such as {id}, "
            f"which is in {splits[id]} and listed for {' and '.join(sorted(listed.splits[id]))}. "
            "Remove what is wrong: the lists, or the splits of the folders or of the other table."
        )
    elif listed.splits:
        message += f" They say the same of {count_noun(len(listed.splits), 'image')}."
    else:
        message += " No line of them names an image that has a mask."
    severity: Severity = "warning" if differing else "note"
    yield Finding("split-lists", severity, str(lists[0].file), message)


def _other_files(files: SplitFiles, samples: Sequence[Sample]) -> Iterator[Finding]:
    """Report files that are named like lists and are none, and what gives parts to validate on."""
    if files.others:
        first = files.others[0]
        names = list_some([str(path) for path in files.others])
        one = len(files.others) == 1
        message = (
            f"{names} {'looks like a split list, and is' if one else 'look like split lists, and'}"
            f"{'' if one else ' are'} not taken. Taken are train.txt, val.txt and test.txt, at the "
            "top, in splits/ or in ImageSets/Segmentation/, with the name of an image in each "
            "line, and where there is none of them a CSV table with the columns image and split. "
            "Rename the files so, or save the splits in one of these forms. Move what is in "
            "another folder."
        )
        yield Finding("split-lists", "warning", str(first), message)
    folders = sorted(
        {part for sample in samples for part in sample.image.parts if _FOLD.fullmatch(part)}
    )
    folds = [*map(str, files.folds), *(folders if len(folders) > 1 else [])]
    if folds:
        message = (
            f"{list_some(folds)} seem{'s' * (len(folds) == 1)} to give the folds of a "
            "cross-validation, which are not taken. Limner deals folds of its own: limner train "
            "DATA --folds 5. To train on one division, list it in train.txt, val.txt and test.txt."
        )
        yield Finding("split-lists", "warning", folds[0], message)


def _by_names(samples: Sequence[Sample]) -> AnnouncedSplits:
    of_sample = {
        sample.id: split_from_file_name(without_suffix(sample.image.name)) for sample in samples
    }
    told = {id: split for id, split in of_sample.items() if split}
    counts = Counter(told.values())
    if len(told) == len(samples) and counts["train"] and len(counts) > 1:
        return _taken(samples, told, "the names of the images tell")
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
    message = f"the splits are those that {source}: {parts}."
    return AnnouncedSplits(
        [replace(sample, split=splits[sample.id]) for sample in samples],
        (Finding("announced-splits", "note", "", message),),
    )
