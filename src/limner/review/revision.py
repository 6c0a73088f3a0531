"""The next revision of a dataset as files: images, masks, labels, a manifest and provenance."""

import csv
import io
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from jaxtyping import UInt
from numpy import ndarray

from limner.data.sample import Sample
from limner.data.stacks import pages_in_file
from limner.data.storage import Storage
from limner.data.writers.png import encode_png
from limner.files import atomic_folder, printable_name, write_atomic
from limner.labels import VOID, dump_labels
from limner.review.kept_masks import safe_file_name
from limner.review.matching import (
    Candidate,
    Matches,
    TargetDataset,
    image_file_content,
    sample_file_content,
)
from limner.review.verdicts import ReviewResults
from limner.review.void import with_void

PROVENANCE, MANIFEST = "provenance.jsonl", "dataset.csv"
COLUMNS = ["id", "image", "mask", "split", "group"]


def write_revision(
    out: Path, dataset: TargetDataset, matches: Matches, results: ReviewResults
) -> None:
    """Write a dataset's samples and the matched masks into a new folder, all of it or nothing."""
    official_split = any(sample.split for sample in dataset.samples)
    with atomic_folder(out) as folder:
        writer = RevisionWriter(folder, dataset, results, _earlier_provenance(dataset.folder))
        for sample in dataset.samples:
            writer.add_sample(sample, matches.replaced.get(sample.id))
        for candidate in matches.added:
            writer.add_candidate(candidate, split="train" if official_split else "")
        writer.finish()


@dataclass(slots=True)
class RevisionWriter:
    """Writes a revision sample by sample; `finish` writes the tables.

    The labels get a value for void where a reviewed mask has void and the dataset has no value.
    """

    folder: Path
    dataset: TargetDataset
    results: ReviewResults
    provenance: list[str]
    """Lines of `provenance.jsonl`."""
    rows: list[dict[str, str]] = field(default_factory=list)
    """Rows of the manifest."""

    def add_sample(self, sample: Sample, reviewed: Candidate | None) -> None:
        """Write a sample of the dataset, with its own mask or a reviewed one."""
        image = self._write_image(sample.id, *sample_file_content(sample))
        if reviewed:
            mask = self._write_reviewed_mask(sample.id, reviewed)
        elif file := sample.own_mask_file():
            name = f"masks/{safe_file_name(sample.id)}{file.suffix}"
            mask = self._write(name, file.read_bytes())
        else:
            labels = self.dataset.labels
            mask = self._write_mask(sample.id, labels.to_source_pixels(sample.class_index(labels)))
        self._add_row(sample.id, image, mask, sample.split or "", sample.group or "")

    def add_candidate(self, candidate: Candidate, split: str) -> None:
        """Write a reviewed image and its mask as a new sample."""
        entry = candidate.entry
        with self.results.predictions.image_file(entry) as path:
            image = self._write_image(
                candidate.id, *image_file_content(path, entry.page, pages_in_file(path))
            )
        mask = self._write_reviewed_mask(candidate.id, candidate)
        self._add_row(candidate.id, image, mask, split, entry.group or "")

    def finish(self) -> None:
        """Write the labels, the provenance and the manifest, which is last and durable."""
        table = io.StringIO()
        writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        write_atomic(self.folder / "labels.toml", dump_labels(self.dataset.labels))
        write_atomic(self.folder / PROVENANCE, "".join(f"{line}\n" for line in self.provenance))
        write_atomic(self.folder / MANIFEST, table.getvalue(), durable=True)

    def _add_row(self, id: str, image: str, mask: str, split: str, group: str) -> None:
        values = printable_name(id), image, mask, split, group
        self.rows.append(dict(zip(COLUMNS, values, strict=True)))

    def _write_reviewed_mask(self, id: str, candidate: Candidate) -> str:
        self.provenance.append(_provenance_line(id, candidate, self.results))
        mask = candidate.mask(self.results)
        if (mask == VOID).any():
            self.dataset = replace(self.dataset, labels=with_void(self.dataset.labels))
        return self._write_mask(id, self.dataset.labels.to_source_pixels(mask))

    def _write_image(self, id: str, suffix: str, content: bytes) -> str:
        return self._write(f"images/{safe_file_name(id)}{suffix}", content)

    def _write_mask(self, id: str, pixels: UInt[ndarray, "h w *c"]) -> str:
        return self._write(f"masks/{safe_file_name(id)}.png", encode_png(pixels))

    def _write(self, name: str, content: bytes) -> str:
        Storage(self.folder).write_bytes(name, content)
        return name


def _provenance_line(id: str, candidate: Candidate, results: ReviewResults) -> str:
    event, *others = candidate.events
    notes = [asdict(note) for one in candidate.events for note in results.store.notes(one.entry)]
    return json.dumps(
        {
            "id": printable_name(id),
            "image": candidate.entry.image,
            "image_sha256": candidate.image_sha256,
            "models": list(results.predictions.models),
            "base_hash": event.base_hash,
            "mask_hash": event.mask_hash,
            "verdict": event.verdict,
            "reviewer": event.reviewer,
            "at": event.at,
            "event": event.hash,
            **({"notes": notes} if notes else {}),
            **(_consensus_record(candidate) if others else {}),
        }
    )


def _consensus_record(candidate: Candidate) -> dict[str, Any]:
    """By what the masks of several people became one, and whose they were."""
    return {
        "consensus": candidate.settlement.consensus,
        "reviewers": [
            {"reviewer": event.reviewer, "mask_hash": event.mask_hash, "event": event.hash}
            for event in candidate.events
        ],
    }


def _earlier_provenance(dataset: Path) -> list[str]:
    """The lines of the dataset's own provenance, if it is a revision itself."""
    path = dataset / PROVENANCE
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
