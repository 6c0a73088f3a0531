"""Which reviewed masks join a dataset, which replace masks of it, and which are conflicts."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.images import image_size, read_image
from limner.data.sample import Sample
from limner.data.stacks import pages_in_file
from limner.data.writers.png import encode_png
from limner.data.writers.tiff import encode_tiff
from limner.errors import LimnerError
from limner.labels import Labels
from limner.review.events import VerdictEvent
from limner.review.predictions import Entry
from limner.review.verdicts import ReviewedEntry, ReviewResults, Settlement


@dataclass(frozen=True, slots=True)
class TargetDataset:
    """The dataset that reviewed masks join."""

    folder: Path
    samples: Sequence[Sample]
    labels: Labels


@dataclass(frozen=True, slots=True)
class Candidate:
    """A reviewed mask that may join the dataset."""

    id: str
    reviewed: ReviewedEntry
    settlement: Settlement
    image_sha256: str
    """Of the image as it is written."""

    @property
    def entry(self) -> Entry:
        """The image, and the mask that was reviewed."""
        return self.reviewed.entry

    @property
    def events(self) -> tuple[VerdictEvent, ...]:
        """The verdicts that count: one, or those of a consensus."""
        return self.reviewed.counted_events(self.settlement)

    def mask(self, results: ReviewResults) -> UInt8[ndarray, "h w"]:
        """The mask in class indices."""
        return results.settled_mask(self.reviewed, self.settlement)


@dataclass(slots=True)
class Candidates:
    """The reviewed masks that may join a dataset, how many were rejected, and the conflicts."""

    candidates: list[Candidate] = field(default_factory=list)
    rejected: int = 0
    conflicts: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Matches:
    """What is done with each candidate."""

    added: list[Candidate] = field(default_factory=list)
    replaced: dict[str, Candidate] = field(default_factory=dict)
    """By the id of the sample whose mask is replaced."""
    conflicts: list[str] = field(default_factory=list)


def collect_candidates(
    results: ReviewResults, reviewed: Sequence[ReviewedEntry], settlement: Settlement
) -> Candidates:
    """Collect the masks that people kept.

    Conflicts are people who differ, unless that is settled, and images and masks that were changed
    or are gone.
    """
    collected = Candidates()
    collected.conflicts += [
        f"{reviewed_entry.entry.id}: {results.describe_difference(reviewed_entry)}"
        for reviewed_entry in reviewed
        if not reviewed_entry.is_settled(settlement)
    ]
    for reviewed_entry in reviewed:
        if reviewed_entry.is_rejected(settlement):
            collected.rejected += 1
            continue
        if not reviewed_entry.is_settled(settlement):
            continue
        try:
            collected.candidates.append(_candidate(results, reviewed_entry, settlement))
        except LimnerError as error:
            collected.conflicts.append(f"{reviewed_entry.entry.id}: {error}")
    return collected


def _candidate(
    results: ReviewResults, reviewed: ReviewedEntry, settlement: Settlement
) -> Candidate:
    """Raises LimnerError where the image or the mask is not as it was reviewed."""
    predictions, entry = results.predictions, reviewed.entry
    with predictions.image_file(entry) as path:
        _, content = image_file_content(path, entry.page, pages_in_file(path))
        seen = {event.image_hash for event in reviewed.counted_events(settlement)}
        if seen != {predictions.image_hash(entry)}:
            raise LimnerError(
                "its image was changed since it was reviewed. Restore it, or review it again."
            )
        image_height, image_width = image_size(path)
    height, width = results.settled_mask(reviewed, settlement).shape
    if (image_height, image_width) != (height, width):
        raise LimnerError(
            f"the image is {image_width}x{image_height} px and its mask {width}x{height}"
        )
    sha256 = hashlib.sha256(content).hexdigest()
    return Candidate(predictions.sample_id(entry), reviewed, settlement, sha256)


def match_candidates(
    results: ReviewResults,
    candidates: Sequence[Candidate],
    dataset: TargetDataset,
    *,
    replace: bool,
) -> Matches:
    """Match candidates with the samples of a dataset by the content of their images.

    An image that several candidates share joins once. Conflicts are such candidates with different
    masks, images that the dataset has with another mask (unless `replace`), and ids that the
    dataset has for another image.
    """
    matches, first_of = Matches(), dict[str, Candidate]()
    samples, ids_of = {sample.id: sample for sample in dataset.samples}, _ids_by_content(dataset)
    for candidate in candidates:
        mask = candidate.mask(results)
        first = first_of.setdefault(candidate.image_sha256, candidate)
        if first is not candidate:
            if not np.array_equal(mask, first.mask(results)):
                matches.conflicts.append(
                    f"{candidate.id}: it is the same image as {first.id}, and their masks differ"
                )
            continue
        same_image = ids_of.get(candidate.image_sha256, [])
        different = [] if replace else _with_another_mask(same_image, samples, mask, dataset.labels)
        if different:
            matches.conflicts.append(
                f"{candidate.id}: {dataset.folder} has this image as {different[0]}, with another "
                "mask; --replace takes the reviewed one"
            )
        elif same_image:
            matches.replaced |= dict.fromkeys(same_image, candidate)
        elif candidate.id in samples:
            matches.conflicts.append(
                f"{candidate.id}: {dataset.folder} has another image of that name"
            )
        else:
            matches.added.append(candidate)
    return matches


def _ids_by_content(dataset: TargetDataset) -> dict[str, list[str]]:
    """The ids of the samples that have an image, by its SHA-256."""
    ids: dict[str, list[str]] = {}
    for sample in dataset.samples:
        _, content = sample_file_content(sample)
        ids.setdefault(hashlib.sha256(content).hexdigest(), []).append(sample.id)
    return ids


def _with_another_mask(
    ids: Sequence[str],
    samples: Mapping[str, Sample],
    mask: UInt8[ndarray, "h w"],
    labels: Labels,
) -> list[str]:
    return [id for id in ids if not np.array_equal(samples[id].class_index(labels), mask)]


def sample_file_content(sample: Sample) -> tuple[str, bytes]:
    """The suffix and the content of a sample's image, as `image_file_content` gives them.

    A region of a large image becomes a file of its own.
    """
    if sample.region is not None:
        return _encode(sample.read_image())
    return image_file_content(sample.image, sample.page, sample.pages)


def image_file_content(path: Path, page: int, pages: int) -> tuple[str, bytes]:
    """The suffix and the content of an image's file, as a dataset holds it.

    Of several `pages` each becomes a file of its own: PNG, or TIFF if it has other channels than
    RGB. So does a folder that is one image.
    """
    if pages == 1 and path.is_file():
        return path.suffix, path.read_bytes()
    return _encode(read_image(path, page=page))


def _encode(pixels: UInt8[ndarray, "h w c"]) -> tuple[str, bytes]:
    return (".png", encode_png(pixels)) if pixels.shape[2] == 3 else (".tif", encode_tiff(pixels))
