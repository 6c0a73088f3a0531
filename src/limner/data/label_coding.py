"""How the classes of a dataset are coded in its masks, found from the values of all masks."""

from collections.abc import Sequence

from limner.data.class_names import ClassNames
from limner.data.grey_coding import MAX_CLASSES, MAX_EXAMPLES, grey_labels, refuse_mixed_binary
from limner.data.mask_polarity import are_nearly_black_and_white, black_follows
from limner.data.value_histogram import Histograms
from limner.errors import LimnerError
from limner.labels import LABELS_TOML_HINT, MAX_NAMED_CLASSES, VOID, Labels, background_first
from limner.name_list import list_some

VOID_NAMES = frozenset({"void", "unlabelled", "unlabeled", "ignore"})
"""Names of void in class-name files, in lower case."""
MIDDLE_COLOUR = 0x800000
"""Darker greys have a lower number, as colours are numbered."""


def detect_label_coding(
    masks: Histograms, class_names: ClassNames = (), stated: Labels | None = None
) -> Labels:
    """Find which pixel values mean which class in a whole set of masks.

    255 is the foreground where only 0 is beside it, and void beside class indices.

    Args:
        masks: The histograms of all masks.
        class_names: The values and names of a class-name file, which settle what is otherwise
            concluded from the values.
        stated: The labels of a labels.toml. They are only checked against the masks.

    Raises LimnerError where the values are not a class coding or an ambiguous one.
    """
    coloured = stated.coloured if stated else _is_coloured(masks, class_names)
    if coloured:
        masks = [mask.to_colours() for mask in masks]
    values = sorted({value for mask in masks for value in mask.shares})
    if stated:
        _check_all_stated(values, masks, stated)
        return stated
    # A list of names alone, numbered by its lines, says nothing of colours
    names_are_numbered = max((value for value, _ in class_names), default=0) < MAX_CLASSES
    if class_names and not (coloured and names_are_numbered):
        return _named_labels(values, masks, class_names, coloured)
    return _colour_labels(values, masks) if coloured else grey_labels(values, masks)


def _is_coloured(masks: Histograms, class_names: ClassNames) -> bool:
    return (
        any(value > 255 for value, _ in class_names)
        or any(mask.kind == "colour" for mask in masks)
        or _palettes_differ(masks)
        or (not class_names and black_follows(masks))
    )


def _palettes_differ(masks: Histograms) -> bool:
    """Whether one index has two colours: then the colours mean the classes, not the indices."""
    colours: dict[int, int] = {}
    return any(
        colours.setdefault(index, colour) != colour
        for mask in masks
        for index, colour in mask.palette.items()
    )


def _check_all_stated(values: Sequence[int], masks: Histograms, stated: Labels) -> None:
    missing = [value for value in values if stated.class_of(value) is None]
    if missing:
        example = next(mask.file for mask in masks if missing[0] in mask.shares)
        listed = list_some(list(map(stated.format_value, missing)), MAX_EXAMPLES)
        inverted = any(mask.white_is_zero == "inverted" for mask in masks)
        hint = " Masks that store white as 0 count from it: 255 for the 0 of 8 bits." * inverted
        raise LimnerError(
            f"the masks hold {listed} (for instance {example}), which labels.toml gives "
            f"to no class. Add each to a class or to void.{hint}"
        )


def _named_labels(
    values: Sequence[int], masks: Histograms, class_names: ClassNames, coloured: bool
) -> Labels:
    """Labels by a class-name file. 255 is void where it is the only value without a name."""
    void = {value for value, name in class_names if name.lower() in VOID_NAMES}
    named = [(value, name) for value, name in class_names if value not in void]
    named_values = {value for value, _ in named}
    unnamed = sorted(set(values) - void - named_values)
    if unnamed == [VOID] and not coloured and len(named_values & set(values)) > 1:
        if named_values == {0, 1}:
            refuse_mixed_binary(masks)
        void.add(VOID)
    elif unnamed:
        listed = list_some(
            [f"#{value:06x}" if coloured else str(value) for value in unnamed], MAX_EXAMPLES
        )
        raise LimnerError(
            f"the masks hold the pixel values {listed}, which the class-name file does not name. "
            "Add a line for each (the value and the name), or the name 'void' for pixels to "
            "leave out."
        )
    has_doubles = len({name for _, name in named}) < len(named)
    if not 2 <= len(named) <= MAX_NAMED_CLASSES or has_doubles:
        raise LimnerError(
            f"the class-name file names {len(named)} classes. From 2 to {MAX_NAMED_CLASSES} are "
            f"possible, each of its own name. {LABELS_TOML_HINT}"
        )
    ordered = background_first(named)
    return Labels.from_values(
        [name for _, name in ordered],
        [value for value, _ in ordered],
        sorted(void),
        coloured=coloured,
    )


def _colour_labels(colours: Sequence[int], masks: Histograms) -> Labels:
    """Each colour as a class; black is the background."""
    if are_nearly_black_and_white(colours, masks):
        return Labels(
            ("background", "foreground"),
            (((0, MIDDLE_COLOUR - 1),), ((MIDDLE_COLOUR, 0xFFFFFF),)),
            coloured=True,
        )
    if len(colours) > MAX_CLASSES:
        raise LimnerError(
            f"the masks hold {len(colours)} different colours. A mask has one colour for each "
            f"class (at most {MAX_CLASSES}): were they saved as JPEG or smoothed? Export them "
            f"again as PNG without smoothing. {LABELS_TOML_HINT}"
        )
    if len(colours) <= 2 and (0 in colours or colours == [0xFFFFFF]):
        return Labels.from_values(
            ("background", "foreground"), (0, colours[-1] or 0xFFFFFF), coloured=True
        )
    names = ["background" if colour == 0 else f"#{colour:06x}" for colour in colours]
    return Labels.from_values(names, colours, coloured=True)
