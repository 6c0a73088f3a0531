from pathlib import Path

import numpy as np
import pytest

from dataset_folders import ids_and_splits, save_image
from limner.data.check import check
from limner.data.scan import scan
from limner.errors import LimnerError

LABELS = "".join(f"<label><name>{name}</name></label>" for name in ("leaf", "bug"))
SQUARE = '<polygon label="leaf" points="2,4;10,4;10,12;2,12" z_order="0"/>'
MASK = '<mask label="bug" rle="1, 2, 3" left="4" top="6" width="3" height="2" z_order="1"/>'


def write(root: Path, *images: tuple[str, str], labels: str = LABELS) -> Path:
    """Write photos of 16x20 px and their XML; the second text is what an image holds."""
    elements = []
    for number, (name, shapes) in enumerate(images):
        noise = np.random.default_rng(number).integers(0, 255, (16, 20, 3)).astype(np.uint8)
        save_image(root / "images" / name, noise)
        subset = "train" if number == 0 else "Validation"
        elements.append(
            f'<image id="{number}" name="{name}" subset="{subset}" width="20" height="16">'
            f"{shapes}</image>"
        )
    path = root / "annotations.xml"
    path.write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><job>'
        f"<labels>{labels}</labels></job></meta>{''.join(elements)}</annotations>"
    )
    return path


def test_shapes_lie_in_their_z_order_and_masks_are_exact(tmp_path: Path) -> None:
    write(tmp_path, ("a.png", MASK + SQUARE))
    dataset = scan(tmp_path)
    assert dataset.layout == "CVAT"
    assert dataset.class_names == ((0, "background"), (1, "leaf"), (2, "bug"))
    expected = np.zeros((16, 20), np.uint8)
    expected[4:12, 2:10] = 1
    expected[6, 5:7] = 2
    assert (dataset.samples[0].read_mask().values == expected).all()
    assert not check(dataset).errors


def test_boxes_and_ellipses_are_drawn(tmp_path: Path) -> None:
    box = '<box label="leaf" xtl="2" ytl="4" xbr="10" ybr="8" rotation="90"/>'
    ellipse = '<ellipse label="bug" cx="15" cy="8" rx="3" ry="5"/>'
    write(tmp_path, ("a.png", box + ellipse))
    mask = scan(tmp_path).samples[0].read_mask().values
    expected = np.zeros((16, 20), bool)
    expected[2:10, 4:8] = True
    assert ((mask == 1) == expected).all()
    assert (mask == 2).sum() == pytest.approx(np.pi * 15, abs=4)


def test_subsets_are_splits(tmp_path: Path) -> None:
    write(tmp_path, ("a.png", SQUARE), ("b.png", SQUARE))
    assert ids_and_splits(tmp_path) == [("images/a", "train"), ("images/b", "val")]


def test_shapes_without_an_area_are_left_out_and_counted(tmp_path: Path) -> None:
    write(tmp_path, ("a.png", SQUARE + '<points label="leaf" points="1,1"/>'))
    (warning,) = [each for each in scan(tmp_path).findings if each.code == "shapes-without-area"]
    assert "1 shape of CVAT cover no area and are left out (1 points)" in warning.message


@pytest.mark.parametrize(
    ("shapes", "labels", "complaint"),
    [
        (SQUARE, "<label><name>bug</name></label>", "class 'leaf', which its list of labels does"),
        ("</image>", LABELS, "is no whole XML"),
        ("</image><track/><image>", LABELS, "holds the tracks of a video"),
    ],
)
def test_what_cannot_be_read_is_refused(
    tmp_path: Path, shapes: str, labels: str, complaint: str
) -> None:
    path = write(tmp_path, ("a.png", shapes), labels=labels)
    with pytest.raises(LimnerError, match=complaint) as refused:
        scan(tmp_path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("shape", "complaint"),
    [
        ('<mask label="bug" rle="1, 2" left="4" top="6" width="3" height="2"/>', "cover 3 of 3x2"),
        (MASK.replace('left="4"', 'left="18"'), "a mask lies outside of its image"),
        ('<polygon label="leaf" points="2,4;10,4"/>', "needs pairs of three points"),
        ('<polygon label="leaf" points="2,4;10,x;1,1"/>', "could not convert string to float"),
    ],
)
def test_a_malformed_shape_is_an_error_of_the_check(
    tmp_path: Path, shape: str, complaint: str
) -> None:
    write(tmp_path, ("a.png", shape))
    (error,) = check(scan(tmp_path)).errors
    assert complaint in error.message and "a shape as CVAT writes them" in error.message
