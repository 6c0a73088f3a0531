import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from limner.data.check import check
from limner.data.folder_listing import find_images
from limner.data.scan import scan
from limner.errors import LimnerError
from limner.labels import VOID
from shapes import disc


def save(path: Path, pixels: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(disc() if pixels is None else pixels).save(path)


def sides(root: Path) -> list[tuple[str, str | None]]:
    return [(sample.id, sample.split) for sample in scan(root).samples]


def test_the_isic_layout_keeps_its_splits(lesions: Path) -> None:
    dataset = scan(lesions)
    assert dataset.layout == "ISIC"
    assert {
        split: sum(s.split == split for s in dataset.samples) for split in ("train", "val", "test")
    } == {"train": 16, "val": 4, "test": 4}
    assert dataset.samples[0].id == "ISIC_0000000"


def test_a_single_isic_folder_has_no_split(lesions: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    for name in ("ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth"):
        (tmp_path / "set" / name).symlink_to(lesions / name)
    assert {sample.split for sample in scan(tmp_path / "set").samples} == {None}


@pytest.mark.parametrize(
    ("images", "truth"),
    [
        ("ISBI2016_ISIC_Part1_Training_Data", "ISBI2016_ISIC_Part1_Training_GroundTruth"),
        ("ISIC-2017_Training_Data", "ISIC-2017_Training_Part1_GroundTruth"),
        ("ISIC2018_Task1-2_Training_Input", "ISIC2018_Task1_Training_GroundTruth"),
    ],
)
def test_each_year_of_isic_is_known(tmp_path: Path, images: str, truth: str) -> None:
    save(tmp_path / images / "ISIC_0000000.jpg")
    save(tmp_path / images / "ISIC_0000000_superpixels.png")
    save(tmp_path / truth / "ISIC_0000000_segmentation.png")
    save(tmp_path / images.replace("Training", "Test") / "ISIC_0000001.jpg")
    save(tmp_path / truth.replace("Training", "Test") / "ISIC_0000001_Segmentation.png")
    assert scan(tmp_path).layout == "ISIC"
    assert sides(tmp_path) == [("ISIC_0000000", "train"), ("ISIC_0000001", "test")]


def test_images_and_masks_are_paired_by_stem(pairs: Callable[..., Path]) -> None:
    root = pairs({"a": disc(), "b": disc()})
    (root / "masks" / "b.png").rename(root / "masks" / "c.png")
    dataset = scan(root)
    assert [sample.id for sample in dataset.samples] == ["a"]
    assert [path.name for path in dataset.images_without_mask] == ["b.png"]
    assert [path.name for path in dataset.masks_without_image] == ["c.png"]


@pytest.mark.parametrize("name", ["a_mask.png", "a-label.png", "a_Segmentation.png", "a_gt.png"])
def test_the_endings_of_mask_names_are_known(pairs: Callable[..., Path], name: str) -> None:
    root = pairs({"a": disc()})
    (root / "masks" / "a.png").rename(root / "masks" / name)
    assert sides(root) == [("a", None)]


@pytest.mark.parametrize(
    "place", ["{side}/images/a.png {side}/masks/a.png", "images/{side}/a.png masks/{side}/a.png"]
)
def test_split_folders_are_known_above_and_below(tmp_path: Path, place: str) -> None:
    for side in ("train", "valid", "testing"):
        for path in place.format(side=side).split():
            save(tmp_path / path)
    assert [side for _, side in sides(tmp_path)] == ["test", "train", "val"]
    assert len({id for id, _ in sides(tmp_path)}) == 3


def test_pairs_at_any_depth_keep_their_folders_as_ids(tmp_path: Path) -> None:
    for place in (
        "clinic/2024/images/a.png",
        "clinic/2024/masks/a.png",
        "images/deep/er/b.png",
        "masks/deep/er/b_mask.png",
    ):
        save(tmp_path / place)
    assert sides(tmp_path) == [("clinic/2024/a", None), ("deep/er/b", None)]


def test_endings_tell_masks_from_images(tmp_path: Path) -> None:
    for name in ("a.jpg", "a_mask.png", "sub/b.jpg", "sub/b_mask.png"):
        save(tmp_path / name)
    assert scan(tmp_path).layout == "name.jpg and name_mask.png"
    assert sides(tmp_path) == [("a", None), ("sub/b", None)]


def test_a_manifest_gives_pairs_splits_and_groups(tmp_path: Path) -> None:
    save(tmp_path / "x" / "1.png")
    save(tmp_path / "y" / "2.png")
    (tmp_path / "list.csv").write_text(
        "Image,mask,split,group\nx/1.png,y/2.png,Train,Anna\ny/2.png,x/1.png,validation,\n",
        encoding="utf-8-sig",
    )
    dataset = scan(tmp_path)
    assert dataset.layout == "CSV manifest list.csv"
    assert [(s.id, s.mask, s.split, s.group) for s in dataset.samples] == [
        ("x/1", tmp_path / "y" / "2.png", "train", "Anna"),
        ("y/2", tmp_path / "x" / "1.png", "val", None),
    ]


@pytest.mark.parametrize(
    "labels",
    [{"background": 0, "cell": 1, "ignore": 2}, {"0": "background", "1": "cell", "2": "ignore"}],
)
def test_nnunet_s_folder_is_known(tmp_path: Path, labels: dict[str, object]) -> None:
    for path in ("imagesTr/a_0000.png", "labelsTr/a.png", "imagesTs/b_0000.png", "labelsTs/b.png"):
        save(tmp_path / path, disc(value=1))
    (tmp_path / "dataset.json").write_text(
        json.dumps({"labels": labels, "channel_names": {"0": "R"}})
    )
    dataset = scan(tmp_path)
    assert dataset.layout == "nnU-Net raw"
    assert sides(tmp_path) == [("a", "train"), ("b", "test")]
    found = check(dataset).labels
    assert found is not None and found.names == ("background", "cell")


def test_a_second_channel_of_nnunet_is_refused(tmp_path: Path) -> None:
    for path in ("imagesTr/a_0000.png", "imagesTr/a_0001.png", "labelsTr/a.png"):
        save(tmp_path / path)
    (tmp_path / "dataset.json").write_text('{"labels": {"background": 0, "cell": 1}}')
    with pytest.raises(LimnerError, match=r"a_0001\.png holds a further channel"):
        scan(tmp_path)


def coco(tmp_path: Path, segmentations: list[object], *, categories: list[int]) -> Path:
    save(tmp_path / "pictures" / "a.png", np.zeros((20, 30, 3), np.uint8))
    table = {
        "images": [{"id": 7, "file_name": "a.png", "height": 20, "width": 30}],
        "annotations": [
            {
                "id": i,
                "image_id": 7,
                "category_id": category,
                "segmentation": segmentation,
                "area": 100 - i,
            }
            for i, (segmentation, category) in enumerate(
                zip(segmentations, categories, strict=True)
            )
        ],
        "categories": [{"id": 3, "name": "ring"}, {"id": 9, "name": "dot"}],
    }
    (tmp_path / "annotations.json").write_text(json.dumps(table))
    return tmp_path


def test_coco_s_polygons_have_holes_and_the_smaller_object_lies_above(tmp_path: Path) -> None:
    outer, inner = [2, 2, 18, 2, 18, 18, 2, 18], [6, 6, 14, 6, 14, 14, 6, 14]
    dataset = scan(
        coco(tmp_path, [[outer, inner], [[9, 9, 11, 9, 11, 11, 9, 11]]], categories=[3, 9])
    )
    assert dataset.layout == "COCO"
    mask = dataset.samples[0].read_mask().values
    assert (mask[4, 4], mask[8, 8], mask[10, 10], mask[19, 19]) == (1, 0, 2, 0)
    assert (mask == 1).sum() == 16 * 16 - 8 * 8
    assert dataset.class_names == ((0, "background"), (1, "ring"), (2, "dot"))


def test_coco_s_run_lengths_are_read_plain_and_packed(tmp_path: Path) -> None:
    from pycocotools import mask as pycoco

    drawn = np.zeros((20, 30), np.uint8)
    drawn[3:9, 5:25] = 1
    packed = pycoco.encode(np.asfortranarray(drawn))
    flat = drawn.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    plain = np.diff([0, *edges, flat.size]).tolist()
    for counts in (packed["counts"].decode(), plain):
        root = coco(tmp_path, [{"size": [20, 30], "counts": counts}], categories=[3])
        assert (scan(root).samples[0].read_mask().values == drawn).all()


def test_coco_s_parts_of_one_object_are_joined(tmp_path: Path) -> None:
    left, right = [2, 2, 14, 2, 14, 12, 2, 12], [10, 2, 26, 2, 26, 12, 10, 12]
    mask = scan(coco(tmp_path, [[left, right, left]], categories=[3])).samples[0].read_mask().values
    assert mask.sum() == 24 * 10


def test_coco_s_larger_object_lies_below_without_a_stated_area(tmp_path: Path) -> None:
    root = coco(
        tmp_path,
        [[[9, 9, 11, 9, 11, 11, 9, 11]], [[2, 2, 18, 2, 18, 18, 2, 18]]],
        categories=[9, 3],
    )
    table = json.loads((root / "annotations.json").read_text())
    for annotation in table["annotations"]:
        del annotation["area"]
    (root / "annotations.json").write_text(json.dumps(table))
    assert scan(root).samples[0].read_mask().values[10, 10] == 2


def test_categories_of_several_coco_files_are_known_by_name(tmp_path: Path) -> None:
    square = [[2, 2, 18, 2, 18, 18, 2, 18]]
    for side, ids in (("train", {"cat": 1, "dog": 2}), ("val", {"dog": 1, "cat": 2})):
        root = (
            coco(tmp_path / side, [square], categories=[ids["dog"]])
            if (tmp_path / side).mkdir() is None
            else tmp_path
        )
        table = json.loads((root / "annotations.json").read_text())
        table["categories"] = [{"id": id, "name": name} for name, id in ids.items()] + [
            {"id": 0, "name": "Background"}
        ]
        (root / "annotations.json").write_text(json.dumps(table))
    dataset = scan(tmp_path)
    assert [name for _, name in dataset.class_names] == ["background", "cat", "dog"]
    assert [int(sample.read_mask().values.max()) for sample in dataset.samples] == [2, 2]
    assert [sample.split for sample in dataset.samples] == ["train", "val"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {
                "annotations": [
                    {
                        "id": 5,
                        "image_id": 7,
                        "category_id": 3,
                        "bbox": [1, 2, 3, 4],
                        "segmentation": [],
                    }
                ]
            },
            "only a box",
        ),
        (
            {
                "annotations": [
                    {"id": 5, "image_id": 8, "category_id": 3, "segmentation": [[1, 1, 9, 1, 9, 9]]}
                ]
            },
            "images that it does not list",
        ),
        (
            {
                "annotations": [
                    {
                        "id": 5,
                        "image_id": 7,
                        "category_id": "3",
                        "segmentation": [[1, 1, 9, 1, 9, 9]],
                    }
                ]
            },
            "category '3', which it does not list",
        ),
        (
            {"images": [{"id": 7, "file_name": "a.png", "height": None, "width": 30}]},
            "no usable height",
        ),
        ({"categories": [{"id": 3}]}, "no usable name"),
        ({"categories": None}, "no list of categories"),
    ],
)
def test_a_coco_file_that_would_lose_objects_is_refused(
    tmp_path: Path, change: dict[str, object], complaint: str
) -> None:
    root = coco(tmp_path, [[[2, 2, 18, 2, 18, 18, 2, 18]]], categories=[3])
    table = json.loads((root / "annotations.json").read_text()) | change
    (root / "annotations.json").write_text(json.dumps(table))
    with pytest.raises(LimnerError, match=complaint):
        scan(root)


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [20, 30], "counts": "04"},
        {"size": [20, 30], "counts": [3, 4]},
        [[1e9, 1, 5, 1, 5, 5]],
        [[float("inf"), 1, 5, 1, 5, 5]],
        [[float("nan"), 1, 5, 1, 5, 5]],
    ],
)
def test_a_shape_that_cannot_be_drawn_is_refused_and_crashes_nothing(
    tmp_path: Path, segmentation: object
) -> None:
    with pytest.raises(LimnerError, match=r"a\.png.*cannot be drawn"):
        scan(coco(tmp_path, [segmentation], categories=[3])).samples[0].read_mask()


def test_a_list_of_names_with_endings_and_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    for name in ("vid8_0000", "with space", "c"):
        save(tmp_path / "JPEGImages" / f"{name}.jpg", np.zeros((16, 16, 3), np.uint8))
        save(tmp_path / "SegmentationClass" / f"{name}.png")
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("vid8_0000.jpg\r\nwith space\r\n", encoding="utf-8-sig")
    (lists / "test.txt").write_text("JPEGImages/c", encoding="utf-8-sig")
    assert sides(tmp_path) == [("c", "test"), ("vid8_0000", "train"), ("with space", "train")]
    (lists / "val.txt").write_text("c\n")
    with pytest.raises(LimnerError, match="another list"):
        scan(tmp_path)


def test_several_manifests_are_read_and_their_names_tell_the_split(tmp_path: Path) -> None:
    for side in ("train", "test"):
        save(tmp_path / f"{side}.png")
        (tmp_path / f"{side}.csv").write_text(f"image;mask\n{side}.png;{side}.png\n")
    (tmp_path / "patients.csv").write_bytes(b"name;age\nJos\xe9;3\n")
    assert sides(tmp_path) == [("test", "test"), ("train", "train")]


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "set" / "images").mkdir(parents=True)
    (tmp_path / "set" / "masks").mkdir()
    for kind in ("images", "masks"):
        (tmp_path / "set" / kind / "part").symlink_to(
            tmp_path / "elsewhere" if kind == "images" else save_again(tmp_path)
        )
    (tmp_path / "set" / "images" / "loop").symlink_to(tmp_path / "set")
    assert sides(tmp_path / "set") == [("part/a", None)]


def save_again(tmp_path: Path) -> Path:
    save(tmp_path / "other" / "a.png")
    return tmp_path / "other"


def test_hidden_folders_are_left_alone(tmp_path: Path) -> None:
    for place in ("images/a.png", "masks/a.png", ".backup/images/b.png", ".backup/masks/b.png"):
        save(tmp_path / place)
    assert sides(tmp_path) == [("a", None)]


@pytest.mark.parametrize("name", ["images/p0/1.png", "p0/1", "images/p0/1"])
def test_groups_are_given_by_path(tmp_path: Path, name: str) -> None:
    for place in ("images/p0/1.png", "masks/p0/1.png", "images/p1/1.png", "masks/p1/1.png"):
        save(tmp_path / place)
    (tmp_path / "groups.csv").write_text(f"image,group\n{name},Anna\n")
    assert [sample.group for sample in scan(tmp_path).samples] == ["Anna", None]
    (tmp_path / "groups.csv").write_text("image,group\n1.png,Anna\n")
    with pytest.raises(LimnerError, match="several images bear"):
        scan(tmp_path)


def test_pascal_voc_s_lists_are_its_splits_and_255_is_void(tmp_path: Path) -> None:
    for name in ("a", "b", "without_mask"):
        save(tmp_path / "VOC2012" / "JPEGImages" / f"{name}.jpg", np.zeros((16, 16, 3), np.uint8))
    for name in ("a", "b"):
        palette = Image.fromarray(
            np.where(
                (disc(radius=7) > 0) & (disc() == 0), 255, disc(value=1 + (name == "b"))
            ).astype(np.uint8),
            mode="P",
        )
        palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [224, 224, 192] * 253)
        (tmp_path / "VOC2012" / "SegmentationClass").mkdir(exist_ok=True)
        palette.save(tmp_path / "VOC2012" / "SegmentationClass" / f"{name}.png")
    lists = tmp_path / "VOC2012" / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\n")
    (lists / "trainval.txt").write_text("a\nb\n")
    assert scan(tmp_path).layout == "Pascal VOC"
    assert sides(tmp_path) == [("a", "train"), ("b", "val")]
    labels = check(scan(tmp_path)).labels
    assert labels is not None and labels.void_values == ((VOID, VOID),)


def test_what_pascal_voc_s_lists_name_is_used_or_reported(tmp_path: Path) -> None:
    for name in ("a", "b", "listed", "new"):
        save(tmp_path / "JPEGImages" / f"{name}.jpg", np.zeros((16, 16, 3), np.uint8))
        if name != "listed":
            save(tmp_path / "SegmentationClass" / f"{name}.png")
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "trainval.txt").write_text("a\nlisted\n")
    (lists / "test.txt").write_text("b\n")
    dataset = scan(tmp_path)
    assert sides(tmp_path) == [("a", "train"), ("b", "test")], (
        "trainval stands for train where there is none"
    )
    assert [path.name for path in dataset.images_without_mask] == ["listed.jpg"]
    assert [path.name for path in dataset.unused] == ["new.jpg", "new.png"]
    (lists / "val.txt").write_text("a\n")
    assert sides(tmp_path) == [("a", "val"), ("b", "test")]
    (lists / "test.txt").write_text("b\ngone\n")
    with pytest.raises(LimnerError, match="name 1 images that are not there, such as gone"):
        scan(tmp_path)


def test_what_has_no_split_beside_an_official_test_set_is_trained_on_and_its_copies_there_are_leaks(
    tmp_path: Path,
) -> None:
    for name in ("a", "b", "test/a"):
        folder, _, stem = name.rpartition("/")
        save(tmp_path / folder / "images" / f"{stem}.png", disc() // 2)
        save(tmp_path / folder / "masks" / f"{stem}.png")
    assert sides(tmp_path) == [("a", "train"), ("b", "train"), ("test/a", "test")]
    assert {
        finding.severity for finding in check(scan(tmp_path)).findings if finding.code == "leak"
    } == {"error"}


def test_images_that_are_in_no_group_though_others_are_are_told(pairs: Callable[..., Path]) -> None:
    root = pairs({name: disc(radius=3 + i) for i, name in enumerate(("anna-1", "anna-2", "Ben_1"))})
    (found,) = (
        finding
        for finding in check(scan(root, "^([a-z]+)-")).findings
        if finding.code == "ungrouped"
    )
    assert "1 images are in no group" in found.message and found.file.endswith("Ben_1.png")


@pytest.mark.parametrize("key", ["images", "categories"])
def test_an_id_that_coco_gives_twice_is_an_error(tmp_path: Path, key: str) -> None:
    path = coco(tmp_path, [[[3, 3, 8, 3, 8, 8, 3, 8]]], categories=[3]) / "annotations.json"
    table = json.loads(path.read_text())
    table[key].append({**table[key][0], "file_name": "b.png", "name": "another"})
    path.write_text(json.dumps(table))
    with pytest.raises(LimnerError, match=rf"has 2 {key} of the id {table[key][0]['id']}"):
        scan(tmp_path)


@pytest.mark.parametrize("ending", ["annot", "_labels"])
def test_camvid_s_folders_are_known(tmp_path: Path, ending: str) -> None:
    for side in ("train", "val", "test"):
        save(tmp_path / side / "x.png")
        save(tmp_path / f"{side}{ending}" / ("x_L.png" if ending == "_labels" else "x.png"))
    assert scan(tmp_path).layout == "CamVid"
    assert sides(tmp_path) == [("test/x", "test"), ("train/x", "train"), ("val/x", "val")]


def test_an_unknown_layout_lists_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(
        LimnerError,
        match=(
            r"(?s)CSV.*nnU-Net.*COCO.*Pascal VOC.*CamVid.*ISIC.*images/ beside "
            r"masks/.*x_mask\.png.*Found there: photos"
        ),
    ):
        scan(tmp_path)


@pytest.mark.parametrize("name", ["none", "file.txt"])
def test_a_wrong_path_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.txt").touch()
    with pytest.raises(LimnerError, match=name):
        scan(tmp_path / name)


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
    ],
)
def test_class_files_of_each_habit_are_read(
    pairs: Callable[..., Path], name: str, text: str, classes: tuple[tuple[int, str], ...]
) -> None:
    root = pairs({"a": disc()})
    (root / name).write_text(text)
    assert scan(root).class_names == classes


def test_a_stack_is_a_group_of_samples(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).integers(0, 255, (3, 16, 16)).astype(np.uint8)
    for kind, pixels in (
        ("images", stack),
        ("masks", np.stack([disc(), disc(radius=3), disc(radius=2)])),
    ):
        (tmp_path / kind).mkdir()
        tifffile.imwrite(tmp_path / kind / "film.tif", pixels, photometric="minisblack")
    samples = scan(tmp_path).samples
    assert [(sample.id, sample.group) for sample in samples] == [
        ("film#1", "film"),
        ("film#2", "film"),
        ("film#3", "film"),
    ]
    assert (samples[1].read_mask().values == disc(radius=3)).all()
    assert (samples[2].read_image()[..., 0] == stack[2]).mean() > 0.01


def test_groups_come_from_a_table_or_a_pattern(pairs: Callable[..., Path]) -> None:
    root = pairs({name: disc() for name in ("anna_1", "anna_2", "bert_1", "odd")})
    assert [sample.group for sample in scan(root, r"^([a-z]+)_").samples] == [
        "anna",
        "anna",
        "bert",
        None,
    ]
    (root / "groups.csv").write_text("image,group\nodd.png,bert\n")
    assert [sample.group for sample in scan(root, r"^([a-z]+)_").samples] == [
        "anna",
        "anna",
        "bert",
        "bert",
    ]


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [("(", "is no regular expression"), ("[0-9]{9}", "matches no name, such as a")],
)
def test_a_pattern_that_cannot_be_used_says_why(
    pairs: Callable[..., Path], pattern: str, complaint: str
) -> None:
    with pytest.raises(LimnerError, match=complaint):
        scan(pairs({"a": disc()}), pattern)


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "._a.png").touch()
    (tmp_path / "a.png").touch()
    assert [path.name for path in find_images(tmp_path)] == ["a.png"]
