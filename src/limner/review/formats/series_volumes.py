"""The slices of DICOM series, gathered into volumes."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from limner.data.readers.dicom_place import (
    SlicePlace,
    may_be_dicom,
    order_slices,
    read_place,
    series_affine,
)
from limner.review.kept_masks import KeptMask
from limner.review.predictions import Predictions


@dataclass(slots=True)
class SeriesVolume:
    """The slices of one series in one folder, in the order of their places."""

    images: tuple[str, ...]
    affine: Float[ndarray, "4 4"]
    """From column, row and slice to millimetres (RAS+)."""
    name: str = ""
    masks: dict[str, UInt8[ndarray, "h w"]] = field(default_factory=dict)
    """Those that have come, by their images."""

    def voxels(self) -> UInt8[ndarray, "w h n"]:
        """The volume; slices without a mask are background."""
        example = next(iter(self.masks.values()))
        nothing = np.zeros_like(example)
        return np.stack([self.masks.get(image, nothing).T for image in self.images], axis=2)


class SeriesVolumes:
    """The series that predictions are of.

    Args:
        predictions: Of images in any formats; those of no series are left alone.
    """

    def __init__(self, predictions: Predictions) -> None:
        self.uneven = 0
        """Slices of series that do not lie in even steps."""
        self._volume_of: dict[str, SeriesVolume] = {}
        self._names = Counter[str]()
        for places in _by_series(predictions).values():
            images = list(places)
            ordered = [images[at] for at in order_slices(list(places.values()))]
            affine = series_affine([places[image] for image in ordered])
            if affine is None:
                self.uneven += len(images)
                continue
            volume = SeriesVolume(tuple(ordered), affine)
            self._volume_of |= dict.fromkeys(ordered, volume)

    def take(self, kept: KeptMask) -> bool:
        """Take a mask, and tell whether it is of a series."""
        volume = self._volume_of.get(kept.entry.image)
        if volume is None:
            return False
        if not volume.name:
            folder = PurePosixPath(kept.name).parent.as_posix()
            name = "series" if folder == "." else folder
            self._names[name] += 1
            volume.name = name if self._names[name] == 1 else f"{name}-{self._names[name]}"
        volume.masks[kept.entry.image] = kept.mask
        return True

    def complete(self, image: str) -> SeriesVolume | None:
        """Give the volume of an image once all its masks have come, and forget it."""
        volume = self._volume_of[image]
        if len(volume.masks) < len(volume.images):
            return None
        for each in volume.images:
            del self._volume_of[each]
        return volume

    def rest(self) -> Iterator[SeriesVolume]:
        """Give the volumes of which some masks have come and others have not."""
        volumes = {id(volume): volume for volume in self._volume_of.values()}
        yield from (volume for volume in volumes.values() if volume.masks)


def _by_series(predictions: Predictions) -> dict[tuple[Path, str], dict[str, SlicePlace]]:
    """Where the images of each series lie, by folder and series."""
    found: dict[tuple[Path, str], dict[str, SlicePlace]] = defaultdict(dict)
    for image in dict.fromkeys(entry.image for entry in predictions.entries):
        path = Path(image)
        if "://" not in image and may_be_dicom(path) and (place := read_place(path)):
            found[path.parent, place.series][image] = place
    return {key: places for key, places in found.items() if len(places) > 1}
