"""Compare the masks of a dataset with predictions, and say of each how it may be wrong."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from numpy import ndarray
from PIL import Image

from limner.data.sample import Sample
from limner.inference.audit_record import AuditedMask
from limner.inference.calibration import with_background
from limner.inference.label_errors import MaskRows, label_error_probabilities
from limner.inference.label_evidence import Box, ClassPrediction, Evidence, box_of
from limner.inference.predictor import Predictor
from limner.inference.simulated_errors import WRONG_CLASS, ErrorSimulator
from limner.labels import VOID, Labels
from limner.metrics.overlap import image_dice

WORKING_PX = 384
"""The longer side at which masks are compared; larger images are made smaller."""
MAX_SIMULATED = 4000
"""Simulated errors in all."""
MIN_PREDICTED_SHARE = 0.0005
"""A class that is not in the mask is compared where so much of the image was predicted as it."""

Mask = Bool[ndarray, "h w"]


@dataclass(frozen=True, slots=True)
class _Row:
    """One class of one image."""

    image: int
    class_index: int
    evidence: Evidence
    box: Box | None
    """Of the mask, or where it is empty of the prediction."""


@dataclass(frozen=True, slots=True)
class _ComparedImage:
    id: str
    scale: float
    """Pixels of the image for one of the comparison."""
    dice: float
    predicted_dice: float | None
    model: str


@dataclass(slots=True)
class MaskComparison:
    """Collects how the masks of a dataset differ from predictions; `judge` ranks them.

    Args:
        labels: Of the masks, and of the models.
        count: How many masks there will be.
        other_masks: A few masks of the set in class indices, for simulated errors.
        seed: Of the simulated errors.
    """

    labels: Labels
    count: int
    other_masks: Sequence[UInt8[ndarray, "h w"]]
    seed: int = 0
    _images: list[_ComparedImage] = field(default_factory=list)
    _rows: list[_Row] = field(default_factory=list)
    _simulated: list[tuple[int, str, Evidence]] = field(default_factory=list)

    def add(self, sample: Sample, predictor: Predictor, model: str) -> None:
        """Predict an image, and compare its mask with the prediction.

        Args:
            sample: The image and its mask.
            predictor: Of a model that never saw the image.
            model: What people call it.

        Raises LimnerError where the image or the mask cannot be read.
        """
        truth = sample.class_index(self.labels)
        prediction = predictor.predict(sample.read_image(channels=predictor.channels))
        scale = max(1.0, max(truth.shape) / WORKING_PX)
        probabilities = _shrink(prediction.calibration(prediction.probabilities), scale)
        mask = _shrink_mask(truth, probabilities.shape[1:])
        number = len(self._images)
        dice = image_dice(prediction.mask, truth, self.labels)
        self._images.append(
            _ComparedImage(sample.id, scale, dice, prediction.predicted_dice, model)
        )
        self._compare(number, with_background(probabilities), mask)

    def judge(self) -> list[AuditedMask]:
        """Rank all masks, the likeliest to be wrong first."""
        if not self._simulated:
            return [self._describe(image, None, 0.0, "") for image in self._images]
        quality = np.array(
            [
                image.predicted_dice if image.predicted_dice is not None else math.nan
                for image in self._images
            ]
        )
        known = quality[~np.isnan(quality)]
        quality[np.isnan(quality)] = known.mean() if len(known) else 1.0
        probabilities, kinds = label_error_probabilities(
            _as_rows([(row.image, row.evidence) for row in self._rows], quality),
            _as_rows([(image, evidence) for image, _, evidence in self._simulated], quality),
            [kind for _, kind, _ in self._simulated],
        )
        total = probabilities.sum(1)
        worst: dict[int, int] = {}
        for number, row in enumerate(self._rows):
            best = worst.get(row.image)
            if best is None or total[number] > total[best]:
                worst[row.image] = number
        audited = []
        for number, image in enumerate(self._images):
            place = worst.get(number)
            if place is None:
                audited.append(self._describe(image, None, 0.0, ""))
                continue
            row = self._rows[place]
            kind = _likeliest_kind(row.evidence, probabilities[place], kinds)
            audited.append(self._describe(image, row, float(total[place]), kind))
        return sorted(audited, key=lambda mask: (-mask.probability, mask.id))

    def _compare(
        self, number: int, probabilities: Float32[ndarray, "k h w"], mask: UInt8[ndarray, "h w"]
    ) -> None:
        valid, predicted = mask != VOID, probabilities.argmax(0)
        rng = np.random.default_rng((self.seed, number))
        for class_index in self.labels.scored:
            inside = mask == class_index
            share = float((predicted == class_index).mean())
            if not inside.any() and share < MIN_PREDICTED_SHARE and not self.labels.binary:
                continue
            others = tuple(other for other in self.labels.scored if other != class_index)
            prediction = ClassPrediction(probabilities, class_index, others)
            evidence = prediction.compare(inside, valid)
            shown = inside if inside.any() else prediction.mask
            box = box_of(shown) if shown.any() else None
            self._rows.append(_Row(number, class_index, evidence, box))
            for kind, wrong in self._errors(rng, class_index, mask):
                self._simulated.append((number, kind, prediction.compare(wrong & valid, valid)))

    def _errors(
        self, rng: np.random.Generator, class_index: int, mask: UInt8[ndarray, "h w"]
    ) -> Iterator[tuple[str, Mask]]:
        """Errors drawn into the mask of a class: of some images each kind, of others none."""
        simulator = ErrorSimulator(rng, [other == class_index for other in self.other_masks])
        kinds = simulator.kinds if self.labels.binary else (*simulator.kinds, WRONG_CLASS)
        rows = self.count * (1 if self.labels.binary else min(len(self.labels.scored), 4))
        wanted = MAX_SIMULATED / max(rows, 1)
        if rng.random() > wanted / len(kinds):
            return
        inside = mask == class_index
        for kind in kinds:
            if kind == WRONG_CLASS:
                foreign = np.isin(mask, self.labels.scored) & ~inside
                wrong = simulator.rename(inside, foreign)
            else:
                wrong = simulator.draw(kind, inside)
            if wrong is not None:
                yield kind, wrong

    def _describe(
        self, image: _ComparedImage, row: _Row | None, probability: float, kind: str
    ) -> AuditedMask:
        box = _box_of_kind(row, kind) if row else None
        return AuditedMask(
            id=image.id,
            probability=round(probability, 4),
            kind=kind,
            class_name=self.labels.names[row.class_index] if row else "",
            box=_scaled(box, image.scale) if box else None,
            detail=self._detail(row, kind, image.scale) if row else "",
            dice=None if math.isnan(image.dice) else round(image.dice, 4),
            predicted_dice=image.predicted_dice,
            model=image.model,
        )

    def _detail(self, row: _Row, kind: str, scale: float) -> str:
        """What would mend a mask."""
        evidence = row.evidence
        if kind == "shifted":
            return _describe_shift(evidence.shift_px, scale)
        if kind in {"loose outline", "tight outline"} and evidence.offset_px:
            width = max(1, round(abs(evidence.offset_px) * scale))
            return f"by about {width} px {'too wide' if evidence.offset_px > 0 else 'too narrow'}"
        if kind == WRONG_CLASS and evidence.other_class is not None:
            return f"it looks like {self.labels.names[evidence.other_class]}"
        return ""


def _as_rows(evidence: Sequence[tuple[int, Evidence]], quality: ndarray) -> MaskRows:
    images = np.array([image for image, _ in evidence])
    return MaskRows(np.stack([each.features for _, each in evidence]), images, quality[images])


def _likeliest_kind(evidence: Evidence, probabilities: ndarray, kinds: Sequence[str]) -> str:
    """The kind of the highest probability, of those whose place is known."""
    without_place: dict[str, Callable[[Evidence], bool]] = {
        "missing object": lambda each: each.missing is None,
        "invented object": lambda each: each.invented is None,
        WRONG_CLASS: lambda each: each.other_class is None,
        "shifted": lambda each: each.shift_px == (0, 0),
    }
    for number in np.argsort(-probabilities):
        kind = kinds[int(number)]
        if kind not in without_place or not without_place[kind](evidence):
            return kind
    return kinds[int(probabilities.argmax())]


def _box_of_kind(row: _Row, kind: str) -> Box | None:
    evidence = row.evidence
    boxes = {
        "missing object": evidence.missing,
        "invented object": evidence.invented,
        WRONG_CLASS: evidence.other_class_box,
    }
    return boxes.get(kind) or row.box


def _describe_shift(shift_px: tuple[int, int], scale: float) -> str:
    """Such as "moved by 12 px down and 3 px to the left it fits better"."""
    down, right = (round(way * scale) for way in shift_px)
    parts = [f"{abs(down)} px {'down' if down > 0 else 'up'}"] if down else []
    parts += [f"{abs(right)} px to the {'right' if right > 0 else 'left'}"] if right else []
    return f"moved {' and '.join(parts)} it fits better" if parts else ""


def _scaled(box: Box, scale: float) -> Box:
    top, left, bottom, right = box
    return int(top * scale), int(left * scale), round(bottom * scale), round(right * scale)


def _shrink(probabilities: Float32[ndarray, "k h w"], scale: float) -> Float32[ndarray, "k h w"]:
    if scale == 1:
        return probabilities
    height, width = (max(1, round(length / scale)) for length in probabilities.shape[1:])
    return np.stack(
        [
            np.asarray(Image.fromarray(channel).resize((width, height), Image.Resampling.BOX))
            for channel in probabilities
        ]
    )


def _shrink_mask(
    class_index: UInt8[ndarray, "h w"], size_px: tuple[int, ...]
) -> UInt8[ndarray, "h w"]:
    if class_index.shape == size_px:
        return class_index
    size = (size_px[1], size_px[0])
    return np.asarray(Image.fromarray(class_index).resize(size, Image.Resampling.NEAREST))
