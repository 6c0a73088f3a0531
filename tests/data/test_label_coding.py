from pathlib import Path

import numpy as np
import pytest

from limner.data.label_coding import detect_label_coding
from limner.data.value_histogram import ValueHistogram, class_shares
from limner.errors import LimnerError
from limner.labels import VOID, Labels, load_labels


def masks(*value_sets: set[int], lossy: bool = False) -> list[ValueHistogram]:
    """A mask for each set of values, all with equal shares."""
    return [
        ValueHistogram(
            f"m{i}.png", dict.fromkeys(values, 1 / len(values)), lossy_codec="JPEG" if lossy else ""
        )
        for i, values in enumerate(value_sets)
    ]


@pytest.mark.parametrize("value", [1, 254, 255, 128, 2000])
def test_zero_and_one_other_value_are_background_and_foreground(value: int) -> None:
    labels = detect_label_coding(masks({0, value}, {0}))
    assert labels.binary
    assert labels.out_channels == 1
    assert labels.to_class_index(np.array([[0, value]], np.uint16)).tolist() == [[0, 1]]


def test_a_single_value_is_all_foreground_unless_it_is_0() -> None:
    assert detect_label_coding(masks({7}, {7})).values == (((0, 0),), ((7, 7),))
    assert detect_label_coding(masks({0})).values == (((0, 0),), ((255, 255),))


def test_255_is_void_among_class_indices() -> None:
    labels = detect_label_coding(masks({0, 1, 255}, {0, 2}))
    assert labels.out_channels == 3
    assert labels.to_class_index(np.array([[2, 255]], np.uint8)).tolist() == [[2, VOID]]


def test_255_is_void_in_a_mask_that_holds_1_as_well() -> None:
    assert detect_label_coding(masks({0, 1}, {0, 1, 255})).void_values == ((255, 255),)


def test_64_class_indices_and_void_are_classes() -> None:
    labels = detect_label_coding(masks({*range(64), 255}))
    assert (len(labels.names), labels.void_values) == (64, ((255, 255),))


def test_masks_of_0_and_1_beside_masks_of_0_and_255_are_ambiguous() -> None:
    with pytest.raises(LimnerError, match=r"m0\.png.*m1\.png.*labels\.toml"):
        detect_label_coding(masks({0, 1}, {0, 255}))


def test_one_class_beside_255_without_0_is_ambiguous() -> None:
    with pytest.raises(LimnerError, match=r"labels\.toml"):
        detect_label_coding(masks({3, 255}))


def test_a_class_index_that_is_missing_between_others_keeps_its_place() -> None:
    assert detect_label_coding(masks({0, 1, 3})).names == (
        "background",
        "class 1",
        "class 2",
        "class 3",
    )


@pytest.mark.parametrize("lossy", [True, False])
def test_two_values_smeared_by_jpeg_or_smoothing_are_cut_at_the_middle(lossy: bool) -> None:
    share = dict.fromkeys(range(256), 0.02 / 254) | {0: 0.7, 255: 0.28}
    labels = detect_label_coding(
        [ValueHistogram("m.jpg", share, lossy_codec="JPEG" if lossy else "")]
    )
    assert labels.to_class_index(np.array([[0, 9, 127, 128, 250, 255]], np.uint8)).tolist() == [
        [0, 0, 0, 1, 1, 1]
    ]


def test_class_indices_smeared_by_jpeg_are_refused_with_the_cure() -> None:
    with pytest.raises(LimnerError, match=r"JPEG \(for instance m0\.png\).*PNG"):
        detect_label_coding(masks(set(range(9)), lossy=True))


def test_grey_levels_are_no_coding() -> None:
    with pytest.raises(LimnerError, match=r"labels\.toml"):
        detect_label_coding(masks({0, 100, 200}))


def test_numbered_objects_are_recognised() -> None:
    with pytest.raises(LimnerError, match="number objects one by one"):
        detect_label_coding(masks(set(range(300))))


def test_each_colour_is_a_class() -> None:
    labels = detect_label_coding(
        [
            ValueHistogram("m.png", {0: 0.5, 0x804080: 0.5}, "colour"),
            ValueHistogram("n.png", {0xFF0000: 1.0}, "colour"),
        ]
    )
    assert labels.names == ("background", "#804080", "#ff0000")
    index = labels.to_class_index(np.array([[0xFF0000, 0x804080]], np.uint32))
    assert index.tolist() == [[2, 1]]
    assert labels.to_pixels(index).tolist() == [[[255, 0, 0], [128, 64, 128]]]


def test_one_index_of_two_colours_is_read_by_colour() -> None:
    first, second = (
        ValueHistogram(file, {0: 0.5, 1: 0.5}, "palette", {0: 0, 1: colour})
        for file, colour in (("a.png", 0xFF0000), ("b.png", 0x00FF00))
    )
    assert detect_label_coding([first, second]).names == ("background", "#00ff00", "#ff0000")


def test_a_palette_that_agrees_is_read_by_index() -> None:
    mask = ValueHistogram(
        "a.png", {0: 0.5, 1: 0.25, 255: 0.25}, "palette", {0: 0, 1: 0x800000, 255: 0xE0E0C0}
    )
    assert detect_label_coding([mask]).void_values == ((255, 255),)


def test_a_photograph_is_no_mask() -> None:
    with pytest.raises(LimnerError, match="100 different colours"):
        detect_label_coding(
            [ValueHistogram("m.png", dict.fromkeys(range(0x100, 0x164), 0.01), "colour")]
        )


def test_a_class_file_names_the_void_value() -> None:
    labels = detect_label_coding(masks({0, 1, 11}), [(0, "Sky"), (1, "Road"), (11, "Unlabelled")])
    assert labels.names == ("Sky", "Road")
    assert labels.void_values == ((11, 11),)
    assert labels.scored == (0, 1)


def test_a_class_file_of_colours_names_them() -> None:
    labels = detect_label_coding(
        [ValueHistogram("m.png", {0x804080: 1.0}, "colour")],
        [(0x804080, "road"), (0, "void"), (0xFF, "car")],
    )
    assert (labels.names, labels.void_values) == (("road", "car"), ((0, 0),))


def test_colours_of_a_class_file_are_found_in_grey_and_palette_masks() -> None:
    names = [(0xFFFFFF, "road"), (0, "background")]
    assert detect_label_coding(masks({0, 255}), names).to_class_index(
        np.array([[0, 0xFFFFFF]], np.uint32)
    ).tolist() == [[0, 1]]
    palette = ValueHistogram("m.png", {0: 0.5, 1: 0.5}, "palette", {0: 0, 1: 0x800000})
    assert detect_label_coding([palette], [(0, "background"), (0x800000, "lesion")]).binary


def test_one_name_for_two_values_is_an_error() -> None:
    with pytest.raises(LimnerError, match="pixel values 255"):
        detect_label_coding(masks({0, 255}), [(0, "lesion")])


def test_two_values_of_one_name_and_too_many_names_are_errors() -> None:
    for names in ([(0, "a"), (1, "a")], [(value, f"c{value}") for value in range(252)]):
        with pytest.raises(LimnerError, match="each of its own name"):
            detect_label_coding(masks({0, 1}), names)


@pytest.mark.parametrize("count", [20, 121])
def test_objects_numbered_in_each_mask_are_no_classes(count: int) -> None:
    numbered = [
        ValueHistogram(
            f"m{i}.png", {0: 0.7} | dict.fromkeys(range(1, count + 1 - i), 0.3 / (count - i))
        )
        for i in range(8)
    ]
    with pytest.raises(LimnerError, match="number objects one by one"):
        detect_label_coding(numbered)


@pytest.mark.parametrize("lossy", [True, False])
def test_several_grey_levels_are_not_cut_into_two(lossy: bool) -> None:
    levels = dict.fromkeys(range(25, 201, 25), 0.3 / 8) | {0: 0.7}
    with pytest.raises(LimnerError):
        detect_label_coding([ValueHistogram("m.png", levels, lossy_codec="JPEG" if lossy else "")])


def test_a_value_that_the_class_file_does_not_name_is_an_error() -> None:
    with pytest.raises(LimnerError, match="does not name"):
        detect_label_coding(masks({0, 1, 7}), [(0, "Sky"), (1, "Road")])


def test_a_labels_file_settles_what_is_ambiguous(tmp_path: Path) -> None:
    (tmp_path / "labels.toml").write_text(
        'void = 3\n[classes]\nbackground = 0\nlesion = [1, "128-255"]\n'
    )
    labels = detect_label_coding(
        masks({0, 1}, {0, 255}, {3}), stated=load_labels(tmp_path / "labels.toml")
    )
    assert labels.to_class_index(np.array([[0, 1, 200, 3]], np.uint8)).tolist() == [[0, 1, 1, VOID]]


def test_a_labels_file_may_state_colours(tmp_path: Path) -> None:
    (tmp_path / "labels.toml").write_text('[classes]\nbackground = "#000000"\nroad = "#804080"\n')
    grey_and_colour = [
        ValueHistogram("a.png", {0: 1.0}),
        ValueHistogram("b.png", {0: 0.5, 0x804080: 0.5}, "colour"),
    ]
    assert detect_label_coding(
        grey_and_colour, stated=load_labels(tmp_path / "labels.toml")
    ).coloured


def test_named_classes_do_not_make_255_void_where_it_may_be_the_foreground() -> None:
    with pytest.raises(LimnerError, match="255 may be the same class as 1, or void"):
        detect_label_coding(masks({0, 1}, {0, 255}), [(0, "background"), (1, "lesion")])
    assert detect_label_coding(
        masks({0, 1, 255}), [(0, "background"), (1, "lesion")]
    ).void_values == ((VOID, VOID),)


def test_a_labels_file_that_leaves_a_value_out_names_a_mask_that_has_it(tmp_path: Path) -> None:
    (tmp_path / "labels.toml").write_text("[classes]\nbackground = 0\nlesion = 1\n")
    with pytest.raises(LimnerError, match=r"hold 255 \(for instance m1\.png\)"):
        detect_label_coding(masks({0, 1}, {0, 255}), stated=load_labels(tmp_path / "labels.toml"))


def test_shares_of_classes_are_those_of_their_values() -> None:
    labels = Labels(("background", "lesion"), (((0, 0),), ((1, 9),)), ((255, 255),))
    mask = ValueHistogram("m.png", {0: 0.5, 1: 0.125, 2: 0.125, 255: 0.125, 77: 0.125})
    assert class_shares(labels, mask) == {0: 0.5, 1: 0.25, VOID: 0.125}


def test_shares_of_a_coloured_set_are_those_of_the_colours_that_a_viewer_shows() -> None:
    labels = Labels.from_values(("sky", "road"), (0xFFFFFF, 0x804080), coloured=True)
    grey = ValueHistogram("a.png", {255: 0.75, 0: 0.25})
    palette = ValueHistogram("b.png", {3: 0.5, 4: 0.5}, "palette", {3: 0x804080, 4: 0x804080})
    assert class_shares(labels, grey) == {0: 0.75}
    assert class_shares(labels, palette) == {1: 1.0}
