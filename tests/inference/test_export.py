import json
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import torch

from limner.data.images import read_image
from limner.data.preprocess import Preprocessing
from limner.data.scan import scan
from limner.data.writers.png import write_png
from limner.errors import LimnerError
from limner.files import CHECKSUM_PLACEHOLDER, embed_checksum, sha256_of_file
from limner.inference.engines import load_model, load_torch, read_exported
from limner.inference.export import export, export_reduced_precision
from limner.inference.export_formats import to_onnx
from limner.inference.openvino_engine import OpenVinoEngine
from limner.inference.parity import compare_engines, synthetic_images
from limner.inference.predictor import Predictor
from limner.labels import Labels
from limner.model.bundle import Bundle
from limner.model.metadata import InferenceSettings
from limner.model.presets import PRESETS, resolve_settings
from limner.model.unet import UNet
from limner.recipe import parse_recipe
from service import CONFIDENCE

ONE_IMAGE = [np.zeros((24, 40, 3), np.uint8)]
"""For what is tested whatever the masks are."""


def bundle(
    channels: int = 3, classes: tuple[str, ...] = ("background", "foreground"), **model: object
) -> Bundle:
    settings = resolve_settings(parse_recipe({"model": {"widths": [2, 4, 6], **model}}).model)
    recipe = parse_recipe(
        {"model": settings.model_dump(), "data": {"size_px": [20, 24], "channels": channels}}
    )
    torch.manual_seed(0)
    labels = Labels.from_values(
        classes, (0, 255) if len(classes) == 2 else tuple(range(len(classes)))
    )
    weights = UNet.from_settings(recipe.model, channels, labels.out_channels).state_dict()
    confidence = {} if channels != 3 else CONFIDENCE
    return Bundle(
        recipe=recipe,
        labels=labels,
        preprocessing=Preprocessing((20, 24), (0.5,) * channels, (0.25,) * channels),
        weights=weights,
        inference=InferenceSettings(threshold=0.45, tta="flips"),
        confidence=confidence,
    )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    bundle().save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


# With gates, and with nested skips; that all presets can be traced is tested in test_unet.py
@pytest.mark.parametrize("preset", ["attention-unet", "unet++"])
def test_a_program_of_torch_export_draws_the_same_masks(preset: str, tmp_path: Path) -> None:
    bundle(preset=preset).save(tmp_path / "m.safetensors")
    parity = export(tmp_path / "m.safetensors", tmp_path / "m.pt2")
    assert parity.holds and parity.images == 8
    record = {"limner.json": ""}
    program = torch.export.load(tmp_path / "m.pt2", extra_files=record)
    stride = json.loads(record["limner.json"])["receptive_field"][0]
    network, images = (
        Bundle.load(tmp_path / "m.safetensors").network(),
        torch.rand(3, 3, 7 * stride, 2 * stride),
    )
    with torch.inference_mode():
        torch.testing.assert_close(program.module()(images), network(images), atol=1e-5, rtol=0)
    with pytest.raises(LimnerError, match="does not read it"):
        load_model(tmp_path / "m.pt2")


@pytest.mark.parametrize("ending", [".onnx", ".xml"])
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_draws_the_same_masks_once_exported(
    preset: str, ending: str, tmp_path: Path
) -> None:
    classes = ("sky", "road", "location") if preset == "unet" else ("background", "foreground")
    bundle(classes=classes, preset=preset).save(tmp_path / "m.safetensors")
    parity = export(tmp_path / "m.safetensors", tmp_path / f"m{ending}")
    assert parity.holds and parity.images == 8 and parity.changed <= 2
    original, exported = (Predictor.load(tmp_path / f"m{end}") for end in (".safetensors", ending))
    assert (original.labels, original.settings) == (exported.labels, exported.settings)
    before, after = (p.predict(synthetic_images(3)[-1]) for p in (original, exported))
    np.testing.assert_allclose(before.probabilities, after.probabilities, atol=1e-4)
    assert before.predicted_dice == pytest.approx(after.predicted_dice, abs=1e-4)


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_images_of_any_number_of_channels(channels: int, tmp_path: Path) -> None:
    bundle(channels).save(tmp_path / "m.safetensors")
    assert export(tmp_path / "m.safetensors", tmp_path / "m.onnx").holds


@pytest.mark.parametrize("ending", [".onnx", ".xml"])
def test_an_export_that_draws_other_masks_is_refused(
    model: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(network: UNet, channels: int) -> bytes:
        with torch.no_grad():
            network.head.bias += 0.002
        return to_onnx(network, channels)

    monkeypatch.setattr("limner.inference.export.to_onnx", broken)
    with pytest.raises(LimnerError, match=r"refused.*differ.*Nothing was written"):
        export(model, model.with_suffix(ending))
    assert not model.with_suffix(ending).exists() and not model.with_suffix(".bin").exists()


def test_an_engine_that_gives_no_numbers_is_refused(model: Path) -> None:
    original = load_torch(Bundle.load(model))
    broken = replace(original, engine=lambda images: np.full_like(original.engine(images), np.nan))
    assert not compare_engines(original, broken, [np.zeros((60, 60, 3), np.uint8)]).holds


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    for index, image in enumerate(synthetic_images(3)[:4]):
        write_png(tmp_path / "photos" / f"{index}.png", image)
    return tmp_path / "photos"


def test_images_are_a_folder_a_file_files_or_arrays(model: Path, photos: Path) -> None:
    images = sorted(photos.iterdir())
    sources = {
        "a": (str(photos), 4),
        "b": (images[0], 1),
        "c": ([str(images[0]), images[1]], 2),
        "d": ([read_image(path) for path in images[:2]], 2),
    }
    for name, (source, count) in sources.items():
        parity = export(str(model), str(model.with_name(f"{name}.onnx")), images=source)
        assert parity.holds and parity.images == count


def test_of_a_folder_so_many_images_are_compared(
    model: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limner.inference.export.MAX_COMPARED", 3)
    assert export(model, model.with_suffix(".onnx"), photos).images == 3


def test_a_folder_without_images_is_refused(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "typo"):
        with pytest.raises(LimnerError, match=f"{folder.name} holds no image to compare on"):
            export(model, model.with_suffix(".onnx"), folder)
    assert not model.with_suffix(".onnx").exists()


def test_an_onnx_file_is_whole_and_takes_any_batch(model: Path) -> None:
    export(model, model.with_suffix(".onnx"), ONE_IMAGE)
    graph = onnx.load(model.with_suffix(".onnx"), load_external_data=False)
    assert graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert not any(tensor.external_data for tensor in graph.graph.initializer)
    # Integers in it are what other programs do not run
    clipped = [node.input[0] for node in graph.graph.node if node.op_type == "Clip"]
    assert not clipped, clipped


def test_an_xml_file_describes_itself(model: Path) -> None:
    export(model, model.with_suffix(".xml"), ONE_IMAGE)
    read = openvino.Core().read_model(model.with_suffix(".xml"))
    assert json.loads(read.get_rt_info(["output"]).astype(str))["threshold"] == 0.45


@pytest.mark.parametrize("ending", [".onnx", ".xml"])
def test_flipped_bits_and_truncations_are_refused_by_name(model: Path, ending: str) -> None:
    export(model, model.with_suffix(ending), ONE_IMAGE)
    rng = random.Random(0)
    for path in [model.with_suffix(ending)] + [model.with_suffix(".bin")] * (ending == ".xml"):
        content = path.read_bytes()
        for trial in range(30):
            damaged = bytearray(content)
            damaged[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            path.write_bytes(damaged if trial % 3 else content[: rng.randrange(len(content))])
            with pytest.raises(LimnerError, match=model.with_suffix(ending).name):
                load_model(model.with_suffix(ending))
        path.write_bytes(content)
    load_model(model.with_suffix(ending))


def test_weights_in_other_files_are_refused(model: Path) -> None:
    """Even in a file that is sealed."""
    path = model.with_suffix(".onnx")
    export(model, path, ONE_IMAGE)
    graph = onnx.load(path)
    text = graph.metadata_props.pop().value
    tensor = graph.graph.initializer[0]
    onnx.external_data_helper.set_external_data(tensor, location="/etc/passwd")
    tensor.ClearField("raw_data")
    graph.metadata_props.add(key="limner", value=CHECKSUM_PLACEHOLDER.decode() + text[78:])
    path.write_bytes(embed_checksum(graph.SerializeToString()))
    with pytest.raises(LimnerError, match="keeps weights in other files"):
        load_model(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not there. Make it with: limner export"),
        (b"", "was not exported by limner"),
        (b"not a model", "was not exported by limner"),
    ],
)
def test_a_file_that_is_no_export_is_refused(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    for ending in (".onnx", ".xml"):
        if content is not None:
            (tmp_path / f"m{ending}").write_bytes(content)
            (tmp_path / "m.bin").write_bytes(content)
        with pytest.raises(LimnerError, match=message):
            load_model(tmp_path / f"m{ending}")


def test_an_export_names_the_model_that_it_holds_though_a_better_one_was_saved_meanwhile(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sha256_of_file(model)

    def meanwhile(network: torch.nn.Module, channels: int) -> bytes:
        bundle(widths=[2, 6]).save(model)
        return to_onnx(network, channels)

    monkeypatch.setattr("limner.inference.export.to_onnx", meanwhile)
    export(model, model.with_suffix(".onnx"), ONE_IMAGE)
    assert (
        sha256_of_file(model) != before
        and read_exported(model.with_suffix(".onnx"))[2]["source_sha256"] == before
    )


def test_a_file_that_appears_meanwhile_is_not_overwritten(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = model.with_suffix(".onnx")

    def meanwhile(network: torch.nn.Module, channels: int) -> bytes:
        out.write_text("theirs")
        return to_onnx(network, channels)

    monkeypatch.setattr("limner.inference.export.to_onnx", meanwhile)
    with pytest.raises(LimnerError, match="exists already"):
        export(model, out, ONE_IMAGE)
    assert out.read_text() == "theirs"


def test_nothing_is_overwritten_and_endings_are_known(model: Path) -> None:
    model.with_suffix(".onnx").write_text("mine")
    with pytest.raises(LimnerError, match="exists already"):
        export(model, model.with_suffix(".onnx"))
    with pytest.raises(LimnerError, match="ends in none of"):
        export(model, model.with_suffix(".tflite"))
    for precision, ending in (("bfloat16", ".onnx"), ("float16", ".xml"), ("int4", ".onnx")):
        with pytest.raises(LimnerError, match=f"{precision} is not there"):
            export_reduced_precision(
                model, model.with_suffix(ending).with_stem("new"), precision, [], []
            )
    with pytest.raises(LimnerError, match="device cuda"):
        export(model, model.with_suffix(".xml"), ONE_IMAGE)
        load_model(model.with_suffix(".xml"), device="cuda")


@pytest.mark.parametrize(
    ("precision", "ending"),
    [("float16", ".onnx"), ("bfloat16", ".xml"), ("int8", ".onnx"), ("int8", ".xml")],
)
def test_another_precision_says_what_it_changes(
    precision: str, ending: str, model: Path, lesions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a processor without it the file is measured in float32
    monkeypatch.setattr("limner.inference.export.has_fast_bfloat16", lambda: True)
    samples = scan(lesions).samples
    change = export_reduced_precision(
        model, model.with_suffix(ending), precision, samples[:6], samples[6:12]
    )
    assert (
        change.images == 6
        and 0 <= change.before <= 1
        and change.interval[0] <= change.difference <= change.interval[1]
    )
    assert change.speed > 0 and 0 <= change.changed < 0.2
    assert Predictor.load(model.with_suffix(ending)).predict(synthetic_images(3)[4]).mask.shape == (
        256,
        256,
    )
    with pytest.raises(LimnerError, match="no image of known mask"):
        export_reduced_precision(
            model, model.with_suffix(ending).with_stem("new"), precision, samples[:6], []
        )


def test_bfloat16_is_not_exported_where_it_cannot_be_measured(
    model: Path, lesions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limner.inference.export.has_fast_bfloat16", lambda: False)
    samples = scan(lesions).samples
    with pytest.raises(LimnerError, match="avx512_bf16 and amx_bf16"):
        export_reduced_precision(model, model.with_suffix(".xml"), "bfloat16", [], samples)
    assert not model.with_suffix(".xml").exists()


def test_a_bfloat16_file_is_computed_in_float32_where_that_is_faster(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limner.inference.openvino_engine.has_fast_bfloat16", lambda: False)
    graph = to_onnx(Bundle.load(model).network(), 3)
    images = np.random.default_rng(0).normal(size=(1, 3, 40, 48)).astype(np.float32)
    exact, emulated = (
        OpenVinoEngine(graph, b"", precision)(images) for precision in ("float32", "bfloat16")
    )
    np.testing.assert_array_equal(emulated, exact)


def test_an_exported_model_is_used_without_torch(model: Path) -> None:
    export(model, model.with_suffix(".onnx"), ONE_IMAGE)
    script = (
        "import sys, numpy\nfrom limner import Predictor\n"
        f"predictor = Predictor.load({str(model.with_suffix('.onnx'))!r})\n"
        "prediction = predictor.predict(numpy.zeros((50, 40, 3), numpy.uint8))\n"
        "print(prediction.mask.shape, prediction.predicted_dice is not None)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[:2] == ["(50, 40) True", "False"]
