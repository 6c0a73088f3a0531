import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as coco

from limner.data.check import check
from limner.data.images import read_image
from limner.data.scan import scan
from limner.errors import LimnerError
from limner.labels import Labels, dump_labels
from limner.review.formats.label_studio import encode_brush
from limner.review.formats.write import EXPORTERS, OF_PLACED_IMAGES
from limner.review.reviewed_masks import write_masks
from limner.review.verdicts import Settlement
from review_server import LocalReview


@pytest.fixture
def kept(review: LocalReview) -> dict[str, np.ndarray]:
    """One accepted, one mended, one rejected."""
    masks = {"new-0": review.decide("new-0.png"), "new-1": review.decide("new-1.png", mended=True)}
    review.decide("new-2.png", rejected=True)
    return masks


def test_png_has_the_datasets_pixel_values(
    review: LocalReview, kept: dict[str, np.ndarray], tmp_path: Path
) -> None:
    assert write_masks(review.results, tmp_path / "out", "png") == (2, ())
    assert {
        path.stem: np.asarray(Image.open(path)).tolist() for path in (tmp_path / "out").iterdir()
    } == {name: (mask * np.uint8(255)).tolist() for name, mask in kept.items()}


def test_coco_holds_run_lengths_that_its_own_library_reads(
    review: LocalReview, kept: dict[str, np.ndarray], tmp_path: Path
) -> None:
    write_masks(review.results, tmp_path / "out", "coco")
    content = json.loads((tmp_path / "out" / "annotations.json").read_text())
    names = {image["id"]: image["file_name"].removesuffix(".png") for image in content["images"]}
    drawn = {
        names[annotation["image_id"]]: coco.decode(annotation["segmentation"])
        for annotation in content["annotations"]
    }
    assert content["categories"] == [{"id": 1, "name": "foreground"}]
    assert all((drawn.get(name, np.zeros_like(mask)) == mask).all() for name, mask in kept.items())
    assert all(
        annotation["area"] == kept[names[annotation["image_id"]]].sum()
        for annotation in content["annotations"]
    )


@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_label_studio_decodes_the_brush(inside: np.ndarray) -> None:
    rgba = decode_brush(encode_brush(inside)).reshape(*inside.shape, 4)
    assert (rgba == inside[..., None] * 255).all()


def test_long_runs_are_split() -> None:
    inside = np.ones((300, 300), bool)
    assert (decode_brush(encode_brush(inside)) == 255).all()


def decode_brush(brush: list[int]) -> np.ndarray:
    """Decode as Label Studio does.

    A run is a flag, the index of a width, the length, and one byte, or if the flag is 0 as many
    bytes as the length.
    """
    bits = "".join(f"{byte:08b}" for byte in brush)
    at = 0

    def read(count: int) -> int:
        nonlocal at
        at += count
        return int(bits[at - count : at], 2)

    count, wide = read(32), read(5) + 1
    widths = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < count:
        repeated = read(1)
        length = read(widths[read(2)]) + 1
        values += [read(wide)] * length if repeated else [read(wide) for _ in range(length)]
    return np.array(values)


def test_label_studio_gets_tasks_and_the_interface_for_them(
    review: LocalReview, kept: dict[str, np.ndarray], tmp_path: Path
) -> None:
    write_masks(review.results, tmp_path / "out", "label-studio")
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text())
    for task in tasks:
        mask = kept[task["data"]["image"].removesuffix(".png")]
        for region in task["annotations"][0]["result"]:
            assert (region["original_height"], region["original_width"]) == mask.shape and region[
                "value"
            ]["brushlabels"] == ["foreground"]
            assert (
                decode_brush(region["value"]["rle"]).reshape(*mask.shape, 4)[..., 3] == mask * 255
            ).all()
    assert '<Label value="foreground"' in (tmp_path / "out" / "interface.xml").read_text()


def test_cvat_images_have_the_colours_of_its_table(
    review: LocalReview, kept: dict[str, np.ndarray], tmp_path: Path
) -> None:
    write_masks(review.results, tmp_path / "out", "cvat")
    rows = [
        line.split(":") for line in (tmp_path / "out" / "labelmap.txt").read_text().splitlines()[1:]
    ]
    colours = {row[0]: tuple(map(int, row[1].split(","))) for row in rows}
    for name, mask in kept.items():
        drawn = np.asarray(Image.open(tmp_path / "out" / "SegmentationClass" / f"{name}.png"))
        objects = np.asarray(Image.open(tmp_path / "out" / "SegmentationObject" / f"{name}.png"))
        assert ((drawn == colours["foreground"]).all(2) == (mask == 1)).all() and (
            objects.any(2) == (mask == 1)
        ).all()
    assert (
        tmp_path / "out" / "ImageSets" / "Segmentation" / "default.txt"
    ).read_text().split() == ["new-0", "new-1"]


def test_the_folder_of_nnunet_is_read_as_one(
    review: LocalReview, kept: dict[str, np.ndarray], tmp_path: Path
) -> None:
    write_masks(review.results, tmp_path / "out", "nnunet")
    dataset = scan(tmp_path / "out")
    labels = check(dataset).labels
    assert (
        labels is not None
        and dataset.layout == "nnU-Net raw"
        and labels.names == ("background", "foreground")
    )
    for sample in dataset.samples:
        assert (sample.class_index(labels) == kept[sample.id]).all()
        assert (
            sample.read_image()
            == read_image(
                Path(
                    next(e for e in review.predictions.entries if e.id == f"{sample.id}.png").image
                )
            )
        ).all()


def test_nnunet_gets_a_file_for_each_channel_of_a_microscope(
    pairs: Callable[..., Path], tmp_path: Path
) -> None:
    root = pairs({name: np.eye(16, dtype=np.uint8) for name in "ab"})
    planes = np.arange(16 * 16 * 5, dtype=np.uint8).reshape(16, 16, 5)
    for name in "ab":
        (root / "images" / f"{name}.png").unlink()
        tifffile.imwrite(
            root / "images" / f"{name}.tif", planes, photometric="minisblack", planarconfig="contig"
        )
    review = LocalReview(root)
    review.decide("a")
    write_masks(review.results, tmp_path / "out", "nnunet")
    files = sorted((tmp_path / "out" / "imagesTr").iterdir())
    assert [path.name for path in files] == [f"a_{channel:04d}.png" for channel in range(5)]
    assert (np.stack([np.asarray(Image.open(path)) for path in files], axis=2) == planes).all()
    assert len(json.loads((tmp_path / "out" / "dataset.json").read_text())["channel_names"]) == 5


def test_no_mask_an_unknown_format_and_an_existing_folder_are_errors(
    review: LocalReview, tmp_path: Path
) -> None:
    with pytest.raises(LimnerError, match="no mask"):
        write_masks(review.results, tmp_path / "out", "png")
    review.decide("new-0.png")
    with pytest.raises(LimnerError, match="Choose one of png, coco"):
        write_masks(review.results, tmp_path / "out", "word")
    (tmp_path / "out").mkdir()
    with pytest.raises(LimnerError, match="exists already"):
        write_masks(review.results, tmp_path / "out", "png")


def test_the_documentation_lists_every_format() -> None:
    text = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    assert all(f"| `{name}` |" in text for name in EXPORTERS)


@pytest.mark.parametrize("format_name", sorted(EXPORTERS.keys() - OF_PLACED_IMAGES))
def test_two_people_who_differ_are_an_error_unless_one_is_preferred(
    format_name: str, folder: Path, tmp_path: Path
) -> None:
    review = LocalReview(folder, second_readings=1.0)
    review.decide("new-0.png")
    review.decide("new-0.png", "ben", reading=2, rejected=True)
    with pytest.raises(
        LimnerError,
        match=(
            r"people differ about 1 masks, such as new-0.png \(anna \(accepted\) and ben "
            r"\(rejected\) differ\)"
        ),
    ):
        write_masks(review.results, tmp_path / "out", format_name)
    anna = Settlement(prefer="anna")
    assert write_masks(review.results, tmp_path / "out", format_name, anna)[0] == 1


def review_of_another_tool(folder: Path, mask: np.ndarray, labels: str = "") -> LocalReview:
    """A review of one image and a mask that another tool drew."""
    for kind, pixels in (("images", np.full((*mask.shape[:2], 3), 90, np.uint8)), ("masks", mask)):
        for name in ("a", "b"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels + np.uint8(kind == "images" and name == "b")).save(
                folder / kind / f"{name}.png"
            )
    if labels:
        (folder / "labels.toml").write_text(labels)
    review = LocalReview(folder)
    review.decide("a")
    return review


def test_cvat_gets_no_more_objects_than_there_are_colours(tmp_path: Path) -> None:
    """Its importer knows Pascal VOC's 255 colours: more parts than these are left to the
    classes.
    """
    few, many = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
    few[::8, ::8], many[::2, ::2] = 255, 255
    for name, mask, objects in (("few", few, 64), ("many", many, 0)):
        review = review_of_another_tool(tmp_path / name, mask)
        write_masks(review.results, tmp_path / f"{name}-out", "cvat")
        picture = tmp_path / f"{name}-out" / "SegmentationObject" / "a.png"
        assert picture.exists() == bool(objects)
        if objects:
            colours = {
                tuple(colour) for colour in np.asarray(Image.open(picture)).reshape(-1, 3).tolist()
            } - {(0, 0, 0)}
            assert colours == {voc_colour(number) for number in range(1, objects + 1)}


def voc_colour(number: int) -> tuple[int, ...]:
    """As the development kit of Pascal VOC makes it."""
    colour = [0, 0, 0]
    for place in range(8):
        for channel in range(3):
            colour[channel] |= (number >> channel & 1) << 7 - place
        number >>= 3
    return tuple(colour)


def test_names_of_classes_that_a_format_cannot_hold(tmp_path: Path) -> None:
    colours = np.zeros((32, 32, 3), np.uint8)
    colours[:9, :9], colours[20:, 20:] = (10, 20, 30), (0, 255, 0)
    review = review_of_another_tool(tmp_path / "set", colours)
    with pytest.raises(LimnerError, match="cannot hold the name #"):
        write_masks(review.results, tmp_path / "out", "cvat")
    classes = np.zeros((32, 32), np.uint8)
    classes[:9, :9], classes[20:, 20:] = 1, 2
    text = dump_labels(Labels.from_values(("background", 'skin & "hair"', "<nail>"), (0, 1, 2)))
    review = review_of_another_tool(tmp_path / "named", classes, text)
    write_masks(review.results, tmp_path / "studio", "label-studio")
    interface = ElementTree.fromstring((tmp_path / "studio" / "interface.xml").read_text())
    assert [label.get("value") for label in interface.iter("Label")] == ['skin & "hair"', "<nail>"]
