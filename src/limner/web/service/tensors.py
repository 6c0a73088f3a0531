"""JSON of the Open Inference Protocol: requests to images, and predictions to answers."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from pydantic import BaseModel, Field, ValidationError

from limner.inference.prediction import Prediction
from limner.web.errors import ProblemError
from limner.web.service.models import ServedModel

CHUNK = 4096
"""How many values of an answer are encoded in one call, during which no other thread runs."""
MAX_CHANNELS = 64
MAX_DEPTH = 8
"""How deeply lists of numbers may be nested."""


MASK, PREDICTED_DICE = "mask", "predicted_dice"
"""The outputs."""


class TensorParameters(BaseModel):
    """Of the extension for binary tensors."""

    binary_data_size: Annotated[
        int | None, Field(ge=0, description="bytes of the tensor behind the JSON")
    ] = None
    binary_data: Annotated[bool | None, Field(description="send it behind the JSON")] = None


class Tensor(BaseModel):
    name: str
    shape: Annotated[list[int], Field(max_length=4)]
    datatype: str
    data: list[Any] | None = None
    parameters: TensorParameters = TensorParameters()


class AskedOutput(BaseModel):
    name: str
    parameters: TensorParameters = TensorParameters()


class RequestParameters(BaseModel):
    """Of the extension for binary tensors."""

    binary_data_output: Annotated[bool, Field(description="send all outputs behind the JSON")] = (
        False
    )


class InferRequest(BaseModel):
    id: str | None = None
    inputs: Annotated[list[Tensor], Field(min_length=1, max_length=1)]
    outputs: list[AskedOutput] = []
    parameters: RequestParameters = RequestParameters()


@dataclass(frozen=True, slots=True)
class Asked:
    """A request whose parts were checked."""

    id: str | None
    images: UInt8[ndarray, "n h w c"]
    outputs: Mapping[str, bool]
    """Those that are sent, and whether behind the JSON."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. `json_bytes` is the length of its JSON where tensors stand behind it."""

    content: bytes
    json_bytes: int | None


def infer_schema() -> dict[str, Any]:
    """The JSON schema of a request, without references to other schemas."""
    schema = InferRequest.model_json_schema()
    definitions = schema.pop("$defs")

    def resolve(part: Any) -> Any:
        if isinstance(part, list):
            return [resolve(one) for one in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return resolve(definitions[part["$ref"].rpartition("/")[2]])
        return {name: resolve(value) for name, value in part.items()}

    resolved: dict[str, Any] = resolve(schema)
    return resolved


def parse_request(body: bytes, json_bytes: int | None, most_pixels: int) -> Asked:
    """Parse a request.

    Args:
        body: JSON, and the tensors behind it.
        json_bytes: How long the JSON is, where tensors stand behind it; else None.
        most_pixels: How many pixels the images may have together.

    Raises:
        ProblemError: It is not as the protocol has it, or asks for what there is not.
    """
    text, tail = (body, b"") if json_bytes is None else (body[:json_bytes], body[json_bytes:])
    request = _parse_json(text)
    (tensor,) = request.inputs
    size = tensor.parameters.binary_data_size
    if len(tail) != (size or 0):
        raise ProblemError(
            400,
            f"{len(tail):,} bytes stand behind the JSON, and the input's binary_data_size says "
            f"{size or 0:,}. Inference-Header-Content-Length is the length of the JSON alone.",
        )
    images = to_images(tensor, tail if size is not None else None, most_pixels)
    return Asked(request.id, images, _outputs(request))


def _outputs(request: InferRequest) -> dict[str, bool]:
    """What is sent, and whether behind the JSON. Raises ProblemError for another output."""
    by_default = request.parameters.binary_data_output
    if not request.outputs:
        return {MASK: by_default, PREDICTED_DICE: by_default}
    outputs = {}
    for output in request.outputs:
        if output.name not in {MASK, PREDICTED_DICE}:
            raise ProblemError(
                400, f"there is no output of that name. There are: {MASK}, {PREDICTED_DICE}."
            )
        as_binary = output.parameters.binary_data
        outputs[output.name] = by_default if as_binary is None else as_binary
    return outputs


def _parse_json(text: bytes) -> InferRequest:
    try:
        return InferRequest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise ProblemError(400, "the body is not JSON.") from None
        location = ".".join(map(str, first["loc"]))
        raise ProblemError(
            400, f"the request is not as the protocol has it: {location}: {first['msg']}."
        ) from None


def to_images(tensor: Tensor, binary: bytes | None, most_pixels: int) -> UInt8[ndarray, "n h w c"]:
    """The images in a tensor; one channel is repeated as three.

    Args:
        tensor: The input.
        binary: Its values, where they are not in it.
        most_pixels: How many pixels they may have together.

    Raises ProblemError where it holds no image, has more pixels, or its data do not fit its shape.
    """
    shape = tensor.shape
    holds_images = len(shape) == 4 and min(shape) >= 1 and shape[3] <= MAX_CHANNELS
    if tensor.datatype != "UINT8" or not holds_images:
        raise ProblemError(
            400,
            "the input is one image or several of one size, UINT8, of shape [images, height, "
            "width, channels].",
        )
    if math.prod(shape[:3]) > most_pixels:
        raise ProblemError(413, f"the images have more than {most_pixels:,} pixels.")
    try:
        if (tensor.data is None) == (binary is None):
            raise ValueError("the values are neither in the JSON nor behind it, or both")
        values = (
            np.frombuffer(binary, np.uint8)
            if binary is not None
            else _to_bytes(tensor.data or [], math.prod(shape))
        )
        pixels = values.reshape(shape)
    except (ValueError, OverflowError):
        raise ProblemError(
            400, "the data are as many whole numbers from 0 to 255 as the shape says."
        ) from None
    return np.repeat(pixels, 3, axis=3) if shape[3] == 1 else pixels


def _to_bytes(data: list[Any], count: int) -> UInt8[ndarray, " n"]:
    """Raises ValueError or OverflowError where the data are not so many whole numbers in 0..255."""
    values = np.array(_flatten(data, count))
    if values.dtype.kind not in "iu" or values.size != count:
        raise ValueError(f"there are not {count} whole numbers")
    if values.min() < 0 or values.max() > 255:
        raise ValueError("a number is not in 0..255")
    return values.astype(np.uint8)


def _flatten(data: list[Any], most: int) -> list[int]:
    """The whole numbers of nested lists, in order, all at the same depth.

    Raises ValueError for anything else, and for more than `most`, before an array is made.
    """
    numbers, stack, depth = list[int](), [iter(data)], 0
    while stack:
        for value in stack[-1]:
            if type(value) is int and depth in {0, len(stack)}:
                numbers.append(value)
                depth = len(stack)
            elif isinstance(value, list) and len(stack) < MAX_DEPTH:
                stack.append(iter(value))
                break
            else:
                raise ValueError(f"{type(value).__name__} is not a whole number")
            if len(numbers) > most:
                raise ValueError(f"there are more than {most} numbers")
        else:
            stack.pop()
    return numbers


def encode_answer(model: ServedModel, asked: Asked, predictions: Sequence[Prediction]) -> Answer:
    """Encode what was asked for, of each image.

    The values are encoded in chunks, since one call for all of them would delay other requests.
    """
    masks = np.stack([prediction.mask for prediction in predictions])
    dice = [prediction.predicted_dice for prediction in predictions]
    values: dict[str, ndarray] = {MASK: masks}
    if None not in dice:
        values[PREDICTED_DICE] = np.array(dice, "<f4")
    outputs, texts, tail = list[dict[str, Any]](), list[str](), list[bytes]()
    for name, as_binary in asked.outputs.items():
        if name not in values:
            continue
        value = values[name]
        datatype = "UINT8" if name == MASK else "FP32"
        output: dict[str, Any] = {"name": name, "datatype": datatype, "shape": [*value.shape]}
        if as_binary:
            tail.append(value.tobytes())
            output["parameters"] = {"binary_data_size": value.nbytes}
        else:
            output["data"] = []
            texts.append(_encode_values(masks) if name == MASK else json.dumps(dice)[1:-1])
        outputs.append(output)
    answer = {"outputs": outputs, "model_name": model.name, "model_version": model.version}
    if asked.id is not None:
        answer["id"] = asked.id
    first, *others = json.dumps(answer, separators=(",", ":")).split('"data":[]')
    # Texts of callers cannot hold that, since their quotes are escaped
    joined = [f'"data":[{values}]{piece}' for values, piece in zip(texts, others, strict=True)]
    text = "".join([first, *joined]).encode()
    return Answer(b"".join([text, *tail]), len(text) if tail else None)


def _encode_values(masks: UInt8[ndarray, "n h w"]) -> str:
    values = masks.ravel()
    digits = [str(value) for value in range(256)]
    return ",".join(
        ",".join([digits[value] for value in values[start : start + CHUNK].tolist()])
        for start in range(0, values.size, CHUNK)
    )
