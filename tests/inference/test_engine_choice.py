"""Which engine runs a model on this machine."""

import io
import json
import os
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from command_line import limner
from limner.data.cache import cache_folder
from limner.data.scan import scan
from limner.data.synthetic import write_synthetic
from limner.data.writers.png import write_png
from limner.errors import LimnerError
from limner.inference import engine_choice, parity, reduced_precision
from limner.inference.engine_choice import EngineKind, load_fastest
from limner.inference.engines import LoadedModel, load_exported_as, load_model
from limner.inference.predictor import Predictor
from limner.inference.reduced_precision import PrecisionLimits
from limner.model.bundle import Bundle
from service import Start, png, write_model


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(engine_choice, "MEASURED_S", 0.02)
    return write_model(tmp_path / "model.onnx").with_suffix(".safetensors")


def test_the_choice_is_said_once_and_draws_the_same_masks(model: Path) -> None:
    said: list[str] = []
    loaded = [load_fastest(model, say=said.append) for _ in range(2)]
    assert len(said) == 1 and "measured on this machine" in said[0]
    assert "ONNX Runtime" in said[0] and "OpenVINO" in said[0]
    image = np.random.default_rng(0).integers(0, 255, (50, 70, 3)).astype(np.uint8)
    expected = Predictor.load(model).predict(image)
    for each in loaded:
        assert each.version == load_model(model).version
        assert np.array_equal(Predictor.from_models(each).predict(image).mask, expected.mask)


def test_for_few_images_nothing_is_measured(model: Path) -> None:
    said: list[str] = []
    loaded = load_fastest(model, say=said.append, few=True)
    assert not said and type(loaded.engine).__name__ == "OnnxEngine"
    assert loaded.version == load_model(model).version
    load_fastest(model, say=said.append)
    assert len(said) == 1


@pytest.mark.parametrize(("images", "few"), [(3, True), (4, False)])
def test_one_core_has_a_handful_of_images_too(
    images: int, few: bool, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bool] = []

    def load(path: Path, *_: object, few: bool) -> LoadedModel:
        given.append(few)
        return load_model(path)

    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(engine_choice, "load_fastest", load)
    # The package calls the command by its module's name
    import_module("limner.cli.predict")._open([model], None, "cpu", None, images)
    assert given == [few]


@pytest.mark.parametrize("what", ["processor_name", "arithmetic_flags"])
def test_another_processor_is_measured_anew(
    what: str, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of another name, and one of the same name with other instructions."""
    said: list[str] = []
    load_fastest(model, say=said.append)
    monkeypatch.setattr(engine_choice, what, lambda: "another one")
    load_fastest(model, say=said.append)
    assert len(said) == 2


def test_the_first_call_after_another_engine_is_not_timed() -> None:
    """It shares the cores with that one's threads, which still look for work."""
    calls: list[float] = []

    def call() -> None:
        calls.append(time.perf_counter())
        time.sleep(0.3 if len(calls) == 1 else 0.001)

    start = time.perf_counter()
    seconds = parity.time_calls([call] * 3)
    assert len(calls) == 4 and calls[0] - start >= parity.SETTLED_AFTER_S
    assert len(seconds) == 3 and all(0.001 <= each < 0.25 for each in seconds)


def test_an_engine_that_draws_something_else_is_not_taken(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(path: Path, package: str, callers: int, **options: Any) -> LoadedModel:
        loaded = load_exported_as(path, package, callers, **options)
        if package != "openvino":
            return loaded
        return replace(loaded, engine=lambda images: np.ones((1, 1, *images.shape[2:]), np.float32))

    monkeypatch.setattr(engine_choice, "load_exported_as", load)
    said: list[str] = []
    load_fastest(model, say=said.append)
    assert said[0].startswith("engine: ONNX Runtime") and "OpenVINO" not in said[0]


def test_large_images_go_through_the_segments_of_onnx_runtime(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def load(path: Path, package: str, callers: int, **options: Any) -> LoadedModel:
        opened.append(package)
        return load_exported_as(path, package, callers, **options)

    def times(models: Mapping[EngineKind, LoadedModel], *_: object) -> dict[str, float]:
        return {str(kind): 1.0 if kind.package == "openvino" else 2.0 for kind in models}

    monkeypatch.setattr(engine_choice, "load_exported_as", load)
    monkeypatch.setattr(engine_choice, "_time_engines", times)
    load_fastest(model)
    opened.clear()
    loaded = load_fastest(model)
    assert opened == ["openvino"]
    loaded.segmented()
    assert opened == ["openvino", "onnxruntime"]


def test_a_fixed_canvas_gives_what_any_size_gives(model: Path) -> None:
    images = np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)
    graph = model.with_suffix(".onnx")
    fixed = load_exported_as(graph, "openvino", 2, fixed_canvas=True).engine
    expected = load_model(graph).engine(images)
    with ThreadPoolExecutor(2) as pool:
        for logits in pool.map(fixed, [images] * 8):
            np.testing.assert_allclose(logits, expected, atol=1e-5)
    np.testing.assert_allclose(
        fixed(images[..., :20]), load_model(graph).engine(images[..., :20]), atol=1e-5
    )


def test_without_an_engine_torch_runs_the_model(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_choice, "PACKAGES", {})
    said: list[str] = []
    assert type(load_fastest(model, say=said.append).engine).__name__ == "TorchEngine"
    assert not said
    with pytest.raises(LimnerError, match="--precision fast is not there"):
        load_fastest(model, limits=PrecisionLimits(model.parent))


def test_a_cache_that_cannot_be_written_hinders_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "file"))
    said: list[str] = []
    assert load_fastest(model, say=said.append).version == load_model(model).version
    assert len(said) == 1 and said[0].startswith("note: torch runs")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """What the model was trained on."""
    write_synthetic(tmp_path / "set", count=12, size_px=32, seed=0)
    return tmp_path / "set"


@pytest.fixture
def trained(model: Path, data: Path, tmp_path: Path) -> Path:
    """A model that knows its training images and its validation images."""
    ids = [sample.id for sample in scan(data).samples]
    bundle = replace(Bundle.load(model), split={"train": ids[:6], "val": ids[6:]})
    (tmp_path / "run").mkdir()
    bundle.save(tmp_path / "run" / "model.safetensors")
    (tmp_path / "run" / "receipt.json").write_text(json.dumps({"data": str(data)}))
    return tmp_path / "run" / "model.safetensors"


@pytest.fixture
def only_int8_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the clock says here."""

    def times(models: Mapping[EngineKind, LoadedModel], *_: object) -> dict[str, float]:
        return {str(kind): 1.0 if kind.precision == "int8" else 2.0 for kind in models}

    monkeypatch.setattr(engine_choice, "_time_engines", times)


@pytest.mark.usefixtures("only_int8_is_fast")
def test_int8_is_taken_where_validation_shows_hardly_a_change(trained: Path, data: Path) -> None:
    said: list[str] = []
    limits = PrecisionLimits(data, mean=0.5, worst=1)
    loaded = load_fastest(trained, say=said.append, limits=limits)
    assert "int8 changes the mean Dice of" in said[-2] and said[-2].endswith("taken.")
    assert said[-1].startswith("engine: ") and "int8" in said[-1].partition("(")[0]
    assert loaded.version == load_model(trained).version
    shutil.rmtree(data)
    # The next call neither measures nor reads the images
    again = load_fastest(trained, say=said.append, limits=limits)
    assert sum(line.startswith("engine: ") for line in said) == 1
    canvas = np.zeros((1, 3, 32, 32), np.float32)
    np.testing.assert_array_equal(again.engine(canvas), loaded.engine(canvas))


@pytest.mark.parametrize(("wide", "bits"), [(True, 8), (False, 7)])
@pytest.mark.usefixtures("only_int8_is_fast")
def test_int8_has_as_many_bits_as_this_processor_adds(
    wide: bool, bits: int, trained: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reduced_precision, "has_wide_int8_sums", lambda: wide)
    load_fastest(trained, limits=PrecisionLimits(data, mean=1, worst=1))
    names = [path.stem for path in (cache_folder() / "engines").glob("*int8*")]
    assert len(names) == 1 and names[0].endswith(f"weights{bits}")


@pytest.mark.usefixtures("only_int8_is_fast")
def test_int8_is_not_taken_beyond_the_limits(trained: Path, data: Path) -> None:
    said: list[str] = []
    # No change is below 0
    load_fastest(trained, say=said.append, limits=PrecisionLimits(data, mean=-1))
    assert "not taken." in said[-2]
    assert "int8" not in said[-1].partition("(")[0]


@pytest.mark.usefixtures("only_int8_is_fast")
def test_other_limits_are_measured_anew(trained: Path, data: Path) -> None:
    said: list[str] = []
    for limits in (
        PrecisionLimits(data, mean=-1),
        PrecisionLimits(data, mean=1, worst=1),
    ):
        load_fastest(trained, say=said.append, limits=limits)
    assert sum(line.startswith("engine: ") for line in said) == 2
    assert said[-2].endswith("taken.") and "not taken" not in said[-2]


@pytest.mark.usefixtures("only_int8_is_fast")
def test_few_images_of_known_mask_show_nothing(
    trained: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reduced_precision, "MIN_SCORED", 1000)
    said: list[str] = []
    load_fastest(trained, say=said.append, limits=PrecisionLimits(data, mean=1, worst=1))
    assert "cannot show what it changes" in said[-2]
    assert "int8" not in said[-1].partition("(")[0]


def test_a_folder_without_the_images_of_the_training_is_named(
    trained: Path, tmp_path: Path
) -> None:
    with pytest.raises(LimnerError, match=r"gone is not there\. Give their folder with --data"):
        load_fastest(trained, limits=PrecisionLimits(tmp_path / "gone"))


def test_bfloat16_is_tried_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for has_it in (True, False):
        monkeypatch.setattr(engine_choice, "has_fast_bfloat16", lambda has_it=has_it: has_it)
        kinds = {str(kind) for kind in EngineKind.all(fixed=True, reduced=True)}
        assert ("OpenVINO bfloat16 fixed" in kinds) is has_it
        assert {"ONNX Runtime", "OpenVINO", "OpenVINO fixed", "OpenVINO int8 fixed"} < kinds


def test_predict_says_what_a_lower_precision_changes(trained: Path, tmp_path: Path) -> None:
    images = next((tmp_path / "set").glob("*Input*"))
    options = ("--precision", "fast", "--max-change", "1", "1")
    done = limner("predict", str(trained), str(images), "-o", str(tmp_path / "out"), *options)
    assert done.returncode == 0, done.stderr
    assert "engine: " in done.stderr and "int8" in done.stderr
    # Which one is the fastest is the clock's to say; float32 needs no proof
    taken = done.stderr.rpartition("engine: ")[2].partition("(")[0]
    assert ("int8" in taken or "bfloat16" in taken) is ("taken." in done.stderr)
    # Masks of two precisions are not mixed
    again = limner("predict", str(trained), str(images), "-o", str(tmp_path / "out"))
    assert again.returncode == 1
    assert "holds predictions of --precision fast" in " ".join(again.stderr.split())


def test_a_model_that_lies_in_no_run_needs_data(model: Path, tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.zeros((20, 20, 3), np.uint8))
    command = ("predict", str(model), str(tmp_path / "a.png"), "--precision", "fast")
    done = limner(*command, "-o", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "lies in no run that would name them" in " ".join(done.stderr.split())


def test_serve_takes_a_lower_precision(start: Start, trained: Path) -> None:
    served = start(trained, "--precision", "fast", "--max-change", "1", "1")
    answer = served.client.post("/v1/segment", content=png(), headers={"Content-Type": "image/png"})
    mask = np.asarray(Image.open(io.BytesIO(answer.content)))
    expected = Predictor.load(trained).predict(np.asarray(Image.open(io.BytesIO(png()))))
    assert (mask == 255 * expected.mask).mean() > 0.9
    assert "engine: " in served.log.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--precision", "int4"), "--precision int4 is not known here"),
        (("--data", "set"), "are for --precision fast. Add it"),
        (("--max-change", "0.1", "0.1"), "are for --precision fast. Add it"),
        (("--precision", "fast", "--max-change", "-1", "0"), "takes two numbers from 0 on"),
        (("--precision", "fast", "--device", "cuda"), "is for the processor of this machine"),
        (("--precision", "fast", "--data", "nowhere"), "nowhere is not there. Give their folder"),
    ],
)
def test_options_of_precision_are_checked(
    options: tuple[str, ...], message: str, trained: Path, tmp_path: Path
) -> None:
    images = next((tmp_path / "set").glob("*Input*"))
    done = limner("predict", str(trained), str(images), "-o", str(tmp_path / "out"), *options)
    assert done.returncode == 1 and message in " ".join(done.stderr.split())
    assert not (tmp_path / "out").exists()
