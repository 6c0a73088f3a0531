"""Which folders the images of each split lie in, as people read it before they train."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from limner.data.findings import Finding, file_finding
from limner.data.layouts.folders import MASK_FOLDERS
from limner.data.sample import Sample
from limner.data.split_names import may_tell_split, split_from_names
from limner.plurals import count_noun
from limner.recipe import DataSettings

FOLDERS_SHOWN = 3
"""Folders of one split that a line names before it counts the rest."""


@dataclass(frozen=True, slots=True)
class SplitFolders:
    """How many images of one split lie in each folder, those with most images first."""

    images: int
    folders: Mapping[str, int]

    @classmethod
    def of(cls, root: Path, samples: Iterable[Sample]) -> "SplitFolders":
        """Count the samples of a split by the folder of their image, seen from `root`."""
        counts: Counter[str] = Counter()
        for folder, inside in _by_folder(root, samples).items():
            counts[folder] += len(inside)
        return cls(counts.total(), dict(counts.most_common()))

    def describe(self) -> str:
        """Such as "36 (24 in TestSet/images, 12 in eval/images)"."""
        if not self.images:
            return "none"
        shown = [
            f"{count} in {folder}" if len(self.folders) > 1 else f"in {folder}"
            for folder, count in list(self.folders.items())[:FOLDERS_SHOWN]
        ]
        more = len(self.folders) - len(shown)
        rest = f" and {more} more folder{'s' * (more > 1)}" if more else ""
        return f"{self.images} ({', '.join(shown)}{rest})"


def describe_splits(root: Path, sides: Mapping[str, Sequence[Sample]]) -> str:
    """Say how many images each split has, and from which folders they are."""
    names = {"val": "validation"}
    parts = [
        f"{names.get(side, side)} {SplitFolders.of(root, samples).describe()}"
        for side, samples in sides.items()
    ]
    return f"Images: {', '.join(parts)}."


def describe_official_splits(root: Path, samples: Sequence[Sample], settings: DataSettings) -> str:
    """Say how many images each split has before training divides those that have none.

    Args:
        root: The dataset's folder.
        samples: With the splits that folders, tables or lists give them.
        settings: What shares training cuts where there is no split.
    """
    sides = official_splits(samples)
    shares = f"{settings.validation_fraction:.0%} for validation"
    if "undivided" in sides:
        return (
            f"{describe_splits(root, sides)} No split is taken from a folder, table or list: "
            f"training keeps {shares} and {settings.test_fraction:.0%} for the test."
        )
    cut = "" if sides["val"] else f" Training keeps {shares}, from train."
    return describe_splits(root, sides) + cut


def official_splits(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """Gather samples by the split that folders, tables or lists name.

    Where some have one, the others are for training. Where none has, all are "undivided".
    """
    if not any(sample.split for sample in samples):
        return {"undivided": list(samples)}
    sides: dict[str, list[Sample]] = {"train": [], "val": [], "test": []}
    for sample in samples:
        sides[sample.split_or_train].append(sample)
    return sides


def split_name_findings(root: Path, samples: Sequence[Sample]) -> Iterator[Finding]:
    """Report folders that may be a split, or lie beside one, and have no name of a split.

    Args:
        root: The dataset's folder.
        samples: With the splits that the layout gave them; none is for training.
    """
    unnamed = _by_folder(root, (sample for sample in samples if sample.split is None))
    divided = any(sample.split for sample in samples)
    fate = "trained on" if divided else "divided at random with all others"
    uncertain = [
        folder for folder in unnamed if any(may_tell_split(part) for part in folder.split("/"))
    ]
    for folder in uncertain:
        inside = unnamed.pop(folder)
        message = (
            f"the name of {folder} begins like that of a split, and is none that is known. Its "
            f"{count_noun(len(inside), 'image is', 'images are')} {fate}. If it is a split, "
            "name it train, val or test."
        )
        yield Finding("split-name", "warning", folder, message, (inside[0].id,))
    if divided and unnamed:
        folder, inside = next(iter(unnamed.items()))
        message = (
            f"{sum(map(len, unnamed.values()))} images are in no split, though others are. They "
            f"lie in {len(unnamed)} folder{'s' * (len(unnamed) > 1)}, such as {folder}, and are "
            f"{fate}. If they are for something else, name the folder val or test."
        )
        yield Finding("no-split-name", "note", folder, message, (inside[0].id,))


def split_link_findings(root: Path, links: Mapping[Path, Path]) -> Iterator[Finding]:
    """Report links by which two splits would have the same images.

    Args:
        root: The dataset's folder.
        links: What `FolderListing.repeated_links` gives.
    """
    for link, folder in sorted(links.items()):
        parts, other_parts = _parts_below(root, link), _parts_below(root, folder)
        split = split_from_names(parts)
        if not split or link.name.lower() in MASK_FOLDERS or split == split_from_names(other_parts):
            continue
        message = (
            f"is a link to {folder}, and would make {split} of the same images. They are read "
            f"once, from {folder}. Remove the link, or put a folder of other images in its place."
        )
        yield file_finding("split-link", "warning", link, message)


def _parts_below(root: Path, folder: Path) -> tuple[str, ...]:
    return folder.relative_to(root).parts if folder.is_relative_to(root) else ()


def _by_folder(root: Path, samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    """Gather samples by the folder of their image, seen from the dataset's."""
    # Paths are slow, and there are few folders
    by_path: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_path[os.path.dirname(str(sample.image))].append(sample)  # noqa: PTH120
    by_folder: dict[str, list[Sample]] = defaultdict(list)
    root = root.absolute()
    for path, inside in by_path.items():
        folder = Path(path).absolute()
        name = folder.relative_to(root) if folder.is_relative_to(root) else folder
        by_folder[name.as_posix()] += inside
    return by_folder
