import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from dataset_folders import save_image
from limner.data.check import check
from limner.data.dataset import Dataset
from limner.data.scan import scan
from limner.errors import LimnerError

LEFT, RIGHT = np.zeros((6, 8), np.uint8), np.zeros((6, 8), np.uint8)
LEFT[1:4, 1:3] = 255
RIGHT[2:5, 5:7] = 255
TABLE = (
    "annotation_id,annotator,id,image,brush\n"
    '5,a@b.c,1,/data/upload/3/1a2b3c4d-x.jpg,"[{""format"": ""rle""}]"\n'
    "6,a@b.c,2,/data/upload/3/1a2b3c4d-y.jpg,\n"
)


def write(root: Path, masks: Mapping[str, np.ndarray], table: str = TABLE) -> None:
    """Two images, masks, and a table of the tasks, as Label Studio 1.x exports them."""
    for number, name in enumerate("xy"):
        noise = np.random.default_rng(number).integers(0, 255, (6, 8, 3)).astype(np.uint8)
        save_image(root / "photos" / f"{name}.jpg", noise)
    for name, mask in masks.items():
        save_image(root / "export" / f"{name}.png", mask)
    if table:
        (root / "export/project-1.csv").write_text(table)


def drawn(dataset: Dataset, id: str) -> np.ndarray:
    return next(sample for sample in dataset.samples if sample.id == id).read_mask().values


def test_strokes_of_a_task_are_united_as_the_classes_of_their_labels(tmp_path: Path) -> None:
    strokes = {
        "task-1-annotation-5-by-a@b.c-brush-T-cell-0": LEFT,
        "task-1-annotation-5-by-a@b.c-brush-debris-0": RIGHT,
    }
    write(tmp_path, strokes)
    dataset = scan(tmp_path)
    assert dataset.layout == "Label Studio's masks"
    assert dataset.class_names == ((0, "background"), (1, "T-cell"), (2, "debris"))
    assert (drawn(dataset, "photos/x") == (LEFT > 0) + 2 * (RIGHT > 0)).all()
    assert not drawn(dataset, "photos/y").any(), "an annotation without a stroke has no object"
    assert not check(dataset).errors


def test_of_several_annotations_the_last_is_taken_and_told(tmp_path: Path) -> None:
    strokes = {
        "task-1-annotation-5-by-7-brush-cell-0": LEFT,
        "task-1-annotation-12-by-8-brush-cell-0": RIGHT,
    }
    write(tmp_path, strokes)
    dataset = scan(tmp_path)
    assert (drawn(dataset, "photos/x") == (RIGHT > 0)).all()
    (finding,) = [each for each in dataset.findings if each.code == "several-annotations"]
    assert finding.message.endswith("The last is taken.")


def test_without_a_table_of_tasks_it_is_said_what_is_missing(tmp_path: Path) -> None:
    write(tmp_path, {"task-1-annotation-5-by-7-brush-cell-0": LEFT}, table="")
    with pytest.raises(LimnerError, match="tell the task and not the image"):
        scan(tmp_path)


def test_a_mask_of_an_unknown_task_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, {"task-9-annotation-5-by-7-brush-cell-0": LEFT})
    with pytest.raises(LimnerError, match="mask of the task 9, which is not in"):
        scan(tmp_path)


def test_the_export_as_json_is_read_instead_of_the_masks_beside_it(tmp_path: Path) -> None:
    write(tmp_path, {"task-1-annotation-5-by-7-brush-cell-0": LEFT}, table="")
    place = {"x": 0, "y": 0, "width": 50, "height": 50, "rotation": 0}
    region = {
        "type": "rectanglelabels",
        "value": {**place, "rectanglelabels": ["cell"]},
        "original_width": 8,
        "original_height": 6,
    }
    tasks = [
        {"id": id, "data": {"image": f"{name}.jpg"}, "annotations": [{"result": [region]}]}
        for id, name in ((1, "x"), (2, "y"))
    ]
    (tmp_path / "export/project-1.json").write_text(json.dumps(tasks))
    dataset = scan(tmp_path)
    assert (dataset.layout, len(dataset.samples)) == ("Label Studio", 2)
    assert not [each for each in dataset.findings if each.code == "not-annotated"]


def test_json_min_names_the_images_of_the_masks(tmp_path: Path) -> None:
    write(tmp_path, {"task-1-annotation-5-by-7-brush-cell-0": LEFT}, table="")
    task = {"id": 1, "annotation_id": 5, "annotator": 7, "image": "x.jpg", "brush": []}
    (tmp_path / "export/min.json").write_text(json.dumps([task]))
    assert (drawn(scan(tmp_path), "photos/x") == (LEFT > 0)).all()


def test_a_mask_of_another_size_names_the_file(tmp_path: Path) -> None:
    wrong = np.zeros((3, 4), np.uint8)
    strokes = {
        "task-1-annotation-5-by-7-brush-cell-0": LEFT,
        "task-1-annotation-5-by-7-brush-cell-1": wrong,
    }
    write(tmp_path, strokes)
    errors = check(scan(tmp_path)).errors
    assert any("cell-1.png is 4x3" in error.message for error in errors)
