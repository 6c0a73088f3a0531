from pathlib import Path

import pytest

from dataset_folders import ids_and_splits, save_image, save_images
from limner.data.scan import scan
from limner.data.split_names import split_from_file_name
from shapes import disc


def save_pairs(root: Path, *names: str) -> None:
    save_images(root, *(f"{folder}/{name}.png" for folder in ("images", "masks") for name in names))


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train_001", "train"),
        ("001-val", "val"),
        ("test12", "test"),
        ("21_training", "train"),
        ("eval_3", "test"),
        ("testis_01", None),
        ("my_test_photo", None),
        ("train_test", None),
        ("contest_2", None),
        ("0001", None),
    ],
)
def test_the_first_or_the_last_word_of_a_name_tells_a_split(name: str, split: str | None) -> None:
    assert split_from_file_name(name) == split


def test_splits_that_all_names_tell_are_taken(tmp_path: Path) -> None:
    save_pairs(tmp_path, "train_001", "train_002", "val_003", "test_004")
    assert ids_and_splits(tmp_path) == [
        ("test_004", "test"),
        ("train_001", "train"),
        ("train_002", "train"),
        ("val_003", "val"),
    ]
    (note,) = scan(tmp_path).findings
    assert (note.code, note.severity) == ("announced-splits", "note")
    assert note.message == (
        "the splits are those that the names of the images tell: 2 train, 1 val, 1 test."
    )


def test_names_of_which_some_tell_a_split_are_named_and_not_heard(tmp_path: Path) -> None:
    save_pairs(tmp_path, "a", "b", "c", "test_1", "test_2")
    assert {split for _, split in ids_and_splits(tmp_path)} == {None}
    (warning,) = scan(tmp_path).findings
    assert (warning.code, warning.severity) == ("split-name", "warning")
    assert "the names of 2 images are those of a validation or test set" in warning.message
    assert "3 names tell no split. All are divided at random" in warning.message


@pytest.mark.parametrize(
    "names",
    [("a", "b", "test"), ("test1", "test2", "test3"), ("contest_1", "contest_2", "latest_3")],
)
def test_names_that_hold_a_split_s_word_by_chance_are_not_named(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    save_pairs(tmp_path, *names)
    assert scan(tmp_path).findings == ()
    assert {split for _, split in ids_and_splits(tmp_path)} == {None}


@pytest.mark.parametrize("line", ["{}", "{}.png", "images/{}.png", "images/{0}.png masks/{0}.png"])
def test_lists_beside_the_images_are_taken(tmp_path: Path, line: str) -> None:
    save_pairs(tmp_path, "a", "b", "c")
    (tmp_path / "train.txt").write_text(f"{line.format('a')}\n{line.format('c')}\n")
    (tmp_path / "test.txt").write_text(line.format("b"))
    assert ids_and_splits(tmp_path) == [("a", "train"), ("b", "test"), ("c", "train")]
    (note,) = scan(tmp_path).findings
    assert f"{tmp_path}/train.txt tell: 2 train, 0 val, 1 test." in note.message


def save_lists(folder: Path, encoding: str = "utf-8", **lists: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, ids in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(ids.split("|")), encoding=encoding)


def list_findings(root: Path) -> list[tuple[str, str]]:
    """The severity and the message of each finding of a scan about lists."""
    findings = scan(root).findings
    return [(each.severity, each.message) for each in findings if each.code == "split-lists"]


def splits_found(root: Path) -> dict[str, str | None]:
    return dict(ids_and_splits(root))


def test_lists_that_leave_images_out_are_named_and_not_heard(tmp_path: Path) -> None:
    save_pairs(tmp_path, "a", "b", "c")
    save_lists(tmp_path / "splits", train="a|b", test="b")
    assert set(splits_found(tmp_path).values()) == {None}
    ((severity, message),) = list_findings(tmp_path)
    assert severity == "warning"
    assert (
        "1 image is in none of them, such as c, and 1 image is in several, such as b. So they are "
        "not heard, and all images are divided at random." in message
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_lists_may_be_in_utf_8_or_in_utf_16_with_its_mark(tmp_path: Path, encoding: str) -> None:
    save_pairs(tmp_path, "a", "\u00e9")
    save_lists(tmp_path, encoding, train="a", test="\u00e9")
    assert splits_found(tmp_path) == {"a": "train", "\u00e9": "test"}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le"])
def test_a_list_that_cannot_be_read_is_an_error_and_none_is_heard(
    tmp_path: Path, encoding: str
) -> None:
    save_pairs(tmp_path, "a", "b", "\u00e9")
    save_lists(tmp_path, train="a|b|\u00e9")
    save_lists(tmp_path, encoding, test="\u00e9")
    assert set(splits_found(tmp_path).values()) == {None}
    ((severity, message),) = list_findings(tmp_path)
    assert severity == "error"
    assert message.startswith(f"{tmp_path}/test.txt cannot be read")
    assert message.endswith("Save it as UTF-8. Until then no list is used, since the others alone "
                            "would mislead.")  # fmt: skip
    # The cure
    save_lists(tmp_path, train="a|b", test="\u00e9")
    assert splits_found(tmp_path) == {"a": "train", "b": "train", "\u00e9": "test"}


def test_lists_whose_lines_name_no_image_are_named(tmp_path: Path) -> None:
    save_pairs(tmp_path, "im00", "im01", "im02", "im03")
    save_lists(tmp_path, train="0|1|2", test="3")
    ((severity, message),) = list_findings(tmp_path)
    assert severity == "warning"
    assert (
        "have 4 lines, none of which names one image that has a mask. 4 name none at all, such as "
        "'3', '0', '1' and 1 more. So no list tells the splits, and all images are divided at "
        "random. Name each image by its path below the folder of images, such as im00." in message
    )
    # The cure
    save_lists(tmp_path, train="im00|im01.png|im02", test="im03")
    assert [split for _, split in ids_and_splits(tmp_path)] == [*["train"] * 3, "test"]


def test_an_empty_list_is_named(tmp_path: Path) -> None:
    save_pairs(tmp_path, "a", "b")
    save_lists(tmp_path, train="")
    ((_, message),) = list_findings(tmp_path)
    assert f"{tmp_path}/train.txt is empty. So no list tells the splits" in message


def test_lines_of_images_that_are_not_there_are_counted_and_named(tmp_path: Path) -> None:
    save_pairs(tmp_path, "a", "b")
    save_images(tmp_path, "images/without_mask.png")
    save_lists(tmp_path, train="a|im77|im78|without_mask", test="b")
    assert splits_found(tmp_path) == {"a": "train", "b": "test"}
    ((severity, message),) = list_findings(tmp_path)
    assert severity == "warning"
    assert (
        "train.txt has 4 lines, of which 2 name no image that is there: "
        "'im77', 'im78'. Fetch these images, or mend the list." in message
    )


def test_trainval_stands_for_train_where_that_has_no_list(tmp_path: Path) -> None:
    save_pairs(tmp_path, "a", "b", "c")
    save_lists(tmp_path, trainval="a|b", test="c")
    assert splits_found(tmp_path) == {"a": "train", "b": "train", "c": "test"}
    save_lists(tmp_path, val="b")
    assert splits_found(tmp_path) == {"a": "train", "b": "val", "c": "test"}
    save_lists(tmp_path, train="a")
    assert splits_found(tmp_path) == {"a": "train", "b": "val", "c": "test"}
    assert list_findings(tmp_path) == []


@pytest.mark.parametrize(
    "folder", ["ImageSets/Segmentation", "ImageSets", "annotations", "meta", "splits", "images"]
)
def test_lists_in_folders_of_usual_names_are_taken(tmp_path: Path, folder: str) -> None:
    save_pairs(tmp_path / "data", "a", "b")
    save_images(tmp_path, "raw/x.png")
    for base in (tmp_path, tmp_path / "data"):
        save_lists(base / folder, train="a", test="b")
        assert splits_found(tmp_path) == {"data/a": "train", "data/b": "test"}, base
        for path in (base / folder).glob("*.txt"):
            path.unlink()


def test_lists_beside_the_one_folder_of_a_set_are_taken(tmp_path: Path) -> None:
    save_pairs(tmp_path / "set", "a", "b")
    save_lists(tmp_path, train="a", test="b")
    assert splits_found(tmp_path) == {"set/a": "train", "set/b": "test"}


@pytest.mark.parametrize("line", ["{}", "{}.png", "images/{}.png", "/home/ann/images/{}.png"])
def test_names_with_folders_tell_files_of_one_name_apart(tmp_path: Path, line: str) -> None:
    for site in ("A", "B"):
        save_images(tmp_path, f"images/{site}/00.png", f"masks/{site}/00.png")
    save_lists(tmp_path, train=line.format("A/00"), test=line.format("B/00"))
    assert splits_found(tmp_path) == {"A/00": "train", "B/00": "test"}
    assert list_findings(tmp_path) == []


def test_a_file_name_that_several_images_bear_names_none(tmp_path: Path) -> None:
    for site in ("A", "B"):
        save_images(tmp_path, f"images/{site}/00.png", f"masks/{site}/00.png")
    save_lists(tmp_path, train="A/00", test="B/00|00")
    assert splits_found(tmp_path) == {"A/00": "train", "B/00": "test"}
    ((_, message),) = list_findings(tmp_path)
    assert (
        "has 2 lines, of which 1 names several images: '00'. Name each image by its path below the "
        "folder of images, such as A/00." in message
    )
    save_lists(tmp_path, train="00", test="00.png|01")
    ((_, message),) = list_findings(tmp_path)
    assert (
        "have 3 lines, none of which names one image that has a mask. 1 names none at all, such as "
        "'01'. 2 name several, such as '00.png', '00'. So no list" in message
    )


@pytest.mark.parametrize("other", ["case.b", "case 1"])
def test_an_exact_name_comes_before_a_looser_one(tmp_path: Path, other: str) -> None:
    save_pairs(tmp_path, "case", other)
    save_lists(tmp_path, train=other, test="case")
    assert splits_found(tmp_path) == {"case": "test", other: "train"}
    # What names another image exactly is not taken for this one
    save_lists(tmp_path, train=f"{other}|case.c|case 2", test="case")
    assert splits_found(tmp_path) == {"case": "test", other: "train"}
    assert "2 name no image that is there" in list_findings(tmp_path)[0][1]


@pytest.mark.parametrize(
    "name",
    ["train_ids.txt", "train_list.txt", "train.lst", "train.csv", "splits.json", "train_aug.txt"],
)
def test_files_that_look_like_lists_and_are_not_taken_are_named(tmp_path: Path, name: str) -> None:
    save_pairs(tmp_path, "a", "b")
    (tmp_path / name).write_text("a\n")
    assert list_findings(tmp_path) == [
        (
            "warning",
            f"{tmp_path}/{name} looks like a split list, and is not taken. Taken are train.txt, "
            "val.txt and test.txt, at the top, in splits/ or in ImageSets/Segmentation/, with the "
            "name of an image in each line, and where there is none of them a CSV table with the "
            "columns image and split. Rename the files so, or save the splits in one of these "
            "forms. Move what is in another folder.",
        )
    ]


def test_lists_in_other_folders_are_named(tmp_path: Path) -> None:
    save_pairs(tmp_path, "a", "b")
    save_lists(tmp_path / "random_division", train="a", test="b")
    ((_, message),) = list_findings(tmp_path)
    assert message.startswith(
        f"{tmp_path}/random_division/test.txt, {tmp_path}/random_division/train.txt look like "
    )
    # The cure
    (tmp_path / "random_division").rename(tmp_path / "splits")
    assert splits_found(tmp_path) == {"a": "train", "b": "test"}
    (tmp_path / "splits").rename(tmp_path / "fold_0")
    ((_, message),) = list_findings(tmp_path)
    assert "seem to give the folds of a cross-validation" in message


@pytest.mark.parametrize("name", ["train_config.json", "results.csv", "notes.txt", "latest.json"])
def test_files_that_do_not_look_like_lists_are_left_alone(tmp_path: Path, name: str) -> None:
    save_pairs(tmp_path, "a", "b")
    (tmp_path / name).write_text("a\n")
    assert list_findings(tmp_path) == []


@pytest.mark.parametrize("columns", ["image,split", "id,set", "filename,subset", "img_path,split"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_table_of_images_and_splits_is_heard(tmp_path: Path, columns: str, encoding: str) -> None:
    save_pairs(tmp_path, "a", "b")
    text = f"{columns}\na.png,Training\nb.png,test\n"
    (tmp_path / "table.csv").write_text(text, encoding=encoding)
    assert splits_found(tmp_path) == {"a": "train", "b": "test"}


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("image,split\na,train\nb,extra\n", "gives the split 'extra', which is none of train"),
        ("image,split\na,train\n\xe9,test\n", "cannot be read"),
        ("# made by hand\nimage,split\na,train\nb,test\n", "has comments above its line of"),
    ],
)
def test_a_table_of_splits_that_cannot_be_used_is_an_error(
    tmp_path: Path, content: str, cause: str
) -> None:
    save_pairs(tmp_path, "a", "b")
    (tmp_path / "splits.csv").write_text(content, encoding="latin-1")
    ((severity, message),) = list_findings(tmp_path)
    assert severity == "error"
    assert cause in message


def test_a_table_beside_lists_is_named(tmp_path: Path) -> None:
    save_pairs(tmp_path, "a", "b")
    save_lists(tmp_path, train="a", test="b")
    (tmp_path / "splits.csv").write_text("image,split\na,train\nb,test\n")
    ((severity, message),) = list_findings(tmp_path)
    assert severity == "note"
    assert f"{tmp_path}/splits.csv lists splits too, and is not used" in message
    (tmp_path / "splits.csv").write_text("image,split\na,train\nb,extra\n")
    ((severity, message),) = list_findings(tmp_path)
    assert severity == "warning"
    assert message.endswith("It is not used: other lists or folders tell the splits.")


@pytest.mark.parametrize("name", ["fold1.txt", "splits/fold_1.txt", "folds.csv", "fold_ids.csv"])
def test_folds_are_left_to_limner(tmp_path: Path, name: str) -> None:
    save_pairs(tmp_path, "a", "b")
    (tmp_path / "splits").mkdir()
    (tmp_path / name).write_text("image,fold\na,0\nb,1\n")
    assert list_findings(tmp_path) == [
        (
            "warning",
            f"{tmp_path}/{name} seems to give the folds of a cross-validation, which are not "
            "taken. Limner deals folds of its own: limner train DATA --folds 5. To train on one "
            "division, list it in train.txt, val.txt and test.txt.",
        )
    ]


def test_folders_and_columns_of_folds_are_named(tmp_path: Path) -> None:
    for fold in ("fold_1", "fold_2"):
        save_pairs(tmp_path / "folders" / fold, fold)
    ((_, message),) = list_findings(tmp_path / "folders")
    assert message.startswith("fold_1, fold_2 seem to give the folds of a cross-validation")
    save_pairs(tmp_path / "table", "a", "b")
    lines = [f"images/{name}.png,masks/{name}.png,{fold}" for fold, name in enumerate("ab")]
    (tmp_path / "table/list.csv").write_text("\n".join(["image,mask,fold", *lines]))
    ((_, message),) = list_findings(tmp_path / "table")
    assert "list.csv seems to give the folds of a cross-validation" in message


def test_lists_beside_folders_that_tell_splits_are_named(tmp_path: Path) -> None:
    save_pairs(tmp_path / "train", "a", "b")
    save_pairs(tmp_path / "test", "c")
    save_lists(tmp_path, train="a|b", test="c")
    ((severity, message),) = list_findings(tmp_path)
    assert severity == "note"
    assert (
        "list splits too, and are not used: the images have splits without that. They say the "
        "same of 3 images." in message
    )
    save_lists(tmp_path, train="a", val="b")
    assert splits_found(tmp_path) == {"test/c": "test", "train/a": "train", "train/b": "train"}
    ((severity, message),) = list_findings(tmp_path)
    assert severity == "warning"
    assert (
        "Other splits are listed for 1 image, such as train/b, which is in train and listed for "
        "val. Remove what is wrong" in message
    )
    save_lists(tmp_path, train="x", val="y", test="z")
    ((severity, message),) = list_findings(tmp_path)
    assert severity == "note"
    assert message.endswith("No line of them names an image that has a mask.")


def test_folders_come_before_names_and_lists(tmp_path: Path) -> None:
    save_pairs(tmp_path / "train", "test_1")
    save_pairs(tmp_path / "test", "train_1")
    (tmp_path / "test.txt").write_text("test_1\n")
    assert ids_and_splits(tmp_path) == [("test/train_1", "test"), ("train/test_1", "train")]


def test_drive_s_truth_may_be_called_label_beside_the_field_of_view(tmp_path: Path) -> None:
    for number in (21, 22):
        save_image(tmp_path / f"training/images/{number}_training.tif")
        save_image(tmp_path / f"training/label/{number}_manual1.png", disc(radius=3))
        save_image(tmp_path / f"training/mask/{number}_training_mask.png", disc(radius=7))
    dataset = scan(tmp_path)
    assert dataset.layout == "DRIVE"
    assert {str(sample.mask) for sample in dataset.samples} == {
        f"{tmp_path}/training/label/{number}_manual1.png" for number in (21, 22)
    }


def test_two_folders_of_masks_are_named(tmp_path: Path) -> None:
    save_images(tmp_path, "images/a.png", "mask/a.png", "label/a.png")
    (warning,) = scan(tmp_path).findings
    assert warning.code == "several-mask-folders"
    assert f"{tmp_path}/mask is taken for the masks of {tmp_path}/images, and " in warning.message
    assert f"{tmp_path}/label is left out." in warning.message
