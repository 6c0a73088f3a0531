"""Large images in regions: whole slides with annotations, and TIFFs with masks."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from limner.data import large_images, regions, stacks
from limner.data.cache import prepare
from limner.data.check import check
from limner.data.check_page import write_check
from limner.data.dataset import Dataset
from limner.data.images import read_image
from limner.data.scan import scan
from limner.labels import VOID
from slides import draw_tissue, write_slide


@pytest.fixture(autouse=True)
def small_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "REGION_PX", 100)
    for module in (large_images, stacks):
        monkeypatch.setattr(module, "LARGE_PIXELS", 20_000)


def write_annotations(path: Path, boxes: list[tuple[int, int, int, int]]) -> None:
    """Write rectangles (left, top, right, bottom) as QuPath exports them."""
    features = [
        {
            "type": "Feature",
            "geometry": {
                "type": "Polygon",
                "coordinates": [
                    [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
                ],
            },
            "properties": {"classification": {"name": "tumour"}},
        }
        for left, top, right, bottom in boxes
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def read_whole(dataset: Dataset, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Put the regions of one image together."""
    report = check(dataset)
    assert report.labels is not None and not report.errors
    image, mask = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8)
    for sample in dataset.samples:
        assert sample.region is not None
        sample.region.crop(image)[:] = sample.read_image()
        sample.region.crop(mask)[:] = sample.class_index(report.labels)
    return image, mask


def test_the_annotated_regions_of_slides_are_samples(tmp_path: Path) -> None:
    for number, name in enumerate("ab"):
        write_slide(tmp_path / f"{name}.svs", draw_tissue(250, 330, number)[0])
        write_annotations(tmp_path / f"{name}.geojson", [(10, 20, 80, 60), (70, 210, 130, 240)])
    dataset = scan(tmp_path)
    assert [sample.id for sample in dataset.samples] == [
        f"{name}@x{left}y{top}" for name in "ab" for left, top in ((0, 0), (0, 167), (82, 167))
    ]
    assert [sample.group for sample in dataset.samples] == ["a"] * 3 + ["b"] * 3
    (note, _) = (finding for finding in dataset.findings if finding.code == "regions")
    assert "3 of 12, and 9 are left out (nothing is annotated in the rest)" in note.message
    assert write_check(tmp_path / "check", dataset, check(dataset)).is_file()
    sample = dataset.samples[2]
    assert sample.region is not None and sample.size_px() == (83, 83)
    whole = read_image(tmp_path / "a.svs")
    assert np.array_equal(sample.read_image(), sample.region.crop(whole))
    mask = np.zeros((250, 330), np.uint8)
    mask[210:240, 70:130] = 1
    assert np.array_equal(sample.read_mask().values, sample.region.crop(mask))


def test_a_large_tiff_and_its_mask_are_read_region_by_region(tmp_path: Path) -> None:
    pixels, mask = draw_tissue(250, 330)
    for folder, content in (("images", pixels), ("masks", mask.astype(np.uint8))):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "a.tif", content, tile=(64, 64), compression="zlib")
    dataset = scan(tmp_path)
    assert len(dataset.samples) == 12 and {s.group for s in dataset.samples} == {None}
    read, read_mask = read_whole(dataset, (250, 330))
    assert np.array_equal(read, pixels) and np.array_equal(read_mask, mask)
    assert "neighbours, so that scores flatter" in dataset.findings[0].message


@pytest.mark.parametrize("by", ["nodata", "mask page"])
def test_what_a_large_mask_has_no_data_for_is_void(tmp_path: Path, by: str) -> None:
    """As where the mask is read whole."""
    pixels, drawn = draw_tissue(250, 330)
    mask, void = drawn.astype(np.uint8), np.zeros((250, 330), bool)
    void[90:200, 100:180] = True
    mask[void] = 9
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    tifffile.imwrite(tmp_path / "images/a.tif", pixels, tile=(64, 64), compression="zlib")
    with tifffile.TiffWriter(tmp_path / "masks/a.tif") as file:
        tags = [(42113, 2, 0, "9", True)] if by == "nodata" else []
        file.write(mask, tile=(64, 64), compression="zlib", extratags=tags)
        if by == "mask page":
            file.write(~void, tile=(64, 64), subfiletype=4, photometric="mask")
    dataset = scan(tmp_path)
    report = check(dataset)
    assert report.labels is not None and len(report.labels.names) == 2
    read, expected = np.zeros((250, 330), np.uint8), np.where(void, VOID, drawn)
    for sample in dataset.samples:
        assert sample.region is not None
        sample.region.crop(read)[:] = sample.class_index(report.labels)
    assert np.array_equal(read, expected)


def test_of_a_mostly_empty_mask_as_many_regions_without_objects_are_taken(tmp_path: Path) -> None:
    pixels, mask = draw_tissue(250, 330)[0], np.zeros((250, 330), np.uint8)
    mask[100:120, 150:170] = 1
    for folder, content in (("images", pixels), ("masks", mask)):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "a.tif", content, tile=(64, 64), compression="zlib")
    dataset = scan(tmp_path)
    holds = [bool(sample.read_mask().values.any()) for sample in dataset.samples]
    assert sorted(holds) == [False, False, True, True]
    assert "4 of 12, and 8 are left out (2 of these hold no object)" in dataset.findings[0].message


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    for folder, content in (
        ("images", draw_tissue(250, 330)[0]),
        ("masks", np.ones((250, 300), np.uint8)),
    ):
        (tmp_path / folder).mkdir()
        tifffile.imwrite(tmp_path / folder / "a.tif", content, tile=(64, 64))
    (finding,) = (f for f in scan(tmp_path).findings if f.severity == "error")
    assert "a.tif is 300x250 but its image is 330x250" in finding.message


def test_regions_are_cached_by_their_pixels(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.svs", draw_tissue(250, 330)[0])
    write_annotations(tmp_path / "a.geojson", [(10, 20, 80, 60), (70, 210, 130, 240)])
    dataset = scan(tmp_path)
    report = check(dataset)
    assert report.labels is not None
    for info in (report.info_by_id, {}):
        cached = prepare(dataset.samples, report.labels, (32, 32), "tile", info=info)
        assert cached.sample_index.tolist() == sorted(cached.sample_index.tolist())
    assert set(cached.sample_index.tolist()) == {0, 1, 2}
