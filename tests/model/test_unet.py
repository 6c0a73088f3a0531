import random
import re
import subprocess
import sys
import textwrap

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import LimnerError
from limner.model import presets
from limner.model.decoders import NestedDecoder
from limner.model.encoders import ConvEncoder
from limner.model.presets import PRESETS, resolve_settings
from limner.model.unet import UNet
from limner.recipe import ModelSettings

SMALL = (2, 4, 6, 8)


def small(preset: str, base: int = 2, **keys: object) -> ModelSettings:
    """A member of the family with few channels, of its own depth."""
    depth = len(resolve_settings(ModelSettings(preset=preset)).widths)
    return ModelSettings(
        preset=preset, widths=tuple(base * (level + 1) for level in range(depth)), **keys
    )


def without_values(settings: ModelSettings, channels: int = 3, classes: int = 1) -> UNet:
    """A network of shapes alone: what is counted needs no memory and no time."""
    with torch.device("meta"):
        return UNet.from_settings(settings, channels, classes)


def count(settings: ModelSettings, channels: int = 3, classes: int = 1) -> int:
    return sum(each.numel() for each in without_values(settings, channels, classes).parameters())


def multiply_adds(network: UNet, channels: int) -> int:
    """Of all convolutions, for an image of 256x256."""
    total = 0

    def add(layer: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        nonlocal total
        pixels = inputs[0] if isinstance(layer, torch.nn.ConvTranspose2d) else output
        total += layer.weight.numel() * pixels.shape[2] * pixels.shape[3]

    for layer in network.modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            layer.register_forward_hook(add)
    with torch.no_grad():
        network.eval()(torch.zeros(1, channels, 256, 256, device="meta"))
    return total


@pytest.mark.parametrize("preset", PRESETS)
def test_the_logits_have_the_image_s_size(preset: str) -> None:
    rng = random.Random(preset)
    # 210 in all
    for _ in range(30):
        h, w = rng.randrange(1, 70), rng.randrange(1, 70)
        channels, classes = rng.randrange(1, 6), rng.randrange(1, 5)
        network = UNet.from_settings(small(preset), channels, classes).eval()
        assert network(torch.zeros(1, channels, h, w)).shape == (1, classes, h, w)


@given(
    st.sampled_from(["conv", "residual"]),
    st.sampled_from(["batch", "instance", "group", "none"]),
    st.sampled_from(["max", "stride"]),
    st.sampled_from(["transpose", "bilinear", "nearest"]),
    st.sampled_from(["concat", "add", "attention"]),
    st.booleans(),
    st.sampled_from([0.0, 0.5, 1.5]),
    st.integers(0, 3),
)
def test_every_part_goes_with_every_other(
    block: str,
    norm: str,
    pooling: str,
    upsampling: str,
    skip: str,
    nested: bool,
    expansion_ratio: float,
    halvings: int,
) -> None:
    keys = {
        "block": block,
        "norm": norm,
        "pooling": pooling,
        "upsampling": upsampling,
        "skip": skip,
        "nested": nested,
        "expansion_ratio": expansion_ratio,
    }
    network = UNet.from_settings(
        ModelSettings(widths=SMALL[: halvings + 1], deep_supervision=True, **keys), 3, 2
    )
    levels = network.forward_supervised(torch.randn(2, 3, 9, 13))
    assert {tuple(logits.shape) for logits in levels} == {(2, 2, 9, 13)}


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("skip", ["concat", "add", "attention"])
def test_gradients_reach_every_parameter(preset: str, skip: str) -> None:
    torch.manual_seed(0)
    network = UNet.from_settings(small(preset, base=8, skip=skip, activation="gelu"), 3, 1)
    sum(
        logits.square().mean() for logits in network.forward_supervised(torch.randn(2, 3, 64, 64))
    ).backward()
    assert [
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ] == []


@pytest.mark.parametrize("preset", PRESETS)
def test_each_member_has_the_counts_that_the_docstring_states(preset: str) -> None:
    stated = re.search(
        rf"`{re.escape(preset)}`: .*?([\d.]+) M parameters and ([\d.]+) G multiply-adds",
        " ".join((presets.__doc__ or "").split()),
    )
    assert stated, preset
    settings = ModelSettings(preset=preset)
    assert f"{count(settings) / 1e6:.2f}" == stated[1]
    assert f"{multiply_adds(without_values(settings), 3) / 1e9:.1f}" == stated[2]


def test_the_tutorial_has_the_blocks_of_its_source() -> None:
    network = without_values(ModelSettings(preset="tutorial"))
    assert [level[0].out_channels for level in network.encoder.levels] == [32, 64, 128, 256, 256]
    assert [block.upsample.out_channels for block in network.decoder.blocks] == [256, 128, 64, 32]
    assert sum(isinstance(layer, torch.nn.Conv2d) for layer in network.decoder.refine) == 3


def test_u_net_plus_plus_and_its_u_net_have_their_paper_s_parameters() -> None:
    """arXiv:1807.10165, table 2, in millions: U-Net 7.76, U-Net++ 9.04, of widths 32 to 512 without
    normalisation, for 3 channels and 1 class.
    """
    plain = ModelSettings(preset="unet", widths=(32, 64, 128, 256, 512))
    assert f"{count(plain) / 1e6:.2f}" == "7.76"
    assert f"{count(ModelSettings(preset='unet++')) / 1e6:.2f}" == "9.04"


def test_resunet_has_its_paper_s_parameters_but_for_the_shortcuts() -> None:
    """arXiv:1711.10684 states 7.8 M, which leaves out the 1x1 convolutions of the shortcuts."""
    network = without_values(ModelSettings(preset="resunet"))
    shortcuts = sum(
        parameter.numel() for name, parameter in network.named_parameters() if ".shortcut." in name
    )
    assert shortcuts > 0
    assert f"{(count(ModelSettings(preset='resunet')) - shortcuts) / 1e6:.1f}" == "7.8"


def test_unet_has_the_parameters_of_the_original() -> None:
    """arXiv:1505.04597 states no count; its layers, 1 channel in, 2 classes, have 31,030,658
    whatever the padding.
    """
    assert count(ModelSettings(preset="unet"), 1, 2) == 31_030_658


def test_few_channels_and_a_stride_have_the_gradients_of_double_precision() -> None:
    """In a process of its own, since what goes wrong with them may end it."""
    done = subprocess.run([sys.executable, "-c", FEW_CHANNELS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


FEW_CHANNELS = textwrap.dedent("""
    import torch
    from limner.model.blocks import PointwiseConv2d, ResidualBlock
    from limner.recipe import ModelSettings

    torch.manual_seed(0)
    settings = ModelSettings(norm="none", activation="relu")
    narrow = ModelSettings(norm="none", activation="relu", kernel=1)
    for wide in (1, 2, 3, 4, 6, 7, 12, 16):
        for layer in (
            PointwiseConv2d(wide, 2 * wide, 1, stride=2),
            ResidualBlock(wide, 2 * wide, 2, settings, 2),
            ResidualBlock(wide, wide + 1, 1, narrow, 2),
        ):
            layer = layer.to(memory_format=torch.channels_last)
            images = torch.randn(4, wide, 16, 18).contiguous(memory_format=torch.channels_last)
            layer(images).square().sum().backward()
            gradients = [weight.grad.double() for weight in layer.parameters()]
            layer.double().zero_grad()
            layer(images.double()).square().sum().backward()
            for weight, gradient in zip(layer.parameters(), gradients, strict=True):
                torch.testing.assert_close(gradient, weight.grad, rtol=1e-4, atol=1e-2)
    """)


def test_each_member_is_compiled_whole() -> None:
    """In a process of its own, without the type checks that the tests put into every function.

    That each is exported is tested in test_export.py.
    """
    code = """
import torch
from limner.model.presets import PRESETS
from limner.model.unet import UNet

for preset in PRESETS:
    network = UNet(3, 1, preset=preset, widths=(2, 4)).eval()
    images = torch.randn(2, 3, 20, 28)
    expected = network(images)
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(images), expected)
    print(preset)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == list(PRESETS), done.stderr[-2000:]


@pytest.mark.parametrize("preset", PRESETS)
def test_each_member_overfits_four_images(preset: str) -> None:
    from limner.losses import LOSSES

    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(1)
    images = torch.nn.functional.interpolate(
        torch.randn(4, 3, 5, 5, generator=rng), (24, 24), mode="bilinear"
    ) + 0.1 * torch.randn(4, 3, 24, 24, generator=rng)
    truth = (images.mean(1) > 0.2).to(torch.uint8)
    network = UNet.from_settings(ModelSettings(preset=preset, widths=(8, 16)), 3, 1)
    adam = torch.optim.Adam(network.parameters(), 4e-3)
    overlap = 0.0
    # Most need 100 to 200 steps; without normalisation it depends on the processor's rounding
    for _ in range(600):
        levels = network.forward_supervised(images)
        predicted = levels[0].detach()[:, 0] > 0
        overlap = float(
            2 * (predicted & (truth == 1)).sum() / (predicted.sum() + (truth == 1).sum())
        )
        if overlap >= 0.99:
            break
        adam.zero_grad()
        sum(LOSSES["dice+cross-entropy"](logits, truth) for logits in levels).backward()
        adam.step()
    assert overlap >= 0.99


def test_a_network_without_halvings_is_a_plain_stack() -> None:
    network = UNet.from_settings(ModelSettings(widths=(2,)), 3, 1)
    assert network(torch.zeros(1, 3, 5, 7)).shape == (1, 1, 5, 7)


def test_keyword_arguments_and_settings_build_the_same_network() -> None:
    keys = {"preset": "resunet", "widths": (2, 4, 6), "dropout": 0.1}
    torch.manual_seed(0)
    by_keywords = UNet(in_channels=1, classes=3, **keys)
    torch.manual_seed(0)
    by_settings = UNet.from_settings(ModelSettings(**keys), 1, 3)
    assert by_keywords.state_dict().keys() == by_settings.state_dict().keys()
    for name, value in by_keywords.state_dict().items():
        assert torch.equal(value, by_settings.state_dict()[name])


def test_a_network_has_the_output_channels_that_were_asked_for() -> None:
    images = torch.zeros(1, 3, 20, 30)
    assert UNet(widths=(2, 4))(images).shape == (1, 2, 20, 30)
    assert UNet(classes=1, widths=(2, 4))(images).shape == (1, 1, 20, 30)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": (2, 4)}, r"model\.width is not a key of a recipe\. Did you mean model\.widths"),
        ({"block": "dense"}, r"model\.block = 'dense'"),
        ({"in_channels": 0}, r"0 image channels and 2 classes.*at least 1"),
        ({"classes": 0}, r"3 image channels and 0 classes.*at least 1"),
        ({"nested": True, "refine_convolutions": 2}, r"refine_convolutions would do nothing"),
    ],
)
def test_a_network_that_cannot_be_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(LimnerError, match=message):
        UNet(**arguments)


def test_a_nested_decoder_needs_levels_that_halve_from_full_resolution() -> None:
    class HalfResolution(ConvEncoder):
        def __init__(self, settings: ModelSettings) -> None:
            super().__init__(settings, 3)
            self.reductions = [2, 4]

    settings = ModelSettings(widths=(2, 4), nested=True)
    with pytest.raises(LimnerError, match=r"1/\[2, 4\] of the image's side.*full resolution"):
        NestedDecoder(HalfResolution(settings), settings)
