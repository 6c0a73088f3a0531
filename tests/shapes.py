"""What tests draw."""

import numpy as np


def disc(size: int = 16, value: int = 255, radius: float = 5) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return ((x**2 + y**2 < radius**2) * value).astype(np.uint8)
