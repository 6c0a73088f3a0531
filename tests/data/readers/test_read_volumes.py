"""Volumes and microscope files that nibabel, pynrrd, mrcfile and Zeiss's own library write."""

import bz2
import gzip
import tracemalloc
from pathlib import Path

import mrcfile
import nibabel
import nrrd
import numpy as np
import pytest

from limner.data.images import (
    decode_image,
    image_size,
    page_count,
    pixel_size,
    read_image,
    read_mask,
    read_values,
)
from limner.data.readers.anatomy import axis_directions, slice_order
from limner.data.readers.pixel_size import PixelSize
from limner.errors import LimnerError

RIGHT, FRONT, HEAD = 200, 150, 100
"""Values of marks in the body that `body` draws."""


def body(directions: str) -> tuple[np.ndarray, np.ndarray]:
    """A volume of 9x8x7 voxels with marks to the right, front and head, and its affine (RAS+).

    Args:
        directions: Where the axes lead, such as LPS.
    """
    canonical = np.zeros((9, 8, 7), np.int16)
    canonical[8, 3:5, 3], canonical[4:6, 7, 3], canonical[4, 4, 6] = RIGHT, FRONT, HEAD
    stored = nibabel.orientations.axcodes2ornt(tuple(directions))
    image = nibabel.Nifti1Image(canonical, np.diag([1.0, 2.0, 3.0, 1.0])).as_reoriented(
        nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt(tuple("RAS")), stored)
    )
    return np.asarray(image.dataobj), image.affine


@pytest.mark.parametrize("directions", ["RAS", "LPS", "LAS", "RPI", "PRS", "ASR", "IPL", "SLA"])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_slices_are_turned_as_radiologists_expect_them(
    tmp_path: Path, directions: str, suffix: str
) -> None:
    voxels, affine = body(directions)
    path = tmp_path / f"x{suffix}"
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    assert page_count(path) == voxels.shape[2]
    slices = np.stack([read_values(path, page=page)[..., 0] for page in range(voxels.shape[2])])
    assert sorted(slices[slices > 0]) == sorted(voxels[voxels > 0])
    through = {"R": "R", "L": "R", "A": "F", "P": "F", "S": "H", "I": "H"}[directions[2]]
    if through != "R":
        # The patient's right is at the left of the picture
        assert np.argwhere(slices == RIGHT)[:, 2].max() == 0
    if through == "R":
        assert np.argwhere(slices == FRONT)[:, 2].max() == 0
    if through == "H":
        assert np.argwhere(slices == FRONT)[:, 1].max() == 0
    if through != "H":
        assert np.argwhere(slices == HEAD)[:, 1].max() == 0
    sides = dict(zip("RFH", (1.0, 2.0, 3.0), strict=True))
    height, width = [sides[axis] for axis in {"H": "FR", "F": "HR", "R": "HF"}[through]]
    assert pixel_size(path) == PixelSize(height, width, "mm")


@pytest.mark.parametrize("directions", ["RAS", "PLS", "AIR", "SRP"])
def test_a_slice_goes_back_to_where_it_was(directions: str) -> None:
    voxels, affine = body(directions)
    assert "".join(axis_directions(affine)) == directions
    order = slice_order(affine)
    assert np.array_equal(order.to_plane(order.to_image(voxels[:, :, 1])), voxels[:, :, 1])


def test_nifti_is_scaled_and_masks_stored_as_fractions_are_whole(tmp_path: Path) -> None:
    voxels = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
    image = nibabel.Nifti1Image(voxels, np.eye(4))
    image.header.set_slope_inter(2.0, -10.0)
    nibabel.save(image, tmp_path / "ct.nii")
    stored = nibabel.load(tmp_path / "ct.nii")
    values = read_values(tmp_path / "ct.nii", page=1)[..., 0]
    order = slice_order(stored.affine)
    assert np.allclose(values, order.to_image(np.asarray(stored.dataobj)[:, :, 1]))
    labels = np.random.default_rng(0).integers(0, 4, (5, 4, 3)).astype(np.float64)
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), tmp_path / "seg.nii.gz")
    mask = read_mask(tmp_path / "seg.nii.gz", page=2).values
    assert mask.dtype.kind == "u" and np.array_equal(mask, order.to_image(labels[:, :, 2]))


def test_all_slices_of_a_volume_have_one_range_of_grey(tmp_path: Path) -> None:
    voxels = np.zeros((20, 20, 3), np.int16)
    voxels[5:15, 5:15, 0], voxels[5:15, 5:15, 1] = 1000, 500
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "x.nii")
    tops = [read_image(tmp_path / "x.nii", page=page).max() for page in range(3)]
    assert tops == [255, 128, 0]


def test_channels_of_a_nifti_are_channels_and_points_in_time_are_refused(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 900, (6, 5, 4, 2)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "two.nii.gz")
    assert read_image(tmp_path / "two.nii.gz", page=3).shape == (5, 6, 2)
    nibabel.save(nibabel.Nifti1Image(np.zeros((6, 5, 4, 30)), np.eye(4)), tmp_path / "time.nii")
    with pytest.raises(LimnerError, match="holds 30 values for each voxel, such as points in time"):
        image_size(tmp_path / "time.nii")


def test_damaged_and_cut_off_volumes_are_named(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 999, (16, 16, 8)).astype(np.int16)
    for suffix in (".nii", ".nii.gz"):
        path = tmp_path / f"x{suffix}"
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), path)
        path.write_bytes(path.read_bytes()[:-60])
        with pytest.raises(LimnerError, match=r"x\.nii(\.gz)? is damaged"):
            read_values(path, page=voxels.shape[2] - 1)


@pytest.mark.parametrize("encoding", ["raw", "gzip"])
@pytest.mark.parametrize("directions", ["LPS", "RAS", "SLA"])
def test_nrrd_is_shown_as_the_same_nifti(tmp_path: Path, encoding: str, directions: str) -> None:
    voxels, affine = body(directions)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "x.nii")
    to_lps = np.diag([-1.0, -1.0, 1.0]) @ affine[:3, :3]
    header = {
        "space": "left-posterior-superior",
        "space directions": to_lps.T,
        "space units": ["mm"] * 3,
        "encoding": encoding,
    }
    nrrd.write(str(tmp_path / "x.nrrd"), voxels, header)
    for page in range(voxels.shape[2]):
        both = [read_image(tmp_path / f"x.{suffix}", page=page) for suffix in ("nii", "nrrd")]
        assert np.array_equal(*both)
    assert pixel_size(tmp_path / "x.nrrd") == pixel_size(tmp_path / "x.nii")


def test_nrrd_of_colours_and_without_a_place_in_space(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 255, (3, 7, 5)).astype(np.uint8)
    header = {"kinds": ["RGB-color", "domain", "domain"]}
    nrrd.write(str(tmp_path / "x.nrrd"), colours, header)
    assert np.array_equal(read_image(tmp_path / "x.nrrd"), colours.transpose(2, 1, 0))
    assert pixel_size(tmp_path / "x.nrrd") is None


def test_a_header_of_nrrd_alone_is_named(tmp_path: Path) -> None:
    nrrd.write(str(tmp_path / "x.nhdr"), np.zeros((4, 4), np.uint8), detached_header=True)
    (tmp_path / "x.nhdr").rename(tmp_path / "y.nrrd")
    with pytest.raises(LimnerError, match="whose values are in another file"):
        read_image(tmp_path / "y.nrrd")


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.float32])
def test_mrc_holds_slices_and_the_side_of_a_voxel(tmp_path: Path, dtype: type) -> None:
    voxels = np.arange(60, dtype=dtype).reshape(3, 4, 5)
    with mrcfile.new(tmp_path / "x.mrc") as file:
        file.set_data(voxels)
        file.voxel_size = (2.5, 5.0, 1.0)
    assert (page_count(tmp_path / "x.mrc"), image_size(tmp_path / "x.mrc")) == (3, (4, 5))
    for page in range(3):
        values = read_values(tmp_path / "x.mrc", page=page)[..., 0]
        assert np.array_equal(values, voxels[page])
    size = pixel_size(tmp_path / "x.mrc")
    assert size is not None and (size.height, size.width, size.unit) == (
        pytest.approx(0.5),
        pytest.approx(0.25),
        "nm",
    )


def test_a_fourier_transform_in_mrc_is_no_image(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "x.mrc") as file:
        file.set_data(np.zeros((4, 4), np.complex64))
    with pytest.raises(LimnerError, match="a Fourier transform"):
        read_image(tmp_path / "x.mrc")


def packed_nrrd(voxels: np.ndarray, encoding: str, content: bytes = b"", skip: int = 0) -> bytes:
    """An NRRD as pynrrd's own writer lays it out; its packed voxels may be others."""
    pack = {"gzip": gzip.compress, "bzip2": bz2.compress, "raw": bytes}[encoding]
    lines = [
        "NRRD0004",
        "type: uint8",
        f"dimension: {voxels.ndim}",
        f"sizes: {' '.join(map(str, voxels.shape))}",
        f"encoding: {encoding}",
        *([f"byte skip: {skip}"] if skip else []),
    ]
    return ("\n".join(lines) + "\n\n").encode() + pack(content or voxels.tobytes(order="F"))


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
def test_packed_nrrd_has_the_voxels_of_a_raw_one(encoding: str) -> None:
    voxels = np.random.default_rng(0).integers(0, 255, (9, 8, 3)).astype(np.uint8)
    raw, packed = packed_nrrd(voxels, "raw"), packed_nrrd(voxels, encoding)
    for page in range(3):
        wanted = decode_image(raw, "x", 216, page=page)
        assert (decode_image(packed, "x", 216, page=page) == wanted).all() and wanted.max() > 0


def peak_bytes(content: bytes) -> int:
    """The most memory that decoding takes."""
    tracemalloc.start()
    decode_image(content, "x", 10_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("encoding", ["gzip", "bzip2"])
def test_no_more_of_a_packed_nrrd_is_unpacked_than_its_header_asks_for(encoding: str) -> None:
    voxels = np.arange(100, dtype=np.uint8).reshape(10, 10)
    padded = packed_nrrd(voxels, encoding, voxels.tobytes(order="F") + bytes(50_000_000))
    assert peak_bytes(padded) < 20_000_000
    assert (
        decode_image(padded, "x", 100) == decode_image(packed_nrrd(voxels, "raw"), "x", 100)
    ).all()


def test_no_more_of_a_packed_nifti_is_unpacked_than_its_header_asks_for() -> None:
    content = nibabel.Nifti1Image(
        np.arange(100, dtype=np.uint8).reshape(10, 10), np.eye(4)
    ).to_bytes()
    padded = gzip.compress(content + bytes(50_000_000))
    assert peak_bytes(padded) < 20_000_000
    assert (decode_image(padded, "x", 100) == decode_image(content, "x", 100)).all()


def test_packed_voxels_behind_other_bytes_are_refused() -> None:
    content = packed_nrrd(np.zeros((4, 4), np.uint8), "gzip", skip=8)
    with pytest.raises(LimnerError, match="do not begin at its start"):
        decode_image(content, "x", 100)


def test_a_packed_nifti_that_begins_nowhere_is_damaged() -> None:
    content = bytearray(nibabel.Nifti1Image(np.zeros((4, 4), np.uint8), np.eye(4)).to_bytes())
    content[108:112] = np.float32(1e9).tobytes()
    with pytest.raises(LimnerError, match="voxels begin at byte 1,000,000,000"):
        decode_image(gzip.compress(bytes(content)), "x", 100)
