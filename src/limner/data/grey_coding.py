"""The rules by which grey levels or palette indices are recognised as classes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from limner.data.mask_polarity import numbers_below_white
from limner.data.object_numbers import both_readings, may_number_objects, object_numbers
from limner.data.value_histogram import Histograms
from limner.errors import LimnerError
from limner.labels import LABELS_TOML_HINT, VOID, Labels
from limner.name_list import list_some
from limner.plurals import count_noun

MAX_CLASSES = 64
"""How many classes are recognised from values alone."""

MIN_SHARE_NEAR_ENDS = 0.7
"""A mask of two smeared values has at least this share of its pixels near one of the two."""

MIN_SMEARED_SPAN = 64
"""Two values that were smeared are at least so far apart."""

MIN_SMOOTHED_VALUES = 8
"""So many values a smoothed mask has at least; JPEG may leave fewer."""

MAX_EXAMPLES = 12
"""So many values an error message lists."""


def grey_labels(values: Sequence[int], masks: Histograms) -> Labels:
    """Find the classes of masks of grey levels or palette indices, by the first rule that applies.

    Args:
        values: The values of all masks, in order.
        masks: The histograms of all masks.

    Raises LimnerError where the values are not a class coding or an ambiguous one.
    """
    grey = _GreySet(masks, values)
    for rule in GREY_RULES:
        labels = rule(grey)
        if labels is not None:
            return labels
    return _class_indices(grey)


def refuse_mixed_binary(masks: Histograms) -> None:
    """Raise LimnerError where some masks hold 0 and 1, others 0 and 255, and none both 1 and 255.

    With 1 and 255 in one mask, 255 is void. In separate masks it may as well be the foreground.
    """
    ones = [mask.file for mask in masks if 1 in mask.shares]
    both = any(1 in mask.shares and VOID in mask.shares for mask in masks)
    highs = [mask.file for mask in masks if VOID in mask.shares and 1 not in mask.shares]
    if highs and not both:
        raise LimnerError(
            f"{count_noun(len(ones), 'mask holds', 'masks hold')} 0 and 1 (for instance "
            f"{ones[0]}) and {len(highs)} hold 0 and "
            f"255 ({highs[0]}): 255 may be the same class as 1, or void. {LABELS_TOML_HINT}"
        )


@dataclass(frozen=True, slots=True)
class _GreySet:
    """All masks of a set whose values are grey levels or palette indices."""

    masks: Histograms
    values: Sequence[int]
    """Of all masks, in order."""

    @property
    def indices(self) -> list[int]:
        """The values but for 255."""
        return [value for value in self.values if value != VOID]


def _one_value(grey: _GreySet) -> Labels | None:
    """Masks of one value are all foreground, or all background where it is 0."""
    if len(grey.values) != 1:
        return None
    return Labels.from_values(("background", "foreground"), (0, grey.values[0] or 255))


def _two_values(grey: _GreySet) -> Labels | None:
    """Two values are background and foreground, but for a class index beside 255."""
    if len(grey.values) != 2 or (0 < grey.values[0] < MAX_CLASSES and grey.values[1] == VOID):
        return None
    return Labels.from_values(("background", "foreground"), grey.values)


def _numbers_below_white(grey: _GreySet) -> Labels | None:
    """Class numbers of files that call 0 white; the background has the highest value."""
    numbers = numbers_below_white(grey.values, grey.masks)
    if not numbers:
        return None
    white = grey.values[-1] + numbers[0]
    stored = _GreySet(grey.masks, numbers)
    labels = _two_values(stored) or _class_indices(stored)
    return Labels.from_values(labels.names, [white - low for ((low, _),) in labels.values])


def _two_smeared_values(grey: _GreySet) -> Labels | None:
    """Two values that JPEG or smoothing smeared are cut at the middle."""
    if not (_may_be_smeared(grey) and _lie_near_ends(grey)):
        return None
    first, last = grey.values[0], grey.values[-1]
    middle = (first + last + 1) // 2
    return Labels(("background", "foreground"), (((0, middle - 1),), ((middle, max(255, last)),)))


def _may_be_smeared(grey: _GreySet) -> bool:
    """Whether the values span a wide range of 8 bits, and are many or of a lossy format."""
    first, last = grey.values[0], grey.values[-1]
    if last > 255 or last - first < MIN_SMEARED_SPAN:
        return False
    beyond_class_indices = any(MAX_CLASSES <= value < VOID for value in grey.values)
    many = len(grey.values) >= MIN_SMOOTHED_VALUES and beyond_class_indices
    return many or any(mask.lossy for mask in grey.masks)


def _lie_near_ends(grey: _GreySet) -> bool:
    """Whether most pixels of each mask lie near the two ends of the values.

    What lies between must be the border of objects: at most half of what is near the upper end.
    """
    first, last = grey.values[0], grey.values[-1]
    margin = (last - first) / 5
    low, high = first + margin, last - margin
    for mask in grey.masks:
        near_ends = sum(share for value, share in mask.shares.items() if not low < value < high)
        if near_ends < MIN_SHARE_NEAR_ENDS:
            return False
    shares = [(value, share) for mask in grey.masks for value, share in mask.shares.items()]
    foreground = sum(share for value, share in shares if value >= high)
    between = sum(share for value, share in shares if low < value < high)
    return foreground >= 2 * between


def _refuse_lossy(grey: _GreySet) -> None:
    """Class indices that JPEG smeared cannot be told apart any more."""
    example = next((mask for mask in grey.masks if mask.lossy), None)
    if len(grey.values) > 2 and example is not None:
        raise LimnerError(
            f"the masks were saved as {example.lossy_codec} (for instance {example.file}), which "
            "smears class numbers into each other. Export them again as PNG."
        )


def _refuse_numbered_objects(grey: _GreySet) -> None:
    """Values that number objects one by one are not class indices."""
    many = len(grey.values) > MAX_CLASSES and grey.indices[-1] >= MAX_CLASSES
    if _number_objects(grey.masks) or (many and _are_consecutive(grey.indices[: MAX_CLASSES // 2])):
        raise _no_class_coding(
            f"{len(grey.values)} different values: they seem to number objects one by one, or "
            "grey levels",
            grey.masks,
            both_readings(grey.masks),
        )


def _number_objects(masks: Histograms) -> bool:
    """Whether every mask has the values from 1 on without a gap, but not always as many."""
    objects = [sorted(value for value in mask.shares if value != 0) for mask in masks]
    objects = [numbers for numbers in objects if numbers]
    counts = {len(numbers) for numbers in objects}
    return (
        len(counts) >= 3
        and max(counts) >= 6
        and all(numbers[0] == 1 and _are_consecutive(numbers) for numbers in objects)
    )


def _are_consecutive(values: Sequence[int]) -> bool:
    """Whether sorted, different values have no gap."""
    return values[-1] - values[0] == len(values) - 1


def _refuse_grey_levels(grey: _GreySet) -> None:
    """Values above class indices are not a coding, and neither is one class index beside 255."""
    if len(grey.values) == 2 or grey.indices[-1] >= MAX_CLASSES:
        listed = list_some(list(map(str, grey.values)), MAX_EXAMPLES)
        may_be_objects = may_number_objects(object_numbers(grey.masks))
        objects = ". They seem to number objects one by one" if may_be_objects else ""
        raise _no_class_coding(
            f"the values {listed}: neither two values nor class indices from 0 to "
            f"{MAX_CLASSES - 1}{objects}",
            grey.masks,
            LABELS_TOML_HINT if len(grey.values) == 2 else both_readings(grey.masks),
        )


def _refuse_ambiguous_255(grey: _GreySet) -> None:
    """255 beside 0 and 1 may be void or the foreground."""
    if list(grey.values) == [0, 1, VOID]:
        refuse_mixed_binary(grey.masks)


GREY_RULES: tuple[Callable[[_GreySet], Labels | None], ...] = (
    _one_value,
    _numbers_below_white,
    _two_values,
    _two_smeared_values,
    _refuse_lossy,
    _refuse_numbered_objects,
    _refuse_grey_levels,
    _refuse_ambiguous_255,
)
"""Each gives the labels, raises LimnerError, or leaves the values to the next."""


def _class_indices(grey: _GreySet) -> Labels:
    """Each value is a class index, and so is each that is missing between two."""
    first, last = grey.indices[0], grey.indices[-1]
    other = "foreground" if (first, last) == (0, 1) else None
    values = range(first, last + 1)
    names = ["background" if value == 0 else other or f"class {value}" for value in values]
    return Labels.from_values(names, values, [VOID] if VOID in grey.values else [])


def _no_class_coding(cause: str, masks: Histograms, remedy: str) -> LimnerError:
    example = max(masks, key=lambda mask: len(mask.shares)).file
    return LimnerError(f"the masks (for instance {example}) hold {cause}. {remedy}")
