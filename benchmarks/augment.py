"""Images per second of limner's augmentation and of kornia's, the same operations, batch and size,
in the same run.

pip install kornia && python benchmarks/augment.py
"""

import time

import kornia.augmentation as K
import torch

from limner.data.augment import augment, batch_generator, sample_parameters
from limner.recipe import AugmentSettings

BATCH, SIZE_PX, ROUNDS = 16, 96, 15


def main() -> None:
    """Print both rates and their ratio: the best of several interleaved rounds."""
    settings = AugmentSettings()
    images = torch.rand(BATCH, 3, SIZE_PX, SIZE_PX)
    masks = torch.randint(0, 2, (BATCH, SIZE_PX, SIZE_PX), dtype=torch.uint8)
    pipeline = kornia_pipeline(settings)
    limner_s = kornia_s = float("inf")
    for step in range(ROUNDS):
        generator = batch_generator(0, 0, step)
        start = time.perf_counter()
        parameters = sample_parameters(tuple(images.shape), settings, generator)
        augment(images, masks, settings, parameters)
        limner_s = min(limner_s, time.perf_counter() - start)
        start = time.perf_counter()
        pipeline(images, masks.unsqueeze(1).float())
        kornia_s = min(kornia_s, time.perf_counter() - start)
    print(f"limner: {BATCH / limner_s:.0f} images/s")
    print(f"kornia: {BATCH / kornia_s:.0f} images/s")
    print(f"ratio: {kornia_s / limner_s:.1f}")


def kornia_pipeline(settings: AugmentSettings) -> K.AugmentationSequential:
    return K.AugmentationSequential(
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


if __name__ == "__main__":
    main()
