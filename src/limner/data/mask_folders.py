"""Images and masks that lie in folders of different names below their two folders."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from limner.data.findings import Finding
from limner.data.split_names import split_from_names
from limner.plurals import count_noun

Masks = Mapping[str, list[Path]]
"""The files of each key, which is a path without suffix."""


def masks_in_other_folders(
    folder: Path, images: Mapping[str, Path], masks: Masks
) -> tuple[dict[str, list[Path]], list[Finding]]:
    """Pair the images of a sub-folder with masks of the same names in another one.

    That is done where it is safe: where none of its images has a mask of its own path, each has one
    of its name, all of these lie in one folder, and no other image bears such a name. One of the
    two is the folder of all images or masks, or both tell the same split: "siteA" is not "siteB".

    Args:
        folder: Of the images.
        images: The files of all images, by their keys.
        masks: Those of all masks.

    Returns:
        The masks by the keys of their images, and a note for each sub-folder of images.
    """
    masks_by_name = _by_name(masks.keys() - images.keys())
    images_by_name = _by_name(images)
    by_folder: dict[str, list[str]] = defaultdict(list)
    for key in images:
        by_folder[key.rpartition("/")[0]].append(key)
    new_keys: dict[str, str] = {}
    findings = []
    for name, keys in sorted(by_folder.items()):
        candidates = [masks_by_name.get(_name(key), []) for key in keys]
        folders = {mask.rpartition("/")[0] for found in candidates for mask in found}
        are_clear = all(len(found) == 1 for found in candidates) and all(
            len(images_by_name[_name(key)]) == 1 and key not in masks for key in keys
        )
        if not are_clear or len(folders) != 1 or not _may_correspond(name, *folders):
            continue
        new_keys |= {found[0]: key for key, found in zip(keys, candidates, strict=True)}
        first = keys[0]
        findings.append(_finding(folder / name, len(keys), images[first], masks[candidates[0][0]]))
    return {new_keys.get(key, key): files for key, files in masks.items()}, findings


def _by_name(keys: Iterable[str]) -> dict[str, list[str]]:
    by_name: dict[str, list[str]] = defaultdict(list)
    for key in sorted(keys):
        by_name[_name(key)].append(key)
    return by_name


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _may_correspond(image_folder: str, mask_folder: str) -> bool:
    split = split_from_names(mask_folder.split("/"))
    if split is None:
        return not (image_folder and mask_folder)
    return split == split_from_names(image_folder.split("/"))


def _finding(folder: Path, count: int, image: Path, masks: Sequence[Path]) -> Finding:
    message = (
        f"the masks of {folder} are in {masks[0].parent}, a folder of another name. They are "
        f"paired by their file names ({count_noun(count, 'pair')}, such as {image} with "
        f"{masks[0]}), since each name is there once."
    )
    return Finding("other-mask-folder", "note", str(folder), message)
