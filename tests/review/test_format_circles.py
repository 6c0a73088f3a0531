"""What limner writes in another tool's format it reads again, pixel by pixel."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from limner.data.check import check
from limner.data.scan import scan
from limner.review.reviewed_masks import write_masks
from review_server import LocalReview

RNG = np.random.default_rng(0)
NAMES = ("background", "leaf", "small bug")


def scene(number: int) -> np.ndarray:
    """Two classes of blobs, with holes, single pixels, and parts at the border."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(number).normal(size=(40, 50)), 2)
    mask = np.where(smooth > 0.1, 1, 0) + np.where(smooth < -0.12, 2, 0)
    mask[0, 0], mask[39, 49], mask[20, ::7] = 1, 2, 1
    return mask.astype(np.uint8)


@pytest.fixture
def review(tmp_path: Path) -> LocalReview:
    """Accepted masks of two images; a third has none."""
    root = tmp_path / "set"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number, name in enumerate(("a", "b", "c")):
        noise = RNG.integers(0, 255, (40, 50, 3)).astype(np.uint8)
        Image.fromarray(noise).save(root / "images" / f"{name}.png")
        mask = scene(number) if name != "c" else np.zeros((40, 50), np.uint8)
        Image.fromarray(mask).save(root / "masks" / f"{name}.png")
    listed = "\n".join(f'"{name}" = {value}' for value, name in enumerate(NAMES))
    (root / "labels.toml").write_text(f"[classes]\n{listed}\n")
    local = LocalReview(root)
    for name in ("a", "b", "c"):
        local.decide(name)
    return local


@pytest.mark.parametrize(
    ("format_name", "layout", "images"),
    [
        ("coco", "COCO", "."),
        ("coco-polygons", "COCO", "."),
        ("label-studio", "Label Studio", "."),
        ("cvat-xml", "CVAT", "."),
        ("labelme", "labelme", "."),
        ("yolo", "YOLO", "images"),
        ("qupath", "QuPath", "."),
        ("imagej", "ImageJ", "."),
    ],
)
def test_a_format_that_is_written_is_read_again(
    review: LocalReview, tmp_path: Path, format_name: str, layout: str, images: str
) -> None:
    out = tmp_path / "out"
    count, lost = write_masks(review.results, out, format_name)
    shutil.copytree(tmp_path / "set" / "images", out / images, dirs_exist_ok=True)
    dataset = scan(out)
    result = check(dataset)
    assert (count, dataset.layout) == (3, layout)
    assert result.labels and result.labels.names == NAMES
    masks = {sample.image.stem: sample.class_index(result.labels) for sample in dataset.samples}
    # An image without an object is no image of ImageJ's, since it has no file
    expected = ["a", "b"] if format_name == "imagej" else ["a", "b", "c"]
    assert sorted(masks) == expected
    for number, name in enumerate(expected):
        truth = scene(number) if name != "c" else np.zeros((40, 50), np.uint8)
        if format_name == "yolo":
            assert "filled: YOLO has none" in lost[0]
            assert (masks[name] == filled(truth)).all()
        else:
            assert not lost
            assert (masks[name] == truth).all()


def filled(mask: np.ndarray) -> np.ndarray:
    """What is left where holes are filled, and smaller objects lie above larger ones."""
    parts = []
    for value in (1, 2):
        numbers, count = ndimage.label(mask == value)
        parts += [(value, ndimage.binary_fill_holes(numbers == n)) for n in range(1, count + 1)]
    drawn = np.zeros_like(mask)
    for value, part in sorted(parts, key=lambda item: -item[1].sum()):
        drawn[part] = value
    return drawn


@pytest.mark.parametrize(
    ("format_name", "tool"), [("cvat-xml", "CVAT"), ("yolo", "YOLO"), ("imagej", "ImageJ")]
)
def test_void_that_a_format_cannot_hold_is_counted(
    tmp_path: Path, format_name: str, tool: str
) -> None:
    root = tmp_path / "set"
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    mask = np.zeros((20, 20), np.uint8)
    mask[2:8, 2:8], mask[12:, 12:] = 1, 255
    Image.fromarray(RNG.integers(0, 255, (20, 20, 3)).astype(np.uint8)).save(root / "images/a.png")
    Image.fromarray(mask).save(root / "masks/a.png")
    (root / "labels.toml").write_text("void = 255\n[classes]\nbackground = 0\nleaf = 1\n")
    local = LocalReview(root)
    local.decide("a")
    _, lost = write_masks(local.results, tmp_path / "out", format_name)
    assert lost == [f"void pixels of 1 mask become background: {tool} has no void"]
