"""A table about the images of a dataset, by whose columns scores are split into subgroups."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from limner.data.dataset import Dataset
from limner.data.groups import ids_by_name, ids_by_path
from limner.data.image_file import has_image_suffix, without_suffix
from limner.data.named_files import portable_path
from limner.data.sample import Sample
from limner.data.tables import read_table
from limner.errors import LimnerError

IMAGE_COLUMNS = ("image", "id", "image_id", "isic_id", "name", "file", "filename")
"""Columns that may say which image a row is about; the first of them in a table does."""

Row = dict[str, str]


def read_metadata(path: Path, dataset: Dataset, samples: Sequence[Sample]) -> dict[str, list[str]]:
    """Read the columns of a table about images.

    Args:
        path: a CSV file; it may be about other images too.
        dataset: tells which image a name in the table means.
        samples: those whose values are returned.

    Returns the values of each column, by its name: one for each sample in their order, empty where
    the table says nothing of it.

    Raises LimnerError where the table cannot be read, is about none of the samples, names an image
    twice with different values, or uses a name that several images have.
    """
    rows = read_table(path)
    header = list(rows[0]) if rows else []
    image_column = next((name for name in header if name.lower() in IMAGE_COLUMNS), None)
    if image_column is None:
        raise LimnerError(
            f"{path} has the columns {', '.join(header) or 'none'}. One of them must name the "
            f"image: {', '.join(IMAGE_COLUMNS)}."
        )
    row_of = _rows_by_id(path, rows, image_column, dataset)
    sample_rows = [row_of.get(sample.id, {}) for sample in samples]
    if not any(sample_rows):
        raise LimnerError(
            f"{path} is about none of these images: its {image_column} is, for example, "
            f"{rows[0][image_column]!r}, and theirs {samples[0].id!r}."
        )
    return {
        name: [row.get(name, "") for row in sample_rows] for name in header if name != image_column
    }


def _rows_by_id(
    path: Path, rows: Sequence[Row], image_column: str, dataset: Dataset
) -> dict[str, Row]:
    """The row of each sample id that the table names."""
    ids_of = ids_by_name(dataset.root, dataset.samples)
    file_of = {sample.id: sample.image for sample in dataset.samples}
    row_of: dict[str, Row] = {}
    for number, row in enumerate(rows, start=2):
        ids = _matching_ids(row[image_column], ids_of)
        if len({file_of[id] for id in ids}) > 1:
            raise LimnerError(
                f"{path}, line {number}: several images bear the name {row[image_column]!r}. Give "
                f"its path in the dataset, such as {dataset.samples[0].id}."
            )
        if repeated := [id for id in ids if row_of.get(id, row) != row]:
            raise LimnerError(
                f"{path}, line {number}: {repeated[0]} was named before, with other values. Keep "
                "one line for each image."
            )
        row_of |= dict.fromkeys(ids, row)
    return row_of


def _matching_ids(name: str, ids_of: Mapping[str, set[str]]) -> set[str]:
    """The sample ids that a name means: as a whole, by its file name, or by that without suffix."""
    ids = ids_by_path(name, ids_of)
    file = portable_path(name)
    if not ids and has_image_suffix(file.name):
        return ids_of.get(without_suffix(file.name), set())
    return ids
