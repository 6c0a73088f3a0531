"""DICOM images of one patient, which belong together like the pages of a stack."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from limner.data.findings import Finding
from limner.data.parallel import map_in_order
from limner.data.readers.dicom_file import read_tags
from limner.data.readers.dicom_place import may_be_dicom
from limner.data.sample import Sample

IDENTITIES = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
"""What tells images apart, the widest first. The first that has several values counts: where names
were taken out, all images may have one patient.
"""
KINDS = {"PatientID": "patient", "StudyInstanceUID": "study", "SeriesInstanceUID": "series"}
PLURALS = {"patient": "patients", "study": "studies", "series": "series"}
HASH_DIGITS = 12
"""Of a group's name, which must not name a person."""


def with_dicom_groups(samples: Sequence[Sample]) -> tuple[list[Sample], list[Finding]]:
    """Give DICOM images without a group the one that their files state, and say so."""
    files = {
        sample.image for sample in samples if sample.group is None and may_be_dicom(sample.image)
    }
    ordered = sorted(files)
    found = dict(zip(ordered, map_in_order(_read_identity, ordered), strict=True))
    place = next(
        (
            index
            for index in range(len(IDENTITIES))
            if len({identity[index] for identity in found.values()} - {""}) > 1
        ),
        None,
    )
    if place is None:
        return list(samples), []
    kind = KINDS[IDENTITIES[place]]
    groups = {
        path: f"{kind} {_hash(identity[place])}"
        for path, identity in found.items()
        if identity[place]
    }
    count = len(set(groups.values()))
    if count == len(groups):
        # One image of each
        return list(samples), []
    grouped = [
        replace(sample, group=groups[sample.image])
        if sample.group is None and sample.image in groups
        else sample
        for sample in samples
    ]
    message = (
        f"{len(groups)} DICOM images are of {count} {PLURALS[kind]}, by their {IDENTITIES[place]}. "
        "Images of one stay in one split. A groups.csv overrides it."
    )
    return grouped, [Finding("dicom-groups", "note", str(next(iter(groups))), message)]


def _read_identity(path: Path) -> tuple[str, ...]:
    """What a file says of whom it shows; empty texts where it says nothing."""
    head = read_tags(path, IDENTITIES)
    return tuple(str(head.get(name, "") or "") if head else "" for name in IDENTITIES)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]
