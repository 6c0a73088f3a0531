"""One image to the network's array, and its probabilities back: the one preprocessing, of training and use alike."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray
from PIL import Image

from limner.data.images import resize
from limner.labels import VOID

VERSION = 2


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How pixels become the network's input: brought to `size_px` (height, width), then standardised by channel.

    `mean` and `std` are in units of the range 0..1, one each for red, green and blue, from the training images alone.
    """

    size_px: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def array(self, image: UInt8[ndarray, "h w 3"]) -> Float32[ndarray, "3 h2 w2"]:
        """The network's input of one image."""
        pixels = resize(image, self.size_px).astype(np.float32) / 255  # (h2, w2, 3)
        return np.ascontiguousarray(((pixels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)).transpose(2, 0, 1))


def measure(images_uint8: UInt8[ndarray, "n h w 3"]) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation of each channel in units of 0..1, from at most 2,000 images spread over the set."""
    chosen = images_uint8[:: max(1, len(images_uint8) // 2000)]
    sums, squares, count = np.zeros(3), np.zeros(3), 0
    for image in chosen:
        pixels = image.reshape(-1, 3).astype(np.float64) / 255
        sums += pixels.sum(0)
        squares += (pixels**2).sum(0)
        count += len(pixels)
    mean = sums / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 1e-6))
    red, green, blue = (float(value) for value in mean)
    red_std, green_std, blue_std = (float(value) for value in std)
    return (red, green, blue), (red_std, green_std, blue_std)


def shrink_mask(class_index: UInt8[ndarray, "h w"], size_px: tuple[int, int], classes: int) -> UInt8[ndarray, "h2 w2"]:
    """A mask at another size by area vote: each new pixel takes the class that covers most of it, and never a new value."""
    if class_index.shape == size_px:
        return class_index
    present = [value for value in (*range(classes), VOID) if (class_index == value).any()]
    shares = [np.asarray(Image.fromarray((class_index == value).astype(np.uint8) * 255).resize(size_px[::-1], Image.Resampling.BOX)) for value in present]
    return np.array(present, np.uint8)[np.argmax(shares, axis=0)]


def grow_probabilities(probabilities: Float32[ndarray, "k h w"], size_px: tuple[int, int]) -> Float32[ndarray, "k h2 w2"]:
    """Probabilities at the image's own size, by bilinear interpolation."""
    if probabilities.shape[1:] == size_px:
        return probabilities
    return np.stack([np.asarray(Image.fromarray(channel).resize(size_px[::-1], Image.Resampling.BILINEAR)) for channel in probabilities])
