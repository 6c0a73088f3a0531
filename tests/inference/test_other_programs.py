"""Exported graphs in programs that are not limner: the scripts of docs/onnx.md."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from command_line import limner
from limner.data.preprocess import Preprocessing
from limner.data.resize import resize_image
from limner.data.synthetic import draw_lesion
from limner.data.writers.png import encode_mask_png
from limner.errors import LimnerError
from limner.inference.engines import load_model
from limner.inference.export import export
from limner.inference.export_formats import to_onnx
from limner.inference.graph_description import GraphKind
from limner.inference.parity import synthetic_images
from limner.inference.predictor import Predictor
from limner.inference.tta import TTA_TRANSFORMS
from limner.inference.whole_image import resize_as_pillow
from limner.labels import Labels
from limner.model.bundle import Bundle
from limner.model.metadata import InferenceSettings, PostprocessSettings
from limner.model.presets import PRESETS, resolve_settings
from limner.model.unet import UNet
from limner.recipe import ResizeMode, parse_recipe

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "onnx.md"
ONE_CALL, SCRIPT = re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
SIZES_PX = ((20, 24), (40, 48), (48, 40), (90, 33), (64, 200), (5, 120), (333, 211), (61, 61))
SETTINGS = [
    InferenceSettings(0.47, tta, steps)
    for tta, steps in zip(
        TTA_TRANSFORMS,
        (
            PostprocessSettings(),
            PostprocessSettings(keep_largest=True),
            PostprocessSettings(fill_holes=True, remove_small=True),
            PostprocessSettings(remove_small=True),
        ),
        strict=True,
    )
]


def images() -> list[UInt8[ndarray, "_ _ 3"]]:
    """Twenty images of other sizes than the canvas, for which Pillow filters in both orders."""
    drawn = [draw_lesion(7, index, max(size)) for index, size in enumerate(SIZES_PX)]
    others = [
        np.ascontiguousarray(image[:height, :width])
        for (image, _), (height, width) in zip(drawn, SIZES_PX, strict=True)
    ]
    large = draw_lesion(3, 0, 400)[0]
    return [*synthetic_images(3), *others, large, large[:, :80], large[:100], large[:300, :200]]


def model_file(
    folder: Path, mode: ResizeMode, settings: InferenceSettings, classes: int, channels: int = 3
) -> Path:
    """A model of random weights, whose masks have several parts."""
    recipe = parse_recipe(
        {"model": {"widths": [2, 4, 6]}, "data": {"size_px": [40, 48], "channels": channels}}
    )
    names = ("background", "lesion", "hair")[:classes]
    labels = Labels.from_values(names, tuple(range(0, 20 * classes, 20)))
    torch.manual_seed(1)
    network = UNet.from_settings(recipe.model, channels, labels.out_channels)
    pixels = torch.tensor(draw_lesion(7, 0, 48)[0][:40]).permute(2, 0, 1)[None] / 255
    seen = (pixels if channels > 1 else pixels.mean(1, keepdim=True)) * 4 - 2
    with torch.no_grad():
        spread = network.eval()(seen).std((0, 2, 3))
        network.head.weight /= spread[:, None, None, None]
        network.head.bias -= network(seen).mean((0, 2, 3))
    bundle = Bundle(
        recipe=recipe,
        labels=labels,
        preprocessing=Preprocessing((40, 48), (0.5,) * channels, (0.25,) * channels, mode),
        weights=network.state_dict(),
        inference=settings,
    )
    bundle.save(folder / "model.safetensors")
    return folder / "model.safetensors"


@pytest.mark.parametrize(
    ("mode", "settings"),
    # Each geometry and each choice at least once; tiles of several passes take a minute to trace
    list(zip(("tile", "letterbox", "resize", "resize"), SETTINGS, strict=True)),
    ids=lambda each: each if isinstance(each, str) else each.tta,
)
def test_the_documented_script_and_whole_graphs_draw_the_same_masks(
    mode: ResizeMode, settings: InferenceSettings, tmp_path: Path
) -> None:
    classes = 3 if settings.tta in {"flips", "scales"} else 2
    model = model_file(tmp_path, mode, settings, classes, channels=1 if classes == 3 else 3)
    export(model, tmp_path / "model.onnx")
    export(model, tmp_path / "image.onnx", kind="image")
    script: dict[str, Any] = {"__name__": "script"}
    exec(compile(SCRIPT, str(DOCUMENTATION), "exec"), script)
    network, whole = (
        onnxruntime.InferenceSession(tmp_path / name) for name in ("model.onnx", "image.onnx")
    )
    cleaned, raw = Predictor.load(model), Predictor.load(model)
    raw.settings = replace(settings, postprocessing=PostprocessSettings())
    means, differing = set(), 0
    for image in images():
        expected = cleaned.labels.to_pixels(cleaned.predict(image).mask)
        np.testing.assert_array_equal(script["segment"](network, image), expected)
        mask, probabilities = whole.run(None, {"image": image})
        prediction = raw.predict(image)
        np.testing.assert_allclose(probabilities, prediction.probabilities, atol=1e-5)
        differing += int((mask != raw.labels.to_pixels(prediction.mask)).sum())
        means.add(round(float(expected.mean()), 2))
    assert differing <= 2, "more than what lies on the threshold to a millionth"
    assert len(means - {0}) > 3, "the masks hardly differ"


@given(
    st.tuples(st.integers(1, 600), st.integers(1, 600)),
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.integers(0, 2**32 - 1),
)
def test_resizing_in_a_graph_is_pillows_to_the_bit(
    image_px: tuple[int, int], size_px: tuple[int, int], seed: int
) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (*image_px, 3), np.uint8)
    planes = torch.from_numpy(pixels).permute(2, 0, 1).float()
    resized = resize_as_pillow(planes, [torch.tensor(side) for side in size_px])
    np.testing.assert_array_equal(resized.permute(1, 2, 0).numpy(), resize_image(pixels, size_px))


def test_one_call_makes_the_mask_of_a_photo(tmp_path: Path) -> None:
    model = model_file(tmp_path, "letterbox", InferenceSettings(tta="flips"), 2)
    done = limner("export", str(model), "--whole-image")
    assert done.returncode == 0, done.stderr
    assert "model-image.onnx" in done.stdout
    Image.fromarray(draw_lesion(0, 0, 300)[0][:, :200]).save(tmp_path / "photo.jpg")
    subprocess.run([sys.executable, "-c", ONE_CALL], cwd=tmp_path, check=True)
    predictor = Predictor.load(model)
    mask = predictor.labels.to_pixels(predictor.predict(tmp_path / "photo.jpg").mask)
    assert (tmp_path / "photo.png").read_bytes() != encode_mask_png(mask * 0)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "photo.png")), mask)


def test_a_graph_of_canvases_gives_probabilities(tmp_path: Path) -> None:
    model = model_file(tmp_path, "resize", InferenceSettings(), 2)
    done = limner("export", str(model), "--include-preprocessing")
    assert done.returncode == 0, done.stderr
    session = onnxruntime.InferenceSession(tmp_path / "model-canvas.onnx")
    canvases = np.stack([draw_lesion(0, index, 48)[0][:40] for index in range(3)])
    (probabilities,) = session.run(None, {"images": canvases})
    predictor = Predictor.load(model)
    for canvas, drawn in zip(canvases, probabilities, strict=True):
        np.testing.assert_allclose(drawn, predictor.predict(canvas).probabilities, atol=1e-5)


@pytest.mark.parametrize("kind", get_args(GraphKind))
def test_a_graph_describes_itself(kind: GraphKind, tmp_path: Path) -> None:
    model = model_file(tmp_path, "resize", InferenceSettings(0.4, "flips"), 2)
    export(model, tmp_path / "m.onnx", kind=kind)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    about = {
        key: json.loads(value)
        for key, value in session.get_modelmeta().custom_metadata_map.items()
        if key != "limner"
    }
    assert set(about) == {"classes", "input", "output", "augmentation", "postprocessing"}
    assert about["input"]["name"] == session.get_inputs()[0].name
    assert about["output"]["names"] == [output.name for output in session.get_outputs()]
    assert about["output"]["threshold"] == 0.4 and about["output"]["values"] == [0, 255]
    assert len(about["augmentation"]) == (1 if kind == "image" else 4)
    assert len(about["input"]["layout"]) == len(session.get_inputs()[0].shape)


def test_limner_refuses_a_graph_that_is_for_other_programs(tmp_path: Path) -> None:
    model = model_file(tmp_path, "resize", InferenceSettings(), 2)
    export(model, tmp_path / "m.onnx", kind="image")
    with pytest.raises(LimnerError, match="without --include-preprocessing and --whole-image"):
        load_model(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--whole-image", "--include-preprocessing"), "Give one of them"),
        (("--whole-image", "--precision", "int8"), "is in float32"),
        (("--whole-image", "--out", "m.xml"), "is for .onnx"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    model = model_file(tmp_path, "resize", InferenceSettings(), 2)
    done = limner("export", str(model), *options)
    assert done.returncode == 1 and message in done.stderr.replace("\n", " ")


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "attention-unet"])
def test_opencv_runs_a_network_at_any_size(preset: str, tmp_path: Path) -> None:
    """But attention gates, whose product of one channel with many it refuses."""
    settings = resolve_settings(parse_recipe({"model": {"preset": preset}}).model)
    small = settings.model_copy(update={"widths": (4, 8, 16)})
    torch.manual_seed(0)
    graph = to_onnx(UNet.from_settings(small, 3, 1), 3)
    (tmp_path / "m.onnx").write_bytes(graph)
    network = cv2.dnn.readNetFromONNX(str(tmp_path / "m.onnx"))
    session = onnxruntime.InferenceSession(graph)
    for size in ((64, 96), (70, 101), (33, 20)):
        images = np.random.default_rng(0).normal(size=(1, 3, *size)).astype(np.float32)
        network.setInput(images)
        (logits,) = session.run(None, {"images": images})
        np.testing.assert_allclose(network.forward(), logits, atol=1e-4)
