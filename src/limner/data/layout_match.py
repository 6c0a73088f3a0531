"""What a layout finds in a folder, and how images and masks are paired by their names."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from limner.data.class_names import ClassNames
from limner.data.sample import Sample, Split
from limner.data.split_names import split_from_names

MASK_ENDINGS = "segmentation|mask|masks|label|labels|seg|gt|groundtruth|annotation"
"""What a mask's name may end in, after "_" or "-"."""


@dataclass(frozen=True, slots=True)
class FolderPair:
    """A folder of images and the folder of their masks, with the files that are paired.

    `split` is that of all samples; None where the folders below tell it. `id_prefix` comes before
    each sample's id. `image_ending` and `mask_ending` are ends of names that the other file lacks.
    """

    images: Path
    masks: Path
    image_files: Sequence[Path]
    mask_files: Sequence[Path]
    split: Split | None = None
    id_prefix: str = ""
    image_ending: str = ""
    mask_ending: str = ""


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

    def files(self) -> set[Path]:
        """Collect the files that the match accounts for."""
        paired = (path for sample in self.samples for path in (sample.image, sample.mask))
        return {
            *(path for path in paired if isinstance(path, Path)),
            *self.images_without_mask,
            *self.masks_without_image,
            *(path for pair in self.same_name for path in pair),
            *self.set_aside,
        }


def match_folder_pairs(
    layout: str,
    pairs: Iterable[FolderPair],
    *,
    class_names: ClassNames = (),
    set_aside: Iterable[Path] = (),
) -> LayoutMatch:
    """Pair images and masks whose paths below their two folders have the same key.

    The key is the path without its suffix, without a mask's ending, and without the endings that
    the FolderPair names.
    """
    samples: list[Sample] = []
    images_without_mask: list[Path] = []
    masks_without_image: list[Path] = []
    same_name: list[tuple[Path, Path]] = []
    for pair in pairs:
        images, image_doubles = _by_key(pair.image_files, pair.images, pair.image_ending)
        masks, mask_doubles = _by_key(pair.mask_files, pair.masks, pair.mask_ending)
        masks = _in_case_of(images, masks)
        samples += [
            Sample(
                pair.id_prefix + key,
                images[key],
                masks[key],
                pair.split or split_from_names(Path(key).parts[:-1]),
            )
            for key in sorted(images.keys() & masks.keys())
        ]
        images_without_mask += [images[key] for key in images.keys() - masks.keys()]
        masks_without_image += [masks[key] for key in masks.keys() - images.keys()]
        same_name += image_doubles + mask_doubles
    return LayoutMatch(
        layout,
        tuple(samples),
        class_names,
        tuple(sorted(images_without_mask)),
        tuple(sorted(masks_without_image)),
        tuple(sorted(same_name)),
        tuple(set_aside),
    )


def pair_key(name: str) -> str:
    """Strip a mask's ending from a file's stem, which leaves what image and mask share."""
    return re.sub(rf"[_-]({MASK_ENDINGS})$", "", name, flags=re.IGNORECASE)


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
        key = pair_key(path.relative_to(folder).with_suffix("").as_posix()).removesuffix(ending)
        first = by_key.setdefault(key, path)
        if first is not path:
            doubles.append((first, path))
    return by_key, doubles
