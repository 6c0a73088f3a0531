"""Images whose channels lie in files of their own, each under one name: x_{ch00,ch01}.tif."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from limner.errors import LimnerError
from limner.files import channel_paths
from limner.name_list import list_some

_ENDING = re.compile(r"^(?P<image>.+)_(?P<ending>\d{4}|(?:ch|c|w|channel)\d{1,2})$", re.IGNORECASE)
"""What nnU-Net (x_0000), Leica (x_ch00), MetaXpress (x_w1) and others put after a name."""
_BRACES = re.compile(r"_\{[^{}]*,[^{}]*\}(?=\.|$)")


def join_channels(images: Mapping[str, Path], masks: Collection[str]) -> dict[str, Path]:
    """Join images that are the channels of one, by the masks.

    Files x_ch00 and x_ch01 are channels where there is a mask x and none of either.

    Args:
        images: Image files by their keys, which are their names without suffix.
        masks: The keys of the masks.

    Returns:
        The images by their keys; one of several files has the name that stands for all of them.

    Raises:
        LimnerError: Some images lack a channel that others have.
    """
    groups: dict[str, dict[str, Path]] = defaultdict(dict)
    for key, path in images.items():
        match = _ENDING.match(key)
        if match and key not in masks and match["image"] in masks and match["image"] not in images:
            groups[match["image"]][match["ending"]] = path
    counts = Counter(tuple(sorted(files)) for files in groups.values())
    if not counts or max(map(len, counts)) == 1:
        return dict(images)
    endings = max(counts, key=lambda found: (counts[found], found))
    for image, files in groups.items():
        if tuple(sorted(files)) != endings:
            raise LimnerError(
                f"{next(iter(files.values())).parent}/{PurePosixPath(image).name} has the channels "
                f"{list_some(sorted(files))}, and other images have {list_some(endings)}. Each "
                "image needs the same: add the files that are missing, or remove the others."
            )
        if len({(path.parent, path.suffix) for path in files.values()}) > 1:
            raise LimnerError(
                f"{list_some([str(path) for path in files.values()])} are channels of one image. "
                "They must lie in one folder and have one suffix: move or export them so."
            )
    joined = {
        image: joined_path([files[ending] for ending in endings], endings)
        for image, files in groups.items()
    }
    channels = {path for files in groups.values() for path in files.values()}
    return {key: path for key, path in images.items() if path not in channels} | joined


def joined_path(files: Sequence[Path], endings: Sequence[str]) -> Path:
    """Name several files of one image by one path.

    Args:
        files: In one folder; they differ in their endings alone.
        endings: The end of each file's name, before its suffix.
    """
    first = files[0]
    stem = first.name.removesuffix(first.suffix).removesuffix(endings[0])
    return first.with_name(f"{stem}{{{','.join(endings)}}}{first.suffix}")


def channel_endings(images: Iterable[Path]) -> tuple[str, ...]:
    """The endings of the files of each image; none where one file holds all channels."""
    for path in images:
        if len(channel_paths(path)) > 1:
            return tuple(path.name[path.name.index("{") + 1 : path.name.index("}")].split(","))
    return ()


def join_names(names: Iterable[str], endings: Sequence[str]) -> list[str]:
    """Join the names of files that are channels of one image.

    Args:
        names: Of files, with slashes.
        endings: Of the channels that a model was trained on; none joins nothing.

    Raises:
        LimnerError: An image lacks a channel.
    """
    names = sorted(names)
    if not endings:
        return names
    present, joined = set(names), []
    for name in names:
        path = PurePosixPath(name)
        stem = path.name.removesuffix(path.suffix)
        ending = next((end for end in endings if stem.endswith(end)), None)
        if ending is None:
            joined.append(name)
            continue
        base = stem.removesuffix(ending)
        files = [str(path.with_name(f"{base}{end}{path.suffix}")) for end in endings]
        if missing := [file for file in files if file not in present]:
            raise LimnerError(
                f"{name} is a channel of an image that lacks {missing[0]}. The model was trained "
                f"on images of the channels {list_some(endings)}: add the file."
            )
        if ending == endings[0]:
            joined.append(str(path.with_name(f"{base}{{{','.join(endings)}}}{path.suffix}")))
    return joined


def without_channels(name: str) -> str:
    """Leave out what stands for the files of an image, from x_{ch00,ch01}.tif."""
    return _BRACES.sub("", name)
