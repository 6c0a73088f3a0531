"""What a layout finds in a folder, and how images and masks are paired by their names."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from limner.data.channel_files import join_channels
from limner.data.class_names import ClassNames
from limner.data.findings import Finding
from limner.data.image_file import without_suffix
from limner.data.mask_folders import masks_in_other_folders
from limner.data.sample import Sample
from limner.data.split_names import splits_of
from limner.data.united_mask import UnitedMask
from limner.data.unread_masks import UnreadFile
from limner.plurals import count_noun

MASK_ENDINGS = (
    "segmentation|mask|masks|label|labels|seg|gt|groundtruth|annotation|anno|cp_masks|"
    "simple segmentation"
)
"""What a mask's name may end in, after "_" or "-"."""
_MASK_ENDING = re.compile(rf"[_-]({MASK_ENDINGS})$", re.IGNORECASE)
_NUMBERED_ENDING = re.compile(rf"[_-]({MASK_ENDINGS})[_-]?\d+$", re.IGNORECASE)
_NUMBER = re.compile(r"[_-]\d+$")


@dataclass(frozen=True, slots=True)
class FolderPair:
    """A folder of images and the folder of their masks, with the files that are paired.

    `split_names` are names that may tell the split of all samples; those of the folders below come
    after them. `id_prefix` comes before each sample's id. `image_ending` and `mask_ending` are ends
    of names that the other file lacks.
    """

    images: Path
    masks: Path
    image_files: Sequence[Path]
    mask_files: Sequence[Path]
    split_names: Sequence[str] = ()
    id_prefix: str = ""
    image_ending: str = ""
    mask_ending: str = ""
    unread_images: Sequence[Path] = ()
    """Files of the image folder in formats that are not read."""
    unread_masks: Sequence[Path] = ()
    """Files of the mask folder that may be masks, in formats that are not read."""


@dataclass(frozen=True, slots=True)
class LayoutMatch:
    """The samples that a layout finds in a folder, and the files that it cannot pair."""

    layout: str
    samples: tuple[Sample, ...]
    class_names: ClassNames = ()
    images_without_mask: tuple[Path, ...] = ()
    masks_without_image: tuple[Path, ...] = ()
    same_name: tuple[tuple[Path, Path], ...] = ()
    """Pairs of files in one folder whose names differ only in the suffix."""
    set_aside: tuple[Path, ...] = ()
    """Images that belong to the layout but to no pair, such as ISIC's superpixels."""
    unread: tuple[UnreadFile, ...] = ()
    """Files that would complete a pair if they were read."""
    findings: tuple[Finding, ...] = ()
    """What else there is to say of how the files were found."""
    lists: tuple[Path, ...] = ()
    """Tables and lists that the layout has read."""

    def files(self) -> set[Path]:
        """Collect the files that the match accounts for."""
        files: set[Path] = {path for sample in self.samples for path in sample.files()}
        return files.union(
            self.images_without_mask,
            self.masks_without_image,
            (path for pair in self.same_name for path in pair),
            self.set_aside,
            (item.partner for item in self.unread),
        )


def match_folder_pairs(
    layout: str,
    pairs: Iterable[FolderPair],
    *,
    class_names: ClassNames = (),
    set_aside: Iterable[Path] = (),
    findings: Iterable[Finding] = (),
) -> LayoutMatch:
    """Pair images and masks whose paths below their two folders have the same key.

    The key is the path without its suffix, without a mask's ending, and without the endings that
    the FolderPair names. Several masks of one image, such as x_mask.png and x_mask_1.png, x_1.png
    and x_2.png, or the files of a folder x/, are united.
    """
    samples: list[tuple[Sample, tuple[str, ...]]] = []
    images_without_mask: list[Path] = []
    masks_without_image: list[Path] = []
    same_name: list[tuple[Path, Path]] = []
    unread: list[UnreadFile] = []
    moved: list[Finding] = []
    for pair in pairs:
        images, image_doubles = _by_key(pair.image_files, pair.images, pair.image_ending)
        mask_by_key, mask_doubles = _by_key(pair.mask_files, pair.masks, pair.mask_ending)
        images = join_channels(images, mask_by_key.keys())
        masks = _masks_of_images(images.keys(), _in_case_of(images, mask_by_key))
        if pair.images != pair.masks:
            masks, findings_here = masks_in_other_folders(pair.images, images, masks)
            moved += findings_here
        for key in sorted(images.keys() & masks.keys()):
            mask = masks[key][0] if len(masks[key]) == 1 else UnitedMask(tuple(masks[key]))
            sample = Sample(pair.id_prefix + key, images[key], mask)
            samples.append((sample, (*pair.split_names, *key.split("/")[:-1])))
        incomplete = _unread_files(pair, images, masks)
        unread += (item for items in incomplete.values() for item in items)
        images_without_mask += [
            images[key] for key in images.keys() - masks.keys() - incomplete.keys()
        ]
        masks_without_image += [
            path for key in masks.keys() - images.keys() - incomplete.keys() for path in masks[key]
        ]
        same_name += image_doubles + mask_doubles
    return LayoutMatch(
        layout,
        with_splits(samples),
        class_names,
        tuple(sorted(images_without_mask)),
        tuple(sorted(masks_without_image)),
        tuple(sorted(same_name)),
        tuple(set_aside),
        tuple(unread),
        (*findings, *moved, *united_findings([sample for sample, _ in samples])),
    )


IMAGE_ENDINGS = ("_sat", "_img", "_image", "_rgb")
"""What all images' names may end in where masks' names have another ending: DeepGlobe's and
Cellpose's do.
"""


def common_image_ending(files: Iterable[Path], masks: Iterable[Path]) -> str:
    """The ending that all images have and no mask needs; empty where there is none."""
    stems = {without_suffix(path.name) for path in files}
    keys = {pair_key(without_suffix(path.name)) for path in masks}
    endings = (
        end for end in IMAGE_ENDINGS if stems and all(map(str.endswith, stems, [end] * len(stems)))
    )
    ending = next(endings, "")
    return ending if any(stem.removesuffix(ending) in keys for stem in stems) else ""


def pair_key(name: str) -> str:
    """Strip a mask's ending from a file's stem, which leaves what image and mask share."""
    return _MASK_ENDING.sub("", name)


def numbered_key(name: str) -> str:
    """Strip a mask's ending that has a number, such as _mask_1, from a file's stem."""
    return _NUMBERED_ENDING.sub("", name)


def _masks_of_images(images: Collection[str], masks: Mapping[str, Path]) -> dict[str, list[Path]]:
    """The mask files of each key; a mask without an image of its key may be a part of another's."""
    files: dict[str, list[Path]] = defaultdict(list)
    for key, path in masks.items():
        numbered, folder = numbered_key(key), key.rpartition("/")[0]
        if key in images:
            files[key].insert(0, path)
        elif numbered != key and numbered in images:
            files[numbered].append(path)
        elif (plain := _NUMBER.sub("", key)) != key and plain in images and plain not in masks:
            files[plain].append(path)
        elif folder in images and folder not in masks:
            files[folder].append(path)
        else:
            files[key].append(path)
    return files


def _unread_files(
    pair: FolderPair, images: Mapping[str, Path], masks: Mapping[str, Sequence[Path]]
) -> dict[str, list[UnreadFile]]:
    """Files that are not read and would complete a pair, by the keys of these pairs."""
    unread: dict[str, list[UnreadFile]] = defaultdict(list)
    image_files, _ = _by_key(pair.unread_images, pair.images, pair.image_ending)
    mask_files, _ = _by_key(pair.unread_masks, pair.masks, pair.mask_ending)
    for key in sorted((image_files.keys() | images.keys()) & (mask_files.keys() | masks.keys())):
        image = images.get(key) or image_files[key]
        mask = masks[key][0] if key in masks else mask_files[key]
        if key not in masks:
            unread[key].append(UnreadFile("mask", mask, image, pair.masks))
        if key not in images:
            unread[key].append(UnreadFile("image", image, mask, pair.images))
    return unread


def united_findings(samples: Sequence[Sample]) -> Iterator[Finding]:
    """Report that images have several masks, and what is made of them."""
    united = [sample for sample in samples if isinstance(sample.mask, UnitedMask)]
    if united:
        message = (
            f"{count_noun(len(united), 'image has', 'images have')} several masks, such as "
            f"{united[0].image}, whose mask is "
            f"{united[0].mask}. They are united: each is taken to show other objects. "
            "If they are of several annotators, keep one of them."
        )
        ids = tuple(sample.id for sample in united[:2])
        yield Finding("united-masks", "note", str(united[0].image), message, ids)


def with_splits(samples: Sequence[tuple[Sample, Sequence[str]]]) -> tuple[Sample, ...]:
    """Give samples the splits that the names beside them tell."""
    splits = splits_of({tuple(names): names for _, names in samples})
    return tuple(sample.with_split(splits[tuple(names)]) for sample, names in samples)


def _in_case_of(images: Mapping[str, Path], masks: Mapping[str, Path]) -> dict[str, Path]:
    """Spell the keys of masks as those of images from which only the case of letters differs.

    A key that both have stays, and so does one that two images or two masks share but for case.
    """
    image_keys, mask_keys = (
        _unique_by_folded_case(keys)
        for keys in (images.keys() - masks.keys(), masks.keys() - images.keys())
    )
    spelled = {mask_keys[key]: image_keys[key] for key in image_keys.keys() & mask_keys.keys()}
    return {spelled.get(key, key): path for key, path in masks.items()}


def _unique_by_folded_case(keys: Iterable[str]) -> dict[str, str]:
    by_folded: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        by_folded[key.casefold()].append(key)
    return {folded: same[0] for folded, same in by_folded.items() if len(same) == 1}


def _by_key(
    files: Iterable[Path], folder: Path, ending: str
) -> tuple[dict[str, Path], list[tuple[Path, Path]]]:
    """Files by their keys, and the pairs of files that have one key."""
    by_key: dict[str, Path] = {}
    doubles = []
    for path in files:
        # macOS may write an accent as a letter of its own, and other systems do not
        name = normalize("NFC", without_suffix(path.relative_to(folder).as_posix()))
        key = pair_key(name).removesuffix(ending)
        first = by_key.setdefault(key, path)
        if first is not path:
            doubles.append((first, path))
    return by_key, doubles
