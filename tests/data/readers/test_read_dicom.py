import sys
from pathlib import Path

import numpy as np
import pytest

from dicom_files import write_dicom
from limner.data.images import (
    page_count,
    read_image,
    read_mask,
)
from limner.errors import LimnerError

RNG = np.random.default_rng(0)


DEEP = (np.arange(54).reshape(6, 9) * 1200).astype(np.uint16)


def test_dicom_is_rescaled_and_windowed(tmp_path: Path) -> None:
    stored = np.array([[0, 1000, 1100, 1200, 3000]] * 4, np.uint16)
    path = write_dicom(
        tmp_path / "x.dcm",
        stored,
        RescaleSlope=1,
        RescaleIntercept=-1000,
        WindowCenter=100.5,
        WindowWidth=201,
    )
    assert read_image(path)[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_dark_on_light_is_turned_over(tmp_path: Path) -> None:
    stored = np.array([[0, 1000, 2000]] * 4, np.int16)
    attributes = {"WindowCenter": 1000.5, "WindowWidth": 2001}
    light = read_image(write_dicom(tmp_path / "x.dcm", stored, **attributes))
    dark = read_image(
        write_dicom(
            tmp_path / "y.dcm", stored, PhotometricInterpretation="MONOCHROME1", **attributes
        )
    )
    assert dark[0, :, 0].tolist() == light[0, ::-1, 0].tolist() == [255, 128, 0]


def test_frames_of_dicom_are_pages(tmp_path: Path) -> None:
    frames = RNG.integers(0, 4000, (3, 5, 7)).astype(np.uint16)
    path = write_dicom(tmp_path / "x.dcm", frames, NumberOfFrames=3)
    assert page_count(path) == 3
    assert (read_mask(path, page=2).values == frames[2]).all()


def test_dicom_without_its_extra_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_dicom(tmp_path / "x.dcm", DEEP)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(LimnerError, match=r"pip install 'limner\[dicom\]'"):
        read_image(path)
