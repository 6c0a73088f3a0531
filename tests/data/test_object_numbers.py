"""Masks that number objects, and masks of classes that look alike."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

from command_line import limner
from limner.data.check import CheckResult, check, foreground_shares
from limner.data.findings import Finding
from limner.data.scan import scan

SIZE = 48
Draw = Callable[[np.random.Generator, int], np.ndarray]


def draw(
    rng: np.random.Generator, numbers: Sequence[int], parts: int = 1, largest_px: int = 7
) -> np.ndarray:
    """Draw discs of random sizes at random places that do not touch."""
    y, x = np.mgrid[:SIZE, :SIZE]
    mask = np.zeros((SIZE, SIZE), np.int64)
    for number in np.repeat(numbers, parts):
        for _ in range(100):
            radius = rng.integers(3, largest_px)
            row, column = rng.integers(radius, SIZE - radius, 2)
            squared = (y - row) ** 2 + (x - column) ** 2
            if not mask[squared < (radius + 2) ** 2].any():
                mask[squared < radius**2] = number
                break
    return mask


def write_set(root: Path, draw_mask: Draw, dtype: type = np.uint8, count: int = 16) -> Path:
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        mask = draw_mask(rng, number).astype(dtype)
        noise = rng.integers(0, 90, (SIZE, SIZE, 3)) + 120 * (mask > 0)[..., None]
        Image.fromarray(noise.astype(np.uint8)).save(root / "images" / f"{number:02}.png")
        if dtype is np.uint8:
            Image.fromarray(mask).save(root / "masks" / f"{number:02}.png")
        else:
            tifffile.imwrite(root / "masks" / f"{number:02}.tif", mask)
    return root


def found(result: CheckResult, code: str) -> Finding:
    (finding,) = (finding for finding in result.findings if finding.code == code)
    return finding


def offered_lines(message: str) -> list[str]:
    """The blocks of lines that a message offers to paste."""
    lines = message.split("\n")
    starts = [i for i, line in enumerate(lines) if line.endswith(("dataset, and", ":"))]
    assert all(lines[start + 1].startswith("    ") for start in starts)
    blocks = "\n".join(line if line.startswith("    ") else "" for line in lines)
    return [block for block in blocks.split("\n\n") if block.strip()]


def up_to(most: int) -> Draw:
    return lambda rng, number: draw(rng, range(1, rng.integers(1, most + 1) + 1))


def with_gaps(rng: np.random.Generator, _number: int) -> np.ndarray:
    numbers = range(1, rng.integers(2, 7) + 1)
    return draw(rng, [n for n in numbers if rng.random() > 0.3] or [2])


def of_a_large_image(first: int) -> Draw:
    return lambda rng, number: draw(rng, first + rng.choice(3000, rng.integers(1, 5), False))


def with_void_border(rng: np.random.Generator, _number: int) -> np.ndarray:
    mask = draw(rng, range(1, rng.integers(1, 5) + 1))
    mask[ndimage.binary_dilation(mask > 0) & (mask == 0)] = 255
    return mask


@pytest.mark.parametrize(
    ("draw_mask", "dtype", "range_offered"),
    [
        (up_to(5), np.uint8, '"1-65535"'),
        (up_to(3), np.float32, '"1-65535"'),
        (with_gaps, np.uint8, '"1-65535"'),
        (with_void_border, np.uint8, '"1-254"'),
        (lambda rng, number: draw(rng, [rng.integers(1, 60)]), np.uint8, '"1-65535"'),
        (of_a_large_image(1), np.uint16, '"1-65535"'),
        (of_a_large_image(70_000), np.uint32, '"1-4294967295"'),
        (of_a_large_image(70_000), np.int32, '"1-4294967295"'),
    ],
)
def test_numbered_objects_are_recognised_and_both_readings_can_be_pasted(
    tmp_path: Path, draw_mask: Draw, dtype: type, range_offered: str
) -> None:
    root = write_set(tmp_path, draw_mask, dtype)
    error = found(check(scan(root)), "mask-values")
    assert "seem to number objects one by one" in error.message
    one_class, classes = offered_lines(error.message)
    assert range_offered in one_class
    (root / "labels.toml").write_text(one_class)
    result = check(scan(root))
    assert not result.errors and result.labels is not None and result.labels.binary
    for sample in scan(root).samples[:4]:
        file = sample.mask
        assert isinstance(file, Path)
        pixels = tifffile.imread(file) if file.suffix == ".tif" else np.asarray(Image.open(file))
        objects = (pixels > 0) & ((pixels != 255) | (dtype is not np.uint8))
        assert ((sample.class_index(result.labels) == 1) == objects).all()
    (root / "labels.toml").write_text(classes)
    result = check(scan(root))
    assert not result.errors and result.labels is not None and not result.labels.binary


def test_the_lines_that_the_check_prints_satisfy_it(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set", up_to(4))
    printed = limner("check", root, "--json", cwd=tmp_path)
    assert printed.returncode == 1
    (message,) = (finding["message"] for finding in json.loads(printed.stdout)["findings"])
    one_class, _ = offered_lines(message)
    (root / "labels.toml").write_text(one_class)
    assert limner("check", root, cwd=tmp_path).returncode == 0
    assert foreground_shares(check(scan(root))).keys() == {f"{n:02}" for n in range(16)}


def nested(_rng: np.random.Generator, number: int) -> np.ndarray:
    """An organ, and in most images a tumour in it."""
    y, x = np.mgrid[:SIZE, :SIZE] - 24
    organ = (y**2 + x**2 < (9 + number % 6) ** 2).astype(np.int64)
    return np.where((y - 3) ** 2 + x**2 < 9 * (number % 3 > 0), 2, organ)


@pytest.mark.parametrize(
    "draw_mask",
    [
        lambda rng, number: draw(rng, [c for c in (1, 2, 3) if rng.random() < 0.7], 3, 5),
        lambda rng, number: draw(rng, [1, 2, 3]),
        lambda rng, number: draw(rng, [1, 2] if number in {3, 9, 11} else [1]),
        nested,
    ],
)
def test_classes_are_not_taken_for_objects(tmp_path: Path, draw_mask: Draw) -> None:
    result = check(scan(write_set(tmp_path, draw_mask)))
    assert not result.errors and "numbered-objects" not in result.by_code()


@pytest.mark.parametrize(
    "draw_mask",
    [
        up_to(2),
        lambda rng, number: draw(rng, [(3,), (2, 3), (1, 2, 3), (1, 2, 3), (1, 2, 3)][number % 5]),
    ],
)
def test_what_the_masks_cannot_decide_is_read_as_classes_with_a_warning(
    tmp_path: Path, draw_mask: Draw
) -> None:
    root = write_set(tmp_path, draw_mask)
    result = check(scan(root))
    warning = found(result, "numbered-objects")
    assert "are read as classes, and may number objects" in warning.message
    assert warning.severity == "warning" and result.labels is not None
    for lines in offered_lines(warning.message):
        (root / "labels.toml").write_text(lines)
        again = check(scan(root))
        assert not again.errors and "numbered-objects" not in again.by_code()


def test_values_1_and_2_without_0_are_said_to_be_a_guess(tmp_path: Path) -> None:
    root = write_set(tmp_path, lambda rng, number: 1 + draw(rng, [1]))
    warning = found(check(scan(root)), "no-background")
    assert "hold 1 and 2 and never 0. 1 is read as the background" in warning.message
    (lines,) = offered_lines(warning.message)
    assert described_once_pasted(root, lines) == "1 = class 1, 2 = class 2"


def test_the_more_frequent_of_1_and_2_is_offered_as_the_background_once(tmp_path: Path) -> None:
    root = write_set(tmp_path, lambda rng, number: 2 - draw(rng, [1]))
    warning = found(check(scan(root)), "no-background")
    assert "2 covers more of the masks, and is likelier to be it" in warning.message
    swapped, both = offered_lines(warning.message)
    assert described_once_pasted(root, swapped) == "2 = background, 1 = foreground"
    assert described_once_pasted(root, both) == "1 = class 1, 2 = class 2"


def test_a_labels_toml_is_not_answered_with_the_opposite(tmp_path: Path) -> None:
    root = write_set(tmp_path, lambda rng, number: 2 - draw(rng, [1]))
    (root / "labels.toml").write_text("[classes]\nbackground = 1\nforeground = 2\n")
    note = found(check(scan(root)), "mostly-foreground")
    assert note.severity == "note" and "[classes]" not in note.message
    assert "as labels.toml states. If that is not meant, exchange the two values" in note.message


def described_once_pasted(root: Path, lines: str) -> str:
    """The coding that the lines of an advice give, which the check has nothing to say against."""
    (root / "labels.toml").write_text(lines)
    result = check(scan(root))
    assert result.labels is not None
    assert {"no-background", "mostly-foreground"}.isdisjoint(result.by_code())
    return result.labels.describe()


def test_more_than_64_numbers_are_offered_as_one_class_alone(tmp_path: Path) -> None:
    root = write_set(
        tmp_path,
        lambda rng, number: np.arange(SIZE * SIZE).reshape(SIZE, SIZE) // (20 + number),
        np.uint16,
    )
    error = found(check(scan(root)), "mask-values")
    assert "115 are too many to be told by their numbers" in error.message
    assert len(offered_lines(error.message)) == 1


def test_fractions_and_numbers_beyond_32_bits_are_no_masks(tmp_path: Path) -> None:
    root = write_set(tmp_path, lambda rng, number: draw(rng, [2**33]), np.int64, 2)
    result = check(scan(root))
    assert {finding.code for finding in result.errors} == {"unreadable-mask"}
    assert "or to 4294967295 as integers" in result.errors[0].message
