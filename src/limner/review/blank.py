"""Images without masks, whose masks are drawn from nothing.

Their classes are stated once, in a labels.toml in the folder of the review. Images may be added
later, and classes too.
"""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from limner.data.folder_listing import FolderListing
from limner.data.scan import UnknownLayoutError, scan
from limner.data.stacks import pages_in_file
from limner.errors import LimnerError
from limner.files import write_atomic
from limner.inference.audit_record import AUDIT_FILE
from limner.inference.prediction_job import mask_names
from limner.inference.prediction_record import PREDICTIONS_FILE
from limner.labels import MAX_NAMED_CLASSES, Labels, dump_labels, load_labels
from limner.review.predictions import STORE_FOLDER, Entry, Predictions

CLASSES_FILE, IDENTITY_FILE = "labels.toml", "identity.txt"
MAX_NAME = 100
"""Characters of a class's name."""


def has_classes(folder: Path) -> bool:
    """Whether the classes of masks to be drawn were stated."""
    return _classes_file(folder).is_file()


def is_blank(folder: Path) -> bool:
    """Whether a folder holds images alone: no masks, predictions or audit, and no classes yet."""
    if not folder.is_dir() or any(
        (folder / name).is_file() for name in (PREDICTIONS_FILE, AUDIT_FILE)
    ):
        return False
    try:
        scan(folder)
    except UnknownLayoutError:
        return not has_classes(folder) and bool(FolderListing(folder).images())
    except LimnerError:
        # There are masks, with which something is wrong
        return False
    return False


def state_classes(folder: Path, names: Sequence[str]) -> Labels:
    """State what is drawn in the images of a folder.

    Args:
        folder: Of the images.
        names: Of the classes, without the background. Those that were stated before come first.

    Returns:
        The classes. Masks have 0 for the background, and 255 for a single class or 1, 2, 3 and so
        on for several.

    Raises:
        LimnerError: A name is empty, long or there twice, other classes were stated before, or the
            folder holds masks or no image.
    """
    stripped = [name.strip() for name in names]
    if not stripped or not all(0 < len(name) <= MAX_NAME for name in stripped):
        raise LimnerError(f"a class has no name, or one of more than {MAX_NAME} characters.")
    if len({name.lower() for name in (*stripped, "background")}) <= len(stripped):
        raise LimnerError(
            f"{', '.join(stripped)}: a class is there twice. The background is there anyway."
        )
    if len(stripped) >= MAX_NAMED_CLASSES:
        raise LimnerError(f"there are {len(stripped)} classes, and at most {MAX_NAMED_CLASSES}.")
    known = load_labels(_classes_file(folder)).names[1:] if has_classes(folder) else ()
    if tuple(stripped[: len(known)]) != known:
        raise LimnerError(
            f"{folder} is drawn in with the classes {', '.join(known)}. Leave --classes out, or "
            "name these first and new ones after them."
        )
    if not known and not is_blank(folder):
        raise LimnerError(
            f"{folder} holds masks already, or no image. --classes is for images without masks: "
            "leave it out."
        )
    values = (0, 255) if len(stripped) == 1 else range(len(stripped) + 1)
    labels = Labels.from_values(["background", *stripped], tuple(values))
    identity = folder / STORE_FOLDER / IDENTITY_FILE
    identity.parent.mkdir(exist_ok=True)
    if not identity.exists():
        write_atomic(identity, secrets.token_hex(32) + "\n")
    write_atomic(_classes_file(folder), dump_labels(labels))
    return labels


def read_blank(folder: Path) -> Predictions:
    """Read images whose masks are drawn from nothing, each of a stack as one.

    Raises LimnerError where there is no image, or the classes cannot be read.
    """
    images = {path.relative_to(folder).as_posix(): path for path in FolderListing(folder).images()}
    if not images:
        raise LimnerError(f"{folder} holds no image.")
    entries = [
        entry
        for name, mask in mask_names(sorted(images)).items()
        for entry in _entries(mask.removesuffix(".png"), images[name])
    ]
    # Without masks none is less certain than another: they come in the order of their names
    entries = [replace(entry, priority=float(place)) for place, entry in enumerate(entries)]
    labels = load_labels(_classes_file(folder))
    identity = _read_identity(folder)
    return Predictions(folder, labels, tuple(entries), (), identity, from_limner=False)


def _read_identity(folder: Path) -> str:
    """What the review's store belongs to: this folder, whatever images or classes it gets later."""
    try:
        return (folder / STORE_FOLDER / IDENTITY_FILE).read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise LimnerError(
            f"{folder / STORE_FOLDER / IDENTITY_FILE}, which says whose masks the review's store "
            f"has, cannot be read: {error}. Put it back."
        ) from error


def _entries(id: str, path: Path) -> list[Entry]:
    try:
        pages = pages_in_file(path)
    except LimnerError:
        # The page says what is wrong with it
        pages = 1
    image = str(path.resolve())
    if pages == 1:
        return [Entry(id, image, 0, None, priority=0.0)]
    return [
        Entry(f"{id}#{page + 1}", image, page, None, priority=0.0, group=id)
        for page in range(pages)
    ]


def _classes_file(folder: Path) -> Path:
    return folder / STORE_FOLDER / CLASSES_FILE
