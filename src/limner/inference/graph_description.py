"""What an exported graph takes and gives, in plain JSON, for programs that are not limner."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Literal

from limner.data.resize import REDUCING_GAP
from limner.inference.tta import TTA_TRANSFORMS
from limner.model.metadata import ModelMetadata

GraphKind = Literal["network", "canvas", "image"]
"""What a graph takes: normalised canvases, canvases of 8 bits, or an image of any size."""


def describe_graph(metadata: ModelMetadata, stride: int, kind: GraphKind) -> dict[str, Any]:
    """Describe a graph in values that JSON holds.

    Args:
        metadata: of the model.
        stride: of the network, in pixels.
        kind: of the graph.

    Returns `classes`, `input`, `output`, `augmentation` and `postprocessing`. In the last two is
    what the caller still has to do.

    Example:
        >>> describe_graph(Bundle.load("model.safetensors"), 32, "network")["output"]["threshold"]
        0.45
    """
    settings = metadata.inference
    transforms = TTA_TRANSFORMS[settings.tta if kind != "image" else "none"]
    return {
        "classes": metadata.labels.names,
        "input": {**_describe_input(metadata, kind), "stride": stride},
        "output": _describe_output(metadata, kind),
        "augmentation": [asdict(transform) for transform in transforms],
        "postprocessing": asdict(settings.postprocessing),
    }


def _describe_input(metadata: ModelMetadata, kind: GraphKind) -> Mapping[str, Any]:
    preprocessing = metadata.preprocessing
    channels = {
        "channels": preprocessing.channels,
        "colour": "RGB",
    }
    if kind == "image":
        return {"name": "image", "type": "uint8", "layout": "HWC", **channels}
    canvas = {
        "canvas": preprocessing.size_px,
        "mode": preprocessing.resize_mode,
        "resize": "as Pillow's BILINEAR, with antialiasing",
        "reducing_gap": REDUCING_GAP,
        "padding": "edge",
    }
    if kind == "canvas":
        return {"name": "images", "type": "uint8", "layout": "NHWC", **channels, **canvas}
    return {
        "name": "images",
        "type": "float32",
        "layout": "NCHW",
        **channels,
        "range": [0, 1],
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        **canvas,
    }


def _describe_output(metadata: ModelMetadata, kind: GraphKind) -> Mapping[str, Any]:
    labels = metadata.labels
    activation = "sigmoid" if labels.out_channels == 1 else "softmax"
    decision = metadata.inference.threshold if labels.out_channels == 1 else None
    if kind == "image":
        return {
            "names": ["mask", "probabilities"],
            "type": ["uint8", "float32"],
            "layout": ["HWC" if labels.coloured and not labels.binary else "HW", "KHW"],
            "values": labels.pixel_values.tolist(),
            "threshold": decision,
        }
    return {
        "names": ["logits" if kind == "network" else "probabilities"],
        "type": ["float32"],
        "layout": ["NKHW"],
        "activation": activation if kind == "network" else None,
        "growth": "probabilities to the image's size, as Pillow's BILINEAR, before the decision",
        "threshold": decision,
        "values": labels.pixel_values.tolist(),
    }
