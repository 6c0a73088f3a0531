"""A model file: weights, recipe, labels, preprocessing and scores, self-describing and pickle-free.

The file is safetensors. safetensors does not notice a flipped bit, so a SHA-256 over tensors and
metadata is kept in it.
"""

import hashlib
import json
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
from limner.model.metadata import ModelMetadata, parse_metadata
from limner.model.presets import build_network
from limner.model.unet import UNet


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle(ModelMetadata):
    """Weights and their description."""

    weights: Mapping[str, Tensor]

    def network(self) -> UNet:
        """The network with these weights, ready to predict."""
        network = build_network(
            self.recipe.model, self.recipe.data.channels, self.labels.out_channels
        )
        network.load_state_dict(dict(self.weights))
        return network.eval()

    def save(self, path: Path) -> None:
        """Write the bundle atomically."""
        write_tensors(path, self.weights, self.to_dict())

    @classmethod
    def load(cls, path: Path | str) -> "Bundle":
        """Read a bundle. Raises LimnerError for a file that is missing, damaged or no model of
        limner's.
        """
        weights, record = read_tensors(Path(path))
        return cls(weights=weights, **parse_metadata(record, Path(path)).as_fields())


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and a JSON description, so that they survive a loss of power.

    Raises LimnerError where the disk does not take it; what stood at `path` is then untouched.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(about, sort_keys=True)
    # one key, since safetensors writes several in an order that changes from call to call
    content = save(contiguous, {"limner": json.dumps([_digest(contiguous, text), text])})
    try:
        write_atomic(path, content, lasting=True)
    except OSError as error:
        raise LimnerError(
            f"{path} could not be written ({error.strerror}); {len(content) / 1e6:.3g} MB are "
            "needed. Free some space and go on."
        ) from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote. Raises LimnerError where it is missing, foreign, or differs
    by a single bit.
    """
    if not path.is_file():
        raise LimnerError(f"{path} is no file. Give the model.safetensors of a run.")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise LimnerError(
            f"{path} is damaged or no safetensors file ({error}). Take another copy."
        ) from error
    if "limner" not in metadata:
        raise LimnerError(f"{path} was not written by limner. Give the model.safetensors of a run.")
    try:
        digest, text = json.loads(metadata["limner"])
    except ValueError as error:
        raise LimnerError(
            f"{path} is damaged: its description is no JSON. Take another copy."
        ) from error
    if _digest(tensors, text) != digest:
        raise LimnerError(
            f"{path} is damaged: its content does not match its SHA-256. Take another copy."
        )
    about: dict[str, Any] = json.loads(text)
    return tensors, about


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
