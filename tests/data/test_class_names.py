from collections.abc import Callable
from pathlib import Path

import pytest

from limner.data.class_names import read_class_names
from limner.data.scan import scan
from limner.errors import LimnerError
from shapes import disc


@pytest.mark.parametrize(
    ("name", "text", "classes"),
    [
        (
            "classes.txt",
            "0 Sky\n1 Road sign\n11: void\n",
            ((0, "Sky"), (1, "Road sign"), (11, "void")),
        ),
        ("labels.txt", "sky\nroad\n", ((0, "sky"), (1, "road"))),
        ("labels.txt", "__ignore__\n_background_\ncell\n", ((0, "_background_"), (1, "cell"))),
        ("classes.txt", "\ufefflesion 1\nbackground 0\n", ((1, "lesion"), (0, "background"))),
        ("classes.txt", "class 1\nclass 2\n", ((0, "class 1"), (1, "class 2"))),
        (
            "classes.txt",
            "# comment\n#804080 road\n#000000 void\n",
            ((0x804080, "road"), (0, "void")),
        ),
        (
            "class_dict.csv",
            "name,r,g,b\nRoad,128,64,128\nVoid,0,0,0\n",
            ((0x804080, "Road"), (0, "Void")),
        ),
        (
            "label_colors.txt",
            "128 64 128\t\tRoad\n0 0 0\t\tVoid\n",
            ((0x804080, "Road"), (0, "Void")),
        ),
        (
            "labelmap.txt",
            "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,128::\n",
            ((0, "background"), (0x804080, "road")),
        ),
        (
            "_classes.csv",
            "Pixel Value, Class\n 0, background\n 1, car\n",
            ((0, "background"), (1, "car")),
        ),
    ],
)
def test_each_form_of_a_class_name_file_is_read(
    pairs: Callable[..., Path], name: str, text: str, classes: tuple[tuple[int, str], ...]
) -> None:
    root = pairs({"a": disc()})
    (root / name).write_text(text)
    assert scan(root).class_names == classes


@pytest.mark.parametrize("text", ["1 a\n1 b\n", "16777216 a\n1 b\n"])
def test_a_value_twice_or_too_large_is_refused(pairs: Callable[..., Path], text: str) -> None:
    root = pairs({"a": disc()})
    (root / "classes.txt").write_text(text)
    with pytest.raises(LimnerError, match=r"classes\.txt gives a pixel value twice, or a colour"):
        scan(root)


def test_roboflow_s_classes_are_in_each_split_and_the_same(pairs: Callable[..., Path]) -> None:
    root = pairs({"a": disc()})
    for split in ("train", "valid"):
        (root / split).mkdir()
        (root / split / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, car\n")
    assert scan(root).class_names == ((0, "background"), (1, "car"))
    (root / "valid/_classes.csv").write_text("Pixel Value, Class\n0, background\n1, bus\n")
    with pytest.raises(LimnerError, match="give other classes"):
        scan(root)


def test_ade_names_its_classes_in_a_table(tmp_path: Path) -> None:
    head, first = "Idx\tRatio\tTrain\tVal\tName", "1\t0.15\t116\t11\twall"
    rows = f"{head}\n{first}\n2\t0.1\t9\t1\tbuilding, edifice\n"
    (tmp_path / "objectInfo150.txt").write_text(rows)
    assert read_class_names(tmp_path) == ((0, "void"), (1, "wall"), (2, "building"))
