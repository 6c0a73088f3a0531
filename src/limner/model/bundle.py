"""A model file: weights, recipe, labels, preprocessing and scores, self-describing and pickle-free.

The file is safetensors. safetensors does not notice a flipped bit, so a SHA-256 over tensors and metadata is kept in it.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from limner.data.postprocess import Postprocessing
from limner.data.preprocess import Preprocessing
from limner.errors import LimnerError
from limner.files import write_whole
from limner.labels import Labels
from limner.model.presets import build
from limner.model.unet import UNet
from limner.recipe import Recipe, parse_recipe

FORMAT = 4
THRESHOLD = 0.5
"""Of the foreground's probability, where none was chosen on validation."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What validation chose of the way from probabilities to a mask; as it stands here, nothing was found to help."""

    threshold: float = THRESHOLD
    """Of the foreground's probability in a binary set."""
    tta: str = "none"
    """The augmentation at test time, a name of `inference.variants`."""
    postprocessing: Postprocessing = field(default_factory=Postprocessing)


@dataclass(frozen=True, slots=True)
class Bundle:
    """All that is needed to use a model, and what it is known to reach."""

    recipe: Recipe
    labels: Labels
    preprocessing: Preprocessing
    weights: Mapping[str, Tensor]
    scores: Mapping[str, float] = field(default_factory=dict)
    split: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The ids of the samples that it was trained, validated and may be tested on; see `splits.record_of`."""
    choices: Choices = field(default_factory=Choices)
    confidence: Mapping[str, Any] = field(default_factory=dict)
    """What `inference.confidence` fitted on validation, and read back; empty of a model whose training did not come to its end."""
    receipt: Mapping[str, Any] = field(default_factory=dict)
    """Hashes of data, split and recipe, versions and machine of its training."""

    def network(self) -> UNet:
        """The network with these weights, ready to predict."""
        network = build(self.recipe.model, self.recipe.data.channels, self.labels.logits)
        network.load_state_dict(dict(self.weights))
        return network.eval()

    def save(self, path: Path) -> None:
        """Write the bundle atomically."""
        about = {
            "format": FORMAT,
            "recipe": self.recipe.model_dump(),
            "labels": asdict(self.labels),
            "preprocessing": asdict(self.preprocessing),
            "scores": dict(self.scores),
            "split": {name: list(ids) for name, ids in self.split.items()},
            "choices": asdict(self.choices),
            "confidence": dict(self.confidence),
            "receipt": dict(self.receipt),
        }
        write_tensors(path, self.weights, about)

    @classmethod
    def load(cls, path: Path | str) -> "Bundle":
        """Read a bundle. Raises LimnerError for a file that is missing, damaged or no model of limner's."""
        weights, about = read_tensors(Path(path))
        if about.get("format") != FORMAT:
            raise LimnerError(f"{path} has the format {about.get('format')}. This limner reads format {FORMAT}: use the version that wrote it.")
        labels, prepared = about["labels"], about["preprocessing"]
        return cls(
            parse_recipe(about["recipe"]),
            Labels.from_record(labels),
            Preprocessing(tuple(prepared["size_px"]), tuple(prepared["mean"]), tuple(prepared["std"]), prepared["geometry"]),
            weights,
            about["scores"],
            about["split"],
            Choices(**{**about["choices"], "postprocessing": Postprocessing(**about["choices"]["postprocessing"])}),
            about["confidence"],
            about["receipt"],
        )


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and a JSON description, so that they survive a loss of power.

    Raises LimnerError where the disk does not take it; what stood at `path` is then untouched.
    """
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(about, sort_keys=True)
    # one key, since safetensors writes several in an order that changes from call to call
    content = save(contiguous, {"limner": json.dumps([_digest(contiguous, text), text])})
    try:
        write_whole(path, content, lasting=True)
    except OSError as error:
        raise LimnerError(f"{path} could not be written ({error.strerror}); {len(content) / 1e6:.3g} MB are needed. Free some space and go on.") from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote. Raises LimnerError where it is missing, foreign, or differs by a single bit."""
    if not path.is_file():
        raise LimnerError(f"{path} is no file. Give the model.safetensors of a run.")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the handle is no mapping
            metadata = file.metadata() or {}
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise LimnerError(f"{path} is damaged or no safetensors file ({error}). Take another copy.") from error
    if "limner" not in metadata:
        raise LimnerError(f"{path} was not written by limner. Give the model.safetensors of a run.")
    try:
        digest, text = json.loads(metadata["limner"])
    except ValueError as error:
        raise LimnerError(f"{path} is damaged: its description is no JSON. Take another copy.") from error
    if _digest(tensors, text) != digest:
        raise LimnerError(f"{path} is damaged: its content does not match its SHA-256. Take another copy.")
    about: dict[str, Any] = json.loads(text)
    return tensors, about


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
