import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data.images import image_size
from limner.data.preprocess import Preprocessing
from limner.data.sample import Sample
from limner.errors import LimnerError
from limner.inference.evaluate import score_image
from limner.inference.model_runner import ModelRunner
from limner.inference.prediction import Prediction
from limner.inference.predictor import Predictor
from limner.inference.scores import ImageScore, Scores
from limner.inference.submission import find_problems, write_submission, zip_files
from limner.labels import Labels

BINARY = Labels.from_values(("background", "foreground"), (0, 255))
SIZES = {"ISIC_0000001": (20, 30), "ISIC_0000002": (16, 16)}


def png(pixels: np.ndarray, mode: str | None = None) -> bytes:
    content = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(content, "PNG")
    return content.getvalue()


def square(shape: tuple[int, int], value: int = 255) -> np.ndarray:
    mask = np.zeros(shape, np.uint8)
    mask[4:10, 4:12] = value
    return mask


def good() -> dict[str, bytes]:
    return {f"{id}_segmentation.png": png(square(size)) for id, size in SIZES.items()}


FIRST = "ISIC_0000001_segmentation.png"


def with_first(content: bytes) -> bytes:
    return zip_files({**good(), FIRST: content})


def holed() -> np.ndarray:
    mask = square((20, 30))
    mask[6, 6] = 0
    return mask


def parted() -> np.ndarray:
    mask = square((20, 30))
    mask[15, 20] = 255
    return mask


def twice() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for name, data in [*good().items(), (FIRST, good()[FIRST])]:
            archive.writestr(name, data)
    return content.getvalue()


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "0 and 1": (lambda: with_first(png(square((20, 30), 1))), "only 0 and 255"),
    "0 and 128": (lambda: with_first(png(square((20, 30), 128))), "only 0 and 255"),
    "grey steps": (
        lambda: with_first(png(np.arange(600, dtype=np.uint16).reshape(20, 30).astype(np.uint8))),
        "only 0 and 255",
    ),
    "palette": (lambda: with_first(png(square((20, 30)), "P")), "mode P"),
    "colour": (lambda: with_first(png(square((20, 30)), "RGB")), "mode RGB"),
    "one bit": (lambda: with_first(png(square((20, 30)), "1")), "mode 1"),
    "16 bits": (lambda: with_first(png(square((20, 30)).astype(np.uint16) * 257)), "mode I;16"),
    "alpha": (lambda: with_first(png(square((20, 30)), "LA")), "mode LA"),
    "another size": (lambda: with_first(png(square((30, 20)))), "is 20x30; its image is 30x20"),
    "cut off": (lambda: with_first(good()[FIRST][:-30]), "not a PNG that decodes"),
    "a JPEG": (lambda: with_first(b"\xff\xd8\xff\xe0 no"), "not a PNG that decodes"),
    "two parts": (lambda: with_first(png(parted())), "2 parts"),
    "a hole": (lambda: with_first(png(holed())), "1 holes"),
    "empty": (lambda: with_first(png(np.zeros((20, 30), np.uint8))), "0 parts"),
    "one missing": (
        lambda: zip_files({FIRST: good()[FIRST]}),
        "ISIC_0000002_segmentation.png is missing",
    ),
    "one too many": (
        lambda: zip_files({**good(), "ISIC_0000003_segmentation.png": b""}),
        "belongs to no image",
    ),
    "a resource fork": (lambda: zip_files({**good(), f"._{FIRST}": b""}), "belongs to no image"),
    "in a folder": (
        lambda: zip_files({f"masks/{name}": data for name, data in good().items()}),
        "is missing",
    ),
    "the image's name": (
        lambda: zip_files(
            {name.replace("_segmentation", ""): data for name, data in good().items()}
        ),
        "is missing",
    ),
    "the same name twice": (twice, "is there 2 times"),
    "not a zip": (lambda: b"PK\x03\x04 no", "not a zip"),
    "a zip cut off": (lambda: zip_files(good())[:-40], "not a zip"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_the_scorer_would_refuse_or_misread_is_found(kind: str) -> None:
    write, message = HOSTILE[kind]
    assert message in "; ".join(find_problems(write(), SIZES, "isic2018"))


def test_a_right_submission_has_no_problem() -> None:
    assert find_problems(zip_files(good()), SIZES, "isic2018") == []


def predictor(sign: float = 10) -> Predictor:
    """Finds what is dark, as the sample set's lesions are."""
    preprocessing = Preprocessing((32, 32), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return Predictor(
        [ModelRunner(lambda images: -sign * images.mean(1, keepdims=True), preprocessing)], BINARY
    )


def test_the_official_scorer_reads_what_was_written_and_agrees(
    lesions: Path, tmp_path: Path
) -> None:
    images = lesions / "ISIC2018_Task1-2_Test_Input"
    truth = lesions / "ISIC2018_Task1_Test_GroundTruth"
    count, _ = write_submission(predictor(), images, tmp_path / "submission.zip", "isic2018")
    assert count == len(list(images.glob("*.jpg")))
    with zipfile.ZipFile(tmp_path / "submission.zip") as archive:
        archive.extractall(tmp_path / "masks")
    scorer = [sys.executable, "-W", "ignore", "-m", "isic_challenge_scoring", "-o", "json"]
    command = [*scorer, "segmentation", str(truth), str(tmp_path / "masks")]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    theirs = json.loads(output)["macro_average"]
    images = [scored(tmp_path / "masks" / path.name, path) for path in sorted(truth.glob("*.png"))]
    summary = Scores.from_images(images, BINARY).summary()
    ours = {name: score.mean for name, score in summary.items()}
    assert len(theirs) == 6
    for name, value in theirs.items():
        assert ours[name.replace("threshold_jaccard", "thresholded_jaccard")] == pytest.approx(
            value, abs=1e-9
        ), name


def scored(mask_path: Path, truth_path: Path) -> ImageScore:
    """limner's scores of a mask that is a file."""
    mask, truth = (np.asarray(Image.open(path)) // 255 for path in (mask_path, truth_path))
    prediction = Prediction(mask, mask[None].astype(np.float32), None, None, BINARY)
    sample = Sample(mask_path.stem, mask_path, truth_path)
    return score_image(sample, np.zeros((*mask.shape, 3), np.uint8), truth, prediction, BINARY)


def test_every_mask_is_one_region_of_the_image_s_size(lesions: Path, tmp_path: Path) -> None:
    images = lesions / "ISIC2018_Task1-2_Test_Input"
    write_submission(predictor(), images, tmp_path / "s.zip", "isic2018")
    sizes = {path.stem: image_size(path) for path in images.glob("*.jpg")}
    assert find_problems((tmp_path / "s.zip").read_bytes(), sizes, "isic2018") == []


def test_an_empty_mask_is_filled_with_the_most_probable_pixels_and_said(
    lesions: Path, tmp_path: Path
) -> None:
    images = lesions / "ISIC2018_Task1-2_Test_Input"
    preprocessing = Preprocessing((32, 32), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    shy = Predictor(
        [ModelRunner(lambda images: -images.mean(1, keepdims=True) - 9, preprocessing)], BINARY
    )
    count, empty = write_submission(shy, images, tmp_path / "s.zip", "isic2018")
    assert len(empty) == count


def test_names_without_an_id_or_with_one_twice_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "photo.png")
    with pytest.raises(LimnerError, match=r"photo.png in .* no id like ISIC_0012345"):
        write_submission(predictor(), tmp_path, tmp_path / "s.zip", "isic2018")
    (tmp_path / "photo.png").rename(tmp_path / "ISIC_0000001.png")
    Image.new("RGB", (20, 20)).save(tmp_path / "ISIC_0000001_superpixels.png")
    with pytest.raises(LimnerError, match="an id that another image has"):
        write_submission(predictor(), tmp_path, tmp_path / "s.zip", "isic2018")


def test_other_mistakes_are_said(lesions: Path, tmp_path: Path) -> None:
    images = lesions / "ISIC2018_Task1-2_Test_Input"
    with pytest.raises(LimnerError, match=r"is not known\. Choose isic2018"):
        write_submission(predictor(), images, tmp_path / "s.zip", "isic2099")
    with pytest.raises(LimnerError, match="holds no image"):
        write_submission(predictor(), tmp_path, tmp_path / "s.zip", "isic2018")
    (tmp_path / "s.zip").write_text("mine")
    with pytest.raises(LimnerError, match="exists already"):
        write_submission(predictor(), images, tmp_path / "s.zip", "isic2018")
    assert (tmp_path / "s.zip").read_text() == "mine"
    three = Predictor([], Labels.from_values(("a", "b", "c"), (0, 1, 2)))
    with pytest.raises(LimnerError, match="one kind of object"):
        write_submission(three, images, tmp_path / "t.zip", "isic2018")
