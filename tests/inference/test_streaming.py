"""Networks in segments, and images that go through them in bands."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from limner.inference import streaming
from limner.inference.export_formats import to_onnx
from limner.inference.onnx_engine import OnnxEngine
from limner.inference.onnx_files import to_int8, to_openvino
from limner.inference.onnx_segments import split_graph
from limner.inference.openvino_engine import OpenVinoEngine
from limner.inference.segments import NotLocalError, Operation, plan_segments
from limner.inference.streaming import Rows, SegmentedNetwork, StreamedImage
from limner.inference.tta import TTA_TRANSFORMS
from limner.model.presets import PRESETS, resolve_settings
from limner.model.unet import UNet
from limner.recipe import parse_recipe

LITE0 = {"encoder": "tf_efficientnet_lite0", "widths": (4, 4, 8, 8, 8)}
NETWORKS = {
    **{name: {"preset": name, "widths": (3, 4, 5, 6)} for name in PRESETS},
    "batch norm": {"widths": (3, 4, 5, 6), "norm": "batch"},
    "strides": {"widths": (3, 4, 5), "norm": "batch", "block": "residual", "pooling": "stride"},
    "add": {"widths": (3, 4, 5), "norm": "none", "skip": "add", "upsampling": "bilinear"},
    "lite0": LITE0,
}


def network_of(settings: dict[str, object]) -> UNet:
    """A network with weights and running statistics that no channel ignores."""
    torch.manual_seed(0)
    network = UNet.from_settings(resolve_settings(parse_recipe({"model": settings}).model), 3, 2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    return network.eval()


@pytest.fixture(scope="module", params=NETWORKS)
def engine(request: pytest.FixtureRequest) -> OnnxEngine:
    settings = NETWORKS[request.param]
    if request.param in PRESETS:
        settings = {**settings, "norm": "batch"}
    return OnnxEngine(to_onnx(network_of(settings), 3), threads=1)


@pytest.fixture
def small_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "BAND_PIXELS", 20_000)
    monkeypatch.setattr(streaming, "REGION_PIXELS", 30_000)


def streamed(network: SegmentedNetwork, image: np.ndarray, tta: str = "none") -> np.ndarray:
    """The logits of an image, for each augmentation."""

    def read(top: int, bottom: int, left: int, right: int) -> np.ndarray:
        return image[:, top:bottom, left:right]

    size = (image.shape[1], image.shape[2])
    bands = StreamedImage(network, read, size, TTA_TRANSFORMS[tta]).bands()
    rows, parts = 0, []
    for first, logits in bands:
        assert first == rows
        rows += logits.shape[2]
        parts.append(logits)
    return np.concatenate(parts, axis=2)


@pytest.mark.parametrize("size", [(64, 64), (128, 352), (416, 96), (320, 320)])
@pytest.mark.usefixtures("small_bands")
def test_bands_equal_the_whole_image(engine: OnnxEngine, size: tuple[int, int]) -> None:
    network = engine.segmented()
    assert network is not None
    image = np.random.default_rng(0).normal(size=(3, *size)).astype(np.float32)
    whole = engine(image[None])
    np.testing.assert_allclose(streamed(network, image), whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("tta", ["flips", "turns"])
@pytest.mark.usefixtures("small_bands")
def test_mirrored_and_turned_copies_come_in_the_same_order(engine: OnnxEngine, tta: str) -> None:
    network = engine.segmented()
    assert network is not None
    image = np.random.default_rng(0).normal(size=(3, 160, 224)).astype(np.float32)
    for transform, logits in zip(TTA_TRANSFORMS[tta], streamed(network, image, tta), strict=True):
        whole = transform.invert(engine(transform.apply(image)[None])[0], (160, 224))
        np.testing.assert_allclose(logits, whole, atol=1e-4, rtol=1e-4)


def test_a_network_that_sees_the_whole_image_is_not_cut() -> None:
    settings = {"widths": (3, 4, 5), "norm": "instance"}
    graph = to_onnx(network_of(settings), 3)
    with pytest.raises(NotLocalError, match="may see the whole image"):
        split_graph(graph)
    assert OnnxEngine(graph).segmented() is None


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.usefixtures("small_bands")
def test_bands_in_openvino_equal_the_whole_image(name: str) -> None:
    settings = {**NETWORKS[name], "norm": "batch"} if name in PRESETS else NETWORKS[name]
    engine = in_openvino(to_onnx(network_of(settings), 3))
    network = engine.segmented()
    assert network is not None
    image = np.random.default_rng(0).normal(size=(3, 128, 352)).astype(np.float32)
    np.testing.assert_allclose(streamed(network, image), engine(image[None]), atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("small_bands")
def test_int8_goes_through_openvino_in_bands() -> None:
    """A number may be rounded to the next of its 256 values, here 0.0017 apart."""
    image = np.random.default_rng(0).normal(size=(3, 160, 224)).astype(np.float32)
    engine = in_openvino(to_int8(to_onnx(network_of(LITE0), 3), [image[:, :64, :64]]), "int8")
    network = engine.segmented()
    assert network is not None
    found = streamed(network, image, "turns")
    for transform, logits in zip(TTA_TRANSFORMS["turns"], found, strict=True):
        whole = transform.invert(engine(transform.apply(image)[None])[0], (160, 224))
        np.testing.assert_allclose(logits, whole, atol=0.005, rtol=0)
        assert np.isclose(logits, whole, atol=1e-4).mean() > 0.9


def in_openvino(graph: bytes, precision: str = "float32", threads: int = 1) -> OpenVinoEngine:
    """An ONNX graph as an .xml file in its engine."""
    return OpenVinoEngine(*to_openvino(graph, {}, {}), precision, threads=threads)


@pytest.mark.parametrize("norm", ["instance", "group"])
def test_openvino_does_not_cut_a_network_that_sees_the_whole_image(norm: str) -> None:
    engine = in_openvino(to_onnx(network_of({"widths": (4, 8, 8), "norm": norm}), 3))
    assert engine.segmented() is None


@pytest.mark.parametrize("package", ["onnxruntime", "openvino"])
@pytest.mark.usefixtures("small_bands")
def test_regions_at_the_same_time_equal_the_whole_image(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "cpu_count", lambda: 3)
    graph = to_onnx(network_of(LITE0), 3)
    engine = OnnxEngine(graph) if package == "onnxruntime" else in_openvino(graph, threads=0)
    network = engine.segmented()
    assert network is not None
    assert network.at_once == 3
    image = np.random.default_rng(0).normal(size=(3, 160, 608)).astype(np.float32)
    np.testing.assert_allclose(streamed(network, image), engine(image[None]), atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("small_bands")
def test_so_many_regions_are_computed_at_the_same_time() -> None:
    at_once = 3
    # Each waits for the others, and none would go on alone
    barrier = Barrier(at_once, timeout=20)

    def run(inputs: Sequence[np.ndarray]) -> np.ndarray:
        barrier.wait()
        return 2 * inputs[0]

    plan = plan_segments([Operation(("image",), "result")], "image", "result")
    image = np.arange(3 * 20 * 4001, dtype=np.float32).reshape(3, 20, 4001)
    found = streamed(SegmentedNetwork(plan, {"result": run}, at_once), image)
    assert np.array_equal(found[0], 2 * image)


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 60)), min_size=1, max_size=12))
def test_rows_are_kept_as_long_as_they_are_needed(steps: list[tuple[int, int]]) -> None:
    """Each step appends some rows, and drops all but the last so many."""
    whole = np.arange(sum(count for count, _ in steps) * 3, dtype=np.float32).reshape(1, 1, -1, 3)
    rows, end, needed = Rows(stride=4), 0, 0
    for count, kept in steps:
        rows.append(whole[:, :, end : end + count])
        end += count
        needed = max(needed, end - kept)
        rows.drop(needed * 4)
        assert rows.end_px == end * 4
        if needed < end:
            taken = rows.take(needed * 4, end * 4, slice(1, 3))
            assert np.array_equal(taken, whole[:, :, needed:end, 1:3])
        held = sum(part.shape[2] for part in rows.parts)
        assert held <= end - needed + max((count for count, _ in steps), default=0) / 2


def test_hardly_a_pixel_is_computed_twice() -> None:
    """Of a wide image through lite0, in pixels of each segment's finest tensor."""
    plan = split_graph(to_onnx(network_of(LITE0), 3)).plan
    height, width = 1440, 20_480
    computed = dict.fromkeys(plan.strides, 0)

    def count(name: str) -> streaming.RunSegment:
        segment = next(each for each in plan.segments if each.output == name)
        stride = plan.strides[name] / plan.strides[segment.inputs[0]]

        def run(inputs: Sequence[np.ndarray]) -> np.ndarray:
            _, _, rows, columns = inputs[0].shape
            computed[name] += rows * columns
            return np.zeros((1, 1, int(rows / stride), int(columns / stride)), np.float32)

        return run

    network = SegmentedNetwork(plan, {each.output: count(each.output) for each in plan.segments})
    streamed(network, np.zeros((1, height, width), np.float32))
    for segment in plan.segments:
        stride = plan.strides[segment.inputs[0]]
        least = height * width / stride**2
        # At 1/32 of the side 9 rows are computed at a time, and a halo of 3
        assert computed[segment.output] < 1.7 * least, segment
    # A fine pixel costs far more than a coarse one
    finest = [each for each in plan.segments if plan.strides[each.inputs[0]] <= 2]
    least = sum(height * width / plan.strides[each.inputs[0]] ** 2 for each in finest)
    assert sum(computed[each.output] for each in finest) < 1.15 * least


def test_first_calls_at_the_same_time_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """OpenVINO's Python package stood still in an eighth of such processes."""
    (tmp_path / "graph.onnx").write_bytes(to_onnx(network_of({"widths": (2, 4)}), 3))
    code = """
import sys, threading, numpy, pathlib
from limner.inference.openvino_engine import OpenVinoEngine
engine = OpenVinoEngine(pathlib.Path(sys.argv[1]).read_bytes(), b"", "float32", callers=3)
barrier, images = threading.Barrier(3), numpy.zeros((1, 3, 32, 32), numpy.float32)
threads = [threading.Thread(target=lambda: (barrier.wait(), engine(images))) for _ in range(3)]
for thread in threads:
    thread.start()
"""
    command = [sys.executable, "-c", code, str(tmp_path / "graph.onnx")]
    processes = [subprocess.Popen(command) for _ in range(4)]
    try:
        assert [process.wait(60) for process in processes] == [0] * 4
    finally:
        for process in processes:
            process.kill()
