"""JSON of the Open Inference Protocol: requests to images, and predictions to answers."""

import json
import math
from typing import Annotated, Any

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from pydantic import BaseModel, Field, ValidationError

from limner.inference.predictor import Prediction
from limner.web.errors import ProblemError
from limner.web.service.models import ServedModel

CHUNK = 4096
"""How many values of an answer are encoded in one call, during which no other thread runs."""
MAX_CHANNELS = 64
MAX_DEPTH = 8
"""How deeply lists of numbers may be nested."""


class Tensor(BaseModel):
    name: str
    shape: Annotated[list[int], Field(max_length=4)]
    datatype: str
    data: list[Any]


class InferRequest(BaseModel):
    id: str | None = None
    inputs: Annotated[list[Tensor], Field(min_length=1, max_length=1)]


def infer_schema() -> dict[str, Any]:
    """The JSON schema of a request, without references to other schemas."""
    schema = InferRequest.model_json_schema()
    schema["properties"]["inputs"]["items"] = schema.pop("$defs")["Tensor"]
    return schema


def parse_request(body: bytes) -> InferRequest:
    """Parse a request. Raises ProblemError where it is not as the protocol has it."""
    try:
        return InferRequest.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise ProblemError(400, "the body is not JSON.") from None
        location = ".".join(map(str, first["loc"]))
        raise ProblemError(
            400, f"the request is not as the protocol has it: {location}: {first['msg']}."
        ) from None


def to_image(tensor: Tensor, most_pixels: int) -> UInt8[ndarray, "h w c"]:
    """The image in a tensor; one channel is repeated as three.

    Raises ProblemError where it is not an image, has more pixels, or its data do not fit its shape.
    """
    shape = tensor.shape
    is_image = len(shape) == 4 and shape[0] == 1 and min(shape) >= 1 and shape[3] <= MAX_CHANNELS
    if tensor.datatype != "UINT8" or not is_image:
        raise ProblemError(
            400, "the input is one image, UINT8, of shape [1, height, width, channels]."
        )
    if shape[1] * shape[2] > most_pixels:
        raise ProblemError(413, f"the image has more than {most_pixels:,} pixels.")
    try:
        pixels = _to_bytes(tensor.data, math.prod(shape)).reshape(shape[1:])
    except (ValueError, OverflowError):
        raise ProblemError(
            400, "the data are as many whole numbers from 0 to 255 as the shape says."
        ) from None
    return np.repeat(pixels, 3, axis=2) if shape[3] == 1 else pixels


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


def encode_answer(model: ServedModel, request_id: str | None, prediction: Prediction) -> bytes:
    """Encode an answer as JSON.

    The values are encoded in chunks, since one call for all of them would delay other requests.
    """
    outputs: list[dict[str, Any]] = [
        {"name": "mask", "datatype": "UINT8", "shape": [1, *prediction.mask.shape], "data": []}
    ]
    if prediction.predicted_dice is not None:
        outputs.append(
            {
                "name": "predicted_dice",
                "datatype": "FP32",
                "shape": [1],
                "data": [prediction.predicted_dice],
            }
        )
    answer = {"outputs": outputs, "model_name": model.name, "model_version": model.version}
    if request_id is not None:
        answer["id"] = request_id
    text = json.dumps(answer, separators=(",", ":"))
    return text.replace('"data":[]', f'"data":[{_encode_values(prediction.mask)}]', 1).encode()


def _encode_values(mask: UInt8[ndarray, "h w"]) -> str:
    values = mask.ravel()
    digits = [str(value) for value in range(256)]
    return ",".join(
        ",".join([digits[value] for value in values[start : start + CHUNK].tolist()])
        for start in range(0, values.size, CHUNK)
    )
