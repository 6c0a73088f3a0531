"""A large image that is predicted in strips, and joined."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from limner.data.storage import Storage
from limner.inference import predictor as predictor_module
from limner.inference import tile_grid
from limner.inference.image_selection import ImageSelection
from limner.inference.mask_bands import MaskBand, join_columns
from limner.inference.predict_file import PredictFile
from limner.inference.prediction_job import FileResult, PredictionJob
from limner.inference.predictor import Predictor
from limner.inference.strips import PredictStrip, StripResult, join_strips
from limner.inference.tile_grid import Strip
from service import write_model
from slides import draw_tissue, write_slide

NAME, SIZE_PX = "a.svs", (600, 230)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tile_grid, "CORE_PX", 96)
    monkeypatch.setattr(tile_grid, "WHOLE_PIXELS", 0)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One in each engine."""
    folder = tmp_path_factory.mktemp("models")
    return [
        write_model(folder / "a" / "model.onnx", seed=1, resize_mode="tile"),
        write_model(folder / "b" / "model.xml", seed=5, resize_mode="tile"),
    ]


@pytest.fixture
def job(tmp_path: Path) -> PredictionJob:
    write_slide(tmp_path / "in" / NAME, draw_tissue(*SIZE_PX)[0])
    return job_into(tmp_path / "strips", tmp_path / "in")


def job_into(out: Path, images: Path) -> PredictionJob:
    selection = ImageSelection.from_storage(Storage(images))
    return PredictionJob.plan(selection, Storage(out), {"model": ""})


def in_strips(predictor: Predictor, job: PredictionJob, count: int) -> FileResult:
    """Predict all strips, the last first, and take their results as another process would."""
    work = PredictStrip(predictor, job)
    results = [work(NAME, Strip(index, count)).to_json() for index in reversed(range(count))]
    return join_strips(predictor, job, list(map(StripResult.from_json, results)))


@pytest.mark.parametrize("used", [[0], [1], [0, 1]], ids=["onnx", "xml", "ensemble"])
@pytest.mark.parametrize("count", [2, 5])
def test_strips_are_the_whole_image(
    used: list[int], count: int, models: list[Path], job: PredictionJob, tmp_path: Path
) -> None:
    predictor = Predictor.load(*(models[index] for index in used))
    probabilities = predictor.predict(draw_tissue(*SIZE_PX)[0]).probabilities
    # Else networks of random weights would see one class everywhere
    predictor = predictor.with_threshold(float(np.median(probabilities)))
    assert predictor.most_strips(SIZE_PX) >= count
    joined = in_strips(predictor, job, count)
    whole = PredictFile(predictor, job_into(tmp_path / "whole", tmp_path / "in"))(NAME)
    (record,), (expected,) = joined.records, whole.records
    for key in ("predicted_dice", "unusualness", "mean_entropy"):
        assert getattr(record, key) == pytest.approx(getattr(expected, key), abs=2e-6)
        record = replace(record, **{key: getattr(expected, key)})
    assert record == expected and joined.fingerprint == whole.fingerprint
    masks, maps = (
        [tifffile.imread(tmp_path / folder / name).astype(int) for folder in ("strips", "whole")]
        for name in ("a.tif", "uncertainty/a.tif")
    )
    # A probability may differ in its last digit
    assert (masks[0] != masks[1]).mean() < 1e-4 and set(np.unique(masks[1])) == {0, 255}
    assert np.abs(maps[0] - maps[1]).max() <= 1


@pytest.mark.parametrize("name", ["a.svs", "b.png"])
@pytest.mark.parametrize("used", [[0], [0, 1]], ids=["onnx", "ensemble"])
def test_a_wide_image_is_predicted_in_strips_of_columns(
    used: list[int],
    name: str,
    models: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = draw_tissue(230, 900)[0]
    (tmp_path / "in").mkdir()
    if name == "a.svs":
        write_slide(tmp_path / "in" / name, pixels)
    else:
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    predictor = Predictor.load(*(models[index] for index in used))
    whole = predictor.predict(pixels)
    predictor = predictor.with_threshold(float(np.median(whole.probabilities)))
    results = [PredictFile(predictor, job_into(tmp_path / "whole", tmp_path / "in"))(name)]
    monkeypatch.setattr(tile_grid, "MIN_HALOS", 0)
    monkeypatch.setattr(predictor_module, "MAX_COLUMNS_PX", 250)
    results.append(PredictFile(predictor, job_into(tmp_path / "parts", tmp_path / "in"))(name))
    (expected,), (record,) = (result.records for result in results)
    for key in ("predicted_dice", "unusualness", "mean_entropy"):
        assert getattr(record, key) == pytest.approx(getattr(expected, key), abs=2e-6)
    mask = Path(expected.mask)
    masks, maps = (
        [read_grey(tmp_path / folder / place) for folder in ("parts", "whole")]
        for place in (mask, "uncertainty" / mask)
    )
    assert masks[0].shape == (230, 900) and set(np.unique(masks[1])) == {0, 255}
    assert (masks[0] != masks[1]).mean() < 1e-4
    assert np.abs(maps[0] - maps[1]).max() <= 1
    in_memory = predictor.predict(pixels)
    np.testing.assert_allclose(in_memory.probabilities, whole.probabilities, atol=1e-5)


def read_grey(path: Path) -> np.ndarray:
    pixels: np.ndarray = tifffile.imread(path) if path.suffix == ".tif" else Image.open(path)
    return np.asarray(pixels).astype(int)


def test_parts_beside_each_other_wait_on_disk() -> None:
    rng = np.random.default_rng(0)
    whole = [
        MaskBand.of(
            rng.integers(0, 3, (rows, 50), np.uint8), rng.random((rows, 50), dtype=np.float32)
        )
        for rows in (20, 20, 7)
    ]
    taken: list[str] = []

    def part(name: str, columns: slice) -> Iterator[MaskBand]:
        for band in whole:
            taken.append(name)
            yield MaskBand(
                band.mask[:, columns], band.uncertainty[:, columns], band.entropy * 17 / 50
            )

    parts = [
        part("left", slice(0, 17)),
        part("middle", slice(17, 34)),
        part("right", slice(33, 50)),
    ]
    joined = list(join_columns(parts))
    assert taken == ["left"] * 3 + ["middle"] * 3 + ["right"] * 3
    for band, expected in zip(joined, whole, strict=True):
        assert np.array_equal(band.mask[:, :34], expected.mask[:, :34])
        assert np.array_equal(band.mask[:, 34:], expected.mask[:, 33:])
        assert np.array_equal(band.uncertainty[:, 34:], expected.uncertainty[:, 33:])
        assert band.entropy == pytest.approx(expected.entropy * 51 / 50)


def test_a_strip_is_predicted_once(
    models: list[Path], job: PredictionJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = Predictor.load(models[0])
    work = PredictStrip(predictor, job)
    result = work(NAME, Strip(1, 3))
    assert result.failure is None
    monkeypatch.setattr(Predictor, "stream", None)
    assert work(NAME, Strip(1, 3)).to_json() == result.to_json()


def test_an_image_that_changed_between_strips_is_not_joined(
    models: list[Path], job: PredictionJob, tmp_path: Path
) -> None:
    predictor = Predictor.load(models[0])
    work = PredictStrip(predictor, job)
    first = work(NAME, Strip(0, 2))
    write_slide(tmp_path / "in" / NAME, draw_tissue(*SIZE_PX, seed=1)[0])
    joined = join_strips(predictor, job, [first, work(NAME, Strip(1, 2))])
    assert joined.failure is not None and "was changed" in joined.failure
    assert not (tmp_path / "strips" / "a.tif").exists()


def test_what_is_wrong_with_an_image_is_said(models: list[Path], job: PredictionJob) -> None:
    predictor = Predictor.load(models[0])
    with job.images.local_file(NAME) as path:
        path.write_bytes(path.read_bytes()[:3000])
    joined = in_strips(predictor, job, 2)
    assert joined.failure is not None and NAME in joined.failure
    assert not job.out.has_file("a.tif")


def test_an_image_of_one_canvas_has_one_strip(tmp_path: Path) -> None:
    predictor = Predictor.load(write_model(tmp_path / "model.onnx"))
    assert predictor.most_strips((5000, 5000)) == 1
