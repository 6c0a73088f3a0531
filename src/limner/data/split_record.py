"""Which image was in which split when a model was trained. Images are known by their content.

Two folders may both hold a 001.png, and a folder may be renamed. So a record keeps a hash of each
image beside its id, and a fingerprint by which it is known when it was saved anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from limner.data.fingerprints import (
    fingerprints,
    nearest_copies,
    pack_fingerprints,
    unpack_fingerprints,
)
from limner.data.parallel import Progress, map_in_order, with_progress
from limner.data.sample import Sample
from limner.data.sample_info import SampleInfo
from limner.errors import LimnerError

CONTENT_DIGITS = 32
"""Hexadecimal digits of an image's SHA-256 that are kept: two images never share so many."""
CAUTIOUS_ORDER = ("test", "val", "train")
"""Of an image that lies in several splits, the last of these counts: it was trained on."""


@dataclass(frozen=True, slots=True)
class SplitRecord:
    """The samples of each split of a training, by id and by content."""

    ids: Mapping[str, Sequence[str]]
    """The ids of "train", "val" and "test"."""
    contents: Mapping[str, str] = field(default_factory=dict)
    """The content of each sample's image by its id, as `image_content` gives it.

    Empty in the models of earlier versions, which know images by name alone.
    """
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """The fingerprints of each split, in the order of its ids, as one text.

    Empty in the models of earlier versions, which know exact copies alone.
    """
    skipped: Sequence[str] = ()
    """The ids of samples that were left out of the training, since their files were broken."""
    earlier: Sequence[str] = ()
    """The contents of images that the models before it were trained or validated on."""

    def seen_contents(self) -> set[str]:
        """The contents of the images that the model, or one before it, was made with."""
        seen = (id for side in ("train", "val") for id in self.ids.get(side, ()))
        return {self.contents[id] for id in seen if id in self.contents} | set(self.earlier)

    def near_copies(
        self,
        samples: Sequence[Sample],
        contents: Mapping[str, str],
        thumbnails: Mapping[str, UInt8[ndarray, "64 64"]],
    ) -> dict[str, str]:
        """Find the samples whose images are those of the training, saved anew.

        Args:
            samples: of any folder.
            contents: what `read_contents` gives for them.
            thumbnails: what `fingerprints.read_thumbnails` gives for those that may be copies.

        Returns:
            For the id of each near copy, the id of the image in the training. Exact copies are
            none of them.
        """
        # Of two that are equally near, the one that was trained on counts
        sides = [side for side in reversed(CAUTIOUS_ORDER) if side in self.fingerprints]
        known_ids = [id for side in sides for id in self.ids[side]]
        exact = set(self.contents.values())
        queries = [s.id for s in samples if s.id in thumbnails and contents.get(s.id) not in exact]
        if not known_ids or not queries:
            return {}
        position_by_id = {id: position for position, id in enumerate(known_ids)}
        copies = nearest_copies(
            np.stack([thumbnails[id] for id in queries]),
            np.concatenate([unpack_fingerprints(self.fingerprints[side]) for side in sides]),
            np.array([position_by_id.get(id, -1) for id in queries]),
        )
        return {
            id: known_ids[copy]
            for id, copy in zip(queries, copies, strict=True)
            if copy is not None
        }

    def assign(
        self,
        samples: Sequence[Sample],
        contents: Mapping[str, str],
        copies: Mapping[str, str] | None = None,
    ) -> dict[str, list[Sample]]:
        """Split samples as they were split in the training.

        Args:
            samples: of the same folder or of another one.
            contents: what `read_contents` gives for them. Not looked at where the record has none.
            copies: what `near_copies` gives for them; by default there are none.

        Returns:
            The samples of "train", "val" and "test", and "new" for those that were not there. Each
            is in the order of the ids.
        """
        side_by_id = {id: side for side, ids in self.ids.items() for id in ids}
        side_by_content = dict.fromkeys(self.earlier, "train") | {
            self.contents[id]: side
            for side in CAUTIOUS_ORDER
            for id in self.ids.get(side, ())
            if id in self.contents
        }

        def side_of(id: str) -> str:
            if not self.contents or self.contents.get(id, "") == contents.get(id):
                return side_by_id.get(id, "new")
            copied = (copies or {}).get(id, "")
            return side_by_content.get(contents.get(id, "")) or side_by_id.get(copied, "new")

        sides: dict[str, list[Sample]] = {"train": [], "val": [], "test": [], "new": []}
        for sample in sorted(samples, key=lambda sample: sample.id):
            sides[side_of(sample.id)].append(sample)
        return sides


def image_content(sample: Sample, sha256: bytes) -> str:
    """Name the content of a sample's image.

    Args:
        sample: tells which page of its file it is.
        sha256: of the bytes of its file.
    """
    page = f"#{sample.page}" if sample.pages > 1 else ""
    return sha256.hex()[:CONTENT_DIGITS] + page


def known_fingerprints(
    ids: Mapping[str, Sequence[str]], infos: Mapping[str, SampleInfo]
) -> dict[str, str]:
    """The fingerprints of each split, in the order of its ids, from what the check has read."""
    return {
        side: pack_fingerprints(fingerprints(np.stack([infos[id].thumbnail for id in members])))
        for side, members in ids.items()
        if members and all(id in infos for id in members)
    }


def known_contents(samples: Sequence[Sample], infos: Mapping[str, SampleInfo]) -> dict[str, str]:
    """Name the content of samples that the check has read, by id.

    Args:
        samples: any; those that the check has not read are left out.
        infos: what the check learnt, by id.
    """
    contents = {}
    for sample in samples:
        info = infos.get(sample.id)
        if info is not None and info.digest is not None:
            contents[sample.id] = image_content(sample, info.digest.image)
    return contents


def read_contents(samples: Sequence[Sample], progress: Progress | None = None) -> dict[str, str]:
    """Hash the image file of each sample; nothing is decoded.

    Returns the contents by id, without those of files that cannot be read.
    """

    def read(sample: Sample) -> str | None:
        try:
            return image_content(sample, sample.image_sha256())
        except (OSError, LimnerError):
            return None

    read_in_order = with_progress(map_in_order(read, samples), len(samples), progress)
    return {
        sample.id: content
        for sample, content in zip(samples, read_in_order, strict=True)
        if content is not None
    }
