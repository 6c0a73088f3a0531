"""The peers of zero_config.py: one of them, in a process of its own, from its start to its masks.

segmentation-models-pytorch has limner's pretrained encoder and the same ImageNet weights. MONAI has
its UNet with residual units, and its DynUNet with kernels of 3, strides of 1, 2, 2, 2, 2 and 32 to
512 channels. All run the loop of peers.py as a careful user would set it up. Images are resized to
a square, flipped, turned, scaled and changed in colour; scenes of several classes stay upright. The
optimiser is AdamW on a one-cycle schedule that follows the clock to the end of the time. A measured
step says how large a batch the time allows. The loss is Dice and cross-entropy. 15 % of the
training folder are validated on, and the best weights are kept. Logits are resized to an image's
own size.

zero_config.py runs it: zero_peers.py NAME TRAIN TEST MASKS --minutes M --seed S --started TIME
"""

import argparse
import copy
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from peers import WIDTHS, pretrained_weights
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from zero_config import image_dice
from zero_sets import Coding, contestant_arguments, read_coding, read_pairs

ENCODER = "tf_efficientnet_lite0"
DYNUNET_WIDTHS = (32, 64, 128, 256, 512)
LEARNING_RATE, WARMUP = 2e-3, 0.1
TICKS = 1000
"""Positions of the schedule; the clock says which one a step has."""
VALIDATION_SHARE = 0.15
"""Of the training folder."""
VALIDATE_EVERY = 0.1
"""Of the time, at the least."""
VALIDATION_COST = 5
"""Time between two validations, as a multiple of what one takes, at the least."""
BATCHES, LEAST_STEPS = (16, 8, 4, 2), 50
"""The largest batch is taken with which so many steps fit into the time."""
Loss = Callable[[Tensor, Tensor], Tensor]
"""Of logits (b, k, h, w) and class indices (b, h, w)."""


@dataclass(frozen=True)
class Clock:
    """The time that a contestant has, which began before its process did."""

    started: float
    seconds: float

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.time() - self.started

    def left(self) -> float:
        """Seconds until the end."""
        return self.seconds - self.elapsed()


class Images(Dataset[tuple[Tensor, Tensor]]):
    """Images (3, size, size) and class indices (size, size), by torchvision's transforms."""

    def __init__(
        self, pairs: Sequence[tuple[Path, Path]], size: int, coding: Coding, *, augment: bool
    ) -> None:
        from torchvision import tv_tensors
        from torchvision.transforms import InterpolationMode, v2

        self._pairs, self._coding = pairs, coding
        fill = {tv_tensors.Image: 0, tv_tensors.Mask: coding.void or 0}
        augmentation = [
            v2.RandomHorizontalFlip(),
            *([v2.RandomVerticalFlip()] if coding.binary else []),
            v2.RandomAffine(
                180 if coding.binary else 15,
                (0.1, 0.1),
                (0.75, 1.25),
                interpolation=InterpolationMode.BILINEAR,
                fill=fill,
            ),
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
        with Image.open(image_path) as file:
            image = tv_tensors.Image(pil_to_tensor(file.convert("RGB")))
        labels = tv_tensors.Mask(torch.from_numpy(self._coding.read(mask_path).copy())[None])
        image, labels = self._transform(image, labels)
        return image.as_subclass(Tensor), labels.as_subclass(Tensor)[0].long()


def main() -> None:
    """Train, and write the masks of the test images and what zero_config.py wants to know."""
    arguments = contestant_arguments(__doc__)
    clock = Clock(arguments.started, arguments.minutes * 60)
    torch.manual_seed(arguments.seed)
    kind, size = arguments.contestant.rsplit(" ", 1)
    coding = read_coding(arguments.train)
    network, loss, library = BUILDERS[kind](coding)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network.to(device)
    shown = train(network, loss, arguments, int(size), clock)
    facts = {
        "seconds": round(clock.elapsed(), 1),
        "shown": shown,
        "size": f"{size}x{size} resize",
        "peer": f"{library} {version(library)}",
        "torch": torch.__version__,
    }
    predict(network, arguments, int(size), coding)
    (arguments.masks / "run.json").write_text(json.dumps(facts))


def build_smp(coding: Coding) -> tuple[nn.Module, Loss, str]:
    """segmentation-models-pytorch's U-Net on the pretrained encoder, with its own losses."""
    import segmentation_models_pytorch as smp

    network = smp.Unet(
        f"tu-{ENCODER}",
        encoder_weights=None,
        decoder_channels=(128, 96, 64, 32, 16),
        classes=channels(coding),
    )
    network.encoder.model.load_state_dict(pretrained_weights(ENCODER))
    if coding.binary:
        dice, entropy = smp.losses.DiceLoss("binary"), smp.losses.SoftBCEWithLogitsLoss()
        return network, in_binary(lambda x, y: dice(x, y) + entropy(x, y)), SMP
    dice = smp.losses.DiceLoss("multiclass", ignore_index=coding.void)
    return network, lambda x, y: dice(x, y) + cross_entropy(x, y, coding), SMP


def build_monai_unet(coding: Coding) -> tuple[nn.Module, Loss, str]:
    """MONAI's UNet with residual units, as in peers.py."""
    from monai.networks.nets import UNet

    network = UNet(
        spatial_dims=2,
        in_channels=3,
        out_channels=channels(coding),
        channels=WIDTHS,
        strides=(2, 2, 2, 2),
        num_res_units=2,
    )
    return network, monai_loss(coding), "monai"


def build_monai_dynunet(coding: Coding) -> tuple[nn.Module, Loss, str]:
    """MONAI's DynUNet with a plain plan, as in its tutorials."""
    from monai.networks.nets import DynUNet

    strides = (1, 2, 2, 2, 2)
    network = DynUNet(
        spatial_dims=2,
        in_channels=3,
        out_channels=channels(coding),
        kernel_size=(3,) * len(strides),
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=DYNUNET_WIDTHS,
    )
    return network, monai_loss(coding), "monai"


def monai_loss(coding: Coding) -> Loss:
    """MONAI's Dice and cross-entropy; its Dice leaves void pixels out by `ignore_index`."""
    from monai.losses import DiceCELoss, DiceLoss

    if coding.binary:
        return in_binary(DiceCELoss(sigmoid=True))
    dice = DiceLoss(softmax=True, to_onehot_y=True, ignore_index=coding.void)
    return lambda x, y: dice(x, y[:, None]) + cross_entropy(x, y, coding)


SMP = "segmentation-models-pytorch"
BUILDERS = {
    "smp": build_smp,
    "monai unet": build_monai_unet,
    "monai dynunet": build_monai_dynunet,
}


def channels(coding: Coding) -> int:
    """Channels of the logits: one for two classes, else one for each."""
    return 1 if coding.binary else coding.classes


def in_binary(loss: Loss) -> Loss:
    """A loss of logits and masks (b, 1, h, w) in floats, as one of class indices."""
    return lambda logits, labels: loss(logits, labels[:, None].float())


def cross_entropy(logits: Tensor, labels: Tensor, coding: Coding) -> Tensor:
    """Cross-entropy over the pixels that are not void."""
    return F.cross_entropy(
        logits, labels, ignore_index=-100 if coding.void is None else coding.void
    )


def train(
    network: nn.Module, loss: Loss, arguments: argparse.Namespace, size: int, clock: Clock
) -> int:
    """Train until the time is up, and leave the network with its best weights.

    Returns how many images it was shown.
    """
    coding = read_coding(arguments.train)
    pairs = list(read_pairs(arguments.train).values())
    order = np.random.default_rng(arguments.seed).permutation(len(pairs))
    held_out = max(1, round(VALIDATION_SHARE * len(pairs)))
    validation, training = ([pairs[i] for i in part] for part in np.split(order, [held_out]))
    batch = choose_batch(network, loss, size, len(training), clock)
    batches = repeat(loader(Images(training, size, coding, augment=True), batch, shuffle=True))
    validator = Validator(network, Images(validation, size, coding, augment=False), coding, clock)
    optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=TICKS, pct_start=WARMUP
    )
    device = next(network.parameters()).device
    network.train()
    shown, step_s = 0, 0.0
    while clock.left() > validator.takes_s + step_s:
        step_began = time.time()
        images, labels = next(batches)
        optimiser.zero_grad()
        loss(network(images.to(device)), labels.to(device)).backward()
        optimiser.step()
        shown += len(images)
        progress = clock.elapsed() / (clock.seconds - validator.takes_s)
        while schedule.last_epoch < min(progress, 1) * (TICKS - 1):
            schedule.step()
        step_s = time.time() - step_began
        if validator.is_due():
            validator.validate()
    validator.finish()
    return shown


class Validator:
    """Validates now and then, keeps the best weights, and knows what a validation takes."""

    def __init__(self, network: nn.Module, data: Images, coding: Coding, clock: Clock) -> None:
        self._network, self._coding, self._clock = network, coding, clock
        self._loader = loader(data, BATCHES[0], shuffle=False)
        self._due = clock.seconds * VALIDATE_EVERY
        self._best, self._best_weights = -1.0, network.state_dict()
        self.takes_s = 0.0

    def is_due(self) -> bool:
        """Whether to validate now; the last validation needs its time as well."""
        return self._clock.elapsed() > self._due and self._clock.left() > 2 * self.takes_s

    def validate(self) -> None:
        """Validate at the network's size, and keep the weights where they are the best so far."""
        began, scores = time.time(), []
        device = next(self._network.parameters()).device
        self._network.eval()
        with torch.inference_mode():
            for images, labels in self._loader:
                predicted = to_labels(self._network(images.to(device))).cpu().numpy()
                pairs = zip(labels.numpy(), predicted, strict=True)
                scores += [image_dice(*pair, self._coding) for pair in pairs]
        self._network.train()
        dice = float(np.nanmean(scores))
        if dice > self._best:
            self._best, self._best_weights = dice, copy.deepcopy(self._network.state_dict())
        self.takes_s = max(self.takes_s, 1.1 * (time.time() - began))
        wait = max(self._clock.seconds * VALIDATE_EVERY, VALIDATION_COST * self.takes_s)
        self._due = self._clock.elapsed() + wait
        print(f"{self._clock.elapsed():.1f} s: validation Dice {dice:.4f}", flush=True)

    def finish(self) -> None:
        """Validate once more, and give the network its best weights."""
        self.validate()
        self._network.load_state_dict(self._best_weights)


def choose_batch(network: nn.Module, loss: Loss, size: int, images: int, clock: Clock) -> int:
    """The largest batch with which enough steps fit into the time, by a measured step.

    A quarter of the training images at the most.
    """
    trial, smallest = copy.deepcopy(network).train(), BATCHES[-1]
    device = next(network.parameters()).device
    pixels = torch.rand(smallest, 3, size, size, device=device)
    labels = torch.zeros(smallest, size, size, dtype=torch.long, device=device)
    for _ in range(2):
        began = time.time()
        loss(trial(pixels), labels).backward()
        step_s = time.time() - began
    shown = clock.left() / step_s * smallest
    fitting = [b for b in BATCHES if b * LEAST_STEPS <= shown and b <= images // 4]
    print(f"a step of {smallest} images takes {step_s:.2f} s; batches of {max(fitting, default=2)}")
    return max(fitting, default=smallest)


def to_labels(logits: Tensor) -> Tensor:
    """Class indices (b, h, w) of logits (b, k, h, w)."""
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)


def predict(network: nn.Module, arguments: argparse.Namespace, size: int, coding: Coding) -> None:
    """Write the mask of each test image, at its own size."""
    pairs = read_pairs(arguments.test)
    device = next(network.parameters()).device
    network.eval()
    images = Images(list(pairs.values()), size, coding, augment=False)
    for index, (name, (path, _)) in enumerate(pairs.items()):
        with Image.open(path) as file:
            own_size = (file.height, file.width)
        with torch.inference_mode():
            logits = network(images[index][0][None].to(device))
            logits = F.interpolate(logits, own_size, mode="bilinear", align_corners=False)
        coding.write(to_labels(logits)[0].cpu().numpy(), arguments.masks / f"{name}.png")


def loader(data: Images, batch: int, *, shuffle: bool) -> Any:
    """A DataLoader with two workers, as in peers.py."""
    return DataLoader(
        data, batch, shuffle=shuffle, drop_last=shuffle, num_workers=2, persistent_workers=True
    )


def repeat(batches: Any) -> Iterator[Any]:
    """Epoch after epoch."""
    while True:
        yield from batches


if __name__ == "__main__":
    main()
