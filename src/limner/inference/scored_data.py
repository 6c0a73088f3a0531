"""Which images of a folder a model is scored on: a split of its training, or other data.

Images are known by their content. A folder of other images is other data, also where its files have
the names of the training's: it is scored as a whole, under its own name. Images of the training
that were saved anew are known by their fingerprints, and stay in their split.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jaxtyping import UInt8
from numpy import ndarray

from limner.data.dataset import Dataset
from limner.data.sample import Sample
from limner.data.split_record import SplitRecord
from limner.errors import LimnerError
from limner.plurals import count_noun

DEFAULT_SPLIT = "test"
"""What is scored where nothing else is said."""
HELD_OUT = frozenset({"test", "new"})
"""Splits of which no model that is scored on them may have seen an image."""
SEEN = ("train", "val")
"""Splits that a model was trained or validated on."""
SHOWN = 5
"""Images that a note names."""

Thumbnails = Mapping[str, UInt8[ndarray, "64 64"]]
"""By the ids of samples."""


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


@dataclass(frozen=True, slots=True)
class _KnownFolder:
    """A folder as one model knows it."""

    record: SplitRecord
    dataset: Dataset
    contents: Mapping[str, str]
    copies: Mapping[str, str]
    """For the id of each near copy the id of the image in the training."""
    sides: dict[str, list[Sample]]

    @classmethod
    def of(
        cls,
        record: SplitRecord,
        dataset: Dataset,
        contents: Mapping[str, str],
        thumbnails: Thumbnails,
    ) -> "_KnownFolder":
        copies = record.near_copies(dataset.samples, contents, thumbnails)
        sides = record.assign(dataset.samples, contents, copies)
        return cls(record, dataset, contents, copies, sides)

    @property
    def known(self) -> int:
        """How many images were there in the training, near copies among them."""
        return sum(len(self.sides[side]) for side in ("train", "val", "test"))

    @property
    def is_home(self) -> bool:
        """Whether this is the data of the training, and not other data with a few of its images."""
        return self.known - len(self.copies) >= len(self.dataset.samples) / 2

    def seen_among(self, samples: Sequence[Sample]) -> list[str]:
        """The ids of the samples that the model was trained or validated on."""
        seen = {sample.id for side in SEEN for sample in self.sides[side]}
        return [sample.id for sample in samples if sample.id in seen]


def unknown_samples(
    records: Sequence[SplitRecord], samples: Sequence[Sample], contents: Mapping[str, str]
) -> list[Sample]:
    """The samples that may be near copies of what one of the models was trained on.

    Args:
        records: as for `choose_scored_data`, as are `contents`.
        samples: of the folder.
    """
    exact = [set(record.contents.values()) for record in records if record.fingerprints]
    return [
        sample for sample in samples if any(contents.get(sample.id) not in known for known in exact)
    ]


def choose_scored_data(
    records: Sequence[SplitRecord],
    dataset: Dataset,
    contents: Mapping[str, str],
    split: str | None = None,
    thumbnails: Thumbnails | None = None,
) -> ScoredData:
    """Choose the samples of a folder on which one or several models are scored.

    The split is that of the model which knows most of the folder, whatever the models' order.

    Args:
        records: the splits of the models' trainings, one of each.
        dataset: the folder.
        contents: of its images by id, from `split_record.read_contents`.
        split: "train", "val", "test", "new" (not there in the training) or "all". By default it is
            "test". It is "new" where a folder has no test image, and some that are new.
        thumbnails: of its `unknown_samples`; by default near copies are not looked for.

    Raises LimnerError where there is no such sample, and where one model was trained on what
    another one held out.
    """
    folders = [_KnownFolder.of(record, dataset, contents, thumbnails or {}) for record in records]
    folder = max(folders, key=lambda each: each.known)
    sides = folder.sides
    if split not in {None, "all", *sides}:
        raise LimnerError(f"--split {split} is not a split. Choose {', '.join(sides)} or all.")
    if not folder.known:
        return _other_data(folder, split)
    changed = _take_changed(folder, split or DEFAULT_SPLIT)
    chosen = split or ("test" if sides["test"] or not sides["new"] else "new")
    samples = [
        sample for name, group in sides.items() for sample in group if chosen in {"all", name}
    ]
    if not samples:
        raise LimnerError(_nothing_to_score(folder, chosen))
    if chosen in HELD_OUT:
        for other in folders:
            if other is not folder:
                _require_unseen(samples, chosen, other)
    notes = [*_notes(folder, chosen, explicit=split is not None), *_copy_notes(folder, chosen)]
    if changed:
        notes.append(
            f"{count_noun(len(changed), f'image of {chosen} has', f'images of {chosen} have')} "
            f"other content than in the training, such as {_some(changed)}. Known by name alone, "
            "what is there was saved anew or is damaged"
        )
    name = "" if folder.is_home else dataset.root.resolve().name
    return ScoredData(chosen, samples, sides, name, _sha256(samples, contents), notes)


def _take_changed(folder: _KnownFolder, split: str) -> list[str]:
    """Move new images that bear a name of a split into it, and return their ids.

    In a folder that the model knows, such an image was saved anew or is damaged. Left out, it would
    be missed by nobody.
    """
    if not folder.is_home:
        return []
    names, sides = set(folder.record.ids.get(split, ())), folder.sides
    changed = [sample for sample in sides["new"] if sample.id in names]
    if changed:
        sides["new"] = [sample for sample in sides["new"] if sample.id not in names]
        sides[split] = sorted([*sides[split], *changed], key=lambda sample: sample.id)
    return [sample.id for sample in changed]


def _nothing_to_score(folder: _KnownFolder, split: str) -> str:
    there = ", ".join(f"{name} ({len(group)})" for name, group in folder.sides.items() if group)
    copies = folder.copies
    saved_anew = (
        f" {count_noun(len(copies), 'of them is', 'of them are')} known by their looks: "
        f"{_copies_named(copies)}."
        if copies
        else ""
    )
    others = [name for name in ("new", "val", "train") if folder.sides[name]]
    return (
        f"{folder.dataset.root} has no {split} split. There are {there}; note that val chose the "
        f"best epoch, and train flatters the model.{saved_anew} Say --split {others[0]}, for "
        "example."
    )


def _other_data(folder: _KnownFolder, split: str | None) -> ScoredData:
    """All samples of a folder that no model knows anything of."""
    dataset = folder.dataset
    if split in {"train", "val", "test"}:
        raise LimnerError(
            f"none of the images of {dataset.root} was there when the model was trained, so it "
            f"has no {split} split. Leave --split out: all of them are scored."
        )
    if not dataset.samples:
        raise LimnerError(f"{dataset.root} has no image with a mask. Nothing can be scored.")
    samples = sorted(dataset.samples, key=lambda sample: sample.id)
    note = (
        f"none of the {count_noun(len(samples), 'image')} of {dataset.root} was there when the "
        "model was trained: it is other data, and all of it is scored"
    )
    same_names = {id for ids in folder.record.ids.values() for id in ids}
    if any(sample.id in same_names for sample in samples):
        note += ". Its files have names of the training's, but other content"
    notes = [note, *_skipped_notes(folder), *_record_notes(folder)]
    sha256 = _sha256(samples, folder.contents)
    return ScoredData("all", samples, {"new": samples}, dataset.root.resolve().name, sha256, notes)


def _notes(folder: _KnownFolder, split: str, *, explicit: bool) -> list[str]:
    """What is told about the images that are not scored although one may expect it."""
    record, sides = folder.record, folder.sides
    notes = _record_notes(folder)
    new = sides["new"]
    if split == "new" and not explicit:
        notes.append(
            f"{folder.dataset.root} has no test image of the training. What is scored was not "
            f"there then: {count_noun(len(new), 'image')}, such as "
            f"{_some([sample.id for sample in new])}"
        )
    elif split not in {"new", "all"} and new:
        were = count_noun(len(new), "image was", "images were")
        notes.append(
            f"{were} not there when the model was trained, and in no split, such as "
            f"{_some([sample.id for sample in new])}. --split new scores what is new"
        )
    notes += _skipped_notes(folder)
    recorded = record.ids.get(split, ())
    if missing := _missing(folder, recorded, sides.get(split, ())):
        are = "is" if len(missing) == 1 else "are"
        notes.append(
            f"{len(missing)} of the {len(recorded)} {split} images of the training {are} not in "
            f"{folder.dataset.root} as before, such as {_some(missing)}"
        )
    return notes


def _record_notes(folder: _KnownFolder) -> list[str]:
    """What the record of an earlier version cannot tell."""
    if not folder.record.contents:
        return [
            "the model was trained by an earlier version, which knew images by name alone. Be "
            "sure that this is the data of its training"
        ]
    if folder.sides["new"] and not folder.record.fingerprints:
        return [
            "the model was trained by an earlier version, which kept no fingerprints. Only exact "
            "copies of its training images are found: those saved anew, as JPEG or at another "
            "size, count as new"
        ]
    return []


def _skipped_notes(folder: _KnownFolder) -> list[str]:
    """What is told about images that the training left out, and that are here now."""
    skipped = set(folder.record.skipped)
    there = [
        sample.id
        for sample in folder.sides["new"]
        # Of a file without a partner, the name alone is known
        if not skipped.isdisjoint({sample.id, sample.id.rpartition("/")[2]})
    ]
    if not there:
        return []
    were = count_noun(len(there), "new image has the name", "new images have names")
    return [
        f"{were} of what the training left out as broken (--skip-broken), such as {_some(there)}. "
        "The model was not trained on it, and it was in no split"
    ]


def _copy_notes(folder: _KnownFolder, split: str) -> list[str]:
    """What is told about images that the model has seen, and of near copies that are scored."""
    notes = []
    seen = [sample for side in SEEN for sample in folder.sides[side]]
    copies = {s.id: folder.copies[s.id] for s in seen if s.id in folder.copies}
    of_these = (
        f"{len(copies)} of them by their looks: {_copies_named(copies)}"
        if copies
        else f"such as {_some([sample.id for sample in seen])}"
    )
    if seen and split == "all":
        notes.append(
            f"{count_noun(len(seen), 'scored image is', 'scored images are')} known from training "
            f"or validation, {of_these}. The scores flatter the model"
        )
    elif split in HELD_OUT and (copies or (seen and not folder.is_home)):
        notes.append(
            f"{count_noun(len(seen), 'image is', 'images are')} known from training or "
            f"validation, {of_these}. A score on these would flatter the model, so they are left "
            "out; --split all scores all"
        )
    scored = {s.id: folder.copies[s.id] for s in folder.sides["test"] if s.id in folder.copies}
    if scored and split in {"test", "all"}:
        images = count_noun(
            len(scored), "image of the test split is", "images of the test split are"
        )
        notes.append(f"{images} known by their looks: {_copies_named(scored)}")
    return notes


def _copies_named(copies: Mapping[str, str]) -> str:
    """Name near copies with their originals, where the two have other names."""
    named = [id if id == origin else f"{id} (was {origin})" for id, origin in copies.items()]
    return f"near copies, such as {_some(named)}, which were saved anew or show the same scene"


def _missing(folder: _KnownFolder, recorded: Sequence[str], there: Sequence[Sample]) -> list[str]:
    """The recorded ids whose images are not among the samples, under this name or another."""
    ids = {sample.id for sample in there} | {
        folder.copies[sample.id] for sample in there if sample.id in folder.copies
    }
    images = {folder.contents.get(sample.id) for sample in there}
    contents = folder.record.contents
    return [id for id in recorded if id not in ids and contents.get(id, id) not in images]


def _require_unseen(samples: Sequence[Sample], split: str, other: _KnownFolder) -> None:
    """Raise LimnerError where another model was trained or validated on one of the samples."""
    if seen := other.seen_among(samples):
        images = count_noun(len(seen), f"image of {split}", f"images of {split}")
        were = "was" if len(seen) == 1 else "were"
        raise LimnerError(
            f"{images}, such as {seen[0]}, {were} among the training or validation images of "
            "another of the models. Compare models of one split: train both on the same folder "
            "with the same data.split_seed."
        )


def _sha256(samples: Sequence[Sample], contents: Mapping[str, str]) -> str:
    """Hash what is scored, whatever the names of the images and their order."""
    listed = sorted(contents[sample.id] for sample in samples if sample.id in contents)
    return hashlib.sha256("\n".join(listed).encode()).hexdigest()


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:SHOWN])
