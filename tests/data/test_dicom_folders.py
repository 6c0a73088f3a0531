"""DICOM files without a suffix, as scanners and archives export them, in folders and in jobs."""

import os
import uuid
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dicom_files import dicom_dataset, save_dicom, write_dicom
from limner.data.check import check
from limner.data.folder_listing import FolderListing, find_images
from limner.data.image_file import without_suffix
from limner.data.scan import scan
from limner.data.storage import Storage
from limner.inference.prediction_job import mask_names

RNG = np.random.default_rng(0)
NAMES = ("IM000001", "x.IMA", "1.2.840.113619.2.5", "1.2.840.113619.2.6", "scan.dcm", "x2.dat")


def write_exports(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        write_dicom(folder / name, RNG.integers(0, 256, (20, 24)).astype(np.uint8))


def write_other_files(folder: Path) -> None:
    """An index, texts and what else lies beside images."""
    index = dicom_dataset(np.zeros((2, 2), np.uint8))
    index.file_meta.MediaStorageSOPClassUID = index.SOPClassUID = "1.2.840.10008.1.3.10"
    save_dicom(folder / "DICOMDIR", index)
    (folder / "LICENSE").write_text("as is\n" * 100)
    (folder / "notes.txt").write_text("x")
    (folder / "Thumbs.db").write_bytes(bytes(range(256)) * 4)
    (folder / "empty").touch()
    (folder / "gone").symlink_to(folder / "nowhere")


def test_files_without_a_suffix_are_found_by_content(tmp_path: Path) -> None:
    write_exports(tmp_path)
    write_other_files(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert [path.name for path in find_images(tmp_path)] == sorted(NAMES)


def test_storage_elsewhere_finds_the_same(tmp_path: Path) -> None:
    write_exports(tmp_path)
    write_other_files(tmp_path)
    (tmp_path / "gone").unlink()
    elsewhere = Storage(f"memory://{uuid.uuid4().hex}")
    for path in tmp_path.iterdir():
        elsewhere.write_bytes(path.name, path.read_bytes())
    assert (
        elsewhere.image_listing().images
        == Storage(tmp_path).image_listing().images
        == sorted(NAMES)
    )


def test_a_file_is_opened_once_and_one_with_a_suffix_never(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.jpg", "c.txt", "d.json", "e", "f.npy"):
        (tmp_path / name).write_bytes(b"x")
    opened: list[str] = []
    path_open = Path.open

    def recorded_open(path: Path, *arguments: object, **options: object) -> object:
        opened.append(path.name)
        return path_open(path, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "open", recorded_open)
    listing = FolderListing(tmp_path)
    assert listing.images() == listing.images() == [tmp_path / "a.png", tmp_path / "b.jpg"]
    assert opened == ["e", "f.npy"]


def test_a_set_of_files_without_suffixes_is_paired_and_sound(tmp_path: Path) -> None:
    write_exports(tmp_path / "images")
    write_other_files(tmp_path / "images")
    (tmp_path / "masks").mkdir()
    for name in NAMES:
        mask = np.zeros((20, 24), np.uint8)
        mask[4:12, 5 : 9 + len(name)] = 1
        write_dicom(tmp_path / "masks" / name, mask)
    dataset = scan(tmp_path)
    ids = ["1.2.840.113619.2.5", "1.2.840.113619.2.6", "IM000001", "scan", "x", "x2"]
    assert [sample.id for sample in dataset.samples] == ids
    result = check(dataset)
    assert result.errors == () and result.labels is not None
    assert {finding.code for finding in result.findings} == {"few-images", "foreign-format"}


def test_masks_of_another_format_have_the_whole_name(tmp_path: Path) -> None:
    write_exports(tmp_path / "images")
    (tmp_path / "masks").mkdir()
    for name in NAMES:
        mask = Image.fromarray(np.eye(20, 24, dtype=np.uint8) * 255)
        mask.save(tmp_path / "masks" / f"{without_suffix(name)}.png")
    assert len(scan(tmp_path).samples) == len(NAMES)


def test_each_frame_of_a_file_without_a_suffix_is_a_sample(tmp_path: Path) -> None:
    frames = RNG.integers(0, 2, (3, 20, 24)).astype(np.uint8)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        write_dicom(tmp_path / folder / "IM1", frames, NumberOfFrames=3)
    assert [sample.id for sample in scan(tmp_path).samples] == ["IM1#1", "IM1#2", "IM1#3"]


def test_predicted_masks_keep_the_numbers_of_a_name() -> None:
    assert mask_names(NAMES) == {
        "IM000001": "IM000001.png",
        "x.IMA": "x.png",
        "1.2.840.113619.2.5": "1.2.840.113619.2.5.png",
        "1.2.840.113619.2.6": "1.2.840.113619.2.6.png",
        "scan.dcm": "scan.png",
        "x2.dat": "x2.png",
    }
    assert mask_names(["IM1", "IM1.dcm"]) == {"IM1": "IM1.png", "IM1.dcm": "IM1.dcm.png"}


@pytest.mark.parametrize(
    ("patients", "studies", "expected"),
    [("aabb", "1122", "2 patients"), ("cccc", "1122", "2 studies"), ("abcd", "1122", "")],
)
def test_images_of_one_patient_stay_together(
    tmp_path: Path, patients: str, studies: str, expected: str
) -> None:
    for number in range(4):
        pixels = RNG.integers(0, 256, (20, 24)).astype(np.uint8)
        identity = {"PatientID": patients[number], "StudyInstanceUID": f"1.2.{studies[number]}"}
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "masks").mkdir(exist_ok=True)
        write_dicom(tmp_path / "images" / f"{number}.dcm", pixels, **identity)
        Image.fromarray((pixels > 128).astype(np.uint8)).save(tmp_path / f"masks/{number}.png")
    dataset = scan(tmp_path)
    groups = [sample.group for sample in dataset.samples]
    findings = [each.message for each in dataset.findings if each.code == "dicom-groups"]
    if not expected:
        assert groups == [None] * 4 and not findings
        return
    assert groups[0] == groups[1] != groups[2] == groups[3]
    assert f"4 DICOM images are of {expected}, by their" in findings[0]
    assert "patient a" not in groups[0], "a group must not name a person"
