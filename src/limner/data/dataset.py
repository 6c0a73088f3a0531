"""What a scan learns of a folder: its samples, its classes, and the files in no sample."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from limner.data.class_names import ClassNames
from limner.data.file_kinds import FileKind
from limner.data.findings import Finding
from limner.data.sample import Sample
from limner.data.unread_masks import UnreadFile
from limner.labels import Labels


@dataclass(frozen=True, slots=True)
class Dataset:
    """The samples of a folder in the order of their ids, and the files that are in no sample."""

    root: Path
    layout: str
    samples: tuple[Sample, ...]
    class_names: ClassNames = ()
    """Of a class-name file or the layout: pixel values or colours, and names."""
    stated_labels: Labels | None = None
    """Of a labels.toml."""
    images_without_mask: tuple[Path, ...] = ()
    masks_without_image: tuple[Path, ...] = ()
    same_name: tuple[tuple[Path, Path], ...] = ()
    """Pairs of files in one folder whose names differ only in the suffix."""
    unsupported: Mapping[Path, FileKind] = field(default_factory=dict)
    """What may be images, in formats that are not read."""
    unused: tuple[Path, ...] = ()
    """Images that are in no pair and in no other of these lists."""
    page_mismatches: tuple[tuple[Sample, int], ...] = ()
    """Samples whose mask file holds another number of images, and that number."""
    unread: tuple[UnreadFile, ...] = ()
    """Files that would complete a pair if they were read."""
    findings: tuple[Finding, ...] = ()
    """What else there is to say of how the files were found."""
