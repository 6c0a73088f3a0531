"""Masks that store white as 0, in TIFF, DICOM and palettes: which of the two is the foreground."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from limner.data.findings import Finding
from limner.data.readers.decoded import WhiteIsZero
from limner.data.sample_info import SampleInfo
from limner.data.value_histogram import Histograms
from limner.errors import LimnerError
from limner.labels import LABELS_TOML_HINT, VOID, Labels, labels_lines
from limner.plurals import count_noun

WHITES = tuple(2**bits - 1 for bits in (8, 10, 12, 14, 16, 32))
"""What 0 becomes where the values are inverted; DICOM stores 10, 12 and 14 bits too."""
POLARITIES: dict[WhiteIsZero | None, str] = {
    None: "store black as 0",
    "inverted": "store white as 0",
    "kept": "store False as 0 and call it white, as tifffile does",
}
DARK, BRIGHT = 64, 160
"""Below the first a grey level is nearly black, and from the second on nearly white."""


def polarity_findings(infos: Sequence[SampleInfo], labels: Labels | None) -> Iterator[Finding]:
    """Report how masks that store white as 0 were read.

    Args:
        infos: What is known of each sample.
        labels: The coding of the masks, as it was found; None where it is not certain.
    """
    by_kind: dict[WhiteIsZero | None, list[SampleInfo]] = defaultdict(list)
    for info in infos:
        by_kind[info.mask.white_is_zero].append(info)
    if len(by_kind) > 1:
        yield _mixed_polarity(by_kind, labels)
    elif labels and labels.binary and labels.class_of(0) == 0 and None not in by_kind:
        yield _white_is_zero(infos, labels)
    if labels and labels.names[0] == "background" and not labels.coloured:
        yield from _background_in_colour(infos, labels)


def _mixed_polarity(
    by_kind: Mapping[WhiteIsZero | None, Sequence[SampleInfo]], labels: Labels | None
) -> Finding:
    parts = [
        f"{len(infos)} {POLARITIES[kind]} (for instance {infos[0].mask.file})"
        for kind, infos in by_kind.items()
    ]
    message = (
        f"of the masks, {' and '.join(parts)}. So a class may be white in some and black in "
        "others. Look at these files, and export all masks as PNG with the same colours."
    )
    if labels:
        message += (
            " Where the page of the check shows each of them rightly, say so in a labels.toml:\n"
            f"{labels_lines(labels)}"
        )
    examples = tuple(infos[0].id for infos in by_kind.values())
    return Finding("mixed-polarity", "error", "", message, examples)


def _white_is_zero(infos: Sequence[SampleInfo], labels: Labels) -> Finding:
    first = infos[0]
    how = (
        "They are read as a viewer shows them: what is white there is the foreground"
        if first.mask.white_is_zero == "inverted"
        else "tifffile marks every array of True and False so. True is read as the foreground, "
        "though a viewer shows it black"
    )
    message = (
        f"{count_noun(len(infos), 'mask stores', 'masks store')} white as 0 (for instance "
        f"{first.mask.file}). {how}. Should it "
        f"be the background, say so in a labels.toml:\n{labels_lines(swap_binary(labels))}"
    )
    return Finding("white-is-zero", "note", first.mask.file, message, (first.id,))


def _background_in_colour(infos: Sequence[SampleInfo], labels: Labels) -> Iterator[Finding]:
    """Warn where the background's index is a colour, and a class is black.

    Programs that reduce colours to a palette sort them as they like.
    """
    info_by_colour = {colour: info for info in infos for colour in info.mask.palette.values()}
    index_by_colour = {
        colour: index for info in infos for index, colour in info.mask.palette.items()
    }
    black = index_by_colour.get(0)
    class_index = None if black is None else labels.class_of(black)
    first = next((c for c, index in index_by_colour.items() if labels.class_of(index) == 0), 0)
    if class_index in {None, VOID, 0} or first == 0:
        return
    values = list(labels.values)
    values[0], values[class_index] = values[class_index], values[0]
    message = (
        f"index {index_by_colour[first]} of the palette is read as the background, and is "
        f"#{first:06x}; index {black} is black, and is read as {labels.names[class_index]} (for "
        f"instance in {info_by_colour[0].mask.file}). Should black be the background, say so in "
        f"a labels.toml:\n{labels_lines(replace(labels, values=tuple(values)))}"
    )
    yield Finding("background-in-colour", "warning", "", message, (info_by_colour[0].id,))


def numbers_below_white(values: Sequence[int], masks: Histograms) -> tuple[int, ...]:
    """The class numbers that files store though they call 0 white, else nothing.

    Such numbers are next to white once they are inverted. Whoever wrote them meant no shades.

    Args:
        values: The inverted values of all masks.
        masks: The histograms of all masks.
    """
    white = next(white for white in WHITES if values[-1] <= white)
    stored = tuple(sorted(white - value for value in values))
    all_inverted = all(mask.white_is_zero == "inverted" for mask in masks)
    return stored if all_inverted and 0 < stored[-1] < DARK else ()


def swap_binary(labels: Labels) -> Labels:
    """The same coding with background and foreground exchanged."""
    return replace(labels, values=labels.values[::-1])


def black_follows(masks: Histograms) -> bool:
    """Whether palettes of two colours have black behind the other one.

    Pillow's quantize puts the brightest colour first. By its index, that would be the background.
    """
    colours = {
        index: colour
        for mask in masks
        if mask.kind == "palette"
        for index, colour in mask.palette.items()
    }
    in_order = [colours[index] for index in sorted(colours)]
    return in_order == [0xFFFFFF] or (len(in_order) == 2 and in_order[0] != 0 == in_order[1])


def are_nearly_black_and_white(colours: Sequence[int], masks: Histograms) -> bool:
    """Whether more than two colours are all greys near black or near white.

    Raises LimnerError where a mask has two of them on one side, such as 0 and 1: they are numbers.
    """
    levels = [colour & 255 for colour in colours]
    if (
        len(colours) <= 2
        or max(len(mask.shares) for mask in masks) > 2
        or any(colour != level * 0x010101 for colour, level in zip(colours, levels, strict=True))
        or any(DARK <= level < BRIGHT for level in levels)
        or not min(levels) < DARK <= BRIGHT <= max(levels)
    ):
        return False
    for mask in masks:
        if len(mask.shares) > len({(colour & 255) < DARK for colour in mask.shares}):
            raise LimnerError(
                f"some masks have palettes of black and white, and {mask.file} holds "
                f"{', '.join(f'#{colour:06x}' for colour in sorted(mask.shares))}, which is "
                f"nearly one colour. Export all masks with the same values. {LABELS_TOML_HINT}"
            )
    return True
