"""Which images of a folder a model is scored on: a split of its training, or other data.

Images are known by their content. A folder of other images is other data, also where its files have
the names of the training's: it is scored as a whole, under its own name.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from limner.data.dataset import Dataset
from limner.data.sample import Sample
from limner.data.split_record import SplitRecord
from limner.errors import LimnerError

DEFAULT_SPLIT = "test"
"""What is scored where nothing else is said."""
HELD_OUT = frozenset({"test", "new"})
"""Splits of which no model that is scored on them may have seen an image."""
SHOWN = 5
"""Images that a note names."""


@dataclass(frozen=True, slots=True)
class ScoredData:
    """The samples that models are scored on."""

    split: str
    """"train", "val", "test" or "new" of the training, or "all" images of the folder."""
    samples: Sequence[Sample]
    sides: Mapping[str, Sequence[Sample]] = field(default_factory=dict)
    """All samples of the folder by their split in the training; "new" was in none."""
    name: str = ""
    """Of other data, the name of its folder; empty for the data of the training."""
    sha256: str = ""
    """Of the content of all samples; empty where the models know images by name alone."""
    notes: Sequence[str] = ()
    """What people are told about the choice."""

    @property
    def key(self) -> str:
        """What a run counts the scorings of this data by."""
        return f"{self.name} {self.sha256[:12]}" if self.name else self.split

    @property
    def title(self) -> str:
        """What people call it: "test", or "hospital-b"."""
        return self.name or self.split


def choose_scored_data(
    records: Sequence[SplitRecord],
    dataset: Dataset,
    contents: Mapping[str, str],
    split: str | None = None,
) -> ScoredData:
    """Choose the samples of a folder on which one or several models are scored.

    Args:
        records: the splits of the models' trainings, one of each.
        dataset: the folder.
        contents: of its images by id, from `split_record.read_contents`.
        split: "train", "val", "test", "new" (not there in the training) or "all". By default it is
            "test", and "all" where the models know none of the images.

    Raises LimnerError where there is no such sample, and where one model was trained on what
    another one held out.
    """
    first, *others = (record.assign(dataset.samples, contents) for record in records)
    if split not in {None, "all", *first}:
        raise LimnerError(f"--split {split} is not a split. Choose {', '.join(first)} or all.")
    if not any(first[side] for side in ("train", "val", "test")):
        return _other_data(records, dataset, contents, split)
    chosen = split or DEFAULT_SPLIT
    changed = _take_changed(records[0], first, chosen)
    samples = [
        sample for name, group in first.items() for sample in group if chosen in {"all", name}
    ]
    if not samples:
        there = ", ".join(f"{name} ({len(group)})" for name, group in first.items() if group)
        raise LimnerError(
            f"{dataset.root} has no {chosen} split. There are {there}; note that val chose the "
            "best epoch. Say --split val, for example."
        )
    if chosen in HELD_OUT:
        for other in others:
            _require_unseen(samples, chosen, other)
    notes = _notes(records[0], first, chosen, dataset, contents)
    if changed:
        notes.append(
            f"{len(changed)} images of {chosen} have other content than in the training, such as "
            f"{_some(changed)}, and are known by their names alone: they were saved anew, or "
            "are damaged"
        )
    return ScoredData(chosen, samples, first, sha256=_sha256(samples, contents), notes=notes)


def _take_changed(record: SplitRecord, sides: dict[str, list[Sample]], split: str) -> list[str]:
    """Move new images that bear a name of a split into it, and return their ids.

    In a folder that the model knows, such an image was saved anew or is damaged. Left out, it would
    be missed by nobody.
    """
    names = set(record.ids.get(split, ()))
    changed = [sample for sample in sides["new"] if sample.id in names]
    if changed:
        sides["new"] = [sample for sample in sides["new"] if sample.id not in names]
        sides[split] = sorted([*sides[split], *changed], key=lambda sample: sample.id)
    return [sample.id for sample in changed]


def _other_data(
    records: Sequence[SplitRecord],
    dataset: Dataset,
    contents: Mapping[str, str],
    split: str | None,
) -> ScoredData:
    """All samples of a folder that the first model knows nothing of."""
    if split in {"train", "val", "test"}:
        raise LimnerError(
            f"none of the images of {dataset.root} was there when the model was trained, so it "
            f"has no {split} split. Leave --split out: all of them are scored."
        )
    if not dataset.samples:
        raise LimnerError(f"{dataset.root} has no image with a mask. Nothing can be scored.")
    samples = sorted(dataset.samples, key=lambda sample: sample.id)
    for record in records[1:]:
        _require_unseen(samples, "new", record.assign(samples, contents))
    name = dataset.root.resolve().name
    note = (
        f"none of the {len(samples)} images of {dataset.root} was there when the model was "
        "trained: it is other data, and all of it is scored"
    )
    same_names = {id for ids in records[0].ids.values() for id in ids}
    if any(sample.id in same_names for sample in samples):
        note += ". Its files have names of the training's, but other content"
    sha256 = _sha256(samples, contents)
    return ScoredData("all", samples, {"new": samples}, name, sha256, (note,))


def _notes(
    record: SplitRecord,
    sides: Mapping[str, Sequence[Sample]],
    split: str,
    dataset: Dataset,
    contents: Mapping[str, str],
) -> list[str]:
    """What is told about the images that are not scored although one may expect it."""
    notes = []
    if not record.contents:
        notes.append(
            "the model was trained by an earlier version, which knew images by name alone. Be "
            "sure that this is the data of its training"
        )
    if split not in {"new", "all"} and sides["new"]:
        notes.append(
            f"{len(sides['new'])} images were not there when the model was trained, and are in "
            f"no split, such as {_some([sample.id for sample in sides['new']])}. --split new "
            "scores them"
        )
    recorded = record.ids.get(split, ())
    if missing := _missing(record, recorded, sides.get(split, ()), contents):
        notes.append(
            f"{len(missing)} of the {len(recorded)} {split} images of the training are not in "
            f"{dataset.root} as they were, such as {_some(missing)}"
        )
    return notes


def _missing(
    record: SplitRecord,
    recorded: Sequence[str],
    there: Sequence[Sample],
    contents: Mapping[str, str],
) -> list[str]:
    """The recorded ids whose images are not among the samples, under this name or another."""
    ids = {sample.id for sample in there}
    images = {contents.get(sample.id) for sample in there}
    return [id for id in recorded if id not in ids and record.contents.get(id, id) not in images]


def _require_unseen(
    samples: Sequence[Sample], split: str, sides: Mapping[str, Sequence[Sample]]
) -> None:
    """Raise LimnerError where another model was trained or validated on one of the samples."""
    trained = {sample.id for name in ("train", "val") for sample in sides.get(name, [])}
    if seen := [sample.id for sample in samples if sample.id in trained]:
        raise LimnerError(
            f"{len(seen)} images of {split}, such as {seen[0]}, were among the training or "
            "validation images of another of the models. Compare models of one split: train both "
            "on the same folder with the same data.split_seed."
        )


def _sha256(samples: Sequence[Sample], contents: Mapping[str, str]) -> str:
    """Hash what is scored, whatever the names of the images and their order."""
    listed = sorted(contents[sample.id] for sample in samples if sample.id in contents)
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:SHOWN])
