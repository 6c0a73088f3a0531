"""measure: a row for each connected part and for each image of a folder of masks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limner.data.dataset import Dataset
from limner.data.parallel import StageProgress, map_in_order, no_progress, with_progress
from limner.data.readers.pixel_size import PixelSize
from limner.data.sample import Sample
from limner.errors import LimnerError, requires_extra
from limner.files import require_own_folder, write_atomic
from limner.inference.image_metadata import read_metadata
from limner.labels import Labels
from limner.measures.image_parts import ImageParts, measure_image
from limner.measures.page import render_measures
from limner.measures.parts import EXTRA, unit_suffix
from limner.measures.table import Table, choose_unit, join_tables, write_table
from limner.plurals import count_noun
from limner.review.predictions import Entry, Predictions
from limner.review.sources import read_predictions

PAGE = "index.html"
OWN_COLUMNS = frozenset({"image", "class", "part", "parts"})
"""Which a table about the images must not have."""


@dataclass(frozen=True, slots=True)
class Measures:
    """The tables that `measure` wrote."""

    parts: Table
    """A row for each connected part."""
    images: Table
    """A row for each image and class."""
    unit: str | None
    """Of lengths beside those in pixels; None where no image states a pixel size."""
    notes: tuple[str, ...]
    """What was left out, in words."""
    page: Path


def measure(
    folder: Path | str,
    out: Path | str,
    *,
    metadata: Path | None = None,
    by: str | None = None,
    pixel_size: PixelSize | None = None,
    progress: StageProgress = no_progress,
) -> Measures:
    """Measure the connected parts of all masks, and write tables and a page.

    Pixels of a class are connected where they share a side or a corner: parts that touch count as
    one. The measures are those of `skimage.measure.regionprops`.

    Args:
        folder: What `limner predict` wrote, or images and masks in any layout.
        out: The folder for `parts.csv`, `images.csv`, the same as Parquet, and `index.html`.
        metadata: A table about the images, whose columns are put beside the measures.
        by: The column of it that the page compares.
        pixel_size: For images that state none.
        progress: Draws a bar for each stage.

    Raises:
        LimnerError: The folder holds no masks, a mask cannot be read, or the table does not fit.

    Example:
        >>> measures = measure("predictions", "measures")  # doctest: +SKIP
        >>> int(measures.images["parts"].sum())  # doctest: +SKIP
        1234
    """
    with requires_extra("limner measure", EXTRA):
        import pyarrow  # noqa: F401
        import skimage  # noqa: F401
    folder, out = Path(folder), Path(out)
    require_own_folder(out, PAGE)
    predictions = read_predictions(folder, progress("checking"))
    if predictions.is_blank:
        raise LimnerError(
            f"{folder} holds images without masks. What was drawn in them is measured once it is a "
            f"dataset: limner merge {folder} -o DATA, then limner measure DATA"
        )
    entries = sorted(predictions.entries, key=lambda entry: entry.id)
    texts = _read_texts(predictions, entries, metadata, by)
    sizes = [predictions.pixel_size(entry) or pixel_size for entry in entries]
    unit = choose_unit(sizes)
    in_unit = [size.in_unit(unit) if size and unit else None for size in sizes]
    pairs = list(zip(entries, in_unit, strict=True))
    measured = map_in_order(lambda pair: measure_image(predictions, *pair), pairs)
    images = list(with_progress(measured, len(pairs), progress("measuring")))
    rows = [_image_rows(image, predictions.labels) for image in images]
    result = Measures(
        _join([image.table for image in images], texts),
        _join(rows, texts),
        unit,
        tuple(_notes(entries, images)),
        out / PAGE,
    )
    out.mkdir(parents=True, exist_ok=True)
    write_table(out, "parts", result.parts)
    write_table(out, "images", result.images)
    page = render_measures(
        predictions, entries, result.parts, result.images, (by, unit, result.notes)
    )
    write_atomic(result.page, page)
    return result


def _read_texts(
    predictions: Predictions, entries: Sequence[Entry], metadata: Path | None, by: str | None
) -> list[dict[str, str]]:
    """What is known of each image beside its measures: its name, and the cells of the table."""
    names = [predictions.sample_id(entry) for entry in entries]
    columns: Mapping[str, Sequence[str]] = {}
    if metadata is not None:
        columns = _read_columns(metadata, entries, names)
    if by is not None and by not in columns:
        known = f"It has {', '.join(columns)}." if columns else "Give a table with --metadata."
        raise LimnerError(f"--by {by} names no column of a table about the images. {known}")
    return [
        {"image": name} | {key: column[index] for key, column in columns.items()}
        for index, name in enumerate(names)
    ]


def _read_columns(
    metadata: Path, entries: Sequence[Entry], names: Sequence[str]
) -> Mapping[str, Sequence[str]]:
    samples = tuple(
        Sample(name, Path(entry.image), Path(entry.image), page=entry.page)
        for entry, name in zip(entries, names, strict=True)
    )
    root = Path(entries[0].image).parent
    columns = read_metadata(metadata, Dataset(root, "predictions", samples), samples)
    if taken := sorted(columns.keys() & OWN_COLUMNS):
        raise LimnerError(
            f"{metadata} has a column {taken[0]}, and so have the measures. Rename it."
        )
    return columns


def _join(tables: Sequence[Table], texts: Sequence[Mapping[str, str]]) -> Table:
    """Put the rows of all images below each other, with what is known of each image."""
    rows = []
    for table, known in zip(tables, texts, strict=True):
        length = len(table["class"])
        rows.append({key: np.full(length, text) for key, text in known.items()} | table)
    return join_tables(rows)


def _image_rows(image: ImageParts, labels: Labels) -> Table:
    """A row for each class: how many parts there are, and how much of the image they cover."""
    names = [labels.names[index] for index in labels.scored]
    areas = [image.table["area_px"][image.table["class"] == name] for name in names]
    pixels = image.size_px[0] * image.size_px[1]
    total = np.array([int(area.sum()) for area in areas])
    table: Table = {
        "class": np.array(names),
        "parts": np.array([len(area) for area in areas]),
        "area_px": total,
        "area_share": total / pixels,
        "mean_part_area_px": np.array([area.mean() if len(area) else np.nan for area in areas]),
        "height_px": np.full(len(names), image.size_px[0]),
        "width_px": np.full(len(names), image.size_px[1]),
    }
    if size := image.size:
        suffix, pixel_area = unit_suffix(size.unit), size.height * size.width
        table |= {
            f"area_{suffix}2": total * pixel_area,
            f"image_area_{suffix}2": np.full(len(names), pixels * pixel_area),
            f"pixel_height_{suffix}": np.full(len(names), size.height),
            f"pixel_width_{suffix}": np.full(len(names), size.width),
        }
    return table


def _notes(entries: Sequence[Entry], images: Sequence[ImageParts]) -> Iterator[str]:
    """What the tables do not hold, in words."""
    without = [
        entry.name for entry, image in zip(entries, images, strict=True) if image.size is None
    ]
    if without and any(image.size for image in images):
        have = count_noun(len(without), "image states no pixel size", "images state no pixel size")
        yield f"{have} in a unit of length, such as {without[0]}: measured in pixels alone"
    elif without:
        yield (
            "no image states a pixel size in a unit of length, so all measures are in pixels; "
            "--pixel-size gives one"
        )
    causes = [image.without_intensities for image in images if image.without_intensities]
    if causes:
        have = count_noun(len(causes), "image has no intensities", "images have no intensities")
        yield f"{have}: {causes[0].rstrip('.')}"
    if too_large := sum(image.too_large for image in images):
        have = count_noun(too_large, "part is", "parts are")
        yield f"{have} too large for more than area and place"
