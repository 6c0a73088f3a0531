"""Images whose channels lie in files of their own."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from limner.data.channel_files import join_names
from limner.data.check import check
from limner.data.image_file import without_suffix
from limner.data.images import (
    image_size,
    page_count,
    pixel_size,
    read_image,
    read_values,
    read_with_info,
)
from limner.data.readers.pixel_size import PixelSize
from limner.data.scan import scan
from limner.data.storage import Storage
from limner.errors import LimnerError
from limner.files import channel_paths, sha256_of_file
from limner.inference.image_selection import ImageSelection


def write_channels(folder: Path, name: str, endings: list[str], seed: int = 0) -> np.ndarray:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    channels = rng.integers(0, 4000, (20, 30, len(endings))).astype(np.uint16)
    for index, ending in enumerate(endings):
        tifffile.imwrite(
            folder / f"{name}_{ending}.tif",
            channels[..., index],
            imagej=True,
            resolution=(4, 4),
            metadata={"unit": "um"},
        )
    return channels


def write_set(root: Path, endings: list[str], names: str = "abcd") -> dict[str, np.ndarray]:
    (root / "masks").mkdir(parents=True)
    channels = {}
    for seed, name in enumerate(names):
        channels[name] = write_channels(root / "images", name, endings, seed)
        mask = (channels[name][..., 0] > 2000).astype(np.uint8)
        tifffile.imwrite(root / "masks" / f"{name}.tif", mask)
    return channels


@pytest.mark.parametrize(
    "endings", [["0000", "0001"], ["ch00", "ch01", "ch02"], ["w1", "w2", "w3", "w4"], ["C1", "C2"]]
)
def test_files_of_channels_are_one_image(endings: list[str], tmp_path: Path) -> None:
    channels = write_set(tmp_path, endings)
    dataset = scan(tmp_path)
    assert [sample.id for sample in dataset.samples] == list("abcd")
    assert dataset.unused == () and dataset.images_without_mask == ()
    image = dataset.samples[1].image
    assert image.name == f"b_{{{','.join(endings)}}}.tif"
    assert np.array_equal(read_values(image), channels["b"])
    assert (image_size(image), page_count(image)) == ((20, 30), 1)
    assert pixel_size(image) == PixelSize(0.25, 0.25, "µm")
    assert without_suffix(image.name) == "b"
    report = check(dataset)
    assert not report.errors and report.sample_info[0].channels == len(endings)


def test_each_channel_has_a_contrast_of_its_own(tmp_path: Path) -> None:
    first = write_channels(tmp_path, "a", ["ch00", "ch01"])[..., 0]
    tifffile.imwrite(tmp_path / "a_ch01.tif", first // 16)
    image = read_image(tmp_path / "a_{ch00,ch01}.tif")
    assert image.shape == (20, 30, 2) and image[..., 1].max() == 255
    assert np.abs(image[..., 0].astype(int) - image[..., 1]).max() <= 2


def test_numbers_of_a_film_are_no_channels(tmp_path: Path) -> None:
    for name in ("film_0000", "film_0001"):
        for folder in ("images", "masks"):
            (tmp_path / folder).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / folder / f"{name}.tif", np.eye(20, dtype=np.uint8))
    assert [sample.id for sample in scan(tmp_path).samples] == ["film_0000", "film_0001"]


def test_an_image_that_lacks_a_channel_is_named(tmp_path: Path) -> None:
    write_set(tmp_path, ["ch00", "ch01"])
    (tmp_path / "images" / "c_ch01.tif").unlink()
    with pytest.raises(LimnerError, match="images/c has the channels ch00, and other images have"):
        scan(tmp_path)


def test_channels_of_two_suffixes_are_named(tmp_path: Path) -> None:
    write_set(tmp_path, ["ch00", "ch01"])
    (tmp_path / "images" / "c_ch01.tif").rename(tmp_path / "images" / "c_ch01.tiff")
    with pytest.raises(LimnerError, match="They must lie in one folder and have one suffix"):
        scan(tmp_path)


def test_channels_of_other_sizes_and_in_colour_are_named(tmp_path: Path) -> None:
    write_channels(tmp_path, "a", ["ch00", "ch01"])
    path = tmp_path / "a_{ch00,ch01}.tif"
    tifffile.imwrite(tmp_path / "a_ch01.tif", np.zeros((20, 31), np.uint16))
    with pytest.raises(LimnerError, match="channels of different sizes"):
        read_image(path)
    tifffile.imwrite(tmp_path / "a_ch01.tif", np.zeros((20, 30, 3), np.uint8), photometric="rgb")
    with pytest.raises(LimnerError, match="has a channel that is in colour"):
        read_image(path)
    (tmp_path / "a_ch01.tif").unlink()
    with pytest.raises(LimnerError, match=r"a_ch01\.tif does not exist"):
        read_image(path)


def test_the_identity_is_that_of_all_files(tmp_path: Path) -> None:
    write_channels(tmp_path, "a", ["ch00", "ch01"])
    path = tmp_path / "a_{ch00,ch01}.tif"
    storage = Storage(tmp_path)
    before, fingerprint = sha256_of_file(path), storage.fingerprint(path.name)
    assert read_with_info(path)[1].sha256.hex() == before
    write_channels(tmp_path, "a", ["ch00", "ch01"], seed=1)
    assert sha256_of_file(path) != before and storage.fingerprint(path.name) != fingerprint
    path.write_bytes(b"a file of that very name")
    assert channel_paths(path) == (path,)


def test_an_nnunet_set_of_several_channels_is_read(tmp_path: Path) -> None:
    channels = {}
    for seed, name in enumerate(("case_1", "case_2")):
        channels[name] = write_channels(tmp_path / "imagesTr", name, ["0000", "0001"], seed)
        (tmp_path / "labelsTr").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "labelsTr" / f"{name}.tif", np.eye(20, 30, dtype=np.uint8))
    labels = {"background": 0, "cell": 1}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    dataset = scan(tmp_path)
    assert [sample.id for sample in dataset.samples] == ["case_1", "case_2"]
    assert np.array_equal(read_values(dataset.samples[1].image), channels["case_2"])


def test_new_images_are_joined_as_those_of_the_training_were(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_channels(tmp_path, name, ["ch00", "ch01"])
    selection = ImageSelection.from_paths([str(tmp_path)])
    assert selection.with_channels(()).names == selection.names
    joined = selection.with_channels(("ch00", "ch01")).names
    assert joined == ("a_{ch00,ch01}.tif", "b_{ch00,ch01}.tif")
    with pytest.raises(LimnerError, match=r"a_ch00\.tif is a channel of an image that lacks"):
        join_names(["x/a_ch00.tif"], ("ch00", "ch01"))
