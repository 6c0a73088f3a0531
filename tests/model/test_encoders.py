import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from limner.errors import LimnerError
from limner.model.pretrained import adapt_channels, encoder_normalisation, load_pretrained
from limner.model.timm_encoder import TimmEncoder
from limner.model.unet import UNet
from limner.recipe import ModelSettings

timm = pytest.importorskip("timm")
LITE = "tf_efficientnet_lite0"


def weights_of(name: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return timm.create_model(name, pretrained=False).state_dict()


@pytest.mark.parametrize("name", [LITE, "resnet18", "convnext_atto", "mambaout_femto"])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_any_encoder_makes_a_network_of_any_size(name: str, channels: int) -> None:
    network = UNet.from_settings(ModelSettings(encoder=name), channels, 2).eval()
    assert network(torch.zeros(1, channels, 37, 70)).shape == (1, 2, 37, 70)


def test_gradients_reach_the_encoder_and_the_decoder() -> None:
    network = UNet.from_settings(
        ModelSettings(encoder="resnet18", skip="attention", deep_supervision=True), 3, 1
    )
    sum(
        logits.square().mean() for logits in network.forward_supervised(torch.randn(2, 3, 64, 64))
    ).backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_weights_come_from_a_file(tmp_path: Path, suffix: str, channels: int) -> None:
    whole = weights_of("resnet18")
    path = tmp_path / f"w.{suffix}"
    save_file(whole, path) if suffix == "safetensors" else torch.save({"state_dict": whole}, path)
    encoder = TimmEncoder("resnet18", channels)
    load_pretrained(encoder, str(path), channels)
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
        load_pretrained(TimmEncoder("convnext_atto", 3), str(tmp_path / "w.safetensors"), 3)


def test_a_file_that_would_run_code_is_not_opened(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "harmed",))  # type: ignore[return-value]

    torch.save({"x": Harm()}, tmp_path / "w.pth")
    with pytest.raises(LimnerError, match="no weights that can be read"):
        load_pretrained(TimmEncoder("resnet18", 3), str(tmp_path / "w.pth"), 3)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize("name", ["resnet33", "vit_tiny_patch16_224", ""])
def test_a_name_that_is_no_encoder_is_reported(name: str) -> None:
    with pytest.raises(LimnerError, match=r"for example|do not halve"):
        TimmEncoder(name or "nonsense", 3)


def test_an_encoder_of_one_fixed_size_is_refused_by_name() -> None:
    name = "swin_tiny_patch4_window7_224"
    with pytest.raises(LimnerError, match=rf"the encoder '{name}' cannot be used: an image of"):
        TimmEncoder(name, 3)


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
