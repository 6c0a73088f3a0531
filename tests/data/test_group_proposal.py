import shlex
from pathlib import Path

import pytest
from test_split_folders import save_pairs

from command_line import limner
from limner.data.check import check
from limner.data.group_proposal import group_proposals
from limner.data.sample import Sample, Split
from limner.data.scan import scan
from limner.recipe_file import load_recipe


def samples_named(*ids: str, split: Split | None = None) -> list[Sample]:
    return [Sample(id, Path(f"images/{id}.png"), Path(f"masks/{id}.png"), split) for id in ids]


def proposed_pattern(samples: list[Sample]) -> str:
    """The pattern that the finding gives; empty where there is none."""
    for finding in group_proposals(Path("set"), samples):
        *_, setting = shlex.split(finding.message.partition("\n")[2])
        key, _, pattern = setting.partition("=")
        assert key == "data.group_pattern"
        return pattern
    return ""


def proposed_groups(tmp_path: Path, *ids: str) -> dict[str, list[str]]:
    """What following the proposal gives: the groups with their ids."""
    from dataset_folders import save_images

    for id in ids:
        save_images(tmp_path, f"images/{id}.png", f"masks/{id}.png")
    groups: dict[str, list[str]] = {}
    for sample in scan(tmp_path, proposed_pattern(list(scan(tmp_path).samples))).samples:
        groups.setdefault(str(sample.group), []).append(sample.id)
    return groups


@pytest.mark.parametrize(
    ("ids", "groups"),
    [
        ("patient_01/a patient_01/b patient_02/a patient_02/b", "patient_01 patient_02"),
        ("a/Case7/1 b/Case7/2 a/Case8/1 b/Case8/2", "Case7 Case8"),
        ("patient_01_left/a patient_01_right/a patient_02_left/a patient_02_left/b", "patient_01 "
         "patient_02"),
        ("P001_slice1 P001_slice2 P002_slice1 P002_slice2", "P001 P002"),
        ("sub-01_ses-1_2 sub-01_ses-2_2 sub-02_ses-1_1 sub-02_ses-1_2", "sub-01 sub-02"),
        ("0012_frame_1 0012_frame_2 0013_frame_1 0013_frame_2", "0012 0013"),
        ("A7-t3-slice01 A7-t3-slice02 A8-t1-slice01 A8-t1-slice02", "A7-t3 A8-t1"),
        ("eye_01L eye_01R eye_02L eye_02R", "eye_01 eye_02"),
        ("7_OD 7_OS 8_OD 8_OS", "7 8"),
    ],
)  # fmt: skip
def test_names_of_subjects_are_proposed_as_groups(tmp_path: Path, ids: str, groups: str) -> None:
    found = proposed_groups(tmp_path, *ids.split())
    assert sorted(found) == groups.split()
    assert sum(map(len, found.values())) == len(ids.split())


@pytest.mark.parametrize(
    "ids",
    [
        "ISIC_0000001 ISIC_0000002 ISIC_0000003 ISIC_0000004",
        "img_1 img_2 img_3 img_4 img_5 img_6",
        "scan_001 scan_002 scan_003 scan_004",
        "tumor_img_1 tumor_img_2 normal_img_1 normal_img_2",
        "1f9/1f9 2c0/2c0 3d7/3d7 4e1/4e1 5a9/5a9 6b2/6b2",
        "train1/a train1/b test1/a test1/b",
        "benign/a benign/b malignant/a malignant/b",
        "patient_01 patient_02 patient_03",
        "a b c d",
    ],
)
def test_ordinary_names_are_not_taken_for_groups(ids: str) -> None:
    assert list(group_proposals(Path("set"), samples_named(*ids.split()))) == []


def test_groups_that_are_stated_need_no_proposal(tmp_path: Path) -> None:
    save_pairs(tmp_path, "patient_01", "patient_02")
    assert [found.code for found in check(scan(tmp_path)).findings] == ["groups-likely"]
    assert check(scan(tmp_path, "^(patient_[0-9]+)")).findings == ()


def test_a_set_with_all_splits_needs_no_groups() -> None:
    splits: tuple[Split, ...] = ("train", "val", "test")
    samples = [
        sample
        for split in splits
        for sample in samples_named(f"{split}_P1_slice1", f"{split}_P1_slice2", split=split)
    ]
    assert list(group_proposals(Path("set"), samples)) == []


def test_subjects_that_lie_in_two_splits_are_told() -> None:
    samples = samples_named("P1_slice1", "P2_slice1", split="train")
    samples += samples_named("P1_slice2", "P2_slice2", split="test")
    (finding,) = group_proposals(Path("set"), samples)
    assert (finding.code, finding.severity) == ("groups-cut", "warning")
    assert finding.message == (
        "4 images have names that begin like a subject's, in 2 groups such as P1 (2 images). 2 "
        "groups, such as P1, lie in several splits. If images of a group show the same subject, "
        "scores are too high: move each group to one split."
    )


def test_the_proposed_command_can_be_pasted(tmp_path: Path) -> None:
    root = tmp_path / "my set"
    save_pairs(root, *(f"patient_{number}" for number in range(6)), count=2)
    (finding,) = check(scan(root)).by_code()["groups-likely"]
    text, _, line = finding.message.partition("\n")
    assert text == (
        "12 images have folders named like subjects, in 6 groups such as patient_0 (2 images). If "
        "images of a group show the same subject, they must be on one side of every split, or "
        "scores are too high. This keeps them together:"
    )
    assert f"\n{line}\n" in limner("check", root, "--out", tmp_path / "check").stdout
    *command, setting = shlex.split(line)
    assert command == ["limner", "train", str(root), "--set"]
    assert setting == "data.group_pattern=(?i)^(patient[_ -]?[0-9]+)[^/]*/"
    recipe = load_recipe(None, [setting])
    dataset = scan(root, recipe.data.group_pattern)
    assert len({sample.group for sample in dataset.samples}) == 6
    assert "groups-likely" not in check(dataset).by_code()
