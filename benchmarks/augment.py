"""Images per second of limner's augmentation and of kornia's, the same operations, batch and size,
in the same run.

pip install kornia && python benchmarks/augment.py
"""

import time
from collections.abc import Callable

import kornia.augmentation as K
import torch

from limner.data.augment import augment, batch_generator, sample_parameters
from limner.recipe import AugmentSettings

BATCH, SIZE, ROUNDS = 16, 96, 15


def main() -> None:
    """Print both rates and their ratio: the best of several interleaved rounds."""
    settings = AugmentSettings()
    images, masks = (
        torch.rand(BATCH, 3, SIZE, SIZE),
        torch.randint(0, 2, (BATCH, SIZE, SIZE), dtype=torch.uint8),
    )
    peer = K.AugmentationSequential(
        K.RandomHorizontalFlip(p=settings.horizontal_flip),
        K.RandomVerticalFlip(p=settings.vertical_flip),
        K.RandomAffine(
            settings.rotate_degrees,
            (settings.shift, settings.shift),
            (1 - settings.scale, 1 + settings.scale),
            padding_mode="reflection",
            p=1.0,
        ),
        K.RandomElasticTransform(
            kernel_size=(31, 31),
            sigma=(8.0, 8.0),
            alpha=(settings.elastic, settings.elastic),
            p=1.0,
        ),
        K.ColorJitter(settings.brightness, settings.contrast, settings.colour, 0.0, p=1.0),
        K.RandomBoxBlur((3, 3), p=0.5),
        K.RandomGaussianNoise(std=settings.noise, p=0.5),
        data_keys=["input", "mask"],
    )
    seconds = {"limner": float("inf"), "kornia": float("inf")}
    for step in range(ROUNDS):
        seconds["limner"] = min(
            seconds["limner"],
            timed(
                lambda step=step: augment(
                    images,
                    masks,
                    settings,
                    sample_parameters(tuple(images.shape), settings, batch_generator(0, 0, step)),
                )
            ),
        )
        seconds["kornia"] = min(
            seconds["kornia"], timed(lambda: peer(images, masks.unsqueeze(1).float()))
        )
    for name, best in seconds.items():
        print(f"{name}: {BATCH / best:.0f} images/s")
    print(f"ratio: {seconds['kornia'] / seconds['limner']:.1f}")


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
