"""Portable models, and the proof that they draw the same masks: a file is written only where they
do.
"""

import io
import json
import logging
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray
from torch import Tensor, nn

from limner.data.sample import Sample
from limner.data.synthetic import draw_lesion
from limner.errors import LimnerError
from limner.files import CHECKSUM_PLACEHOLDER, atomic_file, embed_checksum, read_stable
from limner.inference.calibration import to_probabilities
from limner.inference.engines import (
    FORBIDDEN,
    Engine,
    LoadedModel,
    OnnxEngine,
    OpenVinoEngine,
    ReceptiveField,
    load_torch,
)
from limner.inference.predictor import Predictor
from limner.metrics.bootstrap import bootstrap_mean_interval, paired_scores
from limner.metrics.overlap import image_dice
from limner.model.bundle import Bundle
from limner.model.receptive_field import measure_halo
from limner.model.unet import UNet, pad_to_stride

OPSET = 17
CALIBRATED = 64
"""Training images from which int8 takes its ranges, and on which the speed is measured."""
MOST_CHANGED = 1e-5
"""Of the mask pixels may differ."""
LARGEST_DIFFERENCE = 1e-4
"""Between two probabilities."""
LONGEST_PX = 65536
"""The longest side that a program of torch.export is made for."""
SIZES_PX = ((1, 1), (7, 3), (31, 64), (97, 131), (256, 256), (255, 257), (300, 170), (129, 513))
"""Of the images that the proof looks at, where none are given: odd ones, since those go wrong."""


@dataclass(frozen=True, slots=True)
class Parity:
    """How far two engines of one network differ."""

    images: int
    pixels: int
    changed: int
    """Mask pixels."""
    difference: float
    """The largest of a probability."""

    @property
    def holds(self) -> bool:
        return self.changed <= MOST_CHANGED * self.pixels and self.difference <= LARGEST_DIFFERENCE


@dataclass(frozen=True, slots=True)
class PrecisionChange:
    """What another precision costs and gains, on images of known masks."""

    images: int
    before: float
    """Mean Dice of the original."""
    difference: float
    interval: tuple[float, float]
    """Of the difference, 95 %, image by image."""
    changed: float
    """Share of the mask pixels."""
    speed: float
    """Canvases a second, as a multiple of the same file in float32."""


def export(source: Path, out: Path, images: Sequence[UInt8[ndarray, "_ _ c"]] = ()) -> Parity:
    """Write a model as ONNX (`out` ends in .onnx), for OpenVINO (.xml, with a .bin beside it) or as
    a program of torch.export (.pt2), in float32.

    It is refused unless it draws the same masks as the original, over `images` or, where none are
    given, synthetic ones of odd sizes. Raises LimnerError then, for a file that is there, an ending
    that is unknown, and where the packages are missing.
    """
    _require_free(out)
    bundle, (digest,) = read_stable([source], lambda: Bundle.load(source))
    sight = _sight(bundle)
    about = _about(digest, bundle, sight)
    made = (
        _program(bundle, about)
        if out.suffix == ".pt2"
        else _made(bundle, _traced(bundle), about, openvino=out.suffix == ".xml")
    )
    parity = compare_engines(
        load_torch(bundle), made.model, images or synthetic_images(bundle.recipe.data.channels)
    )
    if not parity.holds:
        raise LimnerError(
            f"the export is refused, for it does not draw the same masks: {parity.changed} of {parity.pixels:,} pixels differ (at most "
            f"{MOST_CHANGED:g} of them may), probabilities by {parity.difference:.2g} (at "
            f"most {LARGEST_DIFFERENCE:g}). Nothing was written."
        )
    made.write(out)
    return parity


def export_reduced_precision(
    source: Path, out: Path, precision: str, training: Sequence[Sample], scored: Sequence[Sample]
) -> PrecisionChange:
    """Write a model in bfloat16 (.xml), float16 (.onnx) or int8, and measure on `scored` samples
    what that changes.

    int8 is calibrated on `training` samples. Raises LimnerError as `export` does, and where there
    is no such precision for the ending.
    """
    _require_free(out)
    ending = {"bfloat16": {".xml"}, "float16": {".onnx"}, "int8": {".onnx", ".xml"}}.get(
        precision, set()
    )
    if out.suffix not in ending:
        raise LimnerError(
            f"{precision} is not there for {out.suffix}. There is float16 for .onnx, bfloat16 "
            "for .xml, and int8 for both."
        )
    if not scored:
        raise LimnerError(
            "there is no image of known mask to measure the change on. Give a folder with "
            "--data that has a test or validation split."
        )
    bundle, (digest,) = read_stable([source], lambda: Bundle.load(source))
    traced, sight = _traced(bundle), _sight(bundle)
    about = _about(digest, bundle, sight)
    plain = _made(bundle, traced, about, openvino=out.suffix == ".xml")
    arrays = [_canvas(bundle, sample) for sample in (training or scored)[:CALIBRATED]]
    smaller = (
        to_int8(traced, arrays)
        if precision == "int8"
        else to_float16(traced)
        if precision == "float16"
        else traced
    )
    made = _made(bundle, smaller, about | {"precision": precision}, openvino=out.suffix == ".xml")
    change = measure_change(plain.model, made.model, scored, arrays)
    made.write(out)
    return change


@dataclass(frozen=True, slots=True)
class _Exported:
    """An exported model that is not yet written."""

    model: LoadedModel
    structure: bytes
    weights: bytes

    def write(self, out: Path) -> None:
        parts = [(out.with_suffix(".bin"), self.weights)] if self.weights else []
        for path, content in (*parts, (out, self.structure)):
            try:
                with atomic_file(path, durable=True, new=True) as part:
                    part.write_bytes(content)
            except FileExistsError as error:
                raise _taken(path) from error


def _require_free(out: Path) -> None:
    if out.suffix not in {".onnx", ".xml", ".pt2"}:
        raise LimnerError(
            f"{out} ends in none of .onnx (ONNX Runtime), .xml (OpenVINO) and .pt2 "
            "(torch.export). Name it so with --out."
        )
    for path in (out, out.with_suffix(".bin")) if out.suffix == ".xml" else (out,):
        if path.exists():
            raise _taken(path)


def _taken(path: Path) -> LimnerError:
    return LimnerError(
        f"{path} is there already. Nothing is overwritten: name another file with --out."
    )


def _traced(bundle: Bundle) -> bytes:
    try:
        return to_onnx(bundle.network(), bundle.recipe.data.channels)
    except ImportError as error:
        raise LimnerError(
            f"export needs {error.name}, which is not installed: pip install 'limner[export]'."
        ) from error


def _about(digest: str, bundle: Bundle, sight: ReceptiveField) -> dict[str, Any]:
    """What an exported file says of itself, in float32."""
    return {
        "model": bundle.to_dict(),
        "receptive_field": sight,
        "precision": "float32",
        "source_sha256": digest,
    }


def _made(bundle: Bundle, traced: bytes, about: Mapping[str, Any], *, openvino: bool) -> _Exported:
    try:
        structure, weights = (
            to_openvino(traced, about) if openvino else (finish_onnx(traced, about), b"")
        )
        engine: Engine = (
            OpenVinoEngine(structure, weights, about["precision"])
            if openvino
            else OnnxEngine(structure)
        )
    except ImportError as error:
        raise LimnerError(
            f"export needs {error.name}, which is not installed: pip install 'limner[export]'."
        ) from error
    return _Exported(LoadedModel(bundle, engine, about["receptive_field"]), structure, weights)


def _program(bundle: Bundle, about: Mapping[str, Any]) -> _Exported:
    sight, content = (
        about["receptive_field"],
        to_torch_export(bundle.network(), bundle.recipe.data.channels, about),
    )
    program = torch.export.load(io.BytesIO(content)).module()

    def engine(images: Float32[ndarray, "b c h w"]) -> Float32[ndarray, "b k h w"]:
        with torch.inference_mode():
            logits: ndarray = program(pad_to_stride(torch.from_numpy(images), sight.stride)).numpy()
        return logits[..., : images.shape[2], : images.shape[3]]

    return _Exported(LoadedModel(bundle, engine, sight), content, b"")


def _sight(bundle: Bundle) -> ReceptiveField:
    network = bundle.network()
    return ReceptiveField(network.stride, measure_halo(network, bundle.recipe.data.channels))


def _canvas(bundle: Bundle, sample: Sample) -> Float32[ndarray, "c h w"]:
    image = sample.read_image()
    return bundle.preprocessing.normalise(
        bundle.preprocessing.to_canvas(
            image, bundle.preprocessing.views((image.shape[0], image.shape[1]))[0]
        )
    )


def measure_change(
    before: LoadedModel,
    after: LoadedModel,
    scored: Sequence[Sample],
    arrays: Sequence[Float32[ndarray, "c h w"]],
) -> PrecisionChange:
    """How two engines of one model differ in Dice and speed."""
    first, second, labels = (
        Predictor.from_models(before),
        Predictor.from_models(after),
        before.metadata.labels,
    )
    dice, changed, pixels = [], 0, 0
    for sample in scored:
        truth, image = sample.class_index(labels), sample.read_image()
        drawn = [predictor.predict(image).mask for predictor in (first, second)]
        dice.append([image_dice(one, truth, labels) for one in drawn])
        changed += int((drawn[0] != drawn[1]).sum())
        pixels += truth.size
    table = paired_scores(np.array(dice))
    difference = table[:, 1] - table[:, 0]
    low, high = bootstrap_mean_interval(difference[:, None])[0]
    seconds = _seconds([before.engine, after.engine], arrays)
    return PrecisionChange(
        len(scored),
        float(table[:, 0].mean()),
        float(difference.mean()),
        (float(low), float(high)),
        changed / pixels,
        seconds[0] / seconds[1],
    )


def _seconds(engines: Sequence[Engine], arrays: Sequence[Float32[ndarray, "c h w"]]) -> list[float]:
    """The median time of a canvas through each engine, by turns, so that what disturbs one disturbs
    the other.
    """
    times: list[list[float]] = [[] for _ in engines]
    for array in [arrays[0], *arrays, *arrays]:
        # The first is thrown away
        for engine, kept in zip(engines, times, strict=True):
            began = time.perf_counter()
            engine(array[None])
            kept.append(time.perf_counter() - began)
    return [float(np.median(kept[1:])) for kept in times]


def compare_engines(
    original: LoadedModel, exported: LoadedModel, images: Sequence[UInt8[ndarray, "_ _ c"]]
) -> Parity:
    """Both ways from an image to its mask, and both engines on arrays of the images' own sizes,
    alone and in twos.
    """
    first, second = Predictor.from_models(original), Predictor.from_models(exported)
    changed, difference, pixels = 0, 0.0, 0
    for image in images:
        one, other = first.predict(image), second.predict(image)
        pixels += one.mask.size
        changed += int((one.mask != other.mask).sum())
        difference = max(difference, _apart(one.probabilities, other.probabilities))
        array = original.metadata.preprocessing.normalise(image[:512, :512])
        for batch in (array[None], np.stack([array, array[:, ::-1]])):
            drawn = (
                np.stack(
                    [to_probabilities(logits) for logits in engine(np.ascontiguousarray(batch))]
                )
                for engine in (original.engine, exported.engine)
            )
            difference = max(difference, _apart(next(drawn), next(drawn)))
    return Parity(len(images), pixels, changed, difference)


def _apart(one: Float32[ndarray, "*n"], other: Float32[ndarray, "*n"]) -> float:
    """The largest difference; infinite where one is no number."""
    return float(np.nan_to_num(np.abs(one - other).max(), nan=np.inf))


def synthetic_images(channels: int) -> list[UInt8[ndarray, "_ _ c"]]:
    """Drawn lesions of odd sizes, of so many channels (grey ones are given as colour)."""
    found = []
    for index, (height, width) in enumerate(SIZES_PX):
        image = draw_lesion(0, index, max(height, width, 32))[0][:height, :width]
        found.append(
            np.ascontiguousarray(
                image if channels in {1, 3} else image[..., np.arange(channels) % 3]
            )
        )
    return found


class _Bare(nn.Module):
    """The network as `UNet.forward` is, without its padding: for sides that are multiples of its
    stride.
    """

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        logits: Tensor = self.network.head(self.network.decoder(self.network.encoder(images))[0])
        return logits


class _Traced(_Bare):
    """The network with its padding in operations that a trace keeps for every size."""

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        stride, (height, width) = self.network.stride, images.shape[-2:]

        def missing(side: Any) -> Any:
            return torch.clamp(side + (stride - side % stride) % stride, min=2 * stride) - side

        return super().forward(
            F.pad(images, (0, missing(width), 0, missing(height)), mode="replicate")
        )[..., :height, :width]


def to_onnx(network: UNet, channels: int) -> bytes:
    """The network as ONNX, of dynamic batch, height and width, its weights within."""
    import onnx

    example = torch.zeros(1, channels, 3 * network.stride, 4 * network.stride)
    axes = {
        "images": {0: "batch", 2: "height", 3: "width"},
        "logits": {0: "batch", 2: "height", 3: "width"},
    }
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        path = Path(folder) / "traced.onnx"
        # the exporter that goes through torch.export took minutes over sizes that are multiples of
        # 32, this one half a second
        torch.onnx.export(
            _Traced(network).eval(),
            (example,),
            path,
            dynamo=False,
            opset_version=OPSET,
            dynamic_axes=axes,
            input_names=["images"],
            output_names=["logits"],
        )
        traced = path.read_bytes()
    onnx.checker.check_model(traced)
    return traced


def to_torch_export(network: UNet, channels: int, about: Any) -> bytes:
    """The network as torch.export keeps it, for batches of any size and sides that are multiples of
    its stride, twice of it at least.
    """
    from torch.export import Dim

    stride = network.stride
    sides = {
        2: stride * Dim("rows", min=2, max=LONGEST_PX // stride),
        3: stride * Dim("columns", min=2, max=LONGEST_PX // stride),
    }
    example = torch.zeros(2, channels, 3 * stride, 4 * stride)
    program = torch.export.export(
        _Bare(network).eval(), (example,), dynamic_shapes=({0: Dim("batch", min=1), **sides},)
    )
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={"limner.json": json.dumps(about)})
    return content.getvalue()


def finish_onnx(traced: bytes, about: Any) -> bytes:
    """A sealed ONNX file that says of itself what `about` says; other programs find classes,
    preprocessing and threshold under those names.
    """
    import onnx

    model = onnx.load_from_string(traced)
    said = about["model"]
    for key, value in (
        ("classes", said["labels"]["names"]),
        ("preprocessing", said["preprocessing"]),
        ("threshold", said["inference"]["threshold"]),
    ):
        model.metadata_props.add(key=key, value=_spelled(value))
    model.metadata_props.add(key="limner", value=CHECKSUM_PLACEHOLDER.decode() + _spelled(about))
    return embed_checksum(model.SerializeToString())


def _spelled(about: Any) -> str:
    """JSON without the word by which ONNX names other files, so that a file that holds it can be
    refused unread.
    """
    return json.dumps(about).replace(FORBIDDEN, FORBIDDEN[:-1] + "\\u006e")


def to_openvino(traced: bytes, about: Any) -> tuple[bytes, bytes]:
    """A sealed OpenVINO structure that says of itself what `about` says, and its weights."""
    import openvino

    model = openvino.Core().read_model(traced)
    model.set_rt_info(CHECKSUM_PLACEHOLDER.decode() + json.dumps(about), ["limner"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        weights = path.with_suffix(".bin").read_bytes()
        return embed_checksum(path.read_bytes(), weights), weights


def to_float16(traced: bytes) -> bytes:
    """The network in float16, its input and output in float32."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    halves: bytes = convert_float_to_float16(
        onnx.load_from_string(traced), keep_io_types=True
    ).SerializeToString()
    return halves


def to_int8(traced: bytes, arrays: Sequence[Float32[ndarray, "c h w"]]) -> bytes:
    """The network in int8, its ranges from what the arrays cause in it (QDQ, weights by
    channel).
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(arrays)

        def get_next(self) -> dict[str, ndarray] | None:
            array = next(self.left, None)
            return None if array is None else {"images": array[None]}

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        level = logging.root.level
        logging.root.setLevel(
            logging.ERROR
            # It advises a step of its own that changes nothing here
        )
        try:
            quantize_static(
                onnx.load_from_string(traced),
                path,
                Reader(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["Conv", "ConvTranspose", "MaxPool", "Concat", "Add"],
            )
        finally:
            logging.root.setLevel(level)
        return path.read_bytes()
