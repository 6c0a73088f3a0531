"""A network as an ONNX graph, or as a program of torch.export.

Each function takes a network, and returns the content of a file.
"""

import io
import json
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from limner.model.ensemble import Ensemble
from limner.model.unet import UNet

OPSET = 17
MAX_SIDE_PX = 65536
"""The longest side that a program of torch.export accepts."""


class _UnpaddedNetwork(nn.Module):
    """A network's `forward_unpadded` as its forward pass."""

    def __init__(self, network: UNet | Ensemble) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        return self.network.forward_unpadded(images)


class TraceableNetwork(_UnpaddedNetwork):
    """The network with its padding in operations that a trace keeps for every size."""

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        stride, (height, width) = self.network.stride, images.shape[-2:]

        def padding(side: Any) -> Any:
            whole = torch.as_tensor(side + (stride - side % stride) % stride)
            # A clamp of integers would be a Clip, which few programs but ONNX Runtime run on them
            return torch.maximum(whole, torch.tensor(2 * stride)) - side

        padded = F.pad(images, (0, padding(width), 0, padding(height)), mode="replicate")
        return super().forward(padded)[..., :height, :width]


def to_onnx(network: UNet | Ensemble, channels: int) -> bytes:
    """Export a network as an ONNX graph with its weights, for any batch, height and width."""
    example = torch.zeros(1, channels, 3 * network.stride, 4 * network.stride)
    axes = {0: "batch", 2: "height", 3: "width"}
    return trace_to_onnx(TraceableNetwork(network), example, {"images": axes}, {"logits": axes})


def trace_to_onnx(
    module: nn.Module,
    example: Shaped[Tensor, "..."],
    inputs: Mapping[str, Mapping[int, str]],
    outputs: Mapping[str, Mapping[int, str]],
) -> bytes:
    """Export a module as an ONNX graph with its weights.

    Args:
        module: It takes one tensor.
        example: What it is traced on.
        inputs: The name of its input, and the names of those axes that may have any length.
        outputs: As `inputs`, for one or several outputs.
    """
    import onnx

    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        path = Path(folder) / "traced.onnx"
        # The exporter through torch.export took minutes over sizes that are multiples of 32, and
        # this one half a second
        torch.onnx.export(
            module.eval(),
            (example,),
            path,
            dynamo=False,
            opset_version=OPSET,
            dynamic_axes={name: dict(axes) for name, axes in {**inputs, **outputs}.items()},
            input_names=list(inputs),
            output_names=list(outputs),
        )
        graph = path.read_bytes()
    onnx.checker.check_model(graph)
    return graph


def to_torch_export(network: UNet | Ensemble, channels: int, record: Mapping[str, Any]) -> bytes:
    """Export a network as a program of torch.export, with a record as `limner.json`.

    It takes batches of any size. Their sides are multiples of the stride, and at least twice the
    stride.
    """
    from torch.export import Dim

    stride = network.stride
    sides = {
        2: stride * Dim("rows", min=2, max=MAX_SIDE_PX // stride),
        3: stride * Dim("columns", min=2, max=MAX_SIDE_PX // stride),
    }
    example = torch.zeros(2, channels, 3 * stride, 4 * stride)
    program = torch.export.export(
        _UnpaddedNetwork(network).eval(),
        (example,),
        dynamic_shapes=({0: Dim("batch", min=1), **sides},),
    )
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={"limner.json": json.dumps(record)})
    return content.getvalue()
