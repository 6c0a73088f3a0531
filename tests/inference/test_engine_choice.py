"""Which engine runs a model on this machine."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from limner.inference import engine_choice
from limner.inference.engine_choice import load_fastest
from limner.inference.engines import LoadedModel, load_exported_as, load_model
from limner.inference.predictor import Predictor
from service import write_model


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


def test_another_processor_is_measured_anew(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    load_fastest(model, say=said.append)
    monkeypatch.setattr(engine_choice, "processor_name", lambda: "another one")
    load_fastest(model, say=said.append)
    assert len(said) == 2


def test_an_engine_that_draws_something_else_is_not_taken(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(path: Path, engine: str, threads: int, callers: int) -> LoadedModel:
        loaded = load_exported_as(path, engine, threads, callers)
        if engine != "openvino":
            return loaded
        return replace(loaded, engine=lambda images: np.ones((1, 1, *images.shape[2:]), np.float32))

    monkeypatch.setattr(engine_choice, "load_exported_as", load)
    said: list[str] = []
    load_fastest(model, say=said.append)
    assert said[0].startswith("engine: ONNX Runtime") and "OpenVINO" not in said[0]


def test_without_an_engine_torch_runs_the_model(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_choice, "ENGINES", {})
    said: list[str] = []
    assert type(load_fastest(model, say=said.append).engine).__name__ == "TorchEngine"
    assert not said


def test_a_cache_that_cannot_be_written_hinders_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "file"))
    said: list[str] = []
    assert load_fastest(model, say=said.append).version == load_model(model).version
    assert len(said) == 1 and said[0].startswith("note: torch runs")
