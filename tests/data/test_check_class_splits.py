from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from limner.data.check import CheckResult, check
from limner.data.findings import Finding
from limner.data.scan import scan
from limner.recipe import Recipe
from limner.training.pipeline import split_dataset
from shapes import disc

Pairs = Callable[..., Path]


def mask_with(*classes: int, number: int = 0) -> np.ndarray:
    """Class 1 as a disc of its own size, and each of the others as two bars."""
    mask = disc(32, value=1, radius=5 + number / 3)
    for class_index in classes:
        mask[3 * class_index - 5, 1:12] = mask[3 * class_index - 5, 20:30] = class_index
    return mask


def found(result: CheckResult, code: str) -> list[Finding]:
    return [finding for finding in result.findings if finding.code == code]


def test_a_class_that_only_the_test_has_is_an_error_with_both_ways_out(pairs: Pairs) -> None:
    for side, first, classes in (("train", 0, ()), ("val", 4, ()), ("test", 7, (2,))):
        masks = {f"n{k}": mask_with(*classes, number=k) for k in range(first, first + 3)}
        pairs(masks, f"set/{side}")
    root = pairs({"n9": mask_with(3, number=9)}, "set/validation").parent
    errors = found(check(scan(root)), "class-not-in-training")
    assert [error.severity for error in errors] == ["error", "error"]
    assert "class 2 (pixel value 2) is in 3 images of test" in errors[0].message
    assert "class 3 (pixel value 3) is in 1 image of val" in errors[1].message
    assert "in no training image" in errors[0].message
    # The lines of both errors as one file
    (root / "labels.toml").write_text(errors[0].message.partition("labels.toml:\n")[2])
    (left,) = found(check(scan(root)), "class-not-in-training")
    (root / "labels.toml").write_text(left.message.partition("labels.toml:\n")[2])
    result = check(scan(root))
    assert result.labels is not None and not found(result, "class-not-in-training")
    assert result.labels.describe() == "0 = background, 1 = class 1, 2 = void, 3 = void"


def test_training_masks_that_mark_nothing_are_an_error_where_the_test_marks_something(
    pairs: Pairs,
) -> None:
    for side, value in (("train", 0), ("val", 0), ("test", 255)):
        pairs({f"{side}{k}": disc(16, value, radius=4 + k) for k in range(3)}, f"set/{side}")
    (error,) = found(check(scan(pairs({}, "set/x").parent)), "class-not-in-training")
    assert "class foreground (pixel value 255)" in error.message
    assert error.message.endswith("Move images with it to the training images.")


@pytest.mark.parametrize("seed", range(6))
def test_a_random_split_trains_on_every_class(pairs: Pairs, seed: int) -> None:
    masks = {f"n{k:02}": mask_with(*[2] * (k in {5, 17}), number=k) for k in range(20)}
    dataset = scan(pairs(masks | {"n19": mask_with(3, 4, number=19)}))
    result = check(dataset)
    sides = split_dataset(dataset.samples, result, Recipe().replace({"data.split_seed": seed}))
    assert result.labels is not None and sides["val"] and sides["test"]
    trained = {int(c) for s in sides["train"] for c in np.unique(s.class_index(result.labels))}
    assert trained == {0, 1, 2, 3, 4}
    once = found(result, "seen-once")
    assert len(once) == 2 and "no score tells how well" in once[0].message


def test_a_class_of_one_group_is_said_to_be_trained_on_alone(pairs: Pairs) -> None:
    root = pairs({f"n{k:02}": mask_with(*[2] * (k < 2), number=k) for k in range(12)})
    (root / "groups.csv").write_text(
        "image,group\n" + "".join(f"n{k:02},{'anna' if k < 2 else k}\n" for k in range(12))
    )
    (warning,) = found(check(scan(root)), "class-not-scored")
    assert "only in 2 images that stay together as copies or as a group" in warning.message
    assert warning.severity == "warning" and warning.ids == ("n00", "n01")


def test_a_class_of_one_image_among_few_is_said_to_be_trained_on_alone(pairs: Pairs) -> None:
    result = check(scan(pairs({f"n{k}": mask_with(*[2] * (k == 3), number=k) for k in range(5)})))
    (warning,) = found(result, "class-not-scored")
    assert "only in one image (for instance " in warning.message and "n3.png" in warning.message
