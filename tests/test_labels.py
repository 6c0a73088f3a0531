import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import LimnerError
from limner.labels import PALETTE, VOID, Labels, dump_labels, load_labels

BINARY = Labels.from_values(("background", "foreground"), (0, 1))


def test_a_pixel_without_a_class_is_an_error() -> None:
    with pytest.raises(
        LimnerError, match=r"pixel values 7, which belong to no class\. Known are 0"
    ):
        BINARY.to_class_index(np.array([[7]], np.uint8))


def test_written_binary_masks_hold_0_and_255() -> None:
    assert BINARY.to_pixels(np.array([[0, 1]], np.uint8)).tolist() == [[0, 255]]


def test_labels_survive_their_record() -> None:
    labels = Labels(
        ("background", "foreground"), (((0, 127),), ((128, 254), (300, 400))), ((255, 255),)
    )
    assert Labels.from_dict(json.loads(json.dumps(asdict(labels)))) == labels


@given(st.lists(st.integers(0, 255), min_size=2, max_size=20, unique=True))
def test_class_indices_survive_the_way_to_pixels_and_back(values: list[int]) -> None:
    labels = Labels.from_values([f"c{value}" for value in values], values)
    class_index = np.arange(len(values), dtype=np.uint8)[None]
    pixels = labels.to_pixels(class_index)
    assert (labels.to_class_index(pixels) == class_index).all()
    assert (labels.from_pixels(pixels) == class_index).all()


@given(st.lists(st.integers(0, 0xFFFFFF), min_size=3, max_size=20, unique=True))
def test_the_set_s_own_pixels_have_all_classes_and_void(values: list[int]) -> None:
    *class_values, void = values
    labels = Labels.from_values(
        [f"c{value}" for value in class_values], class_values, [void], coloured=True
    )
    class_index = np.array([[*range(len(class_values)), VOID]], np.uint8)
    pixels = labels.to_source_pixels(class_index).astype(np.uint32)
    colours = pixels @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    assert (labels.to_class_index(colours) == class_index).all()


def test_void_without_a_value_cannot_be_written() -> None:
    with pytest.raises(LimnerError, match=r"void pixels, and the set has no value for void"):
        BINARY.to_source_pixels(np.array([[VOID]], np.uint8))


def test_a_value_that_no_class_is_written_as_is_no_prediction() -> None:
    with pytest.raises(LimnerError, match=r"has the value 1, which no class is written as"):
        BINARY.from_pixels(np.array([[0, 1]], np.uint8))


def test_the_background_takes_no_colour_of_the_palette() -> None:
    assert BINARY.colour(1) == PALETTE[0]
    assert Labels.from_values(("sky", "road"), (0, 1)).colour(1) == PALETTE[1]


def test_the_background_of_labels_toml_is_recognised_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "labels.toml").write_text(
        "# a comment on #ffffff\n[classes]\nlesion = 255\nBackground = 0\n", encoding="utf-8-sig"
    )
    labels = load_labels(tmp_path / "labels.toml")
    assert (labels.binary, labels.names, labels.coloured) == (True, ("background", "lesion"), False)


def test_a_value_of_labels_toml_is_a_number_a_range_or_a_colour(tmp_path: Path) -> None:
    path = tmp_path / "labels.toml"
    path.write_text('void = 3\n[classes]\na = [0, "128 - 254"]\nb = 1\n')
    assert load_labels(path) == Labels(
        ("a", "b"), (((0, 0), (128, 254)), ((1, 1),)), ((3, 3),), coloured=False
    )
    path.write_text('[classes]\na = "#000000"\nb = ["#ff0000", "#00ff00"]\n')
    assert load_labels(path) == Labels(
        ("a", "b"), (((0, 0),), ((0xFF0000, 0xFF0000), (0xFF00, 0xFF00))), (), coloured=True
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("classes = 3", "states no classes"),
        ("[classes]\na = 1", "states 1 classes"),
        ('[classes]\na = 1\nb = "0-5"', "gives the value"),
        ('[classes]\na = 1\nb = "9-5"', "backwards"),
        ("[classes]\na = 1.5\nb = 2", "is not a pixel value"),
        ("[classes]\na = true\nb = 2", "is not a pixel value"),
        ("[classes]\na = -1\nb = 2", "is not a pixel value"),
        ("[classes]\na = []\nb = 2", "has no value"),
        ("[classes]\na = 1\nb = 2\n[colours]\nc = 3", "holds colours"),
        ("[classes\n", "states no classes"),
    ],
)
def test_a_labels_toml_that_says_nothing_usable_is_named(
    tmp_path: Path, text: str, complaint: str
) -> None:
    (tmp_path / "labels.toml").write_text(text)
    with pytest.raises(LimnerError, match=rf"labels\.toml.*{complaint}"):
        load_labels(tmp_path / "labels.toml")


def test_labels_toml_may_state_as_many_classes_as_a_class_name_file(tmp_path: Path) -> None:
    labels = Labels.from_values([f"class {i}" for i in range(200)], range(200))
    (tmp_path / "labels.toml").write_text(dump_labels(labels))
    assert load_labels(tmp_path / "labels.toml") == labels


NAMES = st.text(max_size=8).filter(lambda name: name.lower().strip("_") != "background")


@given(names=st.lists(NAMES, min_size=2, max_size=5, unique=True), coloured=st.booleans())
def test_labels_of_any_names_survive_their_file(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], coloured: bool
) -> None:
    ranges = tuple(((10 * i, 10 * i), (10 * i + 2, 10 * i + 5)) for i in range(len(names)))
    labels = Labels(tuple(names), ranges, ((90, 99),), coloured)
    path = tmp_path_factory.mktemp("labels") / "labels.toml"
    path.write_text(dump_labels(labels), encoding="utf-8", newline="")
    assert load_labels(path) == labels


VISIONS = {
    "usual": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
"""Machado, Oliveira and Fernandes 2009, of linear RGB."""


def to_oklab(linear: np.ndarray) -> np.ndarray:
    """Linear RGB (n, 3) in a space in which equal distances look equal (Ottosson 2020)."""
    cones = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    axes = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    return np.cbrt(np.clip(linear, 0, 1) @ np.transpose(cones)) @ np.transpose(axes)


@pytest.mark.parametrize("vision", VISIONS)
def test_people_of_any_colour_vision_tell_the_palette_apart(vision: str) -> None:
    assert len(PALETTE) == 24
    shares = np.array(PALETTE) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    seen = to_oklab(linear @ np.transpose(VISIONS[vision]))
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=2)
    assert distances[np.triu_indices(len(seen), 1)].min() > 0.06
