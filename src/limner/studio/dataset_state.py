"""DatasetState: what a folder of images holds, read again only when files come or go."""

import json
import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from limner.data.folder_listing import FolderListing
from limner.data.sample import Sample
from limner.data.scan import UnknownLayoutError, scan
from limner.errors import LimnerError
from limner.labels import Labels
from limner.review.predictions import STORE_FOLDER

KEPT = 4
"""Folders that are kept in memory."""
FINDINGS = "findings.json"


@dataclass(frozen=True, slots=True)
class CheckState:
    """What the last check of a folder found."""

    counts: Mapping[str, int]
    """Findings by their severity."""
    pairs: int
    labels: Labels | None


@dataclass(frozen=True, slots=True)
class DatasetState:
    """The images of a folder, and their masks where it has any."""

    folder: Path
    images: tuple[Path, ...]
    """Without masks."""
    layout: str = ""
    """Of the masks; empty where there are none."""
    samples: tuple[Sample, ...] = ()
    problem: str = ""
    """Why the masks cannot be read; empty where they can, or there are none."""

    @property
    def name(self) -> str:
        """The folder's name, as commands are given it."""
        return self.folder.name


class DatasetReader:
    """Reads folders, and keeps what it read while no file comes or goes in them."""

    def __init__(self) -> None:
        self._states: OrderedDict[Path, tuple[int, DatasetState]] = OrderedDict()
        self._lock = Lock()

    def read(self, folder: Path) -> DatasetState:
        """The state of a folder. Raises LimnerError where there is none."""
        if not folder.is_dir():
            raise LimnerError(f"{folder} is not there any more. Put it back, or open another one.")
        with self._lock:
            signature = folder_signature(folder)
            known = self._states.pop(folder, None)
            if known is None or known[0] != signature:
                known = signature, _read(folder)
            self._states[folder] = known
            while len(self._states) > KEPT:
                self._states.popitem(last=False)
            return known[1]


def folder_signature(folder: Path) -> int:
    """A number that changes when a file comes or goes below a folder, or a file beside the images
    is written anew, such as that of annotations.

    What a review writes into the folder does not change it.
    """
    parts = list[object]()
    pending = [str(folder)]
    while pending:
        path = pending.pop()
        try:
            parts.append((path, Path(path).stat().st_mtime_ns))
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        if path != str(folder) or entry.name != STORE_FOLDER:
                            pending.append(entry.path)
                    elif entry.name.endswith((".json", ".csv", ".xml", ".toml", ".txt")):
                        parts.append((entry.path, entry.stat().st_mtime_ns))
        except OSError:
            continue
    return hash(tuple(parts))


def _read(folder: Path) -> DatasetState:
    images = tuple(FolderListing(folder).images())
    if not images:
        return DatasetState(folder, ())
    try:
        dataset = scan(folder)
    except UnknownLayoutError:
        return DatasetState(folder, images)
    except LimnerError as error:
        return DatasetState(folder, images, problem=str(error))
    if dataset.samples:
        # Masks are images too
        images = tuple(dict.fromkeys(sample.image for sample in dataset.samples))
    return DatasetState(folder, images, dataset.layout, tuple(dataset.samples))


def read_check(folder: Path) -> CheckState | None:
    """What the last check found, from the folder of its page; None before the first."""
    try:
        content: dict[str, Any] = json.loads((folder / FINDINGS).read_text(encoding="utf-8"))
        counts = dict.fromkeys(("error", "warning", "note"), 0)
        for finding in content["findings"]:
            counts[finding["severity"]] += 1
        labels = Labels.from_dict(content["labels"]) if content["labels"] else None
        return CheckState(counts, content["samples"], labels)
    except (OSError, ValueError, KeyError, TypeError):
        return None
