from pathlib import Path

import numpy as np
import pytest
import tifffile

from dicom_files import write_dicom
from limner.data.images import read_image, read_mask_with_info, read_with_info
from limner.data.readers import tiff_images
from limner.files import sha256_of_file

FRAMES = np.random.default_rng(0).integers(0, 256, (40, 12, 15)).astype(np.uint8)


def test_the_images_of_a_stack_are_those_of_tifffile_and_are_listed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, FRAMES, photometric="minisblack")
    listed = []
    list_images = tiff_images.list_images

    def recorded(tiff: object) -> object:
        listed.append(tiff)
        return list_images(tiff)

    monkeypatch.setattr(tiff_images, "list_images", recorded)
    with tifffile.TiffFile(path) as reference:
        for page in (3, 0, 39, 3):
            expected = reference.pages[page].asarray()
            assert (read_image(path, page=page)[..., 1] == expected).all()
            mask, info = read_mask_with_info(path, page=page)
            assert (mask.values == expected).all()
            assert info.sha256.hex() == sha256_of_file(path)
    # Once to count the images, and once for all of them
    assert len(listed) <= 2


@pytest.mark.parametrize("suffix", [".tif", ".dcm"])
def test_a_stack_that_was_written_anew_is_read_anew(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"

    def write(frames: np.ndarray) -> None:
        if suffix == ".dcm":
            write_dicom(path, frames, NumberOfFrames=len(frames))
        else:
            tifffile.imwrite(path, frames, photometric="minisblack")

    write(FRAMES)
    assert (read_image(path, page=2)[..., 0] == FRAMES[2]).all()
    write(255 - FRAMES)
    image, info = read_with_info(path, page=2)
    assert (image[..., 0] == 255 - FRAMES[2]).all()
    assert info.sha256.hex() == sha256_of_file(path)
    path.unlink()
    with pytest.raises(Exception, match="does not exist"):
        read_image(path, page=2)
