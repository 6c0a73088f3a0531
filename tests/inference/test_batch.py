import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from dicom_files import dicom_dataset, save_dicom, write_dicom
from limner.data import large_images
from limner.data.images import read_image
from limner.data.parallel import Progress
from limner.data.preprocess import Preprocessing
from limner.data.storage import Storage
from limner.errors import LimnerError
from limner.files import sha256_of_file
from limner.inference.batch import SETTINGS_FILE, BatchResult, predict_folder
from limner.inference.engines import ReceptiveField
from limner.inference.image_selection import ImageSelection
from limner.inference.model_runner import ModelRunner
from limner.inference.prediction_job import UNFINISHED, PredictionJob, mask_names
from limner.inference.predictor import Predictor
from limner.labels import Labels
from limner.model.metadata import InferenceSettings, PostprocessSettings

BINARY = Labels.from_values(("background", "foreground"), (0, 255))
MODELS = {"m.safetensors": "0123"}


def brightness(images: np.ndarray) -> np.ndarray:
    return images.mean(1, keepdims=True) * 10


def preprocessing(resize_mode: str = "resize") -> Preprocessing:
    return Preprocessing((32, 32), (0.5,) * 3, (0.5,) * 3, resize_mode)


def predictor(resize_mode: str = "tile", settings: InferenceSettings | None = None) -> Predictor:
    runner = ModelRunner(brightness, preprocessing(resize_mode), None, ReceptiveField(8, 4))
    return Predictor([runner], BINARY, settings)


def run(
    predictor: Predictor, images: Path | str, out: Path | str, progress: Progress | None = None
) -> BatchResult:
    return predict_folder(
        predictor,
        PredictionJob.plan(ImageSelection.from_storage(Storage(images)), Storage(out), MODELS),
        progress,
    )


def stop_after(count: int) -> Progress:
    def items_until(items: Iterable[object], _count: int) -> Iterable[object]:
        for index, item in enumerate(items):
            if index == count:
                raise KeyboardInterrupt
            yield item

    return items_until


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight photographs, bright on the left."""
    (tmp_path / "photos").mkdir()
    for index in range(8):
        image = np.zeros((40, 60, 3), np.uint8)
        image[:, : 10 + index] = 255
        Image.fromarray(image).save(tmp_path / "photos" / f"{index}.png")
    return tmp_path / "photos"


def test_a_call_that_was_stopped_goes_on_and_ends_as_if_it_never_was(
    photos: Path, tmp_path: Path
) -> None:
    whole = run(predictor(), photos, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(predictor(), photos, tmp_path / "out", stop_after(3))
    unfinished = tmp_path / "out" / UNFINISHED
    assert unfinished.is_dir()
    resumed = run(predictor(), photos, tmp_path / "out")
    assert resumed.resumed >= 3 and whole.resumed == 0
    assert resumed.records == whole.records and not unfinished.exists()
    for path in (tmp_path / "whole").rglob("*.*"):
        same = tmp_path / "out" / path.relative_to(tmp_path / "whole")
        assert path.read_bytes() == same.read_bytes()


def test_what_a_kill_or_a_loss_of_power_cut_off_is_done_again(photos: Path, tmp_path: Path) -> None:
    whole = run(predictor(), photos, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(predictor(), photos, tmp_path / "out", stop_after(3))
    first, second, *_ = (
        path
        for path in sorted((tmp_path / "out" / UNFINISHED).iterdir())
        if path.name != Path(SETTINGS_FILE).name
    )
    first.write_bytes(b"")
    second.write_bytes(second.read_bytes()[:20])
    second.with_name("another.json.part").write_bytes(b"{")
    assert run(predictor(), photos, tmp_path / "out").records == whole.records


def test_an_image_that_was_changed_between_two_sittings_is_predicted_anew(
    photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(predictor(), photos, tmp_path / "out", stop_after(6))
    Image.fromarray(np.full((20, 30, 3), 255, np.uint8)).save(photos / "0.png")
    run(predictor(), photos, tmp_path / "out")
    with Image.open(tmp_path / "out" / "0.png") as mask:
        assert mask.size == (30, 20) and np.asarray(mask).min() == 255


@pytest.mark.parametrize("times", [1, 99])
def test_an_image_that_is_replaced_while_it_is_predicted_is_looked_at_again(
    times: int, photos: Path, tmp_path: Path
) -> None:
    changes = iter(range(times))

    def engine(images: np.ndarray) -> np.ndarray:
        if (change := next(changes, None)) is not None:
            Image.new("RGB", (30, 20), (change, 0, 0)).save(photos / "3.png")
        return brightness(images)

    job = PredictionJob.plan(
        ImageSelection(Storage(photos), ("3.png",)), Storage(tmp_path / "out"), MODELS
    )
    result = predict_folder(Predictor([ModelRunner(engine, preprocessing())], BINARY), job)
    if times == 1:
        assert result.records[0].image_sha256 == sha256_of_file(photos / "3.png")
        assert read_image(tmp_path / "out" / "3.png").shape[:2] == (20, 30)
    else:
        assert not result.records and "was changed each time" in result.failures[0]


class Filling(Storage):
    """A folder whose files are whole only after they were looked at."""

    @contextmanager
    def local_file(self, name: str) -> Iterator[Path]:
        folder = Path(self.root)
        try:
            yield folder / name
        finally:
            with suppress(FileNotFoundError):
                # The second time it is whole
                (folder.parent / "whole.png").rename(folder / name)


def test_an_image_that_was_copied_in_while_it_was_read_is_looked_at_again(
    photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "filling").mkdir()
    (tmp_path / "filling" / "3.png").write_bytes((photos / "3.png").read_bytes()[:40])
    shutil.copy(photos / "3.png", tmp_path / "whole.png")
    job = PredictionJob.plan(
        ImageSelection(Filling(tmp_path / "filling"), ("3.png",)), Storage(tmp_path / "out"), MODELS
    )
    result = predict_folder(predictor(), job)
    assert not result.failures
    assert result.records[0].image_sha256 == sha256_of_file(photos / "3.png")


def test_two_calls_do_not_share_a_folder(photos: Path, tmp_path: Path) -> None:
    with (
        Storage(tmp_path / "out").exclusive(),
        pytest.raises(LimnerError, match="another process predicts into"),
    ):
        run(predictor(), photos, tmp_path / "out")
    assert len(run(predictor(), photos, tmp_path / "out").records) == 8


def test_the_images_of_another_folder_are_no_continuation(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(predictor(), photos, tmp_path / "out", stop_after(3))
    shutil.copytree(photos, tmp_path / "others")
    with pytest.raises(LimnerError, match="unfinished predictions of other images"):
        run(predictor(), tmp_path / "others", tmp_path / "out")


def test_masks_that_lie_below_the_images_are_not_predicted(photos: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(predictor(), photos, photos / "out", stop_after(3))
    assert len(run(predictor(), photos, photos / "out").records) == 8


def test_a_name_that_is_too_long_for_a_mask_stops_no_other(photos: Path, tmp_path: Path) -> None:
    (photos / "0.png").rename(photos / f"{'x' * 251}.png")
    # 240 bytes
    (photos / "1.png").rename(photos / f"{'界' * 80}.png")
    result = run(predictor(), photos, tmp_path / "out")
    assert len(result.records) == 7 and "too long here. Rename it" in result.failures[0]


def test_images_whose_masks_would_bear_one_name_are_named() -> None:
    with pytest.raises(LimnerError, match=r"the masks of a\.jpg and a\.jpg\.tif would bear"):
        mask_names(["a.jpg", "a.png", "a.jpg.tif"])


def test_images_that_differ_in_their_suffix_have_masks_that_keep_it(
    photos: Path, tmp_path: Path
) -> None:
    assert mask_names(["deep/a.jpg", "a.png", "deep/a.png"]) == {
        "deep/a.jpg": "deep/a.jpg.png",
        "a.png": "a.png",
        "deep/a.png": "deep/a.png.png",
    }
    with Image.open(photos / "0.png") as image:
        image.convert("RGB").resize((30, 20)).save(photos / "0.jpg")
    result = run(predictor(), photos, tmp_path / "out")
    assert len(result.records) == 9 and not result.failures
    with Image.open(tmp_path / "out" / "0.jpg.png") as mask:
        assert mask.size == (30, 20)


def test_a_later_call_takes_no_earlier_image_s_mask(photos: Path, tmp_path: Path) -> None:
    run(predictor(), photos, tmp_path / "out")
    with Image.open(photos / "0.png") as image:
        image.convert("RGB").resize((30, 20)).save(photos / "0.jpg")
    alone = ImageSelection.from_paths([str(photos / "0.jpg")])
    job = PredictionJob.plan(alone, Storage(tmp_path / "out"), MODELS)
    result = predict_folder(predictor(), job)
    assert len({record.mask for record in result.records}) == len(result.records) == 9
    with Image.open(tmp_path / "out" / "0.png") as mask:
        assert mask.size == (60, 40)


def test_images_that_are_gone_are_named_and_keep_their_masks(photos: Path, tmp_path: Path) -> None:
    run(predictor(), photos, tmp_path / "out")
    (photos / "3.png").unlink()
    alone = ImageSelection.from_paths([str(photos / "1.png")])
    result = predict_folder(
        predictor(), PredictionJob.plan(alone, Storage(tmp_path / "out"), MODELS)
    )
    written = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert list(result.images_gone) == written["images_gone"] == [str(photos / "3.png")]
    assert len(result.records) == 8 and (tmp_path / "out" / "3.png").exists()


def test_a_linked_image_is_known_again(photos: Path, tmp_path: Path) -> None:
    (photos / "3.png").rename(tmp_path / "elsewhere.png")
    (photos / "3.png").symlink_to(tmp_path / "elsewhere.png")
    run(predictor(), photos, tmp_path / "out")
    again = run(predictor(), photos, tmp_path / "out")
    assert again.resumed == 8 and not again.images_gone
    assert str(photos / "3.png") in {record.image for record in again.records}


def test_failures_name_files_by_absolute_paths(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (photos / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (photos / "c.oib").write_bytes(b"\0\1")
    result = run(predictor(), Path("photos"), "out")
    assert len(result.failures) == 2
    assert all(failure.startswith(f"{photos}/") for failure in result.failures)


@pytest.mark.parametrize("pages", [1, 2])
def test_a_stack_takes_no_other_image_s_mask(pages: int, photos: Path, tmp_path: Path) -> None:
    tifffile.imwrite(
        photos / "0.tif", np.full((pages, 20, 20), 255, np.uint8), photometric="minisblack"
    )
    (photos / "0.png").rename(photos / "0#1.png")
    result = run(predictor(), photos, tmp_path / "out")
    assert len(result.records) == 8 + (pages == 1) and len(result.failures) == pages - 1
    with Image.open(tmp_path / "out" / "0#1.png") as mask:
        assert mask.size == (60, 40)


def test_a_lack_of_memory_stops_no_other_file(photos: Path, tmp_path: Path) -> None:
    def small_memory(images: np.ndarray) -> np.ndarray:
        if images[0].mean() < -0.55:
            raise RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to "
                "allocate 99 bytes."
            )
        return brightness(images)

    runner = ModelRunner(small_memory, preprocessing())
    result = run(Predictor([runner], BINARY), photos, tmp_path / "out")
    assert result.records and result.failures
    assert all("more memory than there is" in failure for failure in result.failures)


def test_grey_colours_of_classes_are_read_back_for_the_overview(
    photos: Path, tmp_path: Path
) -> None:
    labels = Labels.from_values(("sky", "bus"), (0, 0x808080), coloured=True)
    runner = ModelRunner(
        lambda images: np.concatenate([brightness(images), -brightness(images)], axis=1),
        preprocessing(),
    )
    assert len(run(Predictor([runner], labels), photos, tmp_path / "out").records) == 8


def test_other_settings_do_not_go_on(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / UNFINISHED).mkdir(parents=True)
    (tmp_path / "out" / SETTINGS_FILE).write_text(json.dumps({"models": ["another"]}))
    with pytest.raises(LimnerError, match="unfinished predictions of other models"):
        run(predictor(), photos, tmp_path / "out")


def test_a_call_that_is_repeated_changes_nothing(photos: Path, tmp_path: Path) -> None:
    first = run(predictor(), photos, tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")}
    again = run(predictor(), photos, tmp_path / "out")
    assert again.resumed == 8 and again.records == first.records
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.*")} == before


def test_a_finished_folder_of_another_model_is_left_alone(photos: Path, tmp_path: Path) -> None:
    run(predictor(), photos, tmp_path / "out")
    others = PredictionJob.plan(
        ImageSelection.from_storage(Storage(photos)), Storage(tmp_path / "out"), {"m.onnx": "9"}
    )
    with pytest.raises(LimnerError, match=r"predictions of other models \(m\.safetensors\). Noth"):
        predict_folder(predictor(), others)
    retrained = replace(others, models={"m.safetensors": "9"})
    with pytest.raises(LimnerError, match=r"of the model m\.safetensors as it was before it chan"):
        predict_folder(predictor(), retrained)
    shutil.copytree(photos, tmp_path / "others")
    with pytest.raises(LimnerError, match=rf"of other images \({photos}\)\. Nothing is overwr"):
        run(predictor(), tmp_path / "others", tmp_path / "out")
    settings = InferenceSettings(postprocessing=PostprocessSettings(fill_holes=True))
    with pytest.raises(LimnerError, match=r"other settings \(fill_holes False\)\. Not"):
        run(predictor(settings=settings), photos, tmp_path / "out")


def test_a_file_that_was_mended_is_predicted_when_the_call_is_repeated(
    photos: Path, tmp_path: Path
) -> None:
    whole = (photos / "2.png").read_bytes()
    (photos / "2.png").write_bytes(whole[:60])
    first = run(predictor(), photos, tmp_path / "out")
    assert len(first.records) == 7 and "2.png" in first.failures[0]
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.png")}
    (photos / "2.png").write_bytes(whole)
    again = run(predictor(), photos, tmp_path / "out")
    assert again.resumed == 7 and len(again.records) == 8 and not again.failures
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


def test_an_image_that_was_replaced_is_predicted_anew_and_the_others_stay(
    photos: Path, tmp_path: Path
) -> None:
    stack = np.full((3, 20, 20), 255, np.uint8)
    tifffile.imwrite(photos / "s.tif", stack, photometric="minisblack")
    run(predictor(), photos, tmp_path / "out")
    tifffile.imwrite(photos / "s.tif", stack[:2], photometric="minisblack")
    (photos / "1.png").unlink()
    shutil.copy(photos / "0.png", photos / "added.png")
    again = run(predictor(), photos, tmp_path / "out")
    # The image that is gone keeps its mask, and the stack has none of its third page
    assert {record.mask for record in again.records} >= {"1.png", "added.png", "s#2.png"}
    assert again.resumed == 7 and not list((tmp_path / "out").rglob("s#3.png"))


def test_a_stack_that_fails_leaves_nothing_behind(photos: Path, tmp_path: Path) -> None:
    pages = [np.full((20, 20), 255, np.uint8) for _ in range(3)]
    with tifffile.TiffWriter(photos / "s.tif") as writer:
        for page in pages:
            writer.write(page, photometric="minisblack", metadata=None, contiguous=False)
    with tifffile.TiffFile(photos / "s.tif") as file:
        start = file.pages[2].dataoffsets[0]
    # The pixels of its last page are cut off
    data = (photos / "s.tif").read_bytes()
    moved = data.replace(start.to_bytes(4, "little"), (len(data) + 99).to_bytes(4, "little"))
    (photos / "s.tif").write_bytes(moved)
    result = run(predictor(), photos, tmp_path / "out")
    assert len(result.records) == 8 and "s.tif" in result.failures[0]
    assert not list((tmp_path / "out").rglob("s#*"))


def test_pictures_of_formats_that_are_not_read_are_named_and_counted(
    photos: Path, tmp_path: Path
) -> None:
    kinds = {
        "IMG_1.HEIC": "a HEIC photograph, which is not read. Export it as JPEG or PNG, which",
        "b.psd": "a Photoshop file, which is not read. Open it in GIMP",
        "c.ims": "an Imaris file, which is not read. Export it as OME-TIFF: Fiji",
        "d.npy": "a NumPy array, which is not read. Save its images as PNG",
        "deep/e.mha": "a MetaImage volume, which is not read. Save it as a TIFF stack",
        "set.zip": "a zip archive, which is not read. Unpack it.",
    }
    (photos / "deep").mkdir()
    for name in kinds:
        (photos / name).write_bytes(b"\0\1whatever")
    (photos / "notes.txt").write_text("no picture")
    result = run(predictor(), photos, tmp_path / "out")
    written = json.loads((tmp_path / "out" / "predictions.json").read_text())["failed"]
    assert len(result.records) == 8 and result.failures == written and len(written) == 6
    for (name, what), failure in zip(kinds.items(), sorted(written), strict=True):
        assert f"/{name} is {what}" in failure
    only_foreign = ImageSelection.from_storage(Storage(photos / "deep"))
    with pytest.raises(LimnerError, match=r"holds no image .* of other formats, such as e"):
        PredictionJob.plan(only_foreign, Storage(tmp_path / "new"), MODELS)


@pytest.mark.parametrize("resize_mode", ["tile", "resize", "letterbox"])
def test_a_large_tiff_gives_the_masks_of_the_whole(
    resize_mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    image = np.zeros((700, 300, 3), np.uint8)
    image[100:600, 50:200] = 200
    tifffile.imwrite(tmp_path / "in" / "a.tif", image, tile=(64, 64), photometric="rgb")
    settings = InferenceSettings(postprocessing=PostprocessSettings(fill_holes=True))
    whole = run(predictor(resize_mode, settings), tmp_path / "in", tmp_path / "whole")
    monkeypatch.setattr(large_images, "LARGE_PIXELS", 1000)
    parts = run(predictor(resize_mode, settings), tmp_path / "in", tmp_path / "parts")
    assert [record.mask for record in (*whole.records, *parts.records)] == ["a.png", "a.tif"]
    assert parts.records[0].left_out == ("fill_holes",) and whole.records[0].left_out == ()
    assert parts.records[0].mean_entropy == pytest.approx(whole.records[0].mean_entropy, abs=1e-4)
    for folder in (Path(), Path("uncertainty")):
        with Image.open(tmp_path / "whole" / folder / "a.png") as image:
            pixels = tifffile.imread(tmp_path / "parts" / folder / "a.tif")
            assert (np.abs(np.asarray(image).astype(int) - pixels) > 1).mean() < 0.001
    assert (tmp_path / "parts" / "overview.jpg").exists()


def test_folders_elsewhere_are_read_and_written_as_those_here(photos: Path, tmp_path: Path) -> None:
    import fsspec

    system = fsspec.filesystem("memory")
    for path in photos.iterdir():
        system.pipe_file(f"/in/deep/{path.name}", path.read_bytes())
    system.pipe_file("/in/bad.png", b"broken")
    system.pipe_file("/in/notes.txt", b"no image")
    here = run(predictor(), photos, tmp_path / "here")
    there = run(predictor(), "memory://in", "memory://out")
    assert [record.mask for record in there.records] == [
        f"deep/{record.mask}" for record in here.records
    ]
    assert there.failures and "memory://in/bad.png is not an image" in there.failures[0]
    for record in here.records:
        mask = system.cat_file(f"/out/deep/{record.mask}")
        assert mask == (tmp_path / "here" / record.mask).read_bytes()
    written = json.loads(system.cat_file("/out/predictions.json"))["predictions"]
    assert written[0]["image"].startswith("memory://in/deep/")
    assert system.exists("/out/overview.jpg") and not system.exists(f"/out/{UNFINISHED}")
    assert run(predictor(), "memory://in", "memory://out").resumed == 8
    system.pipe_file("/other/notes.txt", b"somebody's")
    with pytest.raises(LimnerError, match="memory://other/ is not empty"):
        run(predictor(), "memory://in", "memory://other")
    with pytest.raises(LimnerError, match="holds no image"):
        run(predictor(), "memory://nothing", "memory://new")
    with pytest.raises(LimnerError, match="cannot be reached"):
        run(predictor(), "nonsense://in", "memory://new")


def test_files_of_dicom_are_predicted_by_content(tmp_path: Path) -> None:
    study = tmp_path / "study"
    study.mkdir()
    pixels = np.arange(40 * 48, dtype=np.uint16).reshape(40, 48)
    for name in ("IM000001", "1.2.840.5", "1.2.840.6"):
        write_dicom(study / name, pixels)
    report = dicom_dataset(pixels)
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.11"
    del report.Rows, report.Columns, report.PixelData
    save_dicom(study / "SR1", report)
    (study / "README").write_text("of the archive")
    result = run(predictor(), study, tmp_path / "out")
    masks = {record.mask for record in result.records}
    assert masks == {"IM000001.png", "1.2.840.5.png", "1.2.840.6.png"}
    (failure,) = result.failures
    assert "SR1 is DICOM without an image (Basic Text SR). Leave it out" in failure
