"""The segmentation part of Pascal VOC (doi:10.1007/s11263-009-0275-4), and sets of its form."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unicodedata import normalize

from limner.data.findings import Finding
from limner.data.folder_listing import FolderListing
from limner.data.image_file import IMAGE_SUFFIXES
from limner.data.layout_match import FolderPair, LayoutMatch, match_folder_pairs
from limner.data.layouts.folders import IMAGE_FOLDERS
from limner.data.sample import Sample, Split
from limner.data.split_names import SPLIT_NAMES, splits_of
from limner.data.tables import read_lines
from limner.errors import LimnerError
from limner.plurals import count_noun

MASK_FOLDER = "SegmentationClass"


@dataclass(frozen=True, slots=True)
class _VocFolders:
    images: Path
    masks: Path
    lists: Path
    """The folder of the split lists, which need not be there."""


def match_layout(listing: FolderListing) -> LayoutMatch | None:
    """Pascal VOC: JPEGImages/ beside SegmentationClass/ (and ImageSets/Segmentation/train.txt,
    val.txt, test.txt)
    """
    folders = _find_folders(listing)
    if folders is None:
        return None
    lists = _split_lists(folders.lists)
    splits = _read_splits(lists)
    image_files, mask_files = listing.images(folders.images), listing.images(folders.masks)
    # Most of VOC's images have only boxes, and are neither listed nor segmented
    segmented = {_stem(path) for path in mask_files} | splits.keys()
    pair = FolderPair(
        folders.images,
        folders.masks,
        [path for path in image_files if _stem(path) in segmented],
        mask_files,
    )
    set_aside = [path for path in image_files if _stem(path) not in segmented]
    match = match_folder_pairs("Pascal VOC", [pair], set_aside=set_aside)
    if not splits:
        return match
    _check_listed(folders.lists, splits, {_stem(path) for path in (*mask_files, *image_files)})
    samples = _listed_samples(folders.lists, splits, match.samples)
    unlisted = [sample for sample in match.samples if sample.id not in splits]
    return replace(
        match,
        samples=samples,
        set_aside=(*match.set_aside, *(path for sample in unlisted for path in sample.files())),
        findings=(*match.findings, *_unlisted_findings(folders.lists, lists, unlisted)),
        lists=tuple(path for path in folders.lists.glob("*.txt") if _is_list(path)),
    )


def _find_folders(listing: FolderListing) -> _VocFolders | None:
    at_any_depth = (path for path in listing.folders() if path.name == MASK_FOLDER)
    candidates = (listing.root / MASK_FOLDER, *at_any_depth)
    masks = next((path for path in candidates if path.is_dir()), None)
    if masks is None:
        return None
    siblings = (masks.with_name(name) for name in ("JPEGImages", *IMAGE_FOLDERS))
    images = next((path for path in siblings if path.is_dir()), None)
    if images is None:
        return None
    return _VocFolders(images, masks, masks.parent / "ImageSets" / "Segmentation")


def _split_lists(folder: Path) -> dict[Path, Split]:
    """The lists of a folder with their splits.

    trainval.txt stands for the training split where that has no list of its own. It comes last,
    since images of the validation split are in it as well.
    """
    paths = sorted(folder.glob("*.txt"))
    exact = {path: [path.stem] for path in paths if _is_list(path)}
    both = {path: exact.pop(path) for path in paths if path.stem.lower() == "trainval"}
    lists = {path: split for path, split in splits_of(exact).items() if split}
    return lists if "train" in lists.values() else {**lists, **dict.fromkeys(both, "train")}


def _is_list(path: Path) -> bool:
    return path.stem.lower() in SPLIT_NAMES


def _read_splits(lists: Mapping[Path, Split]) -> dict[str, Split]:
    """The split of each listed image, by its stem. Raises LimnerError for an image in two lists."""
    splits: dict[str, Split] = {}
    for path, split in lists.items():
        for line in read_lines(path):
            if splits.setdefault(_listed_stem(line), split) == split or path.stem == "trainval":
                continue
            raise LimnerError(
                f"{path} lists {line}, which another list of that folder holds as "
                "well. Each image is in one split."
            )
    return splits


def _listed_stem(line: str) -> str:
    """The stem of the image that a line names: as a stem, a file name or a path.

    A name may hold spaces. After a file name or a path, the rest of the line is not part of it.
    """
    # Lists that were written on Windows have backslashes
    line = normalize("NFC", line.replace("\\", "/"))
    first_word = line.split()[0]
    name = Path(first_word if first_word.endswith(tuple(IMAGE_SUFFIXES)) else line).name
    return Path(name).stem if Path(name).suffix.lower() in IMAGE_SUFFIXES else name


def _stem(path: Path) -> str:
    """The stem of a file, its accents written as in the ids of samples."""
    return normalize("NFC", path.stem)


def _check_listed(folder: Path, splits: Mapping[str, Split], stems: Collection[str]) -> None:
    """Raise LimnerError where the lists name images of which neither image nor mask is there."""
    missing = sorted(splits.keys() - stems)
    if missing:
        raise LimnerError(
            f"the lists in {folder} name "
            f"{count_noun(len(missing), 'image that is', 'images that are')} not there, such as "
            f"{missing[0]}. Fetch them, or mend the lists."
        )


def _listed_samples(
    folder: Path, splits: Mapping[str, Split], samples: Sequence[Sample]
) -> tuple[Sample, ...]:
    """The samples that are in a list, with their splits. Raises LimnerError where none is."""
    listed = [sample for sample in samples if sample.id in splits]
    if samples and not listed:
        raise LimnerError(
            f"the lists in {folder} name no image that is there, such as {samples[0].id}. "
            "Mend the lists."
        )
    return tuple(replace(sample, split=splits[sample.id]) for sample in listed)


def _unlisted_findings(
    folder: Path, lists: Iterable[Path], unlisted: Sequence[Sample]
) -> Iterator[Finding]:
    """Report pairs that are in none of the lists, and so left out."""
    if unlisted:
        names = ", ".join(sorted(path.name for path in lists))
        message = (
            f"{count_noun(len(unlisted), 'pair is', 'pairs are')} in none of the lists that are "
            f"taken ({names} in {folder}), such as {unlisted[0].id}, and left out. Add them to a "
            "list if they belong to the set."
        )
        yield Finding("split-lists", "warning", str(folder), message)
