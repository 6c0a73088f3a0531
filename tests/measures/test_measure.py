"""limner measure as its users call it: a folder of masks becomes tables and a page."""

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from pyarrow import parquet
from skimage.measure import label, regionprops_table

from command_line import limner
from limner.errors import LimnerError
from limner.measures.measure import measure


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """Six images of 16 bits with a stated pixel size: discs, the more the higher the number."""
    rows, columns = np.mgrid[:64, :64]
    for name in ("images", "masks"):
        (tmp_path / "cells" / name).mkdir(parents=True)
    for number in range(6):
        mask = np.zeros((64, 64), np.uint8)
        for disc in range(number):
            mask[(rows - 8 - 9 * disc) ** 2 + (columns - 10 - 8 * disc) ** 2 <= 9] = 255
        image = np.where(mask, 3000 + 10 * rows, 500).astype(np.uint16)
        tifffile.imwrite(
            tmp_path / "cells" / "images" / f"{number}.tif",
            image,
            resolution=(4, 4),
            metadata={"unit": "um"},
            imagej=True,
        )
        Image.fromarray(mask).save(tmp_path / "cells" / "masks" / f"{number}.png")
    return tmp_path / "cells"


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_part_and_each_image_has_a_row(cells: Path, tmp_path: Path) -> None:
    result = measure(cells, tmp_path / "out")
    parts, images = (read_csv(tmp_path / "out" / f"{name}.csv") for name in ("parts", "images"))
    assert len(parts) == 15
    assert [int(row["parts"]) for row in images] == [0, 1, 2, 3, 4, 5]
    assert {row["class"] for row in images} == {"foreground"} and result.unit == "µm"
    assert float(images[5]["area_um2"]) == pytest.approx(5 * 29 / 16)
    assert float(parts[0]["intensity_mean_1"]) == 3080
    stored = parquet.read_table(tmp_path / "out" / "parts.parquet").to_pydict()
    assert stored["area_px"] == [29] * 15 and stored["touches_border"] == [False] * 15


def test_the_rows_are_those_of_scikit_image(cells: Path, tmp_path: Path) -> None:
    parts = measure(cells, tmp_path / "out").parts
    mask = np.asarray(Image.open(cells / "masks" / "5.png"))
    table = regionprops_table(label(mask), properties=("perimeter", "solidity"), spacing=0.25)
    rows = parts["image"] == "5"
    assert np.allclose(parts["perimeter_um"][rows], table["perimeter"])
    assert np.array_equal(parts["solidity"][rows], table["solidity"])


def test_a_table_of_the_images_gives_columns_and_groups(cells: Path, tmp_path: Path) -> None:
    table = tmp_path / "plate.csv"
    table.write_text("image,dose\n0,low\n1,low\n2,low\n3,high\n4,high\n5.tif,high\n")
    result = measure(cells, tmp_path / "out", metadata=table, by="dose")
    assert result.parts["dose"].tolist() == ["low"] * 3 + ["high"] * 12
    page = (tmp_path / "out" / "index.html").read_text()
    assert "By dose" in page and ">low<" in page and "Parts that touch count as one" in page
    with pytest.raises(LimnerError, match=r"--by colour names no column.*It has dose"):
        measure(cells, tmp_path / "out2", metadata=table, by="colour")


def test_an_image_that_is_gone_has_no_intensities_and_is_named(
    cells: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        pixels = tifffile.imread(cells / "images" / f"{number}.tif")
        (cells / "images" / f"{number}.tif").unlink()
        Image.fromarray((pixels // 16).astype(np.uint8)).save(cells / "images" / f"{number}.png")
    result = limner("measure", str(cells), "--pixel-size", "0.25um")
    assert result.returncode == 0, result.stderr
    assert "15 connected parts in 6 images" in result.stdout
    rows = read_csv(tmp_path / "measures" / "parts.csv")
    assert float(rows[0]["area_um2"]) == pytest.approx(29 / 16)
    again = limner("measure", str(cells), "--pixel-size", "two", "-o", "other")
    assert again.returncode == 1 and "such as 0.25um" in again.stderr


def test_a_large_mask_has_the_same_rows_as_a_small_one(
    cells: Path, tmp_path: Path, monkeypatch
) -> None:
    """Read part by part, as those that are larger than memory."""
    for folder, suffix in (("images", "tif"), ("masks", "png")):
        for number in range(6):
            path = cells / folder / f"{number}.{suffix}"
            pixels = (
                tifffile.imread(path) // 16 if suffix == "tif" else np.asarray(Image.open(path))
            )
            path.unlink()
            tifffile.imwrite(
                path.with_suffix(".tif"),
                pixels.astype(np.uint8),
                tile=(16, 16),
                resolution=(40000, 40000),
                resolutionunit="CENTIMETER",
                photometric="minisblack",
            )
    whole = measure(cells, tmp_path / "whole")
    monkeypatch.setattr("limner.data.large_images.LARGE_PIXELS", 1000)
    monkeypatch.setattr("limner.measures.large_parts.BAND_ROWS", 10)
    large = measure(cells, tmp_path / "large")
    assert large.parts.keys() == whole.parts.keys()
    order = np.lexsort([whole.parts["left_px"], whole.parts["top_px"], whole.parts["image"]])
    for name in whole.parts.keys() - {"part"}:
        assert np.array_equal(large.parts[name], whole.parts[name][order]), name
    monkeypatch.setattr("limner.measures.image_parts.MOST_PART_PIXELS", 10)
    coarse = measure(cells, tmp_path / "coarse")
    assert np.array_equal(coarse.parts["area_px"], large.parts["area_px"])
    assert np.isnan(coarse.parts["perimeter_px"]).all()
    assert "15 parts are too large for more than area and place" in coarse.notes
