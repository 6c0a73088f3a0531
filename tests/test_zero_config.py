"""`benchmarks/zero_config.py` without its contestants: split, scorer, resume and table."""

import re
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# At the end: benchmarks and tests both have a review_page
sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))

import zero_config
import zero_sets
from zero_config import Job, Row, image_dice
from zero_sets import Coding

BINARY, SCENES = Coding(), Coding(3, void=3)


def labels(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.uint8)


def write_set(folder: Path, names: list[str]) -> Path:
    for side in ("images", "masks"):
        (folder / side).mkdir(parents=True)
        for name in names:
            Image.new("L", (4, 4), 255).save(folder / side / f"{name}.png")
    return folder


def scored(job: Job, dice: float = 0.5) -> Row:
    return Row(
        **asdict(job),
        dice=dice,
        seconds=1,
        shown=None,
        size="",
        peer="",
        torch="",
        processor=zero_config.processor_text(),
    )


def test_dice_of_two_classes_is_that_of_the_foreground() -> None:
    truth, predicted = labels([1, 1, 0, 0]), labels([1, 0, 0, 0])
    assert image_dice(truth, predicted, BINARY) == pytest.approx(2 / 3)
    assert image_dice(predicted, truth, BINARY) == pytest.approx(2 / 3)


def test_two_empty_masks_agree_and_one_empty_mask_does_not() -> None:
    empty, full = labels([0, 0]), labels([1, 1])
    assert image_dice(empty, empty, BINARY) == 1
    assert image_dice(empty, full, BINARY) == image_dice(full, empty, BINARY) == 0


def test_dice_of_several_classes_leaves_out_void_pixels_and_absent_classes() -> None:
    truth, predicted = labels([0, 0, 1, 3]), labels([0, 0, 1, 2])
    assert image_dice(truth, predicted, SCENES) == 1
    # Class 2 was predicted where it is not: it counts as 0
    assert image_dice(labels([0, 0, 1, 1]), labels([0, 0, 1, 2]), SCENES) == pytest.approx(
        (1 + 2 / 3 + 0) / 3
    )
    assert np.isnan(image_dice(labels([3, 3]), labels([0, 1]), SCENES))


def test_masks_are_scored_at_their_own_size_alone() -> None:
    with pytest.raises(AssertionError, match="mask of"):
        image_dice(np.zeros((2, 2), np.uint8), np.zeros((3, 2), np.uint8), BINARY)


def test_a_folder_is_scored_whole(tmp_path: Path) -> None:
    test, masks = write_set(tmp_path / "test", ["a", "b"]), tmp_path / "masks"
    masks.mkdir()
    BINARY.write(np.ones((4, 4)), masks / "a.png")
    with pytest.raises(FileNotFoundError):
        zero_config.score_folder(test, masks, BINARY)
    BINARY.write(np.zeros((4, 4)), masks / "b.png")
    assert zero_config.score_folder(test, masks, BINARY) == 0.5


def test_masks_are_read_as_they_were_written(tmp_path: Path) -> None:
    indices = labels([0, 1], [2, 3])
    SCENES.write(indices, tmp_path / "scene.png")
    assert (SCENES.read(tmp_path / "scene.png") == indices).all()
    BINARY.write(indices > 0, tmp_path / "binary.png")
    assert (BINARY.read(tmp_path / "binary.png") == (indices > 0)).all()


def test_classes_txt_tells_classes_and_void(tmp_path: Path) -> None:
    assert zero_sets.read_coding(tmp_path) == BINARY
    (tmp_path / "classes.txt").write_text("0 sky\n1 road\n2 car\n3 Unlabelled\n")
    assert zero_sets.read_coding(tmp_path) == SCENES


def test_the_split_depends_on_the_names_alone_and_keeps_children_together() -> None:
    names = [f"{index:03}" for index in range(50)]
    test = zero_sets.draw_test_names("nuclei", names)
    assert len(test) == 10
    assert test == zero_sets.draw_test_names("nuclei", names[::-1])
    eyes = [f"CHASE_{child:02}{eye}" for child in range(1, 11) for eye in "LR"]
    assert zero_sets.draw_test_names("vessels", eyes) == set(eyes[-4:])


def test_a_set_is_split_once_and_no_test_image_is_given_away(tmp_path: Path) -> None:
    source = write_set(tmp_path / "nuclei", [f"{index:02}" for index in range(10)])
    folder = zero_sets.prepare_set("nuclei", source, tmp_path / "work")
    sides = [set(zero_sets.read_pairs(folder / side)) for side in ("train", "test")]
    assert [len(side) for side in sides] == [8, 2]
    assert not sides[0] & sides[1]
    written = (folder / "split.json").stat().st_mtime_ns
    zero_sets.prepare_set("nuclei", source, tmp_path / "work")
    assert (folder / "split.json").stat().st_mtime_ns == written


def test_the_masks_of_isic_get_the_names_of_their_images(tmp_path: Path) -> None:
    folders = zero_sets.IMAGE_FOLDERS[1], zero_sets.MASK_FOLDERS[1]
    for folder, end in zip(folders, (".jpg", "_segmentation.png"), strict=True):
        (tmp_path / folder).mkdir()
        for index in range(8):
            Image.new("L", (4, 4)).save(tmp_path / folder / f"ISIC_{index:07}{end}")
    folder = zero_sets.prepare_set("isic2018", tmp_path, tmp_path / "work")
    images, masks = ((folder / "train" / side).iterdir() for side in ("images", "masks"))
    assert {path.stem for path in images} == {path.stem for path in masks}


def test_a_run_with_a_row_is_not_made_again_and_a_failure_stops_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [Job("nuclei", name, "2", "0") for name in ("limner", "smp 128", "monai unet 256")]
    made: list[Job] = []

    def run(job: Job) -> Row:
        made.append(job)
        if job.contestant == "smp 128" and len(made) < 4:
            raise OSError("no such contestant")
        return scored(job)

    table = tmp_path / "table.csv"
    assert zero_config.run_jobs(jobs, table, run) == 1
    assert re.search("failed: .*smp 128", capsys.readouterr().out)
    assert made == jobs
    assert zero_config.run_jobs(jobs, table, run) == 0
    assert made == [*jobs, jobs[1]]
    assert zero_config.run_jobs(jobs, table, run) == 0
    assert [row["contestant"] for row in zero_config.read_rows(table)] == [
        "limner",
        "monai unet 256",
        "smp 128",
    ]


def test_the_table_names_the_first_and_divides_by_the_best_peer(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    for contestant, seed, dice in (
        ("limner", "0", 0.8),
        ("limner", "1", 0.9),
        ("limner from scratch", "0", 0.5),
        ("smp 128", "0", 0.5),
        ("smp 256", "0", 0.68),
    ):
        zero_config.append_row(table, scored(Job("nuclei", contestant, "2", seed), dice))
    head, _, row = zero_config.format_table(zero_config.read_rows(table)).splitlines()
    assert head == (
        "| set | minutes | limner | limner from scratch | smp 128 | smp 256 | first | "
        "limner / best peer | processor |"
    )
    assert row == (
        "| nuclei | 2 | 0.850 (0.800–0.900) | 0.500 | 0.500 | 0.680 | limner | 1.250 | "
        f"{zero_config.processor_text()} |"
    )


def test_rows_of_another_processor_are_not_compared(tmp_path: Path) -> None:
    table, job = tmp_path / "table.csv", Job("nuclei", "limner", "2", "0")
    zero_config.append_row(table, replace(scored(job), processor="another"))
    assert zero_config.run_jobs([job], table, scored) == 0
    rows = zero_config.read_rows(table)
    assert len(rows) == 2 and len(zero_config.format_table(rows).splitlines()) == 4
