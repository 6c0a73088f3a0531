import numpy as np
import pytest

from limner.cli.score_tables import print_comparison, print_scores
from limner.inference.calibration import BINS
from limner.inference.scores import ImageScore, Scores, compare_models
from limner.labels import Labels

LABELS = Labels.from_values(("background", "cell", "debris"), (0, 1, 2))


def scores(*cells: tuple[int, int, int, int]) -> Scores:
    """Scores of images by the counts of their cells; none has debris."""
    zeros, bins = np.zeros((2, 3)), np.zeros((2, BINS, 3))
    images = [
        ImageScore(f"{i}", np.array([[0] * 4, counts, [0] * 4]), zeros, None, None, 0.1, 0.5, bins)
        for i, counts in enumerate(cells)
    ]
    return Scores.from_images(images, LABELS)


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_a_class_without_pixels_is_said_to_have_none(capsys: pytest.CaptureFixture[str]) -> None:
    print_scores(scores((5, 0, 0, 5), (0, 0, 0, 10)), "test")
    output = printed(capsys)
    assert "Pooled Dice by class: cell 1.000, debris has no pixels" in output
    assert "2 images of test, 1 with a score" in output and "1 image has no score: void" in output
    assert "nan" not in output.casefold() and "Worst images: 0 (1.000)" in output


def test_images_without_any_score_are_no_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    print_scores(scores((0, 0, 0, 10)), "test")
    output = printed(capsys)
    assert "1 image of test, 0 with a score" in output and "Dice no score" in output
    assert "nan" not in output.casefold() and "Worst images" not in output


def test_one_image_is_too_few_to_tell_two_models_apart(
    capsys: pytest.CaptureFixture[str], tmp_path
) -> None:
    both = scores((5, 0, 0, 5)), scores((4, 1, 0, 5))
    models = [tmp_path / name / "model.safetensors" for name in ("a", "b")]
    print_comparison(compare_models(*both), models, 1, "test")
    output = printed(capsys)
    assert "1 image of test; the difference is the second less the first" in output
    assert "1 image is too few to tell the two apart" in output
