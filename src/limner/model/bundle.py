"""Model files: weights and metadata in one safetensors file, self-describing and pickle-free.

safetensors does not notice a flipped bit, so the file holds a SHA-256 over tensors and metadata.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from limner.errors import LimnerError
from limner.files import write_atomic
from limner.model.ensemble import Ensemble, member_count
from limner.model.metadata import ModelMetadata, parse_metadata
from limner.model.unet import UNet

OLD_TENSOR_NAMES = {
    r"^average\.": "ema.",
    r"^lost$": "loss_sum",
    r"\bdecoder\.ups\.": "decoder.blocks.",
    r"\.grow\.": ".upsample.",
    r"\.past\.": ".shortcut.",
    r"\.skip\.widths\.": ".skip.projections.",
    r"\.gates\.(\d+)\.skip\.": r".gates.\1.skip_conv.",
    r"\.gates\.(\d+)\.coarse\.": r".gates.\1.gate_conv.",
    r"\.gates\.(\d+)\.weight\.": r".gates.\1.attention_conv.",
}
"""Patterns of tensor names in models and checkpoints of earlier versions, and today's names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle(ModelMetadata):
    """A trained model: its weights and its metadata, as in model.safetensors.

    To segment images use `Predictor`; this is for the weights and what is known of them.

    Example:
        >>> bundle = Bundle.load("runs/lesions/model.safetensors")
        >>> bundle.labels.names, bundle.scores["validation_mean_dice"]
        (('background', 'lesion'), 0.93)
        >>> network = bundle.network()  # a torch module: (b, c, h, w) to logits (b, k, h, w)
    """

    weights: Mapping[str, Tensor]
    """Tensors by the names that the network's `state_dict` has."""

    def network(self) -> UNet | Ensemble:
        """Build the network with these weights, or the ensemble of several, in evaluation mode."""
        model, channels = self.recipe.model, self.recipe.data.channels
        members = [
            UNet.from_settings(model, channels, self.labels.out_channels)
            for _ in range(max(1, self.members))
        ]
        network = Ensemble(members, channels) if self.members else members[0]
        network.load_state_dict(dict(self.weights))
        return network.eval()

    @property
    def members(self) -> int:
        """How many networks are averaged; 0 where it is a single one."""
        return member_count(self.weights)

    def save(self, path: Path) -> None:
        """Write the bundle atomically. Raises LimnerError where the disk does not take it."""
        write_tensors(path, self.weights, self.to_dict())

    @classmethod
    def load(cls, path: Path | str) -> "Bundle":
        """Read a model file, such as runs/NAME/model.safetensors.

        Raises LimnerError for a file that is missing, damaged or no model of limner's.

        Example:
            >>> network = Bundle.load("runs/lesions/model.safetensors").network()
        """
        weights, metadata = read_tensors(Path(path))
        return cls(weights=weights, **parse_metadata(metadata, Path(path)).as_fields())


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata atomically, so that they survive a loss of power.

    Raises LimnerError where the disk does not take it; what stood at `path` is then untouched.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(metadata, sort_keys=True)
    # One key, since safetensors writes several in an order that changes from call to call
    content = save(contiguous, {"limner": json.dumps([_sha256(contiguous, text), text])})
    try:
        write_atomic(path, content, durable=True)
    except OSError as error:
        raise LimnerError(
            f"{path} could not be written ({error.strerror}); {len(content) / 1e6:.3g} MB are "
            "needed. Free some space and go on."
        ) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote: tensors by today's names, and the metadata.

    Raises LimnerError where the file is missing, was not written by limner, or fails its checksum.
    """
    if not path.is_file():
        raise LimnerError(f"{path} is not a file. Give the model.safetensors of a run.")
    try:
        with safe_open(path, framework="pt") as file:
            # The file is not a mapping: only keys() gives its names
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            header = file.metadata() or {}
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise LimnerError(
            f"{path} is damaged or no safetensors file ({error}). Take another copy."
        ) from error
    if "limner" not in header:
        raise LimnerError(f"{path} was not written by limner. Give the model.safetensors of a run.")
    try:
        sha256, text = json.loads(header["limner"])
    except ValueError as error:
        raise LimnerError(
            f"{path} is damaged: its description is not JSON. Take another copy."
        ) from error
    if _sha256(tensors, text) != sha256:
        raise LimnerError(
            f"{path} is damaged: its content does not match its SHA-256. Take another copy."
        )
    metadata: dict[str, Any] = json.loads(text)
    return {_new_name(name): tensor for name, tensor in tensors.items()}, metadata


def _new_name(name: str) -> str:
    """Today's name of a tensor. What timm calls the parts of an encoder stays as it is."""
    own, separator, of_timm = name.partition("encoder.body.")
    for old, new in OLD_TENSOR_NAMES.items():
        own = re.sub(old, new, own)
    return own + separator + of_timm


def _sha256(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
