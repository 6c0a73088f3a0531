"""The loops that people write instead of using limner, as their libraries' own tutorials have them.

train_speed.py and time_to_dice.py compare limner with them. Each trains on image and mask files,
resized to a square, in a DataLoader with two workers. Images are flipped, turned, scaled and
changed in colour. The optimiser is AdamW on a one-cycle schedule, and the loss is the sum of Dice
and cross-entropy. pip install segmentation-models-pytorch monai
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

WIDTHS = (16, 32, 64, 128, 256)
Pairs = Sequence[tuple[Path, Path]]


@dataclass(frozen=True)
class Peer:
    """A network, and the loaders of its training and validation images.

    They give batches of images (b, 3, h, w) and masks (b, 1, h, w), as floats.
    """

    network: nn.Module
    training: Iterable[tuple[Tensor, Tensor]]
    validation: Iterable[tuple[Tensor, Tensor]]
    loss: Callable[[Tensor, Tensor], Tensor]


def plain(train: Pairs, validation: Pairs, size: int, batch: int, weights: str = "") -> Peer:
    """PyTorch and torchvision; the network is limner's own."""
    from limner.model.unet import UNet

    assert not weights
    network = UNet(classes=1, widths=WIDTHS)
    return Peer(
        network,
        _loader(Files(train, size, augment=True), batch, True),
        _loader(Files(validation, size, augment=False), batch, False),
        dice_and_entropy,
    )


def segmentation_models(
    train: Pairs, validation: Pairs, size: int, batch: int, weights: str = ""
) -> Peer:
    """segmentation-models-pytorch's U-Net in the same loop.

    Its encoder is a ResNet from scratch, or the one that the weights are for.
    """
    import segmentation_models_pytorch as smp

    if weights:
        network = smp.Unet(
            "tu-tf_efficientnet_lite0", encoder_weights=None, decoder_channels=(128, 96, 64, 32, 16)
        )
        network.encoder.model.load_state_dict(pretrained_weights(weights))
    else:
        network = smp.Unet("resnet18", encoder_weights=None, decoder_channels=WIDTHS[::-1])
    dice, entropy = smp.losses.DiceLoss("binary"), smp.losses.SoftBCEWithLogitsLoss()
    loaders = (
        _loader(Files(train, size, augment=True), batch, True),
        _loader(Files(validation, size, augment=False), batch, False),
    )
    return Peer(
        network, *loaders, lambda logits, masks: dice(logits, masks) + entropy(logits, masks)
    )


def monai(train: Pairs, validation: Pairs, size: int, batch: int, weights: str = "") -> Peer:
    """MONAI's UNet with MONAI's dictionary transforms and its DataLoader."""
    from monai import transforms as T
    from monai.data import DataLoader as MonaiLoader
    from monai.data import Dataset as MonaiDataset
    from monai.data import PILReader
    from monai.losses import DiceCELoss
    from monai.networks.nets import UNet

    assert not weights
    keys = ["image", "mask"]
    load = [
        T.LoadImaged(keys, reader=PILReader, ensure_channel_first=True),
        T.ScaleIntensityRanged(keys, 0, 255, 0, 1),
        T.Resized(keys, (size, size), mode=("bilinear", "nearest")),
    ]
    augment = [
        T.RandFlipd(keys, 0.5, 0),
        T.RandFlipd(keys, 0.5, 1),
        T.RandAffined(
            keys,
            prob=1.0,
            rotate_range=np.pi,
            scale_range=0.25,
            translate_range=0.1 * size,
            mode=("bilinear", "nearest"),
            padding_mode="reflection",
        ),
        T.RandAdjustContrastd(["image"], 0.5, (0.8, 1.25)),
        T.RandGaussianNoised(["image"], 0.5, std=0.02),
    ]
    normalise = [T.NormalizeIntensityd(["image"], channel_wise=True)]
    network = UNet(
        spatial_dims=2,
        in_channels=3,
        out_channels=1,
        channels=WIDTHS,
        strides=(2, 2, 2, 2),
        num_res_units=2,
    )

    def loader(pairs: Pairs, steps: list[Any], shuffle: bool) -> Iterable[tuple[Tensor, Tensor]]:
        rows = [{"image": image, "mask": mask} for image, mask in pairs]
        dictionaries = MonaiLoader(
            MonaiDataset(rows, T.Compose(steps)),
            batch_size=batch,
            shuffle=shuffle,
            drop_last=shuffle,
            num_workers=2,
            persistent_workers=True,
        )
        return _MappedLoader(
            dictionaries, lambda rows: (rows["image"].as_tensor(), rows["mask"].as_tensor()[:, :1])
        )

    return Peer(
        network,
        loader(train, load + augment + normalise, True),
        loader(validation, load + normalise, False),
        DiceCELoss(sigmoid=True),
    )


PEERS = {"plain PyTorch": plain, "segmentation-models-pytorch": segmentation_models, "MONAI": monai}


def train_step(
    peer: Peer, optimiser: torch.optim.Optimizer, images: Tensor, masks: Tensor, device: str
) -> None:
    """One step as tutorials have it."""
    optimiser.zero_grad()
    peer.loss(peer.network(images.to(device)), masks.to(device)).backward()
    optimiser.step()


def validation_dice(peer: Peer, device: str) -> float:
    """Mean Dice over the validation images."""
    peer.network.eval()
    scores = []
    with torch.no_grad():
        for images, masks in peer.validation:
            predicted = (peer.network(images.to(device)) > 0).float().cpu()
            truth = (masks > 0.5).float()
            overlap = (predicted * truth).sum((1, 2, 3))
            areas = predicted.sum((1, 2, 3)) + truth.sum((1, 2, 3))
            scores += torch.where(areas > 0, 2 * overlap / areas.clamp(min=1), 1.0).tolist()
    peer.network.train()
    return float(np.mean(scores))


def dice_and_entropy(logits: Tensor, masks: Tensor) -> Tensor:
    """The sum of soft Dice over each image and binary cross-entropy."""
    probabilities = logits.sigmoid()
    overlap = (probabilities * masks).sum((1, 2, 3))
    areas = probabilities.sum((1, 2, 3)) + masks.sum((1, 2, 3))
    dice = ((2 * overlap + 1) / (areas + 1)).mean()
    return 1 - dice + F.binary_cross_entropy_with_logits(logits, masks)


class Files(Dataset[tuple[Tensor, Tensor]]):
    """Images and masks, decoded and augmented one by one with torchvision's transforms."""

    def __init__(self, pairs: Pairs, size: int, *, augment: bool) -> None:
        from torchvision.transforms import v2

        self._pairs = pairs
        augmentation = [
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.RandomAffine(180, (0.1, 0.1), (0.75, 1.25)),
            v2.ColorJitter(0.1, 0.2, 0.2),
        ]
        self._transform = v2.Compose(
            [
                v2.Resize((size, size)),
                *(augmentation if augment else []),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        from torchvision import tv_tensors
        from torchvision.transforms.v2.functional import pil_to_tensor

        image_path, mask_path = self._pairs[index]
        with Image.open(image_path) as image, Image.open(mask_path) as mask:
            pixels = tv_tensors.Image(pil_to_tensor(image.convert("RGB")))
            truth = tv_tensors.Mask(pil_to_tensor(mask.convert("L")) > 127)
        pixels, truth = self._transform(pixels, truth)
        return pixels, truth.float()


class _MappedLoader:
    """A loader whose batches go through a function."""

    def __init__(self, loader: Any, function: Callable[[Any], tuple[Tensor, Tensor]]) -> None:
        self._loader, self._function = loader, function

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return map(self._function, self._loader)

    def __len__(self) -> int:
        return len(self._loader)


def _loader(data: Files, batch: int, shuffle: bool) -> Any:
    return DataLoader(
        data, batch, shuffle=shuffle, drop_last=shuffle, num_workers=2, persistent_workers=True
    )


def pretrained_weights(name: str) -> dict[str, Tensor]:
    """The weights of an encoder as limner finds them."""
    from limner.model.pretrained import build_pretrained, load_pretrained

    encoder = build_pretrained(name, 3)
    load_pretrained(encoder, "hub", 3)
    return encoder.body.state_dict()
