from pathlib import Path

import numpy as np
import pytest

from dataset_folders import not_annotated, save_image
from limner.data.check import check
from limner.data.scan import scan
from limner.errors import LimnerError


def encode(mask: np.ndarray) -> str:
    """The run lengths of a mask, pixel by pixel."""
    flat = np.concatenate([[0], mask.T.ravel(), [0]])
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    return " ".join(f"{start} {end - start}" for start, end in edges.reshape(-1, 2))


def write(root: Path, text: str, *names: str) -> Path:
    for number, name in enumerate(names or ("train/a.png", "train/b.png")):
        noise = np.random.default_rng(number).integers(0, 255, (12, 20, 3)).astype(np.uint8)
        save_image(root / name, noise)
    path = root / "train.csv"
    path.write_text(text)
    return path


RNG = np.random.default_rng(0)
FIRST, SECOND = RNG.random((12, 20)) > 0.6, RNG.random((12, 20)) > 0.9


@pytest.mark.parametrize("columns", ["ImageId,EncodedPixels", "id,rle", "image_id, rle_mask"])
@pytest.mark.parametrize("suffix", ["", ".png"])
def test_rows_of_one_image_are_painted_in_turn(tmp_path: Path, columns: str, suffix: str) -> None:
    rows = [f"a{suffix},{encode(FIRST)}", f"a{suffix},{encode(SECOND)}", f"b{suffix},"]
    write(tmp_path, "\n".join([columns, *rows]))
    dataset = scan(tmp_path)
    assert dataset.layout == "run lengths"
    assert [sample.id for sample in dataset.samples] == ["train/a", "train/b"]
    mask, empty = (sample.read_mask().values for sample in dataset.samples)
    assert (mask == (FIRST | SECOND)).all() and empty.max() == 0
    assert not check(dataset).errors


def test_the_run_lengths_of_a_large_mask_are_read(tmp_path: Path) -> None:
    """They are longer than the 131,072 characters that csv allows a cell by itself."""
    runs = " ".join(f"{2 * place + 1} 1" for place in range(24_000))
    image = np.random.default_rng(0).integers(0, 255, (200, 240, 3)).astype(np.uint8)
    save_image(tmp_path / "a.png", image)
    (tmp_path / "train.csv").write_text(f"id,rle\na,{runs}\n")
    assert len(runs) > 131_072
    assert scan(tmp_path).samples[0].read_mask().values.sum() == 24_000


def test_a_column_tells_the_classes(tmp_path: Path) -> None:
    write(
        tmp_path, f"id,class,rle\na,stomach,{encode(FIRST)}\na,bowel,{encode(SECOND)}\nb,bowel,\n"
    )
    dataset = scan(tmp_path)
    assert dataset.class_names == ((0, "background"), (1, "bowel"), (2, "stomach"))
    mask = dataset.samples[0].read_mask().values
    assert (mask == np.where(SECOND, 1, 2 * FIRST)).all()


def test_images_without_a_row_are_counted(tmp_path: Path) -> None:
    write(tmp_path, f"id,rle\na,{encode(FIRST)}\n")
    assert "train/b.png, and left out" in not_annotated(scan(tmp_path))


def test_a_row_without_an_image_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, f"id,rle\nz,{encode(FIRST)}\n")
    with pytest.raises(LimnerError, match=f"{path} has a row of the image 'z', and no image bears"):
        scan(tmp_path)


@pytest.mark.parametrize(
    ("runs", "complaint"),
    [("1 2 3", "are 3 numbers"), ("0 4", "beyond the 240 pixels"), ("239 4", "beyond the 240")],
)
def test_runs_that_do_not_fit_are_an_error_of_the_check(
    tmp_path: Path, runs: str, complaint: str
) -> None:
    write(tmp_path, f"id,rle\na,{runs}\nb,\n")
    errors = [error for error in check(scan(tmp_path)).errors if error.code == "unreadable-mask"]
    assert [complaint in error.message for error in errors] == [True]


def test_a_table_of_other_annotations_is_no_table_of_run_lengths(tmp_path: Path) -> None:
    save_image(tmp_path / "images/a.png", np.zeros((12, 20, 3), np.uint8))
    save_image(tmp_path / "masks/a.png", 255 * FIRST.astype(np.uint8))
    (tmp_path / "metadata.csv").write_text("id,annotation\na,benign\n")
    assert scan(tmp_path).layout == "images/ and masks/"
