"""The lines of a labels.toml that let a model be scored by the masks of a folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from limner.data.value_histogram import ValueHistogram
from limner.labels import VOID, Labels, ValueRange, labels_lines


def mask_values(histograms: Sequence[ValueHistogram], *, coloured: bool) -> list[int]:
    """The values of masks in order, or their colours."""
    masks = [mask.to_colours() for mask in histograms] if coloured else histograms
    return sorted({value for mask in masks for value in mask.shares})


def labels_cure(
    model: Labels, folder: Labels | None, histograms: Sequence[ValueHistogram], data: Path
) -> str:
    """Say which labels.toml to write: the model's names, and the values that the masks hold.

    Args:
        model: The classes of the model.
        folder: The classes of the folder, as far as they are known.
        histograms: The values of its masks.
        data: The folder.
    """
    coloured = folder.coloured if folder else any(mask.kind == "colour" for mask in histograms)
    values = mask_values(histograms, coloured=coloured)
    value_by_name = _known_values(values, model, folder, coloured=coloured)
    guessed = _guess_values(values, model, value_by_name, folder)
    labels = _as_labels(values, model, value_by_name | guessed, coloured=coloured)
    path = data / "labels.toml"
    verb = "Change" if path.is_file() else "Write"
    order = (
        f" Which value is {', '.join(guessed)} is guessed by the order of the values: exchange "
        "what is wrong."
        if guessed
        else ""
    )
    void = " What is void is left out of the scores." if labels.void_values else ""
    return (
        f"{verb} {path} with the model's names and your masks' values.{order}{void} It may be "
        f"such as:\n{labels_lines(labels)}"
    )


def _known_values(
    values: Sequence[int], model: Labels, folder: Labels | None, *, coloured: bool
) -> dict[str, list[int]]:
    """The values of each class of the model whose meaning is known."""
    known: dict[str, list[int]] = {}
    for value in values:
        name = _name_of(value, folder) if folder else ""
        if name not in model.names and model.coloured == coloured and not folder:
            name = _name_of(value, model)
        if name in model.names:
            known.setdefault(name, []).append(value)
    if "background" in model.names and "background" not in known and 0 in values:
        known["background"] = [0]
    return known


def _name_of(value: int, labels: Labels) -> str:
    index = labels.class_of(value)
    return labels.names[index] if index is not None and index < len(labels.names) else ""


def _guess_values(
    values: Sequence[int],
    model: Labels,
    known: Mapping[str, Sequence[int]],
    folder: Labels | None,
) -> dict[str, list[int]]:
    """Give the values without a class to the classes without a value, in their order."""
    taken = {value for of_class in known.values() for value in of_class}
    void = {value for value in values if folder and folder.class_of(value) == VOID}
    left = [value for value in values if value not in taken | void]
    names = [name for name in model.names if name not in known]
    names.sort(key=lambda name: name == "background")
    return {name: [value] for name, value in zip(names, left, strict=False)}


def _as_labels(
    values: Sequence[int],
    model: Labels,
    value_by_name: Mapping[str, Sequence[int]],
    *,
    coloured: bool,
) -> Labels:
    """The labels of these classes; all other values are void."""
    owner = {value: name for name, of_class in value_by_name.items() for value in of_class}
    # Without a name are the values that are void
    runs: dict[str, list[ValueRange]] = {name: [] for name in (*model.names, "")}
    previous = None
    for value in values:
        name = owner.get(value, "")
        if name == previous:
            runs[name][-1] = (runs[name][-1][0], value)
        else:
            runs[name].append((value, value))
        previous = name
    unused = (value for value in range(len(values) + len(model.names)) if value not in values)
    for name in model.names:
        # A labels.toml states two classes at least
        if sum(map(bool, (runs[name] for name in model.names))) < 2 and not runs[name]:
            value = next(unused)
            runs[name].append((value, value))
    return Labels(
        model.names, tuple(tuple(runs[name]) for name in model.names), tuple(runs[""]), coloured
    ).without_absent()
